"""``measure`` and the public assertions: the numbers of the definition, for any module, without a trace."""

import pytest
import torch
from torch import nn

from sefl.equivariance import CircularShift, Flip, IdealDownsampling, measure
from sefl.fourier import SpectralConv2d, downsample, to_coefficients, to_grid
from sefl.metrics import relative_squared_error
from sefl.testing import assert_group_equivariant, assert_scale_equivariant


def images(*size: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(3, 2, *size, dtype=dtype, generator=torch.Generator().manual_seed(0))


class OfPixels(nn.Module):
    """Through coefficients and back to as many pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = SpectralConv2d(2, 4, 5, 15)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return to_grid(self.conv(to_coefficients(x)), x.shape[-1])


def test_the_numbers_are_those_of_the_definition() -> None:
    network, x = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU()).double(), images(12, 12)
    table = measure(network, x, [IdealDownsampling([7, 9])], layers=["0", ""])
    assert [(row.layer, row.parameter, row.count) for row in table] == [
        *(("0", r, 3) for r in (7, 9)),
        *(("", r, 3) for r in (7, 9)),
    ]
    for row in table:
        layer = network[0] if row.layer == "0" else network
        r = int(row.parameter)
        errors = relative_squared_error(downsample(layer(x), r), layer(downsample(x, r)))
        assert row.mean == pytest.approx(errors.mean().item())
        assert row.max == pytest.approx(errors.max().item())
    first = [row for row in table if row.layer == "0"]
    assert table.error("0") == pytest.approx(
        (sum(row.mean for row in first) / 2, max(row.max for row in first))
    )
    assert list(table.to_dict()) == ["layer", "transformation", "parameter", "mean", "max", "count"]
    with pytest.raises(KeyError, match="'1' under None was not measured"):
        table.error("1")


def test_batches_add_up() -> None:
    network, x = nn.Conv2d(2, 3, 3).double(), images(9, 9)
    whole = measure(network, x, [Flip(), CircularShift()], [""])
    parts = measure(network, x.split(2), [Flip(), CircularShift()], [""])
    assert len(whole) == 4
    for one, other in zip(whole, parts, strict=True):
        assert (one.parameter, one.count) == (other.parameter, other.count)
        assert (one.mean, one.max) == pytest.approx((other.mean, other.max))


class Counted(nn.Module):
    """What a module makes of images, or of as many copies of a batch as ``times`` says; and how many it was given."""

    def __init__(self, module: nn.Module, times: int = 1) -> None:
        super().__init__()
        self.module, self.times = module, times
        self.passes: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes.append(len(x))
        return self.module(torch.cat([x] * self.times))


@pytest.mark.parametrize("times", [1, 2])
def test_images_of_one_size_share_a_pass(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    batches = [torch.randn(n, 2, r, r, generator=generator).double() for n, r in [(2, 9), (3, 9), (1, 7)]]
    transformations = [IdealDownsampling([5, 7]), Flip(), CircularShift([1, 2])]

    def measured() -> tuple[list[object], list[float], list[int]]:
        network = Counted(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.AdaptiveAvgPool2d(1)), times)
        torch.manual_seed(2)
        network.module[0].reset_parameters()
        table = measure(network.double(), batches, transformations, ["module.0", "module.1"])
        counts = [(row.layer, row.transformation, row.parameter, row.count) for row in table]
        return counts, [number for row in table for number in (row.mean, row.max)], network.passes

    together = measured()
    monkeypatch.setattr("sefl.equivariance.measuring.PIXELS_AT_ONCE", 1)
    apart = measured()
    assert sorted(apart[2]) == sorted([2, 3, 1] + [2, 3, 1] + [2, 3] + 3 * [2, 3, 1])
    assert together[0] == apart[0]
    assert together[1] == pytest.approx(apart[1])
    if times == 1:  # as they came, at 5 pixels, all that has 7, and of 9 flipped and twice shifted
        assert together[2] == [5, 1, 6, 5 + 3 * 1, 3 * 5]


def test_the_network_is_left_as_it_was() -> None:
    network = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(), nn.Conv2d(2, 2, 1)).double()
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    measure(network, images(10, 10), [Flip()])
    assert torch.equal(torch.rand(4), expected)
    assert [module.training for module in network] == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("wrong", [torch.zeros(3, 4), torch.zeros(2, 1, 8, 8, dtype=torch.int64), "x"])
def test_images_are_images(wrong: object) -> None:
    with pytest.raises(TypeError, match="images must be floating point"):
        measure(nn.Identity(), [wrong], [Flip()])  # type: ignore[list-item]


def test_nothing_measured_is_said() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        measure(nn.Identity(), images(8, 8), [IdealDownsampling([8])], [""])
    with pytest.raises(ValueError, match="of different names"):
        measure(nn.Identity(), images(8, 8), [])


class TestAssertions:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_exact_layers_pass(self, dtype: torch.dtype) -> None:
        assert_scale_equivariant(
            OfPixels().to(dtype), images(15, 15, dtype=dtype), range(5, 15), layers=["conv", ""]
        )

    def test_the_resolution_is_named(self) -> None:
        network = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.ReLU()).double()
        with pytest.raises(
            AssertionError, match=r"^1: not equivariant .*: downsample 9, error .*; downsample 11, "
        ):
            assert_scale_equivariant(network, images(12, 12), [9, 11], layers=["1"])

    def test_group_and_element(self) -> None:
        convolution = nn.Conv2d(2, 3, 3, padding=1).double()
        with pytest.raises(AssertionError, match=r"^Conv2d: not equivariant .*: act_D4 r, error "):
            assert_group_equivariant(convolution, images(8, 8), "D4")
        invariant = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        assert_group_equivariant(invariant, images(8, 8), "D4")
        assert_group_equivariant(convolution, images(8, 8), "D4", tolerance=1e9)

    def test_what_cannot_be_measured_fails(self) -> None:
        network = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Flatten(2)).double()
        with pytest.raises(AssertionError, match=r"^1: not measured: "):
            assert_group_equivariant(network, images(8, 8), "D4", layers=["0", "1"])

    def test_types_without_a_tolerance(self) -> None:
        with pytest.raises(ValueError, match="or tolerance given"):
            assert_scale_equivariant(nn.Identity(), torch.zeros(1, 1, 9, 9).to(torch.float8_e4m3fn))
