"""The usual augmentation of photographs: crops with padding, mirror images, and squares cut out of them.

Each image of a batch gets its own crop, flip and square; those of torchvision v2 draw once for all images that they
are given. What is drawn for a batch is drawn at once, and then each image is copied once: one operation for the batch
(a gather, a choice, a mask) took two to six times as long. Integer images stay as they are.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sefl.arguments import require_integer, require_number

# Images of so many pixels more per side than any that are trained on would only take memory.
MOST_PADDING = 1_024


def crop(images: Tensor, offsets: Tensor, padding: int) -> Tensor:
    """Pad every image with zeros, then cut its own window of the original size out of it.

    ``y[b, c, i, j] = x[b, c, i + offsets[b, 0] - padding, j + offsets[b, 1] - padding]``, and 0 outside.

    Args:
        images: ``(batch, channels, height, width)`` of any dtype, which the result has too.
        offsets: ``(batch, 2)``, int64, each from 0 to ``2 * padding``.
        padding: zeros added to each side.
    """
    height, width = images.shape[-2:]
    padded = F.pad(images, (padding,) * 4)
    windows = [
        image[:, row : row + height, column : column + width]
        for image, (row, column) in zip(padded, offsets.tolist(), strict=True)
    ]
    return torch.stack(windows)


def flip(images: Tensor, flipped: Tensor) -> Tensor:
    """Mirror some images left to right.

    Args:
        images: ``(batch, channels, height, width)`` of any dtype, which the result has too.
        flipped: which of them: ``(batch,)``, bool.
    """
    pairs = zip(images, flipped.tolist(), strict=True)
    return torch.stack([image.flip(-1) if chosen else image for image, chosen in pairs])


def cut_out(images: Tensor, centres: Tensor, size: int) -> Tensor:
    """Set a square of every image to zero: the rows and columns from ``centre - size // 2``, ``size // 2 * 2`` of them.

    Args:
        images: ``(batch, channels, height, width)`` of any dtype, which the result has too.
        centres: row and column of each square: ``(batch, 2)``, int64; the square may extend beyond the image.
        size: pixels per side of the squares.
    """
    cut = images.clone()
    half = size // 2
    for image, (row, column) in zip(cut, centres.tolist(), strict=True):
        image[:, max(row - half, 0) : max(row + half, 0), max(column - half, 0) : max(column + half, 0)] = 0
    return cut


@dataclass(frozen=True)
class RandomCrop:
    """Crops of the original size out of the image padded with zeros (black): shifts with nothing coming in.

    Args:
        padding: pixels added to each side; by default those of the published STL10-scale experiment (NeurIPS 2023).

    Raises:
        ValueError: if it is no integer from 0 to 1024.
    """

    padding: int = 12

    def __post_init__(self) -> None:
        require_integer("crop_augmentation.padding", self.padding, 0, MOST_PADDING)

    def augment(self, images: Tensor, batch: int, share: slice, generator: torch.Generator) -> Tensor:
        """See :class:`datamodules.augmentation.Augmentation`."""
        offsets = (torch.rand(batch, 2, generator=generator) * (2 * self.padding + 1)).long()
        return crop(images, offsets[share].clamp(max=2 * self.padding), self.padding)


@dataclass(frozen=True)
class RandomFlip:
    """Mirror images, left to right.

    Args:
        probability: the chance of each image.

    Raises:
        ValueError: if it is no probability.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        require_number("flip_augmentation.probability", self.probability, least=0, most=1)

    def augment(self, images: Tensor, batch: int, share: slice, generator: torch.Generator) -> Tensor:
        """See :class:`datamodules.augmentation.Augmentation`."""
        return flip(images, torch.rand(batch, generator=generator)[share] < self.probability)


@dataclass(frozen=True)
class RandomTurn:
    """Turn images by a multiple of 90 degrees about their middle, each as likely as the others.

    After :class:`RandomFlip` of probability 1/2, all eight symmetries of the square are.
    """

    def augment(self, images: Tensor, batch: int, share: slice, generator: torch.Generator) -> Tensor:
        """See :class:`datamodules.augmentation.Augmentation`."""
        turns = torch.randint(4, (batch,), generator=generator)[share]
        return torch.stack(
            [image.rot90(int(turn), (1, 2)) for image, turn in zip(images, turns, strict=True)]
        )


@dataclass(frozen=True)
class Cutout:
    """One black square cut out of each image (DeVries and Taylor 2017), its centre uniform over the image.

    Args:
        size: pixels per side of the square, an even number; by default that of the published STL10-scale experiment
            (NeurIPS 2023), whose ``length`` of 32 is the whole side.

    Raises:
        ValueError: if it is odd or negative.
    """

    size: int = 32

    def __post_init__(self) -> None:
        if require_integer("cutout_augmentation.size", self.size, 0) % 2:
            raise ValueError(f"cutout_augmentation.size must be even, got {self.size}")

    def augment(self, images: Tensor, batch: int, share: slice, generator: torch.Generator) -> Tensor:
        """See :class:`datamodules.augmentation.Augmentation`."""
        sides = torch.tensor(images.shape[-2:])
        centres = (torch.rand(batch, 2, generator=generator)[share] * sides).long()
        return cut_out(images, torch.minimum(centres, sides - 1), self.size)
