"""Between grids and nested real Fourier coefficients; ideal down- and upsampling (NeurIPS 2023, section 3).

Functions without a number are for images, those that end in ``1d`` for signals along one axis.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sefl.arguments import require_floating, require_positive
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

Resolution = int | tuple[int, int]


class CoefficientModule(nn.Module):
    """A layer from coefficients ``(K, K, batch, channels)`` to coefficients, ``K = 2 band + 1``.

    Or, on signals along one axis, from ``(K, batch, channels)``: the number of axes tells the two apart.

    The class tells tools that look at a network from outside (``callbacks.EquivarianceMonitor``) that the output
    is not a pixel grid: the low-pass of such an output is the slice ``output[:k, :k]``, and
    :func:`to_grid` shows it; along one axis ``output[:k]`` and :func:`to_grid1d`.
    """


def coefficient_band(coefficients: Tensor, axes: int) -> int:
    """The band of square coefficients ``(K, K, batch, channels)``, or with one axis ``(K, batch, channels)``.

    Raises:
        TypeError: if they are not a floating-point tensor.
        ValueError: if they are of another shape.
    """
    require_floating("coefficients", coefficients)
    shape = tuple(coefficients.shape)
    if coefficients.dim() != axes + 2 or len(set(shape[:axes])) != 1:
        expected = "(K, batch, channels)" if axes == 1 else "square, (K, K, batch, channels)"
        raise ValueError(f"coefficients must be {expected}, got shape {shape}{unlike_pixels(coefficients)}")
    return band_of_count(shape[0], unlike_pixels(coefficients))


def unlike_pixels(coefficients: Tensor) -> str:
    """What to do instead, for the message about coefficients that look like pixels, else nothing."""
    shape = coefficients.shape
    if len(shape) == 4 and shape[2] == shape[3]:
        return "; of images (batch, channels, r, r) use to_coefficients"
    if len(shape) == 3:
        return "; of signals (batch, channels, length) use to_coefficients1d"
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


def downsample(x: Tensor, resolution: Resolution) -> Tensor:
    """Ideal downsampling: keep the frequencies that ``resolution`` holds, sample them on its grid.

    ``D_r x`` keeps ``|k| <= (r - 1) // 2`` on each axis, dropping the Nyquist term of even sizes, so that
    ``D_r D_s = D_r`` for every ``r <= s``, odd or even (a departure from the published code, which keeps
    Nyquist terms and is exact at odd sizes only). Linear and differentiable.

    Args:
        x: real images ``(..., height, width)``.
        resolution: pixels per side of the result, or ``(height, width)``; at most those of ``x``.

    Returns:
        ``(..., resolution, resolution)`` in the dtype of ``x``.

    Raises:
        TypeError: if ``x`` is not a floating-point tensor.
        ValueError: if ``x`` has no two spatial axes or ``resolution`` exceeds them.
    """
    height, width = _target(x, resolution)
    if height > x.shape[-2] or width > x.shape[-1]:
        raise ValueError(
            f"resolution must be at most that of x, {x.shape[-2]} x {x.shape[-1]}, "
            f"got {height} x {width}; upsample goes the other way"
        )
    return _resample(x, height, width)


def upsample(x: Tensor, resolution: Resolution) -> Tensor:
    """Ideal upsampling: zero-pad the spectrum of ``x`` and sample it on a finer grid.

    ``downsample(upsample(x, s), r) == downsample(x, r)`` for ``r`` up to the resolution of ``x``. The Nyquist
    term of an even-sized ``x`` is dropped, as in :func:`downsample`.

    Args:
        x: real images ``(..., height, width)``.
        resolution: pixels per side of the result, or ``(height, width)``; at least those of ``x``.

    Raises:
        TypeError: if ``x`` is not a floating-point tensor.
        ValueError: if ``x`` has no two spatial axes or ``resolution`` is below them.
    """
    height, width = _target(x, resolution)
    if height < x.shape[-2] or width < x.shape[-1]:
        raise ValueError(
            f"resolution must be at least that of x, {x.shape[-2]} x {x.shape[-1]}, "
            f"got {height} x {width}; downsample goes the other way"
        )
    return _resample(x, height, width)


def to_coefficients(x: Tensor) -> Tensor:
    """Nested real Fourier coefficients of images: ``C = A x A^T``, coefficients first.

    Args:
        x: real images ``(batch, channels, height, width)`` of any size, odd or even.

    Returns:
        ``(2 band(height) + 1, 2 band(width) + 1, batch, channels)``. The coefficients of ``downsample(x, r)`` are
        the leading ``[: 2 band(r) + 1, : 2 band(r) + 1]`` of these.

    Raises:
        TypeError: if ``x`` is not a floating-point tensor.
        ValueError: if ``x`` is not four-dimensional.
    """
    if x.dim() != 4:
        raise ValueError(f"x must be images (batch, channels, height, width), got shape {tuple(x.shape)}")
    require_floating("x", x)
    height, width = x.shape[-2:]
    rows = analysis_matrix(band(height), height, x.dtype, x.device)
    columns = analysis_matrix(band(width), width, x.dtype, x.device)
    return (rows @ x @ columns.T).permute(2, 3, 0, 1).contiguous()


def to_grid(coefficients: Tensor, resolution: Resolution) -> Tensor:
    """Sample nested coefficients on a pixel grid: ``x = S C S^T``.

    A grid coarser than the coefficients shows their ideal downsampling, a finer one interpolates.

    Args:
        coefficients: ``(2 b1 + 1, 2 b2 + 1, batch, channels)``.
        resolution: pixels per side, or ``(height, width)``.

    Returns:
        Images ``(batch, channels, height, width)``.

    Raises:
        TypeError: if ``coefficients`` is not a floating-point tensor.
        ValueError: if ``coefficients`` is not four-dimensional or has an even count of coefficients on an axis.
    """
    if coefficients.dim() != 4:
        raise ValueError(
            f"coefficients must be (2 b1 + 1, 2 b2 + 1, batch, channels), got shape {tuple(coefficients.shape)}"
        )
    require_floating("coefficients", coefficients)
    height, width = _sides(resolution)
    row_band = min(band_of_count(coefficients.shape[0]), band(height))
    column_band = min(band_of_count(coefficients.shape[1]), band(width))
    kept = coefficients[: coefficient_count(row_band), : coefficient_count(column_band)]
    rows = synthesis_matrix(row_band, height, coefficients.dtype, coefficients.device)
    columns = synthesis_matrix(column_band, width, coefficients.dtype, coefficients.device)
    return rows @ kept.permute(2, 3, 0, 1) @ columns.T


def downsample1d(signals: Tensor, length: int) -> Tensor:
    """:func:`downsample` along one axis: keep the frequencies that ``length`` samples hold, and sample them.

    Args:
        signals: real signals ``(..., samples)``.
        length: samples of the result, at most those of ``signals``.

    Returns:
        ``(..., length)`` in the dtype of ``signals``.

    Raises:
        TypeError: if ``signals`` is not a floating-point tensor.
        ValueError: if ``length`` is no positive integer or exceeds that of ``signals``.
    """
    length = _length(signals, length)
    if length > signals.shape[-1]:
        raise ValueError(
            f"length must be at most that of signals, {signals.shape[-1]}, got {length}; upsample1d goes the other way"
        )
    return _resample1d(signals, length)


def upsample1d(signals: Tensor, length: int) -> Tensor:
    """:func:`upsample` along one axis: zero-pad the spectrum and sample it on a finer grid.

    Args:
        signals: real signals ``(..., samples)``.
        length: samples of the result, at least those of ``signals``.

    Raises:
        TypeError: if ``signals`` is not a floating-point tensor.
        ValueError: if ``length`` is no positive integer or below that of ``signals``.
    """
    length = _length(signals, length)
    if length < signals.shape[-1]:
        raise ValueError(
            f"length must be at least that of signals, {signals.shape[-1]}, got {length}; "
            "downsample1d goes the other way"
        )
    return _resample1d(signals, length)


def to_coefficients1d(signals: Tensor) -> Tensor:
    """Nested real Fourier coefficients of signals: ``C = A x``, coefficients first.

    Args:
        signals: real signals ``(batch, channels, length)`` of any length, odd or even.

    Returns:
        ``(2 band(length) + 1, batch, channels)``. The coefficients of ``downsample1d(signals, r)`` are the leading
        ``[: 2 band(r) + 1]`` of these.

    Raises:
        TypeError: if ``signals`` is not a floating-point tensor.
        ValueError: if ``signals`` is not three-dimensional.
    """
    if signals.dim() != 3:
        raise ValueError(f"signals must be (batch, channels, length), got shape {tuple(signals.shape)}")
    require_floating("signals", signals)
    length = signals.shape[-1]
    matrix = analysis_matrix(band(length), length, signals.dtype, signals.device)
    return (signals @ matrix.T).permute(2, 0, 1).contiguous()


def to_grid1d(coefficients: Tensor, points: int) -> Tensor:
    """Sample nested coefficients at equispaced points: ``x = S C``.

    A grid coarser than the coefficients shows their ideal downsampling, a finer one interpolates.

    Args:
        coefficients: ``(2 b + 1, batch, channels)``.
        points: samples of the result.

    Returns:
        Signals ``(batch, channels, points)``.

    Raises:
        TypeError: if ``coefficients`` is not a floating-point tensor.
        ValueError: if ``coefficients`` is not three-dimensional or has an even count of coefficients, or ``points``
            is no positive integer.
    """
    if coefficients.dim() != 3:
        raise ValueError(
            f"coefficients must be (2 b + 1, batch, channels), got shape {tuple(coefficients.shape)}"
        )
    require_floating("coefficients", coefficients)
    points = require_positive("points", points)
    shared = min(band_of_count(coefficients.shape[0]), band(points))
    kept = coefficients[: coefficient_count(shared)].permute(1, 2, 0)
    return kept @ synthesis_matrix(shared, points, coefficients.dtype, coefficients.device).T


def _target(x: Tensor, resolution: Resolution) -> tuple[int, int]:
    require_floating("x", x)
    if x.dim() < 2:
        raise ValueError(f"x must have two spatial axes (..., height, width), got shape {tuple(x.shape)}")
    return _sides(resolution)


def _sides(resolution: Resolution) -> tuple[int, int]:
    """Height and width."""
    height, width = resolution if isinstance(resolution, Sequence) else (resolution, resolution)
    return require_positive("resolution", height), require_positive("resolution", width)


def _length(signals: Tensor, length: int) -> int:
    require_floating("signals", signals)
    if signals.dim() < 1:
        raise ValueError("signals must have an axis of samples (..., samples), got a number")
    return require_positive("length", length)


def _resample(x: Tensor, height: int, width: int) -> Tensor:
    rows = _resampling_matrix(x.shape[-2], height, x.dtype, x.device)
    columns = _resampling_matrix(x.shape[-1], width, x.dtype, x.device)
    return rows @ x @ columns.T


def _resample1d(signals: Tensor, length: int) -> Tensor:
    return signals @ _resampling_matrix(signals.shape[-1], length, signals.dtype, signals.device).T


def _resampling_matrix(source: int, target: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return constant(_resampling, source, target, dtype=dtype, device=device)


def _resampling(source: int, target: int) -> NDArray[np.float64]:
    shared = band(min(source, target))
    return synthesis(shared, target) @ analysis(shared, source)
