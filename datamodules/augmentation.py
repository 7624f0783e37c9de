"""Random transformations of whole batches at full resolution, before downsampling.

The functions move images by given amounts; the dataclasses say how the amounts are drawn. All draws come from
the generator that is passed in: one row of random numbers per image, for the whole batch at once.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sefl.arguments import require_integer, require_number
from sefl.tensors.constants import constant

# Beyond, a displacement is noise of each pixel, and takes more memory than the images.
MOST_ELASTIC_POINTS = 64


class Augmentation(Protocol):
    """What moves or changes each image of a batch at random."""

    def augment(self, images: Tensor, batch: int, share: slice, generator: torch.Generator) -> Tensor:
        """Transform one process' images of a batch.

        Everything is drawn for the whole batch, so that a sample fares the same however many processes share it.

        Args:
            images: ``(samples, channels, height, width)``, uint8 or float32.
            batch: how many images the whole batch has.
            share: where ``images`` stand in it.
            generator: the source of everything random.

        Returns:
            Images of the same shape, uint8 or float32.
        """


def circular_shift(images: Tensor, offsets: Tensor) -> Tensor:
    """Shift every image circularly by its own whole number of pixels.

    ``y[b, c, i, j] = x[b, c, (i - offsets[b, 0]) mod H, (j - offsets[b, 1]) mod W]``

    Args:
        images: ``(batch, channels, height, width)`` of any dtype.
        offsets: ``(batch, 2)``, int64: down and to the right.

    Returns:
        The shape and dtype of ``images``.
    """
    batch, channels, height, width = images.shape
    rows = (torch.arange(height) - offsets[:, :1]) % height
    columns = (torch.arange(width) - offsets[:, 1:]) % width
    # One gather on flat pixels: a third of the time of indexing with four broadcast tensors.
    source = (rows[:, :, None] * width + columns[:, None, :]).view(batch, 1, -1).expand(-1, channels, -1)
    return images.reshape(batch, channels, -1).gather(2, source).view_as(images)


def warp(images: Tensor, matrices: Tensor, displacement: Tensor | None = None) -> Tensor:
    """Move every image by its own affine map and, optionally, its own smooth displacement, bilinearly.

    The value at ``p`` is that of the input at ``matrices @ (p, 1) + displacement(p)``, where coordinates run
    from -1 to 1 from edge to edge; outside, the edge pixels go on.

    Args:
        images: ``(batch, channels, height, width)``, floating point.
        matrices: ``(batch, 2, 3)``; ``[[1, 0, 0], [0, 1, 0]]`` is the identity.
        displacement: control points ``(batch, 2, rows, columns)``, interpolated bicubically to each pixel.

    Returns:
        The shape and dtype of ``images``.
    """
    height, width = images.shape[-2:]
    coordinates = affine_coordinates(matrices, height, width)
    if displacement is not None:
        dtype, device = displacement.dtype, displacement.device
        rows = constant(_bicubic_matrix, displacement.shape[-2], height, dtype=dtype, device=device)
        columns = constant(_bicubic_matrix, displacement.shape[-1], width, dtype=dtype, device=device)
        coordinates += rows @ displacement @ columns.T
    grid = coordinates.permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def affine_coordinates(matrices: Tensor, height: int, width: int) -> Tensor:
    """Where an affine map takes each pixel of a grid; ``F.affine_grid``, in a third of the time.

    Args:
        matrices: ``(batch, 2, 3)``.
        height, width: the grid, from -1 to 1 from edge to edge.

    Returns:
        Coordinates ``x`` and ``y``: ``(batch, 2, height, width)``.
    """
    x, y = ((2 * torch.arange(side) + 1) / side - 1 for side in (width, height))
    of_column = matrices[:, :, :1] * x
    of_row = matrices[:, :, 1:2] * y + matrices[:, :, 2:]
    return of_column.unsqueeze(2) + of_row.unsqueeze(3)


def affine_matrices(rotation: Tensor, log_scale: Tensor, shear: Tensor, translation: Tensor) -> Tensor:
    """Matrices for :func:`warp` that rotate, magnify, shear and move the content of an image.

    Args:
        rotation: ``(batch,)``, radians, counter-clockwise as seen.
        log_scale: ``(batch,)``; ``log 2`` doubles the size.
        shear: ``(batch,)``, radians, horizontal.
        translation: ``(batch, 2)``: to the right and down, as a fraction of the side.

    Returns:
        ``(batch, 2, 3)``.
    """
    cosine, sine, tangent = torch.cos(rotation), torch.sin(rotation), torch.tan(shear)
    # From output to input coordinates: the inverse of what the content does (rows point down).
    linear = torch.stack(
        [
            torch.stack([cosine + tangent * sine, tangent * cosine - sine], dim=1),
            torch.stack([sine, cosine], dim=1),
        ],
        dim=1,
    ) * torch.exp(-log_scale).view(-1, 1, 1)
    offset = linear @ (-2 * translation).unsqueeze(2)
    return torch.cat([linear, offset], dim=2)


@dataclass(frozen=True)
class CircularShift:
    """Circular shifts by a whole number of pixels, uniform per axis, independent per image or signal.

    The defaults are those of the published MNIST-scale experiment (NeurIPS 2023).

    Args:
        fraction: the largest shift, as a fraction of the side.
        probability: the chance that an image is shifted at all.

    Raises:
        ValueError: if one is outside its range.
    """

    fraction: float = 0.25
    probability: float = 0.7

    def __post_init__(self) -> None:
        require_number("shift_augmentation.fraction", self.fraction, least=0, most=0.5)
        require_number("shift_augmentation.probability", self.probability, least=0, most=1)

    def draw(self, batch: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        """Offsets for :func:`circular_shift`: ``(batch, 2)``, int64."""
        chance, *uniform = torch.rand(batch, 3, generator=generator).unbind(1)
        shifted = chance < self.probability
        largest = [int(self.fraction * side) for side in (height, width)]
        return torch.stack(
            [
                ((2 * most + 1) * draw).long().clamp(max=2 * most).sub(most).mul(shifted)
                for most, draw in zip(largest, uniform, strict=True)
            ],
            dim=1,
        )

    def augment(self, images: Tensor, batch: int, share: slice, generator: torch.Generator) -> Tensor:
        """See :class:`Augmentation`; also of signals ``(samples, channels, length)``."""
        if images.dim() == 3:  # as images of one row
            return self.augment(images.unsqueeze(2), batch, share, generator).squeeze(2)
        height, width = images.shape[-2:]
        return circular_shift(images, self.draw(batch, height, width, generator)[share])


@dataclass(frozen=True)
class RandomAffine:
    """Random rotation, scaling, shear, translation and elastic deformation, its own for each image.

    Args:
        rotation: the largest rotation, in degrees, either way.
        scale: the largest magnification: sizes are log-uniform in ``[1 / scale, scale]``.
        shear: the largest horizontal shear, in degrees.
        translation: the largest shift per axis, as a fraction of the side; edges are continued, not wrapped.
        elastic: standard deviation of the displacement at the control points, as a fraction of the side.
        elastic_points: control points per axis of the elastic deformation, from 2 to 64.

    Raises:
        ValueError: if one is outside its range.
    """

    rotation: float = 0.0
    scale: float = 1.0
    shear: float = 0.0
    translation: float = 0.0
    elastic: float = 0.0
    elastic_points: int = 5

    def __post_init__(self) -> None:
        for name, most in {"rotation": 180, "shear": 60, "translation": 1, "elastic": 1}.items():
            require_number(f"affine_augmentation.{name}", getattr(self, name), least=0, most=most)
        require_number("affine_augmentation.scale", self.scale, least=1, most=10)
        require_integer("affine_augmentation.elastic_points", self.elastic_points, 2, MOST_ELASTIC_POINTS)

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Matrices ``(batch, 2, 3)`` and displacements ``(batch, 2, points, points)``, if any."""
        uniform = 2 * torch.rand(batch, 5, generator=generator) - 1
        matrices = affine_matrices(
            rotation=uniform[:, 0] * math.radians(self.rotation),
            log_scale=uniform[:, 1] * math.log(self.scale),
            shear=uniform[:, 2] * math.radians(self.shear),
            translation=uniform[:, 3:] * self.translation,
        )
        if self.elastic == 0:
            return matrices, None
        points = self.elastic_points
        normal = torch.randn(batch, 2, points, points, generator=generator)
        return matrices, 2 * self.elastic * normal

    def augment(self, images: Tensor, batch: int, share: slice, generator: torch.Generator) -> Tensor:
        """See :class:`Augmentation`; the result is float32."""
        matrices, displacement = self.draw(batch, generator)
        return warp(images.float(), matrices[share], None if displacement is None else displacement[share])


def _bicubic_matrix(points: int, samples: int) -> NDArray[np.float32]:
    """Bicubic interpolation from control points, the outer ones on the edges: ``(samples, points)``."""
    unit = torch.eye(points, device="cpu").view(1, 1, points, points)
    return F.interpolate(unit, size=(samples, points), mode="bicubic", align_corners=True)[0, 0].numpy()
