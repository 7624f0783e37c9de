"""What of its data a network cannot do without, once others are to use it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class TrainedOn:
    """What a network was trained on, as far as reading an image for it and naming its answer needs it.

    Args:
        mean: what was taken from each channel of the images, on a scale from 0 to 1; ``None`` if the data do not say.
        std: what each channel was divided by.
        class_names: what each label is called.
        dataset: what the data are called.
        image_size: pixels per side that images are read at.
        resolutions: those that they are then brought to, from coarse to fine.
        downsampling: by which method, ``"ideal"``, ``"centered"`` or ``"bicubic"``.
        background: the grey behind transparent pixels, from 0 to 255.
    """

    mean: list[float] | None = None
    std: list[float] | None = None
    class_names: list[str] | None = None
    dataset: str | None = None
    image_size: int | None = None
    resolutions: list[int] | None = None
    downsampling: str | None = None
    background: int | None = None


def described(data: Any) -> TrainedOn:
    """What a datamodule says of itself; ``None`` for what it does not."""

    def listed(value: Any) -> list[Any] | None:
        return None if value is None else torch.as_tensor(value, dtype=torch.float64).flatten().tolist()

    names: Sequence[object] | None = getattr(data, "class_names", None)
    resolutions: Sequence[int] | None = getattr(data, "resolutions", None)
    return TrainedOn(
        listed(getattr(data, "mean", None)),
        listed(getattr(data, "std", None)),
        None if names is None else list(map(str, names)),
        getattr(data, "dataset", None),
        getattr(data, "image_size", None),
        None if resolutions is None else sorted(map(int, resolutions)),
        getattr(getattr(data, "settings", None), "downsampling", None),
        getattr(data, "background", None),
    )
