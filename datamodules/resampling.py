"""From one pixel grid to another: to a lower resolution, and back to the fixed size that some networks need."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from sefl.fourier import downsample, upsample

Downsampling = Literal["ideal", "bicubic"]
Padding = Literal["zero", "reflect", "replicate", "circular", "resize"]
PADDINGS: tuple[Padding, ...] = get_args(Padding)


def resample(images: Tensor, resolution: int, method: Downsampling) -> Tensor:
    """Bring square images to a resolution, below or above their own.

    Args:
        images: ``(batch, channels, size, size)``, floating point.
        resolution: pixels per side of the result.
        method: ``ideal`` (:func:`sefl.fourier.downsample` and ``upsample``: at full resolution too, where it removes
            the Nyquist term) or ``bicubic`` with antialiasing.

    Returns:
        ``(batch, channels, resolution, resolution)``.
    """
    if method == "bicubic":
        size = (resolution, resolution)
        return F.interpolate(images, size=size, mode="bicubic", antialias=True, align_corners=False)
    return downsample(images, resolution) if resolution <= images.shape[-1] else upsample(images, resolution)


def pad(images: Tensor, size: int, padding: Padding) -> Tensor:
    """Pad square images to a larger size, the same on all sides; an odd pixel goes to the right and below.

    Unlike ``torch.nn.functional.pad`` it reflects and wraps around as often as it takes.

    Args:
        images: ``(batch, channels, r, r)``.
        size: pixels per side of the result, at least ``r``.
        padding: ``zero``, ``reflect`` (the edge pixel is not repeated), ``replicate`` or ``circular``.

    Returns:
        ``(batch, channels, size, size)``.
    """
    resolution = images.shape[-1]
    before = (size - resolution) // 2
    if padding == "zero":
        after = size - resolution - before
        return F.pad(images, (before, after, before, after))
    position = torch.arange(size, device=images.device) - before
    if padding == "circular":
        source = position % resolution
    elif padding == "replicate":
        source = position.clamp(0, resolution - 1)
    else:
        period = max(2 * (resolution - 1), 1)
        source = position % period
        source = torch.minimum(source, period - source).clamp(max=resolution - 1)
    return images.index_select(-2, source).index_select(-1, source)
