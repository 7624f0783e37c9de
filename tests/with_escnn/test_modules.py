"""Sampling, restriction, canonicalisation and non-linearity as modules of escnn: typed, equivariant, exported."""

import pytest
import torch
from escnn import gspaces
from escnn.nn import FieldType, GeometricTensor, SequentialModule
from spaces import EVERYWHERE, EXACT, PLANE, in_double_precision  # noqa: F401
from torch import nn

from sefl.escnn import (
    BandlimitedPointwise,
    Canonicalization,
    FieldModule,
    RegularRestriction,
    SubgroupDownsampling,
    SubgroupUpsampling,
    bandlimited_field,
    field_type,
)
from sefl.groups import BandlimitedNonlinearity, SubgroupDownsample


def modules(name: str) -> dict[str, FieldModule]:
    space, below = EVERYWHERE[name]
    regular = field_type(space, 2)
    down = SubgroupDownsampling(regular, below)
    return {
        "down": down,
        "naive": SubgroupDownsampling(regular, below, anti_aliasing=False),
        "down for H": SubgroupDownsampling(regular, below, equivariance="subgroup"),
        "up": SubgroupUpsampling(down.out_type, space),
        "up from H": SubgroupUpsampling(down.out_type, space, equivariance="subgroup"),
        "restriction": RegularRestriction(regular, below),
        "canonical": Canonicalization(regular, below),
        "pointwise": BandlimitedPointwise(field_type(space, 2, bandlimited_field(space, below))),
    }


@pytest.mark.parametrize("name", EVERYWHERE)
def test_every_module_is_equivariant_and_exported(name: str) -> None:
    space, _ = EVERYWHERE[name]
    for kind, module in modules(name).items():
        errors = module.check_equivariance(atol=0, rtol=EXACT)
        inside = kind in ("naive", "down for H", "up from H", "restriction")
        smaller = min(module.in_type.fibergroup.order(), module.out_type.fibergroup.order())
        assert len(errors) == (smaller if inside else space.fibergroup.order()), kind
        shape = (2, module.in_type.size, *[4] * space.dimensionality)
        x = module.in_type(torch.randn(shape))
        y = module(x)
        assert y.type == module.out_type
        assert y.shape == module.evaluate_output_shape(shape)
        exported = module.train().export()
        assert not isinstance(exported, FieldModule)
        assert not exported.training
        assert torch.equal(exported(x.tensor), y.tensor)


@pytest.mark.parametrize("name", EVERYWHERE)
def test_the_check_finds_what_is_not_equivariant(name: str) -> None:
    """Controls: the filter left out or of ``H`` alone and all of ``G``, a ReLU of coefficients, other channels."""
    whole = modules(name)
    for kind in ("naive", "down for H", "up from H"):
        whole[kind].commutes = True
    whole["restriction"].layer.forward = lambda x: x.flip(1)
    failing = {"naive", "restriction"}
    if not whole["down"].bandlimit.complete:  # else the filters are the same
        failing |= {"down for H", "up from H"}
    if whole["pointwise"].in_type.size > 2:
        whole["pointwise"].layer = nn.ReLU()
        failing |= {"pointwise"}
    for kind in failing:
        with pytest.raises(AssertionError, match=r"the error for .* must be at most"):
            whole[kind].check_equivariance(atol=0.01, rtol=0.01)


def test_they_are_the_layers_of_ours() -> None:
    space = gspaces.flipRot2dOnR2(4)
    down = SubgroupDownsampling(field_type(space, 3), (1, 2))
    x = torch.randn(2, 24, 4, 4)
    layer = SubgroupDownsample(down.bandlimit)
    assert torch.equal(down(down.in_type(x)).tensor, layer(x))
    up = SubgroupUpsampling(down.out_type, space)
    assert torch.equal(up(down(down.in_type(x))).tensor, layer.upsample(layer(x)))
    field = bandlimited_field(space, (1, 2))
    elu = BandlimitedPointwise(field_type(space, 3, field), nn.ELU(), angles=8)
    z = torch.randn(2, elu.in_type.size, 4, 4)
    assert torch.equal(elu(elu.in_type(z)).tensor, BandlimitedNonlinearity(field, nn.ELU(), 8)(z))


@pytest.mark.parametrize("name", ["C4 to C2", "D4 to C4", "D4 to D2 of another axis"])
def test_escnn_finds_the_outcome_a_field_of_the_subgroup(name: str) -> None:
    space, below = PLANE[name]
    regular = field_type(space, 2)
    x = regular(torch.randn(2, regular.size, 5, 5))
    for module in (SubgroupDownsampling(regular, below), RegularRestriction(regular, below)):
        inner, subgroup = module.out_type.gspace, module.layer
        embedded = (
            subgroup.bandlimit.subgroup if hasattr(subgroup, "bandlimit") else subgroup.subgroup
        ).elements
        for index, element in zip(embedded.tolist(), inner.fibergroup.elements, strict=True):
            moved = module(x.transform(space.fibergroup.elements[index])).tensor
            torch.testing.assert_close(moved, module(x).transform(element).tensor, rtol=0, atol=EXACT)


@pytest.mark.parametrize("name", ["C4 to C2", "D4 to C4"])
def test_down_and_up_stand_in_a_sequence_that_escnn_checks(name: str) -> None:
    space, below = PLANE[name]
    down = SubgroupDownsampling(field_type(space, 2), below)
    sequence = SequentialModule(down, SubgroupUpsampling(down.out_type, space))
    sequence.check_equivariance(atol=EXACT)
    x = sequence.in_type(torch.randn(2, sequence.in_type.size, 4, 4))
    smooth = sequence(x)
    torch.testing.assert_close(sequence(smooth).tensor, smooth.tensor, rtol=0, atol=EXACT)
    naive = SubgroupDownsampling(field_type(space, 2), below, anti_aliasing=False)
    with pytest.raises(AssertionError, match="too high"):  # a control
        SequentialModule(naive, SubgroupUpsampling(naive.out_type, space)).check_equivariance(atol=0.01)
    exported = sequence.export()
    assert torch.equal(exported(x.tensor), smooth.tensor)
    program = torch.export.export(exported, (x.tensor,)).module()
    torch.testing.assert_close(program(x.tensor), smooth.tensor, rtol=0, atol=EXACT)


def test_behind_canonicalisation_the_subgroup_keeps_the_whole_group() -> None:
    space = gspaces.flipRot2dOnR2(4)
    regular = field_type(space, 2)
    canonical = Canonicalization(regular, (None, 2))
    naive = SubgroupDownsampling(regular, (None, 2), anti_aliasing=False)
    x = regular(torch.randn(3, regular.size, 5, 5))

    def pooled(y: GeometricTensor) -> torch.Tensor:
        return y.tensor.square().unflatten(1, (2, -1)).sum((2, 3, 4))

    for element in space.fibergroup.elements:
        moved = x.transform(element)
        torch.testing.assert_close(pooled(naive(canonical(moved))), pooled(naive(canonical(x))))
    quarter = space.fibergroup.elements[1]  # a control
    assert (pooled(naive(x.transform(quarter))) - pooled(naive(x))).abs().max() > 0.1


def test_errors_name_the_argument() -> None:
    space = gspaces.rot2dOnR2(8)
    regular, scalars = field_type(space, 2), FieldType(space, [space.trivial_repr])
    down = SubgroupDownsampling(regular, 4)
    with pytest.raises(TypeError, match=r"input must be of the type .*regular \(x2\).*got .*irrep_0"):
        down(scalars(torch.randn(2, 1, 3, 3)))
    with pytest.raises(
        TypeError, match=r"input must be of the type .*got Tensor: make it by in_type\(tensor\)"
    ):
        down(torch.randn(2, 16, 3, 3))
    with pytest.raises(ValueError, match=r"input_shape must be \(batch, 16, \*space\), got \(2, 8, 3, 3\)"):
        down.evaluate_output_shape((2, 8, 3, 3))
    for make in (SubgroupDownsampling, RegularRestriction, Canonicalization):
        with pytest.raises(ValueError, match=r"in_type must have regular fields alone, got .*irrep_0"):
            make(scalars, 4)
    with pytest.raises(ValueError, match=r"below must be the space of a subgroup of C4.*got C8"):
        SubgroupUpsampling(regular, gspaces.rot2dOnR2(4))
    for wrong in (regular, FieldType(space, [space.irrep(1)])):
        with pytest.raises(
            ValueError, match=r"must have (fields of bandlimited signals|regular fields alone)"
        ):
            BandlimitedPointwise(wrong)
    with pytest.raises(ValueError, match="angles must be a multiple of the 8"):
        BandlimitedPointwise(field_type(space, 1, bandlimited_field(space, 4)), angles=9)
