"""Transformations of signals along one axis, and the EquivarianceMonitor on networks of them."""

import pytest
import torch
from networks_for_monitoring import Classifier, trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from callbacks import EquivarianceMonitor
from sefl.equivariance import CircularShift, Flip, GroupAction, IdealDownsampling, Rotation90
from sefl.equivariance.layer_outputs import read_output
from sefl.equivariance.transformations import NotMeasurable
from sefl.fourier import CoefficientModule, downsample, to_coefficients, to_grid
from sefl.tensors.output_types import Bands

ROUNDING = 1e-27  # squared relative rounding of float64, 5e-32, times the terms of a sum
FINEST, COARSEST = 17, 8
PERIODIC = [Flip(center="pixel"), CircularShift([1, 3])]
EVERY = [IdealDownsampling(list(range(COARSEST, FINEST))), *PERIODIC]
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


def signals(length: int) -> Tensor:
    generator = torch.Generator().manual_seed(length)
    return torch.randn(2, 3, length, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("transformation", PERIODIC, ids=lambda t: t.name)
@pytest.mark.parametrize("length", [8, 9, 12])
def test_coefficients_transform_as_the_signal_they_belong_to(transformation, length: int) -> None:
    x = downsample(signals(length), length)  # without the Nyquist term, which coefficients do not hold
    for parameter in transformation.parameters((length,)):
        of_signal = to_coefficients(transformation.image(x, parameter))
        moved = transformation.coefficients(to_coefficients(x), parameter, (length,), (len(of_signal),))
        torch.testing.assert_close(moved, of_signal, rtol=0, atol=1e-13)


@pytest.mark.parametrize("length", [8, 9, 12])
def test_downsampling_cuts_coefficients_and_resamples_grids(length: int) -> None:
    x, transformation = signals(length), IdealDownsampling([5])
    assert torch.equal(transformation.image(x, 5), downsample(x, 5))
    assert torch.equal(transformation.grid(x, 5, (2 * length,), (3,)), downsample(x, 3))
    cut = transformation.coefficients(to_coefficients(x), 5, (length,), (5,))
    torch.testing.assert_close(to_grid(cut, 5), downsample(x, 5), rtol=0, atol=1e-13)
    with pytest.raises(NotMeasurable, match=f"grows from {length} to {length + 1}"):
        transformation.grid(x, 5, (length,), (length + 1,))


def test_shifts_go_to_later_times_by_the_same_fraction_of_any_length() -> None:
    shift, x, features = CircularShift([3]), signals(12), signals(8)
    assert torch.equal(shift.image(x, 3), x.roll(3, -1))
    assert torch.equal(shift.grid(features, 3, (12,), (8,)), features.roll(2, -1))
    third = features
    for _ in range(3):  # two thirds of a sample each
        third = shift.grid(third, 1, (12,), (8,))
    torch.testing.assert_close(third, downsample(features, 8).roll(2, -1), rtol=0, atol=1e-13)


def test_a_flip_reverses_the_time() -> None:
    x = signals(6)
    assert torch.equal(Flip().image(x, "horizontal"), x.flip(-1))
    about_start = Flip(center="pixel").image(x, "horizontal")
    assert torch.equal(about_start[..., 0], x[..., 0])
    assert torch.equal(about_start[..., 1:], x[..., 1:].flip(-1))


class ToCoefficients(CoefficientModule):
    def forward(self, x: Tensor) -> Tensor:
        return to_coefficients(x)


class PerFrequency(CoefficientModule):
    """Multiplies each frequency by its own number, the same for cosine and sine."""

    def __init__(self) -> None:
        super().__init__()
        gain = torch.randn(FINEST, generator=torch.Generator().manual_seed(1))
        self.weight = nn.Parameter(gain[(torch.arange(FINEST) + 1) // 2, None, None])

    def forward(self, coefficients: Tensor) -> Tensor:
        return self.weight[: len(coefficients)] * coefficients


class ToGrid(nn.Module):
    def forward(self, coefficients: Tensor) -> Tensor:
        return to_grid(coefficients, len(coefficients))


class EnergyPerBand(nn.Module):
    """``(batch, bands, channels)``, coarse to fine."""

    output_type = Bands()

    def forward(self, coefficients: Tensor) -> Tensor:
        return coefficients.square().cumsum(0)[COARSEST - 2 :: 2].movedim(1, 0)


def exact(*last: nn.Module) -> Classifier:
    return Classifier(nn.Sequential(ToCoefficients(), PerFrequency(), *last))


def control() -> Classifier:
    """An ordinary network of signals."""
    torch.manual_seed(2)
    return Classifier(
        nn.Sequential(nn.Conv1d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv1d(4, 2, 3, 2), nn.ReLU())
    )


def measure(model: Classifier, folder, lengths=(FINEST, 12), **settings) -> EquivarianceMonitor:
    batches = [(signals(length), torch.zeros(2, dtype=torch.int64)) for length in lengths]
    monitor = EquivarianceMonitor(**{"transformations": EVERY, "figures": False, **settings})
    model.forward = lambda x: model.network(x).flatten(1)[:, :2]
    trainer(folder, monitor).validate(model.double(), DataLoader(batches, batch_size=None), verbose=False)
    return monitor


class TestMonitor:
    @pytest.mark.parametrize("last", [ToGrid, EnergyPerBand])
    def test_coefficients_grids_and_bands_are_exact_where_the_network_is(self, tmp_path, last) -> None:
        monitor = measure(exact(last()), tmp_path)
        assert not monitor.unmeasured
        assert {row.layer for row in monitor.results} == {"network.0", "network.1", "network.2"}
        assert {row.transformation for row in monitor.results} == {t.name for t in EVERY}
        lengths = {row.parameter: row.count for row in monitor.results if row.transformation == "downsample"}
        assert lengths == {r: 4 if r < 12 else 2 for r in range(COARSEST, FINEST)}
        assert max(row.max for row in monitor.results) < ROUNDING

    def test_the_control_is_not(self, tmp_path) -> None:
        rows = measure(control(), tmp_path).results
        assert {row.transformation for row in rows} == {t.name for t in EVERY}
        assert min(row.mean for row in rows) > 1e-3

    def test_invariant_features(self, tmp_path) -> None:
        model = Classifier(nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten()))
        monitor = measure(model, tmp_path, layers=["network.1"])
        assert max(row.max for row in monitor.results) < ROUNDING

    @pytest.mark.parametrize("of_images", [Rotation90(), Flip("vertical"), GroupAction("C4")])
    def test_what_signals_do_not_have_is_named(self, tmp_path, of_images) -> None:
        with pytest.warns(
            UserWarning, match=f"{of_images.name} transforms images of 2 spatial axes, these have 1"
        ):
            monitor = measure(exact(ToGrid()), tmp_path, transformations=[of_images, IdealDownsampling([9])])
        assert {row.transformation for row in monitor.results} == {"downsample"}


@pytest.mark.parametrize(
    ("module", "output", "message"),
    [
        (
            ToCoefficients(),
            torch.zeros(4, 2, 3),
            r"nested coefficients are \(K, batch, channels\) with K odd",
        ),
        (ToCoefficients(), torch.zeros(5, 5, 2, 3), r"nested coefficients are \(K, batch, channels\)"),
        (nn.Identity(), torch.zeros(2, 3, 4, 4), r"neither a grid \(batch, channels, length\)"),
    ],
)
def test_outputs_that_are_no_signals_are_named(module: nn.Module, output: Tensor, message: str) -> None:
    with pytest.raises(NotMeasurable, match=message):
        read_output(module, output, spatial_axes=1)
