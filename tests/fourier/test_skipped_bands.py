"""Layers that skip bands: exact at the bands that are computed, measurably not between, the naive way otherwise."""

from math import ceil

import naive_fourier
import pytest
import torch
from scale_equivariance import assert_same, on_images, scale_equivariance_errors
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.nn import functional as F

from sefl.fourier import (
    ScaleEquivariantMaxPool2d,
    ScaleEquivariantNonlinearity2d,
    band,
    downsample,
    to_coefficients,
)

CHANNELS = 2
BASE, FINEST = 5, 19


def layer(
    band_step: int, window: int = 1, base: int = BASE, finest: int = FINEST, activation=F.relu
) -> ScaleEquivariantMaxPool2d:
    made = ScaleEquivariantMaxPool2d(
        window, activation, base, finest, CHANNELS, band_step=band_step, grid_sharing=1
    ).double()
    torch.manual_seed(window)
    nn.init.normal_(made.weight)
    nn.init.normal_(made.bias)
    return made


def images(resolution: int) -> Tensor:
    generator = torch.Generator().manual_seed(resolution)
    return torch.randn(2, CHANNELS, resolution, resolution, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("window", [1, 2])
@pytest.mark.parametrize("band_step", [2, 3, 4])
def test_exact_at_computed_bands_alone(band_step: int, window: int) -> None:
    made = layer(band_step, window)
    base = band(ceil(BASE / window))
    errors = scale_equivariance_errors(
        on_images(made, window), images(FINEST), range(BASE, FINEST + 1), window
    )
    for r, error in errors.items():
        if (band(ceil(r / window)) - base) % band_step == 0 or band(r) == band(FINEST):
            assert error < 1e-24, r
        else:
            assert error > 1e-4, r


def skipping(x: Tensor, made: ScaleEquivariantMaxPool2d) -> Tensor:
    """One band at a time: the shells up to each computed band off its grid, on which lies what the input holds."""
    base, held = made.base_band, band(x.shape[-1])
    finest = band(ceil(x.shape[-1] / made.window))
    frequency = torch.arange(-finest, finest + 1).abs()
    shell = torch.maximum(frequency[:, None], frequency)
    out = torch.zeros(*x.shape[:2], *shell.shape, dtype=torch.complex128)
    for index, b in enumerate(range(base, finest + made.band_step, made.band_step)):
        seen = downsample(x, 2 * min(made.window * b, held) + 1)
        normalised = F.instance_norm(seen, weight=made.weight[index], bias=made.bias[index], eps=made.eps)
        spectrum = naive_fourier.spectrum_of(normalised, band(seen.shape[-1]))
        fine = naive_fourier.sample(spectrum, made.window * (2 * b + 1), -(made.window - 1) / 2)
        pooled = F.max_pool2d(made.activation(fine), made.window)
        whole = torch.zeros_like(out)
        kept = min(b, finest)
        naive_fourier.cut(whole, kept).copy_(naive_fourier.spectrum_of(pooled, kept))
        out = torch.where((shell <= b) & ((shell > b - made.band_step) | (index == 0)), whole, out)
    return naive_fourier.sample(out, ceil(x.shape[-1] / made.window))


@pytest.mark.parametrize("window", [1, 2])
@pytest.mark.parametrize("band_step", [1, 2, 3])
def test_it_is_the_naive_loop_over_the_computed_bands(band_step: int, window: int) -> None:
    for activation in (F.relu, F.gelu):
        made = layer(band_step, window, activation=activation)
        for r in range(BASE, FINEST + 1):
            assert_same(on_images(made, window)(images(r)), skipping(images(r), made))


@pytest.mark.parametrize(("resolution", "window"), [(9, 1), (8, 1), (7, 2)])
def test_gradients_where_bands_are_skipped(resolution: int, window: int) -> None:
    for activation in (F.relu, F.gelu):
        made = layer(2, window, base=3, finest=9, activation=activation)
        coefficients = to_coefficients(images(resolution)[:1]).requires_grad_()

        # gradcheck perturbs the tensors in place, so that the layer's own parameters may be passed beside the input.
        def outcome(coefficients: Tensor, *parameters: Tensor, made: nn.Module = made) -> Tensor:
            return made(coefficients)

        assert gradcheck(outcome, (coefficients, *made.parameters()))


def test_there_is_a_norm_for_each_computed_band() -> None:
    assert len(layer(1).weight) == 8
    assert len(layer(4).weight) == 3  # bands 2 and 6, and 10 for the shells above 6
    assert len(layer(7).weight) == 2


def test_a_step_must_be_positive() -> None:
    with pytest.raises(ValueError, match="band_step must be a positive integer, got 0"):
        ScaleEquivariantNonlinearity2d(band_step=0)
