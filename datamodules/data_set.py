"""What is known of a data set before it is read, how it is read and split, and whether it holds what was said."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.batches import Images
from datamodules.split import Parts
from sefl.arguments import require_integer, require_number, require_positive

# What errors call the finest resolution, and the largest that there may be: an image of so many pixels per side takes a
# GiB in each channel as float32, and so does the matrix that resamples a signal 16 times over.
FINEST = {1: ("length", 2**16), 2: ("image_size", 2**14)}

# The lowest resolution of the published MNIST-scale experiment (NeurIPS 2023). Signals have by default so many, evenly
# spread from a quarter of the full one on: odd and even ones.
LOWEST_RESOLUTION = 8
RESOLUTIONS_OF_SIGNALS = 14

# Labels that a message names; images that are looked at at once.
_NAMED = 5
_CHUNK = 4_096


@dataclass
class DataSet:
    """Images, or signals, with labels, and how they are read and split.

    Args:
        name: of the data set and protocol, checked when a stored split is loaded.
        image_size: the finest resolution that there may be: pixels per side of the images at full resolution, or
            samples of a signal.
        channels: channels of the images.
        class_names: what each label is called, at least two.
        mean, std: normalisation of each channel, on a scale from 0 to 1.
        load: reads all images, ``(samples, channels, image_size, image_size)`` uint8 or float32, and their labels,
            ``(samples,)`` int64; of signals ``(samples, channels, image_size)``.
        draw_parts: the indices of the training, validation and test samples, of the labels of all and a generator.
        download: fetches what is missing, on one process per machine.
        resolutions: the default ones; if none are given, every one from 8 on, or 14 from a quarter of a signal's on.
        dimensions: axes along which an image has pixels: 2, or 1 for signals.

    Raises:
        ValueError: if an argument is outside its range.
    """

    name: str
    image_size: int
    channels: int
    class_names: Sequence[str]
    mean: Sequence[float]
    std: Sequence[float]
    load: Callable[[], tuple[Images, Tensor]]
    draw_parts: Callable[[NDArray[np.int64], np.random.Generator], Parts]
    download: Callable[[], None] | None = None
    resolutions: Sequence[int] | None = None
    dimensions: Literal[1, 2] = 2

    def __post_init__(self) -> None:
        called, largest = FINEST[self.dimensions]
        self.image_size = require_integer(called, self.image_size, 1, largest)
        self.channels = require_positive("channels", self.channels)
        if len(self.class_names) < 2:
            raise ValueError(f"class_names must be of at least two classes, got {list(self.class_names)}")
        if self.resolutions is None and self.dimensions == 1:
            spread = np.linspace(max(self.image_size // 4, 1), self.image_size, RESOLUTIONS_OF_SIGNALS)
            self.resolutions = sorted({round(each) for each in spread})
        elif self.resolutions is None:
            self.resolutions = range(min(LOWEST_RESOLUTION, self.image_size), self.image_size + 1)
        self.mean, self.std = self._of_channels("mean"), self._of_channels("std", above=0)

    def _of_channels(self, name: str, above: float | None = None) -> list[float]:
        values: Sequence[float] = getattr(self, name)
        if len(values) != self.channels:
            raise ValueError(
                f"{name} must have one number for each of {self.channels} channels, got {values}"
            )
        return [require_number(name, value, above=above) for value in values]

    def check(self, images: Images, labels: Tensor) -> None:
        """Refuse labels that are not one of each class for each image, and tensors that no batch can be made of.

        Raises:
            ValueError: if they are, or have values that are not finite.
        """
        self._check_labels(labels, len(images))
        if isinstance(images, Tensor):
            self._check_images(images)

    def _check_labels(self, labels: Tensor, images: int) -> None:
        integer = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
        if labels.dim() != 1 or not integer:
            raise ValueError(
                f"{self.name} must have labels of shape (samples,) and of an integer type, got "
                f"{tuple(labels.shape)} of {labels.dtype}"
            )
        if len(labels) != images:
            raise ValueError(
                f"{self.name} must have one label for each image, got {len(labels)} for {images} images"
            )
        found, expected = set(labels.unique().tolist()), set(range(len(self.class_names)))
        problems = {"out of range": sorted(found - expected), "missing": sorted(expected - found)}
        if found != expected:
            named = "; ".join(
                f"{', '.join(map(str, numbers[:_NAMED]))}{', ...' * (len(numbers) > _NAMED)} {problem}"
                for problem, numbers in problems.items()
                if numbers
            )
            raise ValueError(
                f"{self.name} must have every label from 0 to {len(expected) - 1} and no other, got {named}"
            )

    def _check_images(self, images: Tensor) -> None:
        shape = tuple(images.shape)
        if len(shape) != 2 + self.dimensions or shape[1] != self.channels or len(set(shape[2:])) != 1:
            expected = "size, size" if self.dimensions == 2 else "length"
            raise ValueError(
                f"{self.name} must have images of shape (samples, {self.channels}, {expected}), got {shape}"
            )
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise ValueError(f"{self.name} must have images of uint8 or floating point, got {images.dtype}")
        if images.is_floating_point():
            for start in range(0, len(images), _CHUNK):
                finite = images[start : start + _CHUNK].flatten(1).isfinite().all(dim=1)
                if not finite.all():
                    number = start + int((~finite).nonzero()[0])
                    raise ValueError(f"{self.name} must have finite values, got others in image {number}")
