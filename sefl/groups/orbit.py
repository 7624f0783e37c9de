"""The transformed copies of an image under rotations and reflections of the plane: what invariance is tested on."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sefl.arguments import require_one_of
from sefl.groups.spatial import Region, inscribed_ball

_MIRRORED = "_mirrored"


@dataclass(frozen=True)
class OrbitElement:
    """One transformation: a reflection left to right, if any, followed by a rotation.

    Attributes:
        angle: degrees in ``[0, 360)``, counter-clockwise as seen.
        mirrored: whether the image is reflected first.
    """

    angle: float
    mirrored: bool = False

    @property
    def name(self) -> str:
        """Such as ``"22.5"`` or ``"90_mirrored"``, in the names of logged measures."""
        return f"{self.angle:g}{_MIRRORED * self.mirrored}"

    @classmethod
    def of_name(cls, name: str) -> "OrbitElement":
        """The element of a :attr:`name`.

        Raises:
            ValueError: if it is none.

        >>> OrbitElement.of_name("90_mirrored")
        OrbitElement(angle=90.0, mirrored=True)
        """
        return cls(float(name.removesuffix(_MIRRORED)), name.endswith(_MIRRORED))


class Orbit:
    """The copies of images under a list of rotations, and of their mirror images.

    Rotations are those by ``360 k / n`` degrees (the convention of ICLR 2025) or the ones listed. With
    ``reflections`` every rotation comes a second time, after a reflection left to right: the elements ``r^k``, then
    ``r^k s``, in the order of a dihedral group's. An angle is split into a multiple of 90 degrees, which moves pixels,
    and a rest of at most 45 degrees, which :func:`rotate` interpolates; so copies that are a quarter turn or a
    reflection of the grid apart are so exactly (in the last digits for a reflection of interpolated ones).

    Args:
        angles: how many rotations, evenly spaced, or the angles in degrees.
        reflections: whether mirrored copies follow.
        background: what lies outside of the image, for each channel or for all: for black that was normalised,
            :func:`black`.
        region: of every copy, the upright one too, all of the ``"image"`` or only its inscribed ``"disc"``, the rest
            being background. Corners that are full where it is upright and empty where it is turned are no copies.

    Raises:
        ValueError: if there are no angles, one is not finite, two are the same rotation, or ``region`` is another.

    >>> orbit = Orbit(4, reflections=True)
    >>> len(orbit), orbit.elements[5]
    (8, OrbitElement(angle=90.0, mirrored=True))
    >>> orbit(torch.rand(2, 1, 5, 5)).shape
    torch.Size([8, 2, 1, 5, 5])
    """

    def __init__(
        self,
        angles: int | Sequence[float] = 24,
        reflections: bool = False,
        background: float | Sequence[float] = 0.0,
        region: Region = "image",
    ) -> None:
        require_one_of("region", region, get_args(Region))
        if isinstance(angles, int | np.integer):
            if isinstance(angles, bool) or angles < 1:
                raise ValueError(
                    f"angles must be a number of at least 1 or a list of degrees, got {angles!r}"
                )
            angles = [360 * step / int(angles) for step in range(angles)]
        rotations = [float(angle) % 360 for angle in angles]
        check_angles(rotations)
        self.elements = tuple(
            OrbitElement(angle, mirrored)
            for mirrored in ((False, True) if reflections else (False,))
            for angle in rotations
        )
        self.background, self.region = background, region

    def __len__(self) -> int:
        return len(self.elements)

    @property
    def angles(self) -> list[float]:
        """The angle of each element in degrees."""
        return [element.angle for element in self.elements]

    @property
    def mirrored(self) -> list[bool]:
        """Whether each element reflects."""
        return [element.mirrored for element in self.elements]

    def copies(self, images: Tensor) -> Iterator[Tensor]:
        """The copies under one element after the other, each ``(batch, channels, height, width)``.

        Raises:
            ValueError: if ``images`` have another number of axes or are not square.
        """
        if images.dim() != 4 or images.shape[-1] != images.shape[-2]:
            raise ValueError(
                f"images must be square, (batch, channels, size, size), got shape {tuple(images.shape)}"
            )
        copies = (transform(images, element, self.background) for element in self.elements)
        if self.region == "image":
            yield from copies
            return
        inside = inscribed_ball(images.shape[2:]).to(images.device)
        background = images.new_tensor(self.background).view(-1, 1, 1)
        for copy in copies:
            yield torch.where(inside, copy, background)

    def __call__(self, images: Tensor) -> Tensor:
        """All copies at once: ``(elements, batch, channels, height, width)``; for one at a time, :meth:`copies`."""
        return torch.stack(list(self.copies(images)))


def transform(
    images: Tensor, element: OrbitElement, background: float | Sequence[float] | Tensor = 0.0
) -> Tensor:
    """Apply one element to square images; multiples of 90 degrees and reflections move pixels exactly.

    Args:
        images: ``(batch, channels, size, size)``, floating point.
        element: what to do.
        background: what lies outside of the image, for each channel or for all.

    Returns:
        The shape and dtype of ``images``.
    """
    quarters = math.floor((element.angle + 45) / 90)
    rest = element.angle - 90 * quarters
    if element.mirrored:
        images = images.flip(-1)
    if rest != 0:
        angle = images.new_tensor([rest], dtype=torch.promote_types(images.dtype, torch.float32))
        images = rotate(images, angle, background)
    return images.rot90(quarters, dims=(-2, -1))


def rotate(images: Tensor, angles: Tensor, background: float | Sequence[float] | Tensor = 0.0) -> Tensor:
    """Rotate images about their centre, counter-clockwise as seen, by bicubic interpolation.

    ``y(p) = x(R^-1 p)``, with ``p`` measured from the centre of the grid and ``x`` the background outside of it.
    On MNIST, there and back by a random angle leaves a relative squared error of 0.008; bilinear interpolation leaves
    0.037, and an ideal upsampling by 2 first 0.006 in twice the time: the rest is what the grid cannot hold.

    Args:
        images: ``(batch, channels, height, width)``, floating point.
        angles: degrees, ``(batch,)``, or ``(1,)`` for all.
        background: what lies outside of the image, for each channel or for all.

    Returns:
        The shape and dtype of ``images``; values may lie a little outside their range.

    Raises:
        ValueError: if ``angles`` or ``background`` does not fit ``images``.
    """
    batch, channels, height, width = images.shape
    if angles.shape not in ((batch,), (1,)):
        raise ValueError(f"angles must be one for each of {batch} images or one, got {tuple(angles.shape)}")
    # Coordinates in half precision would be off by whole pixels.
    dtype = torch.promote_types(images.dtype, torch.float32)
    outside = torch.as_tensor(background, dtype=dtype, device=images.device)
    if outside.shape not in ((), (1,), (channels,)):
        raise ValueError(f"background must be one number or one per channel ({channels}), got {background}")
    outside = outside.view(-1, 1, 1)
    radians = torch.deg2rad(angles.to(dtype)).view(-1, 1, 1)
    cosine, sine = torch.cos(radians), torch.sin(radians)
    x, y = (
        torch.arange(side, dtype=dtype, device=images.device) - (side - 1) / 2 for side in (width, height)
    )
    y = y[:, None]
    # Rows point down, hence the signs. From -1 to 1 is from edge to edge.
    source = torch.stack(
        [(cosine * x - sine * y) * (2 / width), (sine * x + cosine * y) * (2 / height)], dim=-1
    )
    rotated = F.grid_sample(
        images.to(dtype) - outside,
        source.expand(batch, -1, -1, -1),
        mode="bicubic",
        padding_mode="zeros",
        align_corners=False,
    )
    return (rotated + outside).to(images.dtype)


def black(mean: Sequence[float], std: Sequence[float]) -> list[float]:
    """What a black pixel becomes when images are normalised, for each channel: ``-mean / std``.

    >>> black([0.5, 0.25], [0.5, 0.5])
    [-1.0, -0.5]
    """
    return [-of_channel / scale for of_channel, scale in zip(mean, std, strict=True)]


def check_angles(angles: Sequence[float]) -> None:
    """Refuse what is no list of different rotations.

    Raises:
        ValueError: if there are no angles, one is not finite, or two are the same rotation.
    """
    if not angles or not all(math.isfinite(angle) for angle in angles):
        raise ValueError(f"angles must be finite numbers of degrees, at least one, got {list(angles)}")
    if len({angle % 360 for angle in angles}) < len(angles):
        raise ValueError(f"angles must be different rotations, got {list(angles)}")
