"""From one pixel grid to another: to a lower resolution, or to one fixed size."""

from typing import Literal, get_args

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
