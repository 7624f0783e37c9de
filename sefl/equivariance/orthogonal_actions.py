"""Rotations by any angle, and all elements of a finite group, as transformations of images and volumes."""

import math
from abc import abstractmethod
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sefl.arguments import require_one_of
from sefl.equivariance.transformations import (
    NotMeasurable,
    Parameter,
    Size,
    Transformation,
    border_median,
    rotation_matrix,
)
from sefl.groups import finite_group
from sefl.groups.spatial import Region, act_on_grid, inscribed_ball

Background = float | Literal["border"]

LATTICE_TOLERANCE = 1e-6  # that of act_on_grid


class OrthogonalAction(Transformation):
    """Move images by orthogonal matrices about their middle: ``(M x)(p) = x(M^-1 p)``.

    Exact where the matrix is a symmetry of the lattice of pixels, as that of 90 degrees. Any other interpolates
    (:func:`sefl.groups.spatial.act_on_grid`): the error then has a floor, which the monitor reports beside it, that
    of ``T^-1 T f(x)`` for ``f(x)``; and what comes in at the corners was never seen.

    A matrix that exchanges axes of different sizes applies to no image. On features the background is the median
    of the border in each channel, as for images by default.

    Args:
        background: what lies outside of the image: a number, or ``"border"``, the median of the pixels on the border
            of each image and channel, which is right for normalised images too.
        region: where features must agree under a matrix that interpolates: in the inscribed ``"disc"`` (ball), which
            stays inside the image and shows nothing that came in at the corners, or on the whole ``"image"``. Under a
            symmetry of the lattice the whole image counts.
    """

    def __init__(self, background: Background, region: Region) -> None:
        if isinstance(background, str):
            require_one_of("background", background, ("border",))
        require_one_of("region", region, ("disc", "image"))
        self.background = background
        self.region = region

    @abstractmethod
    def orthogonal(self, parameter: Parameter) -> NDArray[np.float64]:
        """The matrix."""

    @abstractmethod
    def all_parameters(self) -> list[Parameter]:
        """The parameters that apply to squares and cubes."""

    def parameters(self, image_size: Size) -> list[Parameter]:
        return [p for p in self.all_parameters() if _keeps_shape(self.orthogonal(p), image_size)]

    def image(self, images: Tensor, parameter: Parameter) -> Tensor:
        if self.background == "border":
            return self._move(images, self.orthogonal(parameter), border_median(images))
        return self._move(
            images, self.orthogonal(parameter), torch.full_like(images[:1, :1], self.background)
        )

    def grid(self, features: Tensor, parameter: Parameter, image_size: Size, output_size: Size) -> Tensor:
        matrix = self.orthogonal(parameter)
        if not _keeps_shape(matrix, tuple(features.shape[2:])):
            raise NotMeasurable(
                f"its output is {' x '.join(map(str, features.shape[2:]))}, which is not symmetric"
            )
        return self._move(features, matrix, border_median(features))

    def coefficients(
        self, features: Tensor, parameter: Parameter, image_size: Size, output_size: Size
    ) -> Tensor:
        raise NotMeasurable(
            "it puts out coefficients of periodic signals, which have no middle: take Flip and Rotation90 with "
            "center='pixel'"
        )

    def there_and_back(self, features: Tensor, parameter: Parameter) -> Tensor | None:
        matrix = self.orthogonal(parameter)
        if is_lattice_symmetry(matrix):
            return None
        background = border_median(features)
        return self._move(self._move(features, matrix, background), matrix.T, background)

    def compared(self, features: Tensor, parameter: Parameter) -> Tensor:
        if self.region == "image" or is_lattice_symmetry(self.orthogonal(parameter)):
            return features
        return features * inscribed_ball(tuple(features.shape[2:])).to(features)

    @staticmethod
    def _move(features: Tensor, matrix: NDArray[np.float64], background: Tensor) -> Tensor:
        if is_lattice_symmetry(matrix):
            return act_on_grid(features, matrix)  # to the last bit
        return act_on_grid(features - background, matrix) + background


class Rotation(OrthogonalAction):
    """Counter-clockwise rotations of images by any angles about the middle.

    The parameter is the angle in degrees. At multiples of 90 it is :class:`sefl.equivariance.Rotation90`, whose name it
    shares.

    Args:
        angles: in degrees, at least one, none a whole turn.
        background: what lies outside of the image; see :class:`OrthogonalAction`.
        region: where features must agree; see :class:`OrthogonalAction`.

    Raises:
        ValueError: if there are no angles, or one is not finite or leaves everything where it is.

    >>> Rotation([45, 22.5, 90.0]).parameters((28, 28))
    [22.5, 45, 90]
    >>> Rotation([45, 90]).parameters((28, 20))
    [45]
    """

    name = "rotate"

    def __init__(
        self, angles: list[int | float], background: Background = "border", region: Region = "disc"
    ) -> None:
        super().__init__(background, region)
        if not angles or not all(math.isfinite(angle) and angle % 360 for angle in angles):
            raise ValueError(f"angles must be degrees, at least one, none a multiple of 360, got {angles}")
        self.angles = sorted({int(angle) if angle == int(angle) else float(angle) for angle in angles})

    def all_parameters(self) -> list[Parameter]:
        return list(self.angles)

    def orthogonal(self, parameter: Parameter) -> NDArray[np.float64]:
        return rotation_matrix(float(parameter))


class GroupAction(OrthogonalAction):
    """The elements of a finite group, as they move images or, where its matrices are ``(3, 3)``, volumes.

    The parameter is the label of the element, such as ``"r^2s"``; the identity is left out.

    Args:
        group: its name, such as ``"C8"``, ``"D4"``, ``"O"``; see :func:`sefl.groups.finite_group`.
        elements: labels or generators of the group, by default all elements but the identity.
        background: what lies outside of the image; see :class:`OrthogonalAction`.
        region: where features must agree; see :class:`OrthogonalAction`.

    Raises:
        ValueError: if the group is unknown or moves no points, if an element is not in it, or there is none.

    >>> GroupAction("D2").parameters((28, 28))
    ['r', 's', 'rs']
    """

    def __init__(
        self,
        group: str,
        elements: list[str] | None = None,
        background: Background = "border",
        region: Region = "disc",
    ) -> None:
        super().__init__(background, region)
        self.group = finite_group(group)
        if self.group.matrices is None:
            raise ValueError(f"group must move points: {group} has no matrices")
        everything = range(len(self.group)) if elements is None else map(self.group.element, elements)
        chosen = [element for element in dict.fromkeys(everything) if element != self.group.identity]
        if not chosen:
            raise ValueError(f"elements must be at least one of {group} besides the identity, got {elements}")
        self.matrices = {self.group.labels[element]: self.group.matrices[element] for element in chosen}
        self.spatial_axes = (self.group.matrices.shape[-1],)
        self.name = f"act_{group}"

    def all_parameters(self) -> list[Parameter]:
        return list(self.matrices)

    def orthogonal(self, parameter: Parameter) -> NDArray[np.float64]:
        return np.asarray(self.matrices[str(parameter)], dtype=np.float64)


def is_lattice_symmetry(matrix: NDArray[np.float64]) -> bool:
    """Whether an orthogonal matrix moves pixels to pixels: a signed permutation.

    >>> is_lattice_symmetry(rotation_matrix(270)), is_lattice_symmetry(rotation_matrix(45))
    (True, False)
    """
    return bool(np.abs(matrix - np.rint(matrix)).max() < LATTICE_TOLERANCE)


def _keeps_shape(matrix: NDArray[np.float64], size: Size) -> bool:
    """Whether a lattice symmetry leaves a grid of this size, ``([depth,] height, width)``, as it is."""
    if not is_lattice_symmetry(matrix):
        return True
    by_point_axis = size[::-1]  # x is the last axis
    source = np.abs(matrix).argmax(axis=1)
    return all(by_point_axis[axis] == by_point_axis[origin] for axis, origin in enumerate(source))
