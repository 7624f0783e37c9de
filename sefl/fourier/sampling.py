"""Between grids and nested real Fourier coefficients; ideal down- and upsampling (NeurIPS 2023, section 3).

Of signals along one axis and of images: the shape of the tensor tells them apart.
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sefl.arguments import require_floating, require_one_of, require_positive
from sefl.fourier.basis import (
    analysis,
    analysis_matrix,
    band,
    band_of_count,
    coefficient_count,
    synthesis,
    synthesis_matrix,
)
from sefl.tensors.constants import constant
from sefl.tensors.graphs import outside_of_graphs
from sefl.tensors.output_types import Coefficients

Resolution = int | tuple[int, ...]
Center = Literal["image", "pixel"]
"""What grids of all resolutions share, and flips and turns leave where it is: the middle or the first pixel."""
FFT_FROM = 320
"""Points along an axis from which on a fast Fourier transform takes less time than a matrix, primes included."""


class CoefficientModule(nn.Module):
    """A layer from coefficients ``(K, K, batch, channels)`` to coefficients, ``K = 2 band + 1``.

    Or, on signals along one axis, from ``(K, batch, channels)``: the number of axes tells the two apart.

    The class tells tools that look at a network from outside (``callbacks.EquivarianceMonitor``) that the output
    is not a pixel grid: the low-pass of such an output is the slice ``output[:k, :k]``, along one
    axis ``output[:k]``, and :func:`to_grid` shows it.
    """

    output_type = Coefficients()


def coefficient_band(coefficients: Tensor, axes: int) -> int:
    """The band of square coefficients ``(K, K, batch, channels)``, or with one axis ``(K, batch, channels)``.

    Raises:
        TypeError: if they are not a floating-point tensor.
        ValueError: if they are of another shape.
    """
    require_floating("coefficients", coefficients)
    shape = tuple(coefficients.shape)
    if coefficients.dim() != axes + 2 or any(count != shape[0] for count in shape[:axes]):
        expected = "(K, batch, channels)" if axes == 1 else "square, (K, K, batch, channels)"
        raise ValueError(f"coefficients must be {expected}, got shape {shape}{unlike_pixels(coefficients)}")
    try:
        return band_of_count(shape[0])
    except ValueError as error:
        raise ValueError(f"{error}{unlike_pixels(coefficients)}") from None


def unlike_pixels(coefficients: Tensor) -> str:
    """What to do instead, for the message about coefficients that look like pixels, else nothing."""
    shape = coefficients.shape
    if len(shape) == 4 and shape[2] == shape[3]:
        return "; of images (batch, channels, r, r) use to_coefficients"
    if len(shape) == 3:
        return "; of signals (batch, channels, length) use to_coefficients"
    return ""


def band_in_layer(coefficients: Tensor, axes: int, max_resolution: int, channels: int, argument: str) -> int:
    """The band of coefficients that a layer for at most this resolution and this many channels accepts.

    Args:
        coefficients: ``(K, K, batch, channels)``, or with one axis ``(K, batch, channels)``.
        axes: how many axes they must have.
        max_resolution: resolution of the finest band that is accepted.
        channels: how many channels they must have.
        argument: the layer's name for this number.

    Raises:
        ValueError: if they are of another shape, finer, or have other channels.
    """
    finest = coefficient_band(coefficients, axes)
    if finest > band(max_resolution):
        raise ValueError(
            f"coefficients of band {finest} (resolutions {2 * finest + 1} and {2 * finest + 2}) are finer than "
            f"max_resolution {max_resolution}{unlike_pixels(coefficients)}"
        )
    require_channels(coefficients, channels, argument)
    return finest


def require_channels(coefficients: Tensor, channels: int, argument: str = "channels") -> None:
    """Refuse coefficients ``(..., batch, channels)`` of another number of channels than a layer's ``argument``.

    Raises:
        ValueError: if they have.
    """
    if coefficients.shape[-1] != channels:
        raise ValueError(
            f"coefficients must have {argument}={channels}, got {coefficients.shape[-1]}{unlike_pixels(coefficients)}"
        )


def resolution_range(base_resolution: int, max_resolution: int) -> tuple[int, int]:
    """Both as positive integers.

    Raises:
        ValueError: if they are not, or the base lies above the maximum.
    """
    finest = require_positive("max_resolution", max_resolution)
    if not 1 <= base_resolution <= max_resolution:
        raise ValueError(
            f"base_resolution must lie in 1..max_resolution ({max_resolution}), got {base_resolution}"
        )
    return require_positive("base_resolution", base_resolution), finest


def in_autocast(x: Tensor) -> Tensor:
    """``x`` in the type in which autocast takes products, where that is on; never less than a float64 input."""
    device = x.device.type
    if torch.is_autocast_enabled(device) and x.dtype != torch.float64:
        return x.to(torch.get_autocast_dtype(device))
    return x


@outside_of_graphs
def downsample(x: Tensor, resolution: Resolution, center: Center = "pixel") -> Tensor:
    """Ideal downsampling: keep the frequencies that ``resolution`` holds, sample them on its grid.

    ``D_r x`` keeps ``|k| <= (r - 1) // 2`` on each axis, dropping the Nyquist term of even sizes, so that
    ``D_r D_s = D_r`` for every ``r <= s``, odd or even (a departure from the published code, which keeps
    Nyquist terms and is exact at odd sizes only). Linear and differentiable.

    Args:
        x: real signals ``(batch, channels, length)`` or images ``(batch, channels, height, width)``.
        resolution: pixels per axis of the result, at most those of ``x``. One number per axis, ``(length,)`` or
            ``(height, width)``, says how many axes there are whatever lies before them.
        center: pixels lie at ``j / r`` of the period, so that the first one is of all grids (``"pixel"``, the papers'
            convention), or at ``(j + 1 / 2) / r`` (``"image"``): then ``D_r`` commutes with :func:`torch.flip`, quarter
            turns and transpositions at every ``r``, odd or even.

    Returns:
        ``(batch, channels, resolution)`` or ``(batch, channels, resolution, resolution)`` in the dtype of ``x``.

    Raises:
        TypeError: if ``x`` is not a floating-point tensor.
        ValueError: if ``x`` is of another shape, ``resolution`` exceeds that of ``x``, or ``center`` is neither.
    """
    source, target = _sizes(x, resolution)
    if any(ours > theirs for ours, theirs in zip(target, source, strict=True)):
        raise ValueError(
            f"resolution must be at most that of x, {_shown(source)}, got {_shown(target)}; "
            "upsample goes the other way"
        )
    return _resample(x, source, target, center)


@outside_of_graphs
def upsample(x: Tensor, resolution: Resolution, center: Center = "pixel") -> Tensor:
    """Ideal upsampling: zero-pad the spectrum of ``x`` and sample it on a finer grid.

    ``downsample(upsample(x, s), r) == downsample(x, r)`` for ``r`` up to the resolution of ``x``. The Nyquist
    term of an even-sized ``x`` is dropped, as in :func:`downsample`, where shapes and errors are described.

    Args:
        x: real signals or images.
        resolution: pixels per axis of the result, at least those of ``x``.
        center: as in :func:`downsample`.
    """
    source, target = _sizes(x, resolution)
    if any(ours < theirs for ours, theirs in zip(target, source, strict=True)):
        raise ValueError(
            f"resolution must be at least that of x, {_shown(source)}, got {_shown(target)}; "
            "downsample goes the other way"
        )
    return _resample(x, source, target, center)


@outside_of_graphs
def to_coefficients(x: Tensor, center: Center = "pixel") -> Tensor:
    """Nested real Fourier coefficients: ``C = A x`` of signals, ``C = A x A^T`` of images, coefficients first.

    Args:
        x: real signals ``(batch, channels, length)`` or images ``(batch, channels, height, width)`` of any size, odd
            or even.
        center: where the pixels lie, as in :func:`downsample`. About the ``"image"``'s middle a flip changes the signs
            of the sines along its axis, and a quarter turn exchanges the axes besides, at every resolution.

    Returns:
        ``(2 band(length) + 1, batch, channels)`` or ``(2 band(height) + 1, 2 band(width) + 1, batch, channels)``. The
        coefficients of ``downsample(x, r)`` are the leading ``2 band(r) + 1`` of these along each axis.

    Raises:
        TypeError: if ``x`` is not a floating-point tensor.
        ValueError: if ``x`` is of another shape, or ``center`` is neither.
    """
    if x.dim() not in (3, 4):
        raise ValueError(
            "x must be images (batch, channels, height, width) or signals (batch, channels, length), "
            f"got shape {tuple(x.shape)}"
        )
    require_floating("x", x)
    shift = sample_shift(center)
    for axis in range(2 - x.dim(), 0):
        x = _analysed(x, axis, shift)
    return x.movedim((0, 1), (-2, -1)).contiguous()


@outside_of_graphs
def to_grid(coefficients: Tensor, resolution: Resolution, center: Center = "pixel") -> Tensor:
    """Sample nested coefficients on a grid: ``x = S C`` of signals, ``x = S C S^T`` of images.

    A grid coarser than the coefficients shows their ideal downsampling, a finer one interpolates.

    Args:
        coefficients: ``(2 b + 1, batch, channels)`` or ``(2 b1 + 1, 2 b2 + 1, batch, channels)``.
        resolution: pixels per axis, or ``(height, width)``.
        center: where the pixels lie, as in :func:`to_coefficients`.

    Returns:
        Signals ``(batch, channels, length)`` or images ``(batch, channels, height, width)``.

    Raises:
        TypeError: if ``coefficients`` is not a floating-point tensor.
        ValueError: if ``coefficients`` is of another shape or has an even count of coefficients on an axis, or
            ``resolution`` is no positive integer, or ``center`` is neither.
    """
    if coefficients.dim() not in (3, 4):
        raise ValueError(
            "coefficients must be (2 b1 + 1, 2 b2 + 1, batch, channels) or (2 b + 1, batch, channels), "
            f"got shape {tuple(coefficients.shape)}"
        )
    require_floating("coefficients", coefficients)
    counts = coefficients.shape[:-2]
    sizes = _per_axis(resolution, len(counts))
    bands = [min(band_of_count(count), band(size)) for count, size in zip(counts, sizes, strict=True)]
    kept = coefficients[tuple(slice(coefficient_count(finest)) for finest in bands)]
    shift = sample_shift(center)
    x = kept.movedim((-2, -1), (0, 1))
    for axis, size in zip(range(-len(sizes), 0), sizes, strict=True):
        x = _synthesised(x, axis, size, shift)
    return x


def sample_shift(center: Center) -> float:
    """How far from the beginning of the period the first sample lies, in samples.

    Raises:
        ValueError: if ``center`` is neither.
    """
    require_one_of("center", center, get_args(Center))
    return 0.5 if center == "image" else 0.0


def _sizes(x: Tensor, resolution: Resolution) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of ``x`` and of the result, along the axes that are resampled."""
    require_floating("x", x)
    axes = len(resolution) if isinstance(resolution, Sequence) else x.dim() - 2
    if axes not in (1, 2) or x.dim() < axes:
        raise ValueError(
            "x must have two spatial axes (batch, channels, height, width) or one (batch, channels, length), or "
            f"resolution one number for each, got shape {tuple(x.shape)} and {resolution}"
        )
    return tuple(x.shape[-axes:]), _per_axis(resolution, axes)


def _per_axis(resolution: Resolution, axes: int) -> tuple[int, ...]:
    sizes = tuple(resolution) if isinstance(resolution, Sequence) else (resolution,) * axes
    if len(sizes) != axes:
        raise ValueError(f"resolution must have one number per axis, {axes}, got {resolution}")
    return tuple(require_positive("resolution", size) for size in sizes)


def _shown(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes))


def _resample(x: Tensor, source: tuple[int, ...], target: tuple[int, ...], center: Center) -> Tensor:
    shift = sample_shift(center)
    for axis, ours, theirs in zip(range(-len(source), 0), source, target, strict=True):
        if _by_fft(x, max(ours, theirs)):
            x = _of_spectrum(_spectrum(x, axis, band(min(ours, theirs)), shift), axis, theirs, shift)
        else:
            matrix = constant(_resampling, ours, theirs, shift, dtype=x.dtype, device=x.device)
            x = _along(x, axis, matrix)
    return x


def _analysed(x: Tensor, axis: int, shift: float) -> Tensor:
    """Nested coefficients of signals along the last axis, -1, or the one before."""
    size = x.shape[axis]
    if not _by_fft(x, size):
        return _along(x, axis, analysis_matrix(band(size), size, x.dtype, x.device, shift))
    constants, waves = _spectrum(x, axis, band(size), shift).split([1, band(size)], axis)
    # a cos + b sin, times sqrt(2), is of frequencies k and -k both: (a - i b) / sqrt(2)
    pairs = torch.stack([waves.real, -waves.imag], axis).flatten(axis - 1, axis) * math.sqrt(2)
    return torch.cat([constants.real, pairs], axis)


def _synthesised(coefficients: Tensor, axis: int, size: int, shift: float) -> Tensor:
    """The inverse of :func:`_analysed`, on so many points."""
    finest = band_of_count(coefficients.shape[axis])
    if not _by_fft(coefficients, size):
        matrix = synthesis_matrix(finest, size, coefficients.dtype, coefficients.device, shift)
        return _along(coefficients, axis, matrix)
    constants, pairs = coefficients.split([1, 2 * finest], axis)
    cosines, sines = (pairs / math.sqrt(2)).unflatten(axis, (finest, 2)).unbind(axis)
    spectrum = torch.cat(
        [torch.complex(constants, torch.zeros_like(constants)), torch.complex(cosines, -sines)], axis
    )
    return _of_spectrum(spectrum, axis, size, shift)


def _spectrum(x: Tensor, axis: int, finest: int, shift: float) -> Tensor:
    """Frequencies 0 to ``finest`` of samples that lie ``shift`` behind the first pixel's corner."""
    size = x.shape[axis]
    spectrum = torch.fft.rfft(x, dim=axis, norm="forward").narrow(axis, 0, finest + 1)
    return _turned(spectrum, axis, -shift / size)


def _of_spectrum(spectrum: Tensor, axis: int, size: int, shift: float) -> Tensor:
    samples: Tensor = torch.fft.irfft(_turned(spectrum, axis, shift / size), size, dim=axis, norm="forward")
    return samples


def _turned(spectrum: Tensor, axis: int, turns: float) -> Tensor:
    """Each frequency ``k`` by ``k`` times as much of a turn."""
    if not turns:
        return spectrum
    count = spectrum.shape[axis]
    phase = constant(_phases, count, turns, dtype=spectrum.dtype, device=spectrum.device)
    return spectrum * phase.view(-1, *[1] * (-1 - axis))


def _phases(count: int, turns: float) -> NDArray[np.complex128]:
    phases: NDArray[np.complex128] = np.exp(2j * math.pi * turns * np.arange(count))
    return phases


def _by_fft(x: Tensor, size: int) -> bool:
    """Whether the axis is long enough; exported graphs have matrices, which every runtime knows."""
    precise = x.dtype in (torch.float32, torch.float64)
    return size >= FFT_FROM and precise and not (torch.compiler.is_compiling() or torch.jit.is_tracing())


def _along(x: Tensor, axis: int, matrix: Tensor) -> Tensor:
    """The matrix along the last axis, -1, or the one before."""
    return x @ matrix.T if axis == -1 else matrix @ x


def along_last_axes(x: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """``M x`` or ``M1 x M2^T``: each of one matrix or two along one of the last axes of ``x``."""
    *rows, columns = matrices
    for matrix in rows:
        x = matrix @ x
    return x @ columns.T


def _resampling(source: int, target: int, shift: float) -> NDArray[np.float64]:
    shared = band(min(source, target))
    return synthesis(shared, target, shift) @ analysis(shared, source, shift)
