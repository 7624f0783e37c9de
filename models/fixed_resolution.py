"""Images of any resolution at one, for baselines that need it or do better with it."""

from typing import Literal, get_args

from torch import Tensor

from sefl.fourier import upsample
from sefl.padding import pad

Resize = Literal["none", "ideal", "zero", "reflect", "replicate", "circular"]


def check_resize(resize: str) -> None:
    """Refuse what is no way to resize.

    Raises:
        ValueError: if it is none.
    """
    if resize not in get_args(Resize):
        *most, last = (repr(name) for name in get_args(Resize))
        raise ValueError(f"resize must be {', '.join(most)} or {last}, got {resize!r}")


def resized(images: Tensor, resolution: int, resize: Resize) -> Tensor:
    """Bring square images to a resolution that is not below their own.

    Args:
        images: ``(batch, channels, r, r)``.
        resolution: pixels per side of the result.
        resize: ``"none"`` leaves images as they are, ``"ideal"`` upsamples them (:func:`sefl.fourier.upsample`), the
            others pad them on all sides (:func:`sefl.padding.pad`).

    Returns:
        ``(batch, channels, resolution, resolution)``; with ``"none"`` the images.
    """
    if resize == "none":
        return images
    if resize == "ideal":
        return upsample(images, resolution)
    return pad(images, resolution, resize)
