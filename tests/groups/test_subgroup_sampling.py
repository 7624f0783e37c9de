"""Sampling to a subgroup: a regular field of H by escnn's own laws, equivariant, exact on bandlimited features."""

import pytest
import torch
from escnn import gspaces
from escnn.nn import FieldType, GeometricTensor
from torch import Tensor

from sefl.groups import (
    FiniteGroup,
    SubgroupDownsample,
    act_on_fibre,
    act_on_field,
    bandlimit,
    cyclic,
    dihedral,
    finite_group,
    subgroup,
    subgroup_of,
    subgroups,
)

EXACT = 1e-12

# group and subgroup; of a dihedral group also by escnn's (axis, rotations), for reflections in another axis.
ESCNN = [
    ("C8", "C4"),
    ("C9", "C3"),
    ("C12", "C4"),
    ("D4", "C4"),
    ("D4", "D2"),
    ("D4", (1, 2)),
    ("D8", (1, 4)),
    ("D4", (3, 1)),
    ("D12", "C4"),
]


def random_field(group: FiniteGroup, space: int = 0, fields: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(len(group))
    return torch.randn(2, fields * len(group), *[5] * space, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize(("name", "below"), ESCNN)
@pytest.mark.parametrize("anti_aliasing", [True, False])
def test_output_is_a_regular_field_of_the_subgroup_to_escnn(
    name: str, below: str | tuple[int | None, int], anti_aliasing: bool
) -> None:
    group = finite_group(name)
    chosen = subgroup(group, below)
    space = gspaces.rot2dOnR2(len(group)) if name[0] == "C" else gspaces.flipRot2dOnR2(len(group) // 2)
    inside = chosen.group
    kind_g = FieldType(space, 2 * [space.regular_repr])
    # escnn's H reflects left to right, an embedded one maybe in another axis: positions would move otherwise.
    inner = gspaces.rot2dOnR2 if inside.name[0] == "C" else gspaces.flipRot2dOnR2
    fibre = inner(int(inside.name[1:]))
    kind_h = FieldType(fibre, 2 * [fibre.regular_repr])
    layer = SubgroupDownsample(bandlimit(group, chosen), anti_aliasing)
    x = random_field(group, space=2)
    failures = 0
    for h, element in enumerate(chosen.elements.tolist()):
        moved = kind_g.transform_fibers(x, space.fibergroup.elements[element])
        for other, theirs in enumerate(fibre.fibergroup.elements):
            expected = kind_h.transform_fibers(layer(x), theirs)
            error = float((layer(moved) - expected).abs().max())
            if h == other:
                assert error < EXACT, f"{group.labels[element]}: {error}"
            else:
                failures += error > 0.1
    assert failures == len(inside) * (len(inside) - 1)  # control: any other element of H fails


@pytest.mark.parametrize(("name", "below"), [("C4", "C2"), ("D4", "C4"), ("D4", "D2")])
def test_images_move_with_the_subgroup_as_geometric_tensors(name: str, below: str) -> None:
    group = finite_group(name)
    limit = bandlimit(group, below)
    inside = limit.subgroup.group
    outer = gspaces.rot2dOnR2(4) if name == "C4" else gspaces.flipRot2dOnR2(4)
    inner = (
        gspaces.rot2dOnR2(len(inside)) if inside.name[0] == "C" else gspaces.flipRot2dOnR2(len(inside) // 2)
    )
    kind_g = FieldType(outer, 3 * [outer.regular_repr])
    kind_h = FieldType(inner, 3 * [inner.regular_repr])
    layer = SubgroupDownsample(limit)
    x = random_field(group, space=2, fields=3)
    for element, theirs in zip(limit.subgroup.elements.tolist(), inner.fibergroup.elements, strict=True):
        moved = GeometricTensor(x, kind_g).transform(outer.fibergroup.elements[element]).tensor
        expected = GeometricTensor(layer(x), kind_h).transform(theirs).tensor
        assert (layer(moved) - expected).abs().max() < EXACT


@pytest.mark.parametrize("name", ["C6", "C8", "D4", "D6", "T", "O", "S4"])
def test_every_subgroup_downsamples_equivariantly_and_reconstructs(name: str) -> None:
    group = finite_group(name)
    x = random_field(group)
    for below in subgroups(group):
        limit = bandlimit(group, below)
        layer = SubgroupDownsample(limit)
        y = layer(x)
        for h, element in enumerate(below.elements.tolist()):
            expected = act_on_fibre(y, below.group, h)
            assert (layer(act_on_fibre(x, group, element)) - expected).abs().max() < EXACT
        smooth = x.unflatten(1, (-1, len(group))) @ torch.as_tensor(limit.projector.copy()).T
        smooth = smooth.flatten(1)
        assert (layer.upsample(y) - smooth).abs().max() < EXACT
        assert (layer(smooth) - y).abs().max() < EXACT
        plain = SubgroupDownsample(limit, anti_aliasing=False)
        assert (plain.upsample(plain(smooth)) - smooth).abs().max() < EXACT
        # Control: what is not bandlimited does not come back.
        assert (plain.upsample(plain(x)) - x).abs().max() > 0.1 or limit.dimension == len(group)


def test_the_filter_transports_the_action_of_the_whole_group_and_a_plain_restriction_does_not() -> None:
    group = dihedral(6)
    limit = bandlimit(group, "D3")
    x = random_field(group)
    for element in range(len(group)):
        for anti_aliasing in (True, False):
            layer = SubgroupDownsample(limit, anti_aliasing)
            expected = layer(act_on_fibre(layer.upsample(layer(x)), group, element))
            error = float((layer(act_on_fibre(x, group, element)) - expected).abs().max())
            if anti_aliasing:
                assert error < EXACT
            elif limit.subgroup.position[element] < 0:
                assert error > 0.1


@pytest.mark.parametrize("space", [0, 1, 2, 3])
def test_any_number_of_spatial_axes_and_layouts(space: int) -> None:
    limit = bandlimit(cyclic(6), "C3")
    layer = SubgroupDownsample(limit)
    x = random_field(cyclic(6), space)
    matrix = torch.as_tensor(limit.restriction @ limit.projector)
    expected = torch.einsum("hg,bfg...->bfh...", matrix, x.unflatten(1, (2, 6))).flatten(1, 2)
    assert layer(x).shape == (2, 6, *[5] * space)
    assert (layer(x) - expected).abs().max() < EXACT
    strided = x.movedim(1, -1).contiguous().movedim(-1, 1)
    assert (layer(strided) - expected).abs().max() < EXACT


def test_constants_stay_exact_and_out_of_checkpoints() -> None:
    layer = SubgroupDownsample(bandlimit(cyclic(6), "C3"))
    exact = layer(random_field(cyclic(6)))
    assert not layer.state_dict()
    assert torch.equal(layer.half().float()(random_field(cyclic(6))), exact)
    for dtype in (torch.bfloat16, torch.float32):
        assert layer(random_field(cyclic(6), 2).to(dtype)).dtype == dtype
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(random_field(cyclic(6), 2).float())
    assert y.dtype == torch.bfloat16
    assert (y - layer(random_field(cyclic(6), 2))).abs().max() < 0.1


@pytest.mark.parametrize("space", [0, 2])
def test_downsampling_compiles_in_one_graph(space: int) -> None:
    layer = SubgroupDownsample(bandlimit(cyclic(6), "C3"))
    x = random_field(cyclic(6), space)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x), layer(x), rtol=0, atol=EXACT)


def test_gradient_is_the_transpose() -> None:
    layer = SubgroupDownsample(bandlimit(dihedral(4), "C4"))
    x = random_field(dihedral(4), 2).requires_grad_()
    assert torch.autograd.gradcheck(layer, x[:1, :8, :2, :2].detach().requires_grad_())
    (gradient,) = torch.autograd.grad(layer(x).sum(), x)
    assert gradient.shape == x.shape


def test_sampling_errors() -> None:
    layer = SubgroupDownsample(bandlimit(dihedral(4), "C4"))
    with pytest.raises(ValueError, match="regular field of D4"):
        layer(torch.rand(2, 12, 3, 3))
    with pytest.raises(ValueError, match="regular field of C4"):
        layer.upsample(torch.rand(2, 6))


def test_octahedral_volumes_to_a_cyclic_axis() -> None:
    """O to C4 in 3-D: C4's elements come out in cyclic order and turn the volume about its axis."""
    group = finite_group("O")
    limit = bandlimit(group, "C4")
    layer = SubgroupDownsample(limit)
    x = random_field(group, space=3, fields=1)
    for h, element in enumerate(limit.subgroup.elements.tolist()):
        expected = act_on_field(layer(x), limit.subgroup.group, h)
        assert (layer(act_on_field(x, group, element)) - expected).abs().max() < EXACT
    # Control: with two elements of C4 exchanged it is no regular field.
    wrong = subgroup_of(group, limit.subgroup.elements).elements[[0, 2, 1, 3]]
    swapped = x[:, wrong]
    moved = act_on_field(x, group, int(limit.subgroup.elements[1]))[:, wrong]
    assert (moved - act_on_field(swapped, limit.subgroup.group, 1)).abs().max() > 0.1
