"""Ideal resampling and coefficients of signals along one axis: as the FFT, as a row of an image, at every length."""

import pytest
import torch
from scale_equivariance import assert_same, relative_squared_error
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F

from sefl.fourier import (
    band,
    downsample,
    sampling,
    to_coefficients,
    to_grid,
    upsample,
)


@pytest.fixture(autouse=True, params=[sampling.FFT_FROM, 1], ids=["by matrices", "by FFT"])
def transforms(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "FFT_FROM", request.param)


def signals(length: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(2, 3, length, dtype=dtype, generator=torch.Generator().manual_seed(length))


def resampled(x: Tensor, length: int) -> Tensor:
    """By ``rfft``; Nyquist terms are dropped."""
    spectrum = torch.fft.rfft(x, norm="forward")
    kept = spectrum.new_zeros(*x.shape[:-1], length // 2 + 1)
    shared = (min(x.shape[-1], length) - 1) // 2 + 1
    kept[..., :shared] = spectrum[..., :shared]
    return torch.fft.irfft(kept, length, norm="forward")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("length", [1, 2, 12, 13])
def test_agreement_with_the_fft(length: int, dtype: torch.dtype) -> None:
    x = signals(length, dtype)
    for r in range(1, length + 1):
        assert_same(downsample(x, r), resampled(x, r))
    for r in range(length, length + 5):
        assert_same(upsample(x, r), resampled(x, r))


@pytest.mark.parametrize("length", [12, 13])
def test_downsampling_twice_is_downsampling_once(length: int) -> None:
    x = signals(length)
    for s in range(1, length + 1):
        for r in range(1, s + 1):
            assert_same(downsample(downsample(x, s), r), downsample(x, r))
            assert_same(downsample(upsample(downsample(x, r), s), r), downsample(x, r))


def test_linear_interpolation_would_not_compose() -> None:
    """The control."""

    def careless(x: Tensor, length: int) -> Tensor:
        return F.interpolate(x, length, mode="linear")

    x = signals(13)
    assert relative_squared_error(careless(careless(x, 10), 7), careless(x, 7)) > 1e-3
    assert relative_squared_error(careless(x, 7), downsample(x, 7)) > 1e-3


@pytest.mark.parametrize("length", range(1, 14))
def test_coefficients_are_nested_orthonormal_and_invertible(length: int) -> None:
    x = signals(13)
    coefficients = to_coefficients(x)
    count = 2 * band(length) + 1
    coarse = to_coefficients(downsample(x, length))
    assert coarse.shape == (count, 2, 3)
    assert coarse.is_contiguous()
    assert_same(coarse, coefficients[:count])
    assert_same(to_grid(coefficients, length), downsample(x, length))
    assert_same(to_grid(coarse, 13), upsample(downsample(x, length), 13))
    assert_same(coarse.square().sum(0), downsample(x, count).square().mean(2))


def test_a_signal_is_an_image_of_one_row() -> None:
    x = signals(9)
    row = x.unsqueeze(2)
    assert_same(to_coefficients(x), to_coefficients(row)[0])
    for r in range(1, 10):
        assert_same(downsample(x, r), downsample(row, (1, r)).squeeze(2))


def test_leading_axes_are_any() -> None:
    x = signals(7)
    assert_same(downsample(x[0, 0], (4,)), downsample(x, 4)[0, 0])
    assert_same(upsample(x.unflatten(0, (1, 2)), (9,)), upsample(x, 9)[None])


def test_gradients() -> None:
    x = signals(6).requires_grad_()
    assert gradcheck(lambda x: downsample(x, 4), (x,))
    assert gradcheck(lambda x: upsample(x, 7), (x,))
    assert gradcheck(to_coefficients, (x,))
    coefficients = to_coefficients(x.detach()).requires_grad_()
    assert gradcheck(lambda c: to_grid(c, 4), (coefficients,))


@pytest.mark.parametrize("resample", [downsample, upsample])
def test_resampling_refuses_with_the_argument_and_the_value(resample) -> None:
    with pytest.raises(TypeError, match=r"x must be a real floating-point tensor, got torch\.int64"):
        resample(torch.ones(1, 1, 4, dtype=torch.int64), 4)
    with pytest.raises(ValueError, match=r"x must have two spatial axes .* or one .* got shape \(\)"):
        resample(torch.ones(()), 4)
    for wrong in (0, -1, 4.0):
        with pytest.raises(ValueError, match=f"resolution must be a positive integer, got {wrong}"):
            resample(torch.ones(1, 1, 4), wrong)


def test_the_wrong_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="resolution must be at most that of x, 6, got 7; upsample"):
        downsample(torch.ones(1, 1, 6), 7)
    with pytest.raises(ValueError, match="resolution must be at least that of x, 6, got 5; downsample"):
        upsample(torch.ones(1, 1, 6), 5)


def test_coefficients_refuse_wrong_shapes_and_types() -> None:
    with pytest.raises(
        ValueError, match=r"x must be .* signals \(batch, channels, length\), got shape \(4, 4\)"
    ):
        to_coefficients(torch.ones(4, 4))
    with pytest.raises(TypeError, match=r"floating-point tensor, got torch\.uint8"):
        to_coefficients(torch.ones(1, 1, 4, dtype=torch.uint8))
    with pytest.raises(
        ValueError, match=r"coefficients must be .* \(2 b \+ 1, batch, channels\), got shape \(3, 3\)"
    ):
        to_grid(torch.ones(3, 3), 3)
    with pytest.raises(ValueError, match=r"odd count 2 \* band \+ 1, got 4"):
        to_grid(torch.ones(4, 1, 1), 3)
    with pytest.raises(ValueError, match="resolution must be a positive integer, got 0"):
        to_grid(torch.ones(3, 1, 1), 0)
    with pytest.raises(TypeError, match=r"floating-point tensor, got torch\.int64"):
        to_grid(torch.ones(3, 1, 1, dtype=torch.int64), 3)


def test_a_long_signal_needs_no_matrix() -> None:
    """A second of sound at 16 kHz, of which a matrix would take two GiB."""
    x = signals(16_000)
    coefficients = to_coefficients(x)
    assert_same(downsample(x, 8_000), resampled(x, 8_000))
    assert_same(to_grid(coefficients, 16_001), resampled(x, 16_001))
