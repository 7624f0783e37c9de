"""Ideal down- and upsampling and the nested coefficients, against FFTs and at every resolution."""

import math

import naive_fourier
import pytest
import torch
from scale_equivariance import TOLERANCE, assert_same, relative_squared_error
from torch.autograd import gradcheck
from torch.nn import functional as F

from sefl.fourier import band, downsample, sampling, to_coefficients, to_grid, upsample


@pytest.fixture(autouse=True, params=[sampling.FFT_FROM, 1], ids=["by matrices", "by FFT"])
def transforms(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "FFT_FROM", request.param)


SIZES = [(13, 13), (12, 12), (12, 13), (9, 14), (1, 7), (2, 2)]


def images(*size: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(2, 3, *size, dtype=dtype, generator=torch.Generator().manual_seed(sum(size)))


def test_an_even_resolution_shares_the_band_of_the_odd_one_below() -> None:
    assert [band(r) for r in range(1, 9)] == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("resolution", [0, -3, 2.0, True, None])
def test_band_refuses_what_is_no_resolution(resolution: object) -> None:
    with pytest.raises(ValueError, match=rf"resolution must be a positive integer, got {resolution}"):
        band(resolution)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("size", SIZES)
def test_downsampling_twice_is_downsampling_once(size: tuple[int, int], dtype: torch.dtype) -> None:
    height, width = size
    x = images(height, width, dtype=dtype)
    for s in range(1, min(size) + 1):
        between = downsample(x, s)
        for r in range(1, s + 1):
            assert_same(downsample(between, r), downsample(x, r))


@pytest.mark.parametrize("size", [9, 12, 13])
def test_sampling_about_the_middle_commutes_with_the_symmetries_of_the_square(size: int) -> None:
    """And sampling from the first pixel, the control, does not; both are nested."""
    x = images(size, size)
    symmetries = [
        lambda x, k=k, f=f: (x.flip(3) if f else x).rot90(k, (2, 3)) for k in range(4) for f in (0, 1)
    ]
    for s in range(1, size + 1):
        small = downsample(x, s, "image")
        for symmetry in symmetries:
            assert_same(downsample(symmetry(x), s, "image"), symmetry(small))
        for r in range(1, s + 1):
            assert_same(downsample(small, r, "image"), downsample(x, r, "image"))
            assert_same(
                downsample(upsample(small, size + 3, "image"), r, "image"), downsample(small, r, "image")
            )
    moved = relative_squared_error(downsample(x.flip(3), 7), downsample(x, 7).flip(3))
    assert moved > 0.1


def test_samples_about_the_middle_lie_at_the_centres_of_pixels() -> None:
    fine, coarse = ((torch.arange(r, dtype=torch.float64) + 0.5) / r for r in (16, 5))
    wave = lambda t: 1 + torch.cos(2 * math.pi * t) - 3 * torch.sin(4 * math.pi * t)  # noqa: E731
    assert_same(downsample(wave(fine)[None, None], 5, "image"), wave(coarse)[None, None])
    with pytest.raises(ValueError, match="center must be one of 'image', 'pixel', got 'corner'"):
        downsample(wave(fine)[None, None], 5, "corner")  # type: ignore[arg-type]


def test_downsampling_twice_on_rectangles() -> None:
    x = images(11, 8)
    for between in [(10, 8), (11, 7), (9, 6), (8, 5)]:
        for target in [(8, 5), (7, 4), (3, 5), (1, 2)]:
            assert_same(downsample(downsample(x, between), target), downsample(x, target))


def test_keeping_nyquist_as_a_naive_fft_does_would_not_compose() -> None:
    """The control: ``rfft2`` cut without a thought for the Nyquist terms of even sizes."""

    def careless(x: torch.Tensor, r: int) -> torch.Tensor:
        spectrum = torch.fft.fftshift(torch.fft.fft2(x, norm="forward"), dim=(-2, -1))
        first = x.shape[-1] // 2 - r // 2
        kept = spectrum[..., first : first + r, first : first + r]
        return torch.fft.ifft2(torch.fft.ifftshift(kept, dim=(-2, -1)), norm="forward").real

    x = images(13, 13)
    assert_same(careless(careless(x, 11), 7), careless(x, 7))
    assert relative_squared_error(careless(careless(x, 10), 9), downsample(x, 9)) < TOLERANCE[torch.float64]
    assert relative_squared_error(careless(x, 8), downsample(x, 8)) > 1e-3
    assert relative_squared_error(F.interpolate(x, (9, 9), mode="bicubic"), downsample(x, 9)) > 1e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("size", SIZES)
def test_agreement_with_the_fft(size: tuple[int, int], dtype: torch.dtype) -> None:
    x = images(*size, dtype=dtype)
    for height in range(1, size[0] + 1):
        for width in range(1, size[1] + 1):
            assert_same(downsample(x, (height, width)), naive_fourier.resample(x, height, width))
    for height in range(size[0], size[0] + 4):
        for width in range(size[1], size[1] + 4):
            assert_same(upsample(x, (height, width)), naive_fourier.resample(x, height, width))


@pytest.mark.parametrize("resolution", range(1, 12))
def test_upsampling_then_downsampling(resolution: int) -> None:
    x = images(resolution, resolution)
    for finer in range(resolution, resolution + 7):
        upsampled = upsample(x, finer)
        for r in range(1, resolution + 1):
            assert_same(downsample(upsampled, r), downsample(x, r))
        if resolution % 2:
            assert_same(downsample(upsampled, resolution), x)


@pytest.mark.parametrize("resolution", range(1, 14))
def test_coefficients_are_nested_orthonormal_and_invertible(resolution: int) -> None:
    x = images(13, 13)
    coefficients = to_coefficients(x)
    count = 2 * band(resolution) + 1
    coarse = to_coefficients(downsample(x, resolution))
    assert coarse.shape == (count, count, 2, 3)
    assert coarse.is_contiguous()
    assert_same(coarse, coefficients[:count, :count])
    assert_same(to_grid(coefficients, resolution), downsample(x, resolution))
    assert_same(to_grid(coarse, resolution), downsample(x, resolution))
    assert_same(to_grid(coarse, 13), upsample(downsample(x, resolution), 13))
    assert_same(
        coarse.square().sum((0, 1)), downsample(downsample(x, resolution), count).square().mean((2, 3))
    )


def test_coefficients_of_rectangles() -> None:
    x = images(9, 6)
    coefficients = to_coefficients(x)
    assert coefficients.shape == (9, 5, 2, 3)
    assert_same(to_grid(coefficients, (9, 6)), downsample(x, (9, 6)))
    assert_same(to_grid(coefficients, (4, 10)), upsample(downsample(x, (4, 6)), (4, 10)))


def test_coefficients_are_those_of_the_stated_basis() -> None:
    t = 2 * math.pi * torch.arange(8, dtype=torch.float64) / 8
    functions = [torch.ones_like(t)]
    for k in (1, 2, 3):
        functions += [math.sqrt(2) * torch.cos(k * t), math.sqrt(2) * torch.sin(k * t)]
    for first in range(7):
        for second in range(7):
            found = to_coefficients((functions[first][:, None] * functions[second])[None, None])
            expected = torch.zeros(7, 7, 1, 1, dtype=torch.float64)
            expected[first, second] = 1
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


def test_leading_axes_are_any() -> None:
    x = images(7, 6)
    assert_same(downsample(x[0, 0], (5, 4)), downsample(x, (5, 4))[0, 0])
    assert_same(upsample(x.unflatten(0, (1, 2)), (9, 9)), upsample(x, 9)[None])


def test_gradients() -> None:
    x = images(5, 4)[:1, :2].requires_grad_()
    assert gradcheck(lambda x: downsample(x, (3, 4)), (x,))
    assert gradcheck(lambda x: downsample(x, (4, 2)), (x,))
    assert gradcheck(lambda x: upsample(x, (6, 7)), (x,))
    assert gradcheck(to_coefficients, (x,))
    coefficients = to_coefficients(x.detach()).requires_grad_()
    assert gradcheck(lambda c: to_grid(c, (4, 7)), (coefficients,))


@pytest.mark.parametrize("resample", [downsample, upsample])
def test_resampling_refuses_with_the_argument_and_the_value(resample) -> None:
    with pytest.raises(TypeError, match=r"x must be a real floating-point tensor, got torch\.int64"):
        resample(torch.ones(1, 1, 4, 4, dtype=torch.int64), 4)
    with pytest.raises(TypeError, match=r"got torch\.complex64"):
        resample(torch.ones(1, 1, 4, 4, dtype=torch.complex64), 4)
    with pytest.raises(ValueError, match=r"x must have two spatial axes .* got shape \(4,\)"):
        resample(torch.ones(4), 4)
    for wrong in (0, -1, (4, 0), (4.0, 4)):
        with pytest.raises(ValueError, match="resolution must be a positive integer, got"):
            resample(torch.ones(1, 1, 4, 4), wrong)


def test_the_wrong_direction_is_refused() -> None:
    x = torch.ones(1, 1, 6, 7)
    with pytest.raises(ValueError, match="resolution must be at most that of x, 6 x 7, got 7 x 7"):
        downsample(x, 7)
    with pytest.raises(ValueError, match="resolution must be at most that of x, 6 x 7, got 6 x 8"):
        downsample(x, (6, 8))
    with pytest.raises(ValueError, match="resolution must be at least that of x, 6 x 7, got 6 x 6"):
        upsample(x, 6)
    with pytest.raises(ValueError, match="resolution must be at least that of x, 6 x 7, got 5 x 9"):
        upsample(x, (5, 9))


def test_coefficients_refuse_wrong_shapes_and_types() -> None:
    with pytest.raises(ValueError, match=r"x must be images .* got shape \(4, 4\)"):
        to_coefficients(torch.ones(4, 4))
    with pytest.raises(TypeError, match=r"floating-point tensor, got torch\.uint8"):
        to_coefficients(torch.ones(1, 1, 4, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"coefficients must be .* got shape \(3, 3\)"):
        to_grid(torch.ones(3, 3), 3)
    with pytest.raises(ValueError, match=r"odd count 2 \* band \+ 1, got 4"):
        to_grid(torch.ones(3, 4, 1, 1), 3)
    with pytest.raises(ValueError, match="resolution must be a positive integer, got 0"):
        to_grid(torch.ones(3, 3, 1, 1), 0)
    with pytest.raises(TypeError, match=r"floating-point tensor, got torch\.int64"):
        to_grid(torch.ones(3, 3, 1, 1, dtype=torch.int64), 3)
