"""The layers on signals: exact at every length, as the FFT, and what the layers on images make of one repeated row."""

from functools import partial
from math import ceil, pi

import pytest
import torch
from scale_equivariance import (
    ACTIVATIONS,
    assert_same,
    assert_scale_equivariant,
    max_pool,
    on_signals,
    scale_equivariance_errors,
)
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.nn import functional as F

from sefl.fourier import (
    BandPooling1d,
    BandPooling2d,
    ScaleEquivariantMaxPool1d,
    ScaleEquivariantMaxPool2d,
    ScaleEquivariantNonlinearity1d,
    SpectralConv1d,
    SpectralConv2d,
    band,
    downsample,
    to_coefficients,
    upsample,
)

CHANNELS = 3
pooling = partial(max_pool, ScaleEquivariantMaxPool1d)


def signals(length: int, dtype: torch.dtype = torch.float64, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(length)
    return torch.randn(batch, CHANNELS, length, dtype=dtype, generator=generator)


def convolution(size: int, finest: int, dtype: torch.dtype = torch.float64, **settings) -> SpectralConv1d:
    torch.manual_seed(size + finest)
    return SpectralConv1d(CHANNELS, 4, size, finest, **settings).to(dtype)


# Convolution


def spatially(layer: SpectralConv1d, x: Tensor) -> Tensor:
    """The same with ``F.conv1d`` and circular padding, the residual path as a convolution of its own."""
    margin = layer.kernel_size // 2
    padded = F.pad(x, (margin, margin), mode="circular") if margin else x
    result = F.conv1d(padded, layer.weight.permute(2, 1, 0).flip(-1), layer.bias)
    return result if layer.residual is None else result + F.conv1d(x, layer.residual.T[:, :, None])


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("finest", [8, 9])
def test_it_is_the_circular_convolution_at_full_length(
    finest: int, size: int, bias: bool, residual: bool
) -> None:
    layer, x = convolution(size, finest, bias=bias, residual=residual), signals(finest)
    for r in range(1, finest + 1):
        assert_same(on_signals(layer)(downsample(x, r)), downsample(spatially(layer, x), r))


def test_gradients_are_those_of_the_spatial_convolution() -> None:
    layer, x = convolution(5, 8, residual=True), signals(8).requires_grad_()
    inputs = [x, *layer.parameters()]
    towards = signals(8)[:, :1]
    found = torch.autograd.grad((on_signals(layer)(x) * towards).sum(), inputs)
    expected = torch.autograd.grad((downsample(spatially(layer, x), 8) * towards).sum(), inputs)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("finest", [15, 16])
def test_convolution_is_equivariant_at_every_length(finest: int, size: int, dtype: torch.dtype) -> None:
    layer = convolution(size, finest, dtype, residual=True)
    assert_scale_equivariant(on_signals(layer), signals(finest, dtype), range(1, finest + 1))


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_gradients_of_the_convolution(size: int, bias: bool, residual: bool) -> None:
    layer = SpectralConv1d(CHANNELS, 2, size, 8, bias=bias, residual=residual).double()
    for length in (1, 8):
        coefficients = to_coefficients(signals(length)).requires_grad_()
        # gradcheck perturbs the tensors in place, so that the layer's own parameters may be passed beside the input.
        assert gradcheck(lambda c, *_: layer(c), (coefficients, *layer.parameters()))


# Non-linearity and pooling


def spectrum_of(x: Tensor, finest: int, shift: float = 0.0) -> Tensor:
    """Complex coefficients of the frequencies ``0..finest``, of samples at ``(j + shift) / n``."""
    return torch.fft.rfft(x, norm="forward")[..., : finest + 1] * phase(finest, -shift / x.shape[-1])


def sample(spectrum: Tensor, points: int, shift: float = 0.0) -> Tensor:
    moved = spectrum * phase(spectrum.shape[-1] - 1, shift / points)
    return torch.fft.irfft(moved, points, norm="forward")


def phase(finest: int, offset: float) -> Tensor:
    angle = 2 * pi * offset * torch.arange(finest + 1, dtype=torch.float64)
    return torch.polar(torch.ones_like(angle), angle)


def naively(layer: ScaleEquivariantMaxPool1d, x: Tensor) -> Tensor:
    """One band at a time, by FFTs."""
    window, length = layer.window, ceil(x.shape[-1] / layer.window)
    base, spectrum = band(ceil(layer.base_resolution / window)), spectrum_of(x, band(x.shape[-1]))
    shells = []
    for index, b in enumerate(range(base, band(length) + 1)):
        seen = spectrum[..., : window * b + 1]
        if layer.weight is not None:
            grid = F.instance_norm(
                sample(seen, 2 * window * b + 1) if b else spectrum[..., :1].real.expand(2, CHANNELS, 2),
                weight=layer.weight[index],
                bias=layer.bias[index],
                eps=layer.eps,
            )
            seen = spectrum_of(grid, window * b)
        points = ceil(layer.oversampling * (2 * b + 1))
        pooled = F.max_pool1d(layer.activation(sample(seen, window * points, (1 - window) / 2)), window)
        shells.append(spectrum_of(pooled, b)[..., b if index else 0 :])
    return sample(torch.cat(shells, dim=-1), length)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("oversampling", [1, 1.5])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("window", [1, 2, 3])
def test_equivariance_at_every_length(window: int, activation: str, oversampling: float, norm: bool) -> None:
    for finest in (14, 15):
        layer = pooling(window, activation, 5, finest, norm, oversampling=oversampling)
        assert_scale_equivariant(on_signals(layer, window), signals(finest), range(5, finest + 1), window)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("window", [1, 2, 3])
def test_equivariance_in_single_precision(window: int, norm: bool) -> None:
    layer = pooling(window, "relu", 5, 33, norm, torch.float32)
    assert_scale_equivariant(on_signals(layer, window), signals(33, torch.float32), range(5, 34), window)


@pytest.mark.parametrize("window", [1, 2, 3, 4])
@pytest.mark.parametrize("base", [1, 2, 3, 4, 6, 7])
def test_equivariance_from_any_base_on(window: int, base: int) -> None:
    layer = pooling(window, "gelu", base, 13, norm=True)
    assert_scale_equivariant(on_signals(layer, window), signals(13), range(base, 14), window)


def test_plain_activations_pooling_and_convolutions_are_not_equivariant() -> None:
    """The controls."""
    x = signals(15)
    torch.manual_seed(0)
    same = nn.Conv1d(3, 4, 3, padding=1, padding_mode="circular", dtype=torch.float64)
    for function in (F.relu, F.gelu, same):
        assert min(scale_equivariance_errors(function, x, range(5, 14)).values()) > 1e-3
    for window in (2, 3):
        errors = scale_equivariance_errors(
            lambda x, window=window: F.max_pool1d(x, window, ceil_mode=True), x, range(5, 14), window
        )
        assert min(errors.values()) > 1e-3
        errors = scale_equivariance_errors(lambda x, window=window: x[..., ::window], x, range(5, 14), window)
        assert min(errors.values()) > 1e-3


def test_skipped_bands_are_exact_at_the_computed_ones_alone() -> None:
    layer = pooling(1, "relu", 5, 19, norm=True, band_step=3)
    for r, error in scale_equivariance_errors(on_signals(layer), signals(19), range(5, 20)).items():
        if (band(r) - band(5)) % 3 == 0 or band(r) == band(19):
            assert error < 1e-24, r
        else:
            assert error > 1e-5, r


@pytest.mark.parametrize(
    ("window", "activation", "oversampling", "norm"),
    [
        (1, "relu", 1, False),
        (1, "gelu", 1.5, True),
        (2, "relu", 1, True),
        (2, "gelu", 1, False),
        (3, "PReLU", 1.5, True),
    ],
)
def test_it_is_the_naive_loop_over_bands(
    window: int, activation: str, oversampling: float, norm: bool
) -> None:
    layer = pooling(window, activation, 5, 13, norm, oversampling=oversampling, eps=1e-3)
    for r in range(5, 14):
        assert_same(on_signals(layer, window)(signals(r)), naively(layer, signals(r)))
    for r in (12, 13):
        x, towards = signals(r).requires_grad_(), signals(ceil(r / window))
        inputs = [x, *layer.parameters()]
        found = torch.autograd.grad((on_signals(layer, window)(x) * towards).sum(), inputs)
        expected = torch.autograd.grad((naively(layer, x) * towards).sum(), inputs)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)


@pytest.mark.parametrize("length", [6, 7])
@pytest.mark.parametrize(
    ("window", "activation", "oversampling", "norm"),
    [
        (1, "relu", 1, False),
        (1, "relu", 2, True),
        (1, "PReLU", 1.5, True),
        (2, "relu", 1, True),
        (3, "gelu", 1.5, True),
    ],
)
def test_gradients_of_the_nonlinearity(
    window: int, activation: str, oversampling: float, norm: bool, length: int
) -> None:
    layer = pooling(window, activation, 3, 7, norm, oversampling=oversampling, eps=0.1)
    coefficients = to_coefficients(signals(length)).requires_grad_()
    assert gradcheck(lambda c, *_: layer(c), (coefficients, *layer.parameters()))


@pytest.mark.parametrize("window", [1, 2, 3])
def test_reversal_about_the_first_sample_commutes(window: int) -> None:
    def reverse(x: Tensor) -> Tensor:
        return x.flip(-1).roll(1, -1)

    layer = on_signals(pooling(window, "relu", 4, 13, norm=True), window)
    assert_same(layer(reverse(signals(13))), reverse(layer(signals(13))))


# Pooling of bands


@pytest.mark.parametrize("pool", ["max", "mean"])
@pytest.mark.parametrize(("cells", "grid"), [(1, None), (2, None), (3, 21)])
@pytest.mark.parametrize("base", [1, 5, 6])
def test_bands_are_pooled_as_one_at_a_time(base: int, cells: int, grid: int | None, pool: str) -> None:
    pool_bands, x = BandPooling1d(base, 14, cells, grid, pool), signals(14).requires_grad_()
    found = pool_bands(to_coefficients(x))
    pool_cells = {"max": F.max_pool1d, "mean": F.avg_pool1d}[pool]
    expected = torch.stack(
        [
            pool_cells(upsample(downsample(x, 2 * b + 1), pool_bands.grid), pool_bands.grid // cells).flatten(
                1
            )
            for b in range(band(base), 7)
        ],
        dim=1,
    )
    assert found.shape == (2, 7 - band(base), CHANNELS * cells)
    assert_same(found, expected)
    towards = torch.randn_like(found)
    gradients = (torch.autograd.grad((y * towards).sum(), x) for y in (found, expected))
    for one, other in zip(*gradients, strict=True):
        assert_same(one, other)
    for r in range(base, 15):
        coarse = pool_bands(to_coefficients(downsample(x, r)))
        assert_same(coarse, found[:, : coarse.shape[1]])


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_gradients_of_pooled_bands(pool: str) -> None:
    assert gradcheck(BandPooling1d(3, 7, 2, pool=pool), (to_coefficients(signals(6)).requires_grad_(),))


# Against the layers on images


def repeated(x: Tensor) -> Tensor:
    """Images whose rows are all the signal."""
    return x.unsqueeze(2).expand(-1, -1, x.shape[-1], -1)


def assert_one_row(image_coefficients: Tensor, signal_coefficients: Tensor) -> None:
    """Coefficients of images that are constant down the columns, and those of their rows."""
    assert_same(image_coefficients[0], signal_coefficients)
    assert image_coefficients[1:].square().sum() < 1e-24 * signal_coefficients.square().sum()


@pytest.mark.parametrize("size", [1, 3])
def test_a_kernel_summed_along_an_axis_acts_on_repeated_rows(size: int) -> None:
    torch.manual_seed(0)
    on_rows = SpectralConv2d(CHANNELS, 4, size, 9, residual=True).double()
    layer = convolution(size, 9, residual=True)
    summed = {**on_rows.state_dict(), "weight": on_rows.weight.sum(0)}
    layer.load_state_dict(summed)
    for r in (8, 9):
        x = signals(r)
        assert_one_row(on_rows(to_coefficients(repeated(x))), layer(to_coefficients(x)))


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("window", [1, 2, 3])
def test_the_nonlinearity_does_to_repeated_rows_what_it_does_to_one(window: int, norm: bool) -> None:
    layer = pooling(window, "gelu", 4, 13, norm, oversampling=1.5)
    on_rows = ScaleEquivariantMaxPool2d(
        window, F.gelu, 4, 13, CHANNELS if norm else None, oversampling=1.5, grid_sharing=1
    ).double()
    on_rows.load_state_dict(layer.state_dict())
    for r in (4, 12, 13):
        x = signals(r)
        assert_one_row(on_rows(to_coefficients(repeated(x))), layer(to_coefficients(x)))


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_bands_of_repeated_rows_have_the_features_of_one(pool: str) -> None:
    x = signals(9)
    found = BandPooling1d(4, 9, 2, pool=pool)(to_coefficients(x)).unflatten(2, (CHANNELS, 1, 2))
    on_rows = BandPooling2d(4, 9, 2, pool=pool)(to_coefficients(repeated(x))).unflatten(2, (CHANNELS, 2, 2))
    assert_same(on_rows, found.expand_as(on_rows))


# What is refused


@pytest.mark.parametrize(
    ("layer", "arguments", "message"),
    [
        (SpectralConv1d, (0, 4, 3, 8), "in_channels must be a positive integer, got 0"),
        (SpectralConv1d, (3, 4, 9, 8), r"kernel_size must be odd and at most max_resolution \(8\), got 9"),
        (ScaleEquivariantMaxPool1d, (0,), "window must be a positive integer, got 0"),
        (ScaleEquivariantNonlinearity1d, (F.relu, 29), r"must lie in 1..max_resolution \(28\), got 29"),
        (ScaleEquivariantNonlinearity1d, (nn.ReLU(inplace=True),), "must not work in place"),
        (BandPooling1d, (8, 28, 0), "cells must be a positive integer, got 0"),
    ],
)
def test_arguments_out_of_range(layer: type[nn.Module], arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer(*arguments)


REFUSING = {
    "convolution": lambda: SpectralConv1d(3, 4, 3, 15),
    "nonlinearity": lambda: ScaleEquivariantNonlinearity1d(F.relu, 7, 15, channels=3),
    "pooling of bands": lambda: BandPooling1d(7, 15),
}


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        (list(REFUSING), (7, 7, 1, 3), r"must be \(K, batch, channels\), got shape \(7, 7, 1, 3\)"),
        (list(REFUSING), (7, 3), r"must be \(K, batch, channels\), got shape \(7, 3\)"),
        (list(REFUSING), (8, 1, 3), r"odd count 2 \* band \+ 1, got 8"),
        (list(REFUSING), (17, 1, 3), r"band 8 \(resolutions 17 and 18\) are .* max_resolution 15"),
        (["nonlinearity"], (5, 1, 3), r"band 2 .* outside the layer's range, base_resolution 7"),
        (["pooling of bands"], (5, 1, 3), r"band 2 .* outside the head's range, base_resolution 7"),
        (["convolution"], (9, 1, 4), "coefficients must have in_channels=3, got 4"),
        (["nonlinearity"], (9, 1, 4), "coefficients must have channels=3, got 4"),
    ],
)
def test_inputs_that_do_not_fit(layers: list[str], shape: tuple[int, ...], message: str) -> None:
    for name in layers:
        with pytest.raises(ValueError, match=message):
            REFUSING[name]()(torch.zeros(shape))
