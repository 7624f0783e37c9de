"""Square images to one larger size, for networks that cannot do with several."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Padding = Literal["zero", "reflect", "replicate", "circular"]


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
