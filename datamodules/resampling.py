"""From one pixel grid to another."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from sefl.fourier import downsample, upsample

Downsampling = Literal["ideal", "bicubic"]


def resample(images: Tensor, resolution: int, method: Downsampling) -> Tensor:
    """Bring square images, or signals, to a resolution, below or above their own.

    Args:
        images: ``(batch, channels, size, size)``, or signals ``(batch, channels, size)``, floating point.
        resolution: pixels per side, or samples, of the result.
        method: ``ideal`` (:func:`sefl.fourier.downsample` and ``upsample``: at full resolution too, where it removes
            the Nyquist term) or ``bicubic`` with antialiasing, which on signals is cubic.

    Returns:
        ``(batch, channels, resolution, resolution)`` or ``(batch, channels, resolution)``.
    """
    if images.dim() == 3:
        return _resample_signals(images, resolution, method)
    if method == "bicubic":
        size = (resolution, resolution)
        return F.interpolate(images, size=size, mode="bicubic", antialias=True, align_corners=False)
    return downsample(images, resolution) if resolution <= images.shape[-1] else upsample(images, resolution)


def _resample_signals(signals: Tensor, length: int, method: Downsampling) -> Tensor:
    if method == "bicubic":
        rows = signals.unsqueeze(
            2
        )  # images of one row: interpolation along it is that of any row of an image
        return F.interpolate(
            rows, size=(1, length), mode="bicubic", antialias=True, align_corners=False
        ).squeeze(2)
    return downsample(signals, length) if length <= signals.shape[-1] else upsample(signals, length)
