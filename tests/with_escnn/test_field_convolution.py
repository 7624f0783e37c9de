"""FieldConv in the place of R2Conv and R3Conv: equivariant, the same functions, weights there and back."""

import copy
from typing import Any

import pytest
import torch
from escnn import gspaces
from escnn.nn import FieldType, GeometricTensor, R2Conv, R3Conv
from spaces import EVERYWHERE, EXACT, PLANE
from torch import nn

from sefl.escnn import FieldConv, RegularRestriction, bandlimited_field, field_type

SINGLE = 2e-6  # the bases of escnn's convolutions are in single precision


def types(name: str) -> dict[str, tuple[FieldType, FieldType]]:
    space, below = EVERYWHERE[name]
    scalars, regular = FieldType(space, 2 * [space.trivial_repr]), field_type(space, 2)
    band = field_type(space, 2, bandlimited_field(space, below))
    return {
        "lifting": (scalars, regular),
        "regular": (regular, regular),
        "to bands": (scalars, band),
        "of bands": (band, band),
    }


def with_random_bias(convolution: nn.Module) -> Any:
    """In double precision; escnn's are not made in it, and share bases unless these are made anew."""
    if convolution.bias is not None:
        nn.init.normal_(convolution.bias)
    return convolution.double()


def random_input(kind: FieldType, pixels: int) -> GeometricTensor:
    torch.manual_seed(pixels)
    space = kind.gspace.dimensionality
    return kind(torch.randn(2, kind.size, *[pixels] * space, dtype=torch.float64))


@pytest.mark.parametrize("name", EVERYWHERE)
def test_every_convolution_is_equivariant_and_exported(name: str) -> None:
    space, _ = EVERYWHERE[name]
    size = 5 if space.dimensionality == 2 else 3
    for kind, between in types(name).items():
        module = FieldConv(*between, size, padding=1, stride=2, dilation=1 if kind == "regular" else 2)
        with_random_bias(module.layer)
        errors = module.check_equivariance(atol=0, rtol=EXACT)
        assert len(errors) == space.fibergroup.order()
        for pixels in (9, 12):
            x = random_input(module.in_type, pixels)
            y = module(x)
            assert y.shape == module.evaluate_output_shape(x.shape)
            exported = module.export()
            assert type(exported) in (nn.Conv2d, nn.Conv3d)
            torch.testing.assert_close(exported(x.tensor), y.tensor, rtol=0, atol=EXACT)


@pytest.mark.parametrize("name", ["C8 to C4", "D4 to C4"])
def test_the_check_finds_an_ordinary_convolution(name: str) -> None:
    for between in types(name).values():
        module = FieldConv(*between, 3)
        ordinary = torch.randn_like(module.layer.kernel())
        module.layer.kernel = lambda kernel=ordinary: kernel
        with pytest.raises(AssertionError, match=r"the error for .* must be at most"):
            module.check_equivariance()


def assert_there_and_back(theirs: nn.Module, pixels: int) -> None:
    ours = FieldConv.from_escnn(theirs)
    x = random_input(theirs.in_type, pixels)
    expected = theirs(x).tensor
    scale = float(expected.detach().abs().max())
    torch.testing.assert_close(ours(x).tensor, expected, rtol=0, atol=SINGLE * scale)
    back = ours.to_escnn()
    assert type(back) is type(theirs)
    torch.testing.assert_close(back.weights, theirs.weights, rtol=0, atol=1e-10)
    torch.testing.assert_close(back(x).tensor, expected, rtol=0, atol=1e-10 * scale)
    assert torch.equal(ours.eval().to_escnn()(x).tensor, back(x).tensor)
    nn.init.normal_(ours.layer.weight)  # a control: the function is that of the weights
    assert (ours(x).tensor - expected).abs().max() > 0.1 * scale


@pytest.mark.parametrize(("name", "size"), [("C8 to C4", 5), ("C4 to C2", 7), ("D4 to C4", 3)])
@pytest.mark.parametrize("kind", ["lifting", "regular", "to bands", "of bands"])
def test_weights_of_a_convolution_of_the_plane_there_and_back(name: str, size: int, kind: str) -> None:
    between = types(name)[kind]
    assert_there_and_back(with_random_bias(R2Conv(*between, size, padding=1, stride=2, recompute=True)), 9)


def test_weights_of_a_convolution_of_space_there_and_back() -> None:
    between = types("C4 about z to C2")["lifting"]
    assert_there_and_back(with_random_bias(R3Conv(*between, 3, padding=1, recompute=True)), 4)


def test_without_bias_in_evaluation_and_single_precision() -> None:
    between = types("C4 to C2")["regular"]
    theirs = R2Conv(*between, 3, bias=False).eval()
    ours = FieldConv.from_escnn(theirs)
    assert (ours.layer.bias, ours.training, ours.layer.weight.dtype) == (None, False, torch.float32)
    x = theirs.in_type(torch.randn(1, 8, 6, 6))
    torch.testing.assert_close(ours(x).tensor, theirs(x).tensor, rtol=0, atol=1e-5)
    back = ours.to_escnn()
    assert not back.training
    torch.testing.assert_close(back(x).tensor, theirs(x).tensor, rtol=0, atol=1e-5)


def test_convolutions_of_escnn_with_which_it_shares_a_basis_stay_as_they_are() -> None:
    between = types("C8 to C4")["regular"]
    before = R2Conv(*between, 3)
    x = between[0](torch.randn(1, 16, 6, 6))
    expected = before(x).tensor
    FieldConv(*between, 3).double().to_escnn()
    assert torch.equal(before(x).tensor, expected)
    assert R2Conv(*between, 3)(x).tensor.dtype == torch.float32


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dilation": 2}, r"no weights make this kernel: \d+\.\d% of it are left over.*without dilation"),
        ({"sigma": [0.5, 0.5, 0.5]}, r"no weights make this kernel: \d+\.\d% of it"),
        ({"rings": [0.0, 1.0]}, r"no weights make this kernel"),
        (
            {"padding_mode": "circular"},
            r"must pad with zeros and have one group, got padding_mode='circular'",
        ),
        ({"groups": 2}, r"got padding_mode='zeros', groups=2"),
        ({"padding": (1, 1)}, r"padding must be an integer of at least 0, got \(1, 1\)"),
    ],
)
def test_convolutions_of_other_kernels_are_refused(settings: dict[str, Any], message: str) -> None:
    regular = types("C4 to C2")["regular"]
    with pytest.raises(ValueError, match=message):
        FieldConv.from_escnn(R2Conv(*regular, 5, **settings))


def test_a_dilated_one_of_ours_is_none_of_theirs() -> None:
    with pytest.raises(ValueError, match="no weights make this kernel"):
        FieldConv(*types("C4 to C2")["regular"], 5, dilation=2).to_escnn()


@pytest.mark.parametrize("name", PLANE)
@pytest.mark.parametrize("kind", ["lifting", "regular"])
def test_restricted_to_a_subgroup_it_is_the_same_function(name: str, kind: str) -> None:
    space, below = PLANE[name]
    module = FieldConv(*types(name)[kind], 3, padding=1)
    with_random_bias(module.layer)
    restricted = module.eval().restrict(below)
    assert not restricted.training
    assert restricted.out_type.gspace.fibergroup.order() < space.fibergroup.order()
    x = random_input(module.in_type, 7)
    expected = RegularRestriction(module.out_type, below)(module(x))
    entering = x if kind == "lifting" else RegularRestriction(module.in_type, below)(x)
    outcome = restricted(restricted.in_type(entering.tensor))
    assert outcome.type == expected.type
    torch.testing.assert_close(outcome.tensor, expected.tensor, rtol=0, atol=EXACT)
    restricted.check_equivariance(atol=0, rtol=EXACT)
    again = copy.deepcopy(module).restrict(below)
    assert torch.equal(again(again.in_type(entering.tensor)).tensor, outcome.tensor)
    nn.init.normal_(restricted.layer.weight)  # a control
    assert (restricted(restricted.in_type(entering.tensor)).tensor - expected.tensor).abs().max() > 0.1


def test_errors_name_the_argument() -> None:
    every = types("C8 to C4")
    (scalars, regular), (_, band) = every["lifting"], every["to bands"]
    other = field_type(gspaces.rot2dOnR2(4), 2)
    for arguments, message in (
        ((regular, other, 3), "out_type must be on the space of in_type, C8_on_R2.*got .*C4"),
        ((regular, band, 3), "out_type must be regular as in_type is"),
        ((band, regular, 3), "out_type must be regular as in_type is"),
        ((regular, scalars, 3), "out_type must be regular as in_type is"),
        ((regular, regular, 4), "kernel_size must be odd"),
    ):
        with pytest.raises(ValueError, match=message):
            FieldConv(*arguments)
    with pytest.raises(ValueError, match="out_type must have regular fields for restrict"):
        FieldConv(scalars, band, 3).restrict(4)
