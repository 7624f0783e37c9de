"""Square images and signals to one larger size, for networks that cannot do with several."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from sefl.arguments import require_floating, require_one_of, require_positive

Padding = Literal["zero", "reflect", "replicate", "circular"]


def pad(images: Tensor, size: int, padding: Padding) -> Tensor:
    """Pad square images, or signals, to a larger size, the same on all sides; an odd pixel goes right and below.

    Unlike ``torch.nn.functional.pad`` it reflects and wraps around as often as it takes.

    Args:
        images: ``(batch, channels, r, r)``, or signals ``(batch, channels, r)``.
        size: pixels per side, or samples, of the result, at least ``r``.
        padding: ``zero`` (the mean, where images are normalised), ``reflect`` (the edge pixel is not repeated),
            ``replicate`` or ``circular``.

    Returns:
        ``(batch, channels, size, size)`` or ``(batch, channels, size)``.

    Raises:
        TypeError: if the images are not a floating-point tensor.
        ValueError: if ``size`` is below ``r``, or ``padding`` is none of these.
    """
    require_floating("images", images)
    require_one_of("padding", padding, get_args(Padding))
    size = require_positive("size", size)
    resolution = images.shape[-1]
    if size < resolution:
        raise ValueError(f"size must be at least the {resolution} pixels of the images, got {size}")
    before = (size - resolution) // 2
    if padding == "zero":
        after = size - resolution - before
        return F.pad(images, (before, after) * (images.dim() - 2))
    position = torch.arange(size, device=images.device) - before
    if padding == "circular":
        source = position % resolution
    elif padding == "replicate":
        source = position.clamp(0, resolution - 1)
    else:
        period = max(2 * (resolution - 1), 1)
        source = position % period
        source = torch.minimum(source, period - source).clamp(max=resolution - 1)
    for axis in range(2, images.dim()):
        images = images.index_select(axis, source)
    return images
