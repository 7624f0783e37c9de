"""From one pixel grid to another."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from sefl.fourier import downsample, upsample

Downsampling = Literal["ideal", "centered", "bicubic"]


def resample(images: Tensor, resolution: int, method: Downsampling) -> Tensor:
    """Bring square images, or signals, to a resolution, below or above their own.

    Args:
        images: ``(batch, channels, size, size)``, or signals ``(batch, channels, size)``, floating point.
        resolution: pixels per side, or samples, of the result.
        method: ``ideal`` (:func:`sefl.fourier.downsample` and ``upsample``: at full resolution too, where it removes
            the Nyquist term), ``centered`` (the same, of grids that share the image's middle in place of the first
            pixel) or ``bicubic`` with antialiasing, which on signals is cubic.

    Returns:
        ``(batch, channels, resolution, resolution)`` or ``(batch, channels, resolution)``.
    """
    if method == "bicubic" and images.dim() == 3:  # along it, of an image of one row
        size = (1, resolution)
        rows = F.interpolate(images.unsqueeze(2), size, mode="bicubic", antialias=True, align_corners=False)
        return rows.squeeze(2)
    if method == "bicubic":
        size = (resolution, resolution)
        return F.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False)
    ideal = downsample if resolution <= images.shape[-1] else upsample
    return ideal(images, resolution, "image" if method == "centered" else "pixel")
