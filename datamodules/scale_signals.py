"""Signals along one axis, such as sound, that each have one of several resolutions."""

from typing import Any, ClassVar

import numpy as np

from datamodules.scale import ScaleDataModule
from sefl.arguments import require_integer

# By default resolutions are so many, evenly spread from a quarter of the full one on: odd and even ones.
RESOLUTIONS = 14

# Samples of a signal; matrices that resample take ``4 * length**2`` bytes.
LONGEST = 2**16


class ScaleSignals(ScaleDataModule):
    """Signals that each have one of several lengths; a :class:`ScaleDataModule` with one axis in place of two.

    The resolution of a signal is its length: the number of samples that show one window of time. A batch is
    ``(signals, labels)``: float32 ``(batch, channels, r)``, with ``r`` the length of the batch, and int64 ``(batch,)``.
    Downsampling is ``ideal`` (:func:`sefl.fourier.downsample`) or, as ``bicubic``, cubic with antialiasing; both take
    the window for one period of a periodic signal, or its edge samples for constant beyond. Of the augmentations there
    are circular shifts.

    A subclass gives the signals, ``(samples, channels, length)`` float32, in :meth:`load_images`, and the parts.

    Args:
        length: samples at full resolution.
        resolutions: the lengths, each at most ``length``; by default 14, evenly spread from a quarter of it on.
        **common: the other arguments of :class:`ScaleDataModule`.

    Raises:
        ValueError: if an argument is outside its range, contradicts another or is for images.
    """

    full_resolution: ClassVar[str] = "length"
    largest_resolution: ClassVar[int] = LONGEST
    dimensions: ClassVar[int] = 1

    def __init__(self, length: int, resolutions: list[int] | None = None, **common: Any) -> None:
        require_integer("length", length, 1, LONGEST)
        if resolutions is None:
            lowest = max(length // 4, 1)
            resolutions = sorted({round(r) for r in np.linspace(lowest, length, RESOLUTIONS)})
        super().__init__(image_size=length, resolutions=resolutions, **common)
        for name in ("affine", "crop", "flip", "cutout"):
            augmentation = getattr(self, f"{name}_augmentation")
            if augmentation is not None:
                raise ValueError(
                    f"{name}_augmentation is for images, got {augmentation}; signals have shift_augmentation"
                )
