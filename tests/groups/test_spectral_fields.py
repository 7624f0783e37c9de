"""Fields of a group on coefficients: every layer under every element and every resolution at once."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.nn import functional as F

from sefl.equivariance import Composition, GroupAction, IdealDownsampling, measure
from sefl.fourier import (
    CoefficientModule,
    ScaleEquivariantMaxPool2d,
    ScaleEquivariantNonlinearity2d,
    SpectralBatchNorm,
    to_coefficients,
    to_grid,
)
from sefl.groups import (
    BandlimitedDownsample,
    BandlimitedField,
    GroupConv,
    LiftingConv,
    OnElements,
    OnFibres,
    RegularField,
    SpectralGroupConv,
    SteerableConv,
    SubgroupDownsample,
    bandlimit,
    finite_group,
    subgroup,
)

BASE, FINEST = 8, 12


def images(batch: int = 1, channels: int = 1, resolution: int = FINEST) -> Tensor:
    generator = torch.Generator().manual_seed(resolution)
    return torch.randn(batch, channels, resolution, resolution, dtype=torch.float64, generator=generator)


class Coefficients(CoefficientModule):
    """Of images, sampled about their middle or, for controls, from the first pixel on."""

    def __init__(self, center: Any) -> None:
        super().__init__()
        self.center = center

    def forward(self, x: Tensor) -> Tensor:
        return to_coefficients(x, self.center)


class PlainReLU(CoefficientModule):
    """On the grid of the finest band alone."""

    def forward(self, c: Tensor) -> Tensor:
        return to_coefficients(F.relu(to_grid(c, len(c), "image")), "image")


def nonlinearity(fields: int, window: int = 1, norm: bool = False) -> nn.Module:
    return ScaleEquivariantMaxPool2d(window, F.gelu, BASE, FINEST, fields if norm else None)


def network(*layers: nn.Module, center: Any = "image") -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(Coefficients(center), *layers).double()
    made.sampling_center, made.base_resolution = "image", BASE
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    for module in made.modules():
        if isinstance(module, SpectralBatchNorm):
            module.running_var.uniform_(0.5, 2)
    return made.eval()


def regular_layers(name: str, relu: nn.Module | None = None) -> list[nn.Module]:
    group = finite_group(name)
    field = RegularField(group)
    lifting = SpectralGroupConv(LiftingConv(group, 1, 2, 5), FINEST)
    first = OnElements(nn.Sequential(SpectralBatchNorm(2), relu or nonlinearity(2)), field)
    second = SpectralGroupConv(GroupConv(group, 2, 3, 3), FINEST)
    last = OnElements(nonlinearity(3, 2), field)
    return [lifting, first, second, last]


def bandlimited_layers(name: str, below: str) -> list[nn.Module]:
    group = finite_group(name)
    whole = BandlimitedField(bandlimit(group, name))
    part = whole.leading(subgroup(group, below))
    return [
        SpectralGroupConv(SteerableConv((whole.scalars, 1), (whole, 2), 5), FINEST),
        OnElements(nonlinearity(2, norm=True), whole),
        OnFibres(BandlimitedDownsample(whole, subgroup(group, below)), part),
        SpectralGroupConv(SteerableConv((part, 2), (part, 3), 3, bias=False), FINEST),
        OnElements(nn.Sequential(SpectralBatchNorm(3), nonlinearity(3, 2)), part),
    ]


def errors(group: str, model: nn.Sequential) -> dict[str, tuple[float, float]]:
    """Under the elements, downsampling and both: of each layer the mean and the largest error."""
    turn, shrink = GroupAction(group), IdealDownsampling()
    layers = [str(place) for place in range(1, len(model))]
    table = measure(model, images(), [turn, shrink, Composition(turn, shrink)], layers)
    elements, resolutions = len(finite_group(group)) - 1, FINEST - BASE
    assert len(table) == len(layers) * (elements + resolutions + elements * resolutions)
    assert not table.unmeasured
    return {layer: table.error(layer) for layer in layers}


@pytest.mark.parametrize("group", ["D4", "C4", "C2", "D1", "D2"])
def test_layers_on_regular_fields(group: str) -> None:
    for layer, (_, largest) in errors(group, network(*regular_layers(group))).items():
        assert largest < 1e-24, layer


@pytest.mark.parametrize(("group", "below"), [("D4", "C4"), ("D4", "D2"), ("D4", "C2"), ("C4", "C2")])
def test_layers_on_bandlimited_fields(group: str, below: str) -> None:
    """Behind the slice, too, all of the group is kept."""
    for layer, (_, largest) in errors(group, network(*bandlimited_layers(group, below))).items():
        assert largest < 1e-24, layer


@pytest.mark.parametrize("below", ["C4", "D2", "C2"])
def test_directly_behind_the_filter_all_of_the_group_acts(below: str) -> None:
    """And one non-linearity later the subgroup alone, which is why whole fields are kept."""
    limit = bandlimit(finite_group("D4"), below)
    field = RegularField(finite_group("D4")).sampled(limit)
    sampling = OnFibres(SubgroupDownsample(limit), field)
    later = SpectralGroupConv(GroupConv(field.fibre, 3, 2, 3), 6, field)
    last = OnElements(ScaleEquivariantNonlinearity2d(F.gelu, 4, 6), field)
    model = network(*regular_layers("D4"), sampling, later, last)
    found = errors("D4", model)
    assert max(found[layer][1] for layer in "12345") < 1e-24
    assert found["7"][1] > 1e-3
    inside = [limit.subgroup.parent.labels[element] for element in limit.subgroup.elements[1:]]
    turn = GroupAction("D4", inside)
    table = measure(model, images(), [turn, Composition(turn, IdealDownsampling())], ["7"])
    assert table.error()[1] < 1e-24


def test_without_the_filter_not_even_there() -> None:
    limit = bandlimit(finite_group("D4"), "D2")
    naive = OnFibres(
        SubgroupDownsample(limit, anti_aliasing=False), RegularField(finite_group("D4")).sampled(limit)
    )
    assert errors("D4", network(*regular_layers("D4"), naive))["5"][1] > 1e-2


def test_a_plain_relu_fails() -> None:
    found = errors("D4", network(*regular_layers("D4", PlainReLU())))
    assert found["1"][1] < 1e-24
    assert min(found[layer][0] for layer in "234") > 1e-3


def test_grids_from_the_first_pixel_fail() -> None:
    for layer, (mean, _) in errors("D4", network(*regular_layers("D4"), center="pixel")).items():
        assert mean > 1e-2, layer


def test_elements_that_interpolate_are_measured_beside_their_floor() -> None:
    model = network(*regular_layers("C8"))
    turn = GroupAction("C8")
    table = measure(model, images(), [turn], ["1", "3"])
    quarter = [row for row in table if row.parameter in ("r^2", "r^4", "r^6")]
    assert max(row.max for row in quarter) < 1e-24
    assert any(row.parameter == "r" and row.max > 1e-4 for row in table)
    assert len({row.transformation for row in table}) == 2


@pytest.mark.parametrize("size", [1, 3])
def test_at_the_finest_resolution_it_is_the_convolution(size: int) -> None:
    convolution = GroupConv(finite_group("D4"), 1, 2, size, padding=0).double()
    nn.init.normal_(convolution.bias)
    x = images(channels=8, resolution=13)
    margins = (size // 2,) * 4
    expected = convolution(F.pad(x, margins, mode="circular"))
    found = SpectralGroupConv(convolution, 13)(to_coefficients(x, "image"))
    torch.testing.assert_close(to_grid(found, 13, "image"), expected)


def test_statistics_are_over_a_field() -> None:
    """Those of the values of its elements at all pixels."""
    norm = OnElements(SpectralBatchNorm(2), RegularField(finite_group("C4"))).double().train()
    x = images(3, 8, 9)
    found = to_grid(norm(to_coefficients(x, "image")), 9, "image")
    by_field = x.unflatten(1, (2, 4)).transpose(0, 1).flatten(1)
    variance, mean = torch.var_mean(by_field, dim=1, correction=0)
    expected = (x.unflatten(1, (2, 4)) - mean[:, None, None, None]) / (variance + 1e-5).sqrt()[
        :, None, None, None
    ]
    torch.testing.assert_close(found, expected.flatten(1, 2))


@pytest.mark.parametrize("kind", ["regular", "bandlimited"])
def test_gradients(kind: str) -> None:
    layers = regular_layers("D1") if kind == "regular" else bandlimited_layers("C2", "C1")
    model = network(*layers)
    x = images(1, resolution=9).requires_grad_()
    parameters = tuple(model.parameters())

    def function(images: Tensor, *_: Tensor) -> Tensor:
        return model(images)

    assert gradcheck(function, (x, *parameters), fast_mode=True)


def test_what_does_not_fit() -> None:
    group = finite_group("D4")
    for convolution, message in (
        (
            GroupConv(finite_group("O"), 1, 1, 3),
            "of the plane, with stride 1 and dilation 1, got 3 dimensions",
        ),
        (LiftingConv(group, 1, 1, 3, stride=2), "got 2 dimensions, stride 2, dilation 1"),
        (LiftingConv(group, 1, 1, 9), r"have at most max_resolution .7. pixels per axis, got 9"),
    ):
        with pytest.raises(ValueError, match=f"convolution must .*{message}"):
            SpectralGroupConv(convolution, 7)
    c = to_coefficients(images(channels=5), "image")
    with pytest.raises(ValueError, match="coefficients must have in_channels=8, got 5"):
        SpectralGroupConv(GroupConv(group, 1, 1, 3), FINEST)(c)
    for layer in (
        OnElements(nn.Identity(), RegularField(group)),
        OnFibres(SubgroupDownsample(bandlimit(group, "C4")), RegularField(group)),
    ):
        with pytest.raises(ValueError, match=r"fields \* 8, \*space.*got.*5"):
            layer(c)
        with pytest.raises(ValueError, match=r"coefficients must be .*; of images .* use to_coefficients"):
            layer(images(channels=8))
