"""Transformations of images and signals and what each does to features, for ``callbacks.EquivarianceMonitor``.

A layer ``f`` is equivariant to ``T`` when ``f(T x) = T f(x)``. A transformation says what ``T`` is on images
and on the kinds of features that have spatial axes: pixel grids, nested Fourier coefficients and, through the
orthogonal matrix by which it moves points, regular fields of a group.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import product
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sefl.arguments import require_one_of
from sefl.fourier import downsample, to_coefficients, to_grid
from sefl.fourier.sampling import Center

Parameter = int | float | str
Size = tuple[int, ...]

DEFAULT_BASE_RESOLUTION = 8


def parameter_order(parameter: Parameter) -> tuple[bool, float, str]:
    """Sorts parameters: numbers by size, then words, the powers of one letter together and by their exponents.

    >>> sorted(["vertical", 90, 8, 22.5], key=parameter_order)
    [8, 22.5, 90, 'vertical']
    >>> sorted(["s", "r^10", "r^2s", "r", "rs", "r^9"], key=parameter_order)
    ['r', 'r^9', 'r^10', 'rs', 'r^2s', 's']
    """
    if isinstance(parameter, str):
        letters = re.sub(r"[\d^]", "", parameter)
        padded = re.sub(r"\d+", lambda digits: digits[0].zfill(6), parameter)
        return True, 0, f"{letters} {len(padded):3} {padded}"
    return False, parameter, ""


class NotMeasurable(ValueError):
    """Why a layer's equivariance cannot be measured; the monitor reports it and goes on with other layers."""


def center_of(model: nn.Module) -> Center:
    """What the grids of a model share: its ``sampling_center``, by default the first pixel."""
    center: Center = getattr(model, "sampling_center", "pixel")
    return center


class Transformation(ABC):
    """A family of transformations ``T_p``, one for each parameter ``p``: a resolution, an angle, a shift.

    To add one, implement :meth:`parameters` and :meth:`grid`; :meth:`image` and :meth:`coefficients` follow
    from :meth:`grid` where they are not overridden. One that moves points by a rotation or a reflection, so that
    it acts on the fibres of regular fields, implements :meth:`orthogonal` too; one that interpolates,
    :meth:`there_and_back`. Tensors are float64.

    Attributes:
        name: in logged names and tables, unique among the transformations of one monitor.
        spatial_axes: how many the inputs that it transforms may have: 1 for signals, 2 for images, 3 for volumes.
            Below, images stand for all of them: shapes have as many spatial axes, and sizes as many numbers.
        center: what stays where it is under :meth:`orthogonal`: the middle of the ``"image"`` or the first
            ``"pixel"``.
    """

    name: str
    spatial_axes: tuple[int, ...] = (2,)
    center: Center = "image"

    def setup(self, model: nn.Module) -> None:
        """Look at the model before the first measurement; nothing by default."""
        return None

    @abstractmethod
    def parameters(self, image_size: Size) -> list[Parameter]:
        """The parameters that apply to images of this ``(height, width)``; none is fine."""

    def orthogonal(self, parameter: Parameter) -> NDArray[np.float64] | None:
        """The orthogonal matrix by which ``T`` moves points ``(x, y)`` or ``(x, y, z)`` about its center.

        ``None``, by default, says that it acts on no fibre of a regular field, as shifts and downsampling.
        """
        return None

    def image(self, images: Tensor, parameter: Parameter) -> Tensor:
        """``T x`` for images ``(batch, channels, height, width)``."""
        size = tuple(images.shape[2:])
        return self.grid(images, parameter, image_size=size, output_size=size)

    @abstractmethod
    def grid(self, features: Tensor, parameter: Parameter, image_size: Size, output_size: Size) -> Tensor:
        """``T f(x)`` for features on a pixel grid ``(batch, channels, h, w)``.

        Args:
            features: the layer's output for the untransformed image.
            parameter: one of :meth:`parameters`.
            image_size: ``(height, width)`` of the untransformed image.
            output_size: ``(h, w)`` of the layer's output for the transformed image.

        Raises:
            NotMeasurable: if no ``T`` leads from these features to ones of ``output_size``.
        """

    def coefficients(
        self, features: Tensor, parameter: Parameter, image_size: Size, output_size: Size
    ) -> Tensor:
        """``T f(x)`` for nested coefficients ``(K1, K2, batch, channels)``.

        By default they are shown on a grid of ``K1 x K2`` points, which loses nothing, and transformed there.
        """
        on_grid = to_grid(features, tuple(features.shape[:-2]))
        return to_coefficients(self.grid(on_grid, parameter, image_size, output_size))

    def there_and_back(self, features: Tensor, parameter: Parameter) -> Tensor | None:
        """``T^-1 T f(x)`` on a pixel grid where ``T`` interpolates, ``None`` where it does not, as by default.

        Its distance from ``f(x)`` is the floor of the equivariance error: what the interpolation alone costs.
        """
        return None

    def compared(self, features: Tensor, parameter: Parameter) -> Tensor:
        """``T f(x)`` or ``f(T x)`` on a pixel grid, with zeros where they need not agree; by default as they are."""
        return features


class IdealDownsampling(Transformation):
    """``D_r``: keep the frequencies that ``r`` pixels hold, and sample them on ``r`` points per side.

    The parameter is the resolution ``r``, the height of the downsampled image or the length of the signal; a width
    other than the height shrinks in proportion. Only resolutions below the image's own apply. Features shrink to
    whatever size the layer gives for the downsampled image; coefficients by a slice.

    Args:
        resolutions: the resolutions ``r``. By default all integers from the model's ``base_resolution``, or
            from 8 if it has no such attribute.
        sampling_center: where grids lie, see :func:`sefl.fourier.downsample`; by default as the model's attribute of
            this name says, ``"pixel"`` if it has none.

    Raises:
        ValueError: if a resolution is not a positive integer.

    >>> IdealDownsampling([8, 14, 20]).parameters((20, 20))
    [8, 14]
    """

    name = "downsample"
    spatial_axes = (1, 2)

    def __init__(self, resolutions: list[int] | None = None, sampling_center: Center | None = None) -> None:
        if resolutions is not None and (not resolutions or min(resolutions) < 1):
            raise ValueError(f"resolutions must be positive integers, at least one, got {resolutions}")
        self.resolutions = None if resolutions is None else sorted(set(resolutions))
        self.base_resolution = DEFAULT_BASE_RESOLUTION
        self.given_center = sampling_center
        self.sampling_center: Center = sampling_center or "pixel"

    def setup(self, model: nn.Module) -> None:
        base = getattr(model, "base_resolution", None)
        self.base_resolution = DEFAULT_BASE_RESOLUTION if base is None else int(base)
        self.sampling_center = self.given_center or center_of(model)

    def parameters(self, image_size: Size) -> list[Parameter]:
        below = range(self.base_resolution, min(image_size)) if self.resolutions is None else self.resolutions
        return [resolution for resolution in below if resolution < min(image_size)]

    def image(self, images: Tensor, parameter: Parameter) -> Tensor:
        resolution, first = int(parameter), images.shape[2]
        size = tuple(max(1, round(resolution * n / first)) for n in images.shape[2:])
        return downsample(images, size, self.sampling_center)

    def grid(self, features: Tensor, parameter: Parameter, image_size: Size, output_size: Size) -> Tensor:
        _require_no_larger(output_size, tuple(features.shape[-len(output_size) :]))
        return downsample(features, output_size, self.sampling_center)

    def coefficients(
        self, features: Tensor, parameter: Parameter, image_size: Size, output_size: Size
    ) -> Tensor:
        _require_no_larger(output_size, tuple(features.shape[:-2]))
        return features[tuple(slice(count) for count in output_size)]


class Composition(Transformation):
    """One transformation after the other, ``T_2 T_1``: turn, then downsample.

    The parameters are all pairs, such as ``"r then 14"``.

    Args:
        first: ``T_1``.
        second: ``T_2``, of which the parameters are those for the original images too.

    >>> turned = Composition(Rotation90([1]), IdealDownsampling([8, 14]))
    >>> turned.name, turned.parameters((28, 28))
    ('rotate_then_downsample', ['90 then 8', '90 then 14'])
    """

    def __init__(self, first: Transformation, second: Transformation) -> None:
        self.first, self.second = first, second
        self.name = f"{first.name}_then_{second.name}"
        self.spatial_axes = tuple(axes for axes in first.spatial_axes if axes in second.spatial_axes)
        self.center = first.center
        self._pairs: dict[Parameter, tuple[Parameter, Parameter]] = {}

    def setup(self, model: nn.Module) -> None:
        for each in (self.first, self.second):
            each.setup(model)

    def parameters(self, image_size: Size) -> list[Parameter]:
        pairs = product(self.first.parameters(image_size), self.second.parameters(image_size))
        named: dict[Parameter, tuple[Parameter, Parameter]] = {
            f"{one} then {two}": (one, two) for one, two in pairs
        }
        self._pairs |= named
        return list(named)

    def orthogonal(self, parameter: Parameter) -> NDArray[np.float64] | None:
        one, two = (
            each.orthogonal(its)
            for each, its in zip((self.first, self.second), self._pairs[parameter], strict=True)
        )
        return one if two is None else two if one is None else two @ one

    def image(self, images: Tensor, parameter: Parameter) -> Tensor:
        one, two = self._pairs[parameter]
        return self.second.image(self.first.image(images, one), two)

    def grid(self, features: Tensor, parameter: Parameter, image_size: Size, output_size: Size) -> Tensor:
        one, two = self._pairs[parameter]
        size = tuple(features.shape[-len(image_size) :])
        return self.second.grid(
            self.first.grid(features, one, image_size, size), two, image_size, output_size
        )

    def coefficients(
        self, features: Tensor, parameter: Parameter, image_size: Size, output_size: Size
    ) -> Tensor:
        one, two = self._pairs[parameter]
        moved = self.first.coefficients(features, one, image_size, tuple(features.shape[:-2]))
        return self.second.coefficients(moved, two, image_size, output_size)


class Flip(Transformation):
    """Mirror images left to right (``horizontal``) or top to bottom (``vertical``).

    Of signals there is ``horizontal`` alone, which reverses the time.

    Args:
        axis: which of the two.
        center: what stays where it is. ``"image"``: the middle of the grid (``torch.flip``), the symmetry of
            ordinary zero-padded layers. ``"pixel"``: the first pixel, ``j -> -j mod n``, the symmetry of
            periodic layers, which differs by a shift of one pixel. Coefficients of a periodic layer want
            ``"pixel"``: on their own grid of ``K`` points the middle is that of the image only where the
            image has ``K`` pixels.

    >>> Flip("horizontal").image(torch.tensor([[[[1.0, 2.0, 3.0]]]]), "horizontal")
    tensor([[[[3., 2., 1.]]]])
    >>> Flip("horizontal", center="pixel").image(torch.tensor([[[[1.0, 2.0, 3.0]]]]), "horizontal")
    tensor([[[[1., 3., 2.]]]])
    """

    def __init__(
        self, axis: Literal["horizontal", "vertical"] = "horizontal", center: Center = "image"
    ) -> None:
        require_one_of("axis", axis, ("horizontal", "vertical"))
        require_one_of("center", center, ("image", "pixel"))
        self.axis = axis
        self.spatial_axes = (1, 2) if axis == "horizontal" else (2,)
        self.center = center
        self.name = f"flip_{axis}" if center == "image" else f"flip_{axis}_about_{center}"

    def parameters(self, image_size: Size) -> list[Parameter]:
        return [self.axis]

    def orthogonal(self, parameter: Parameter) -> NDArray[np.float64]:
        return np.diag([-1.0, 1.0] if self.axis == "horizontal" else [1.0, -1.0])

    def grid(self, features: Tensor, parameter: Parameter, image_size: Size, output_size: Size) -> Tensor:
        dimension = -1 if self.axis == "horizontal" else -2
        flipped = features.flip(dimension)
        return flipped.roll(1, dimension) if self.center == "pixel" else flipped


class Rotation90(Transformation):
    """Counter-clockwise rotations by multiples of 90 degrees.

    The parameter is the angle in degrees.

    Args:
        turns: how many quarter turns, each of 1, 2, 3.
        center: the fixed point, as for :class:`Flip`.

    Raises:
        ValueError: if a turn is not 1, 2 or 3.

    >>> Rotation90([1, 2]).parameters((28, 28))
    [90, 180]
    """

    def __init__(self, turns: Sequence[int] = (1, 2, 3), center: Center = "image") -> None:
        require_one_of("center", center, ("image", "pixel"))
        if not turns or not set(turns) <= {1, 2, 3}:
            raise ValueError(f"turns must be among 1, 2, 3, at least one, got {list(turns)}")
        self.turns = sorted(set(turns))
        self.center = center
        self.name = "rotate" if center == "image" else f"rotate_about_{center}"

    def parameters(self, image_size: Size) -> list[Parameter]:
        return [90 * turns for turns in self.turns]

    def orthogonal(self, parameter: Parameter) -> NDArray[np.float64]:
        return rotation_matrix(float(parameter))

    def grid(self, features: Tensor, parameter: Parameter, image_size: Size, output_size: Size) -> Tensor:
        for _ in range(int(parameter) // 90):
            features = features.rot90(1, (-2, -1))
            if self.center == "pixel":
                features = features.roll(1, -2)
        return features


class CircularShift(Transformation):
    """Shift down and right by whole pixels of the image; what leaves at one side comes in at the other.

    Signals are shifted to later times. The parameter is the number of pixels. On features of another size than the
    image's the shift covers the same fraction of the side; where that is no whole number of samples, they are shifted
    by trigonometric interpolation.

    Args:
        pixels: the shifts. Those as large as the image do not apply.

    Raises:
        ValueError: if a shift is not positive.

    >>> CircularShift([1]).image(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), 1)
    tensor([[[[4., 3.],
              [2., 1.]]]])
    """

    name = "shift"
    spatial_axes = (1, 2)

    def __init__(self, pixels: Sequence[int] = (1, 2, 4)) -> None:
        if not pixels or min(pixels) < 1:
            raise ValueError(f"pixels must be positive, at least one, got {list(pixels)}")
        self.pixels = sorted(set(pixels))

    def parameters(self, image_size: Size) -> list[Parameter]:
        return [pixels for pixels in self.pixels if pixels < min(image_size)]

    def grid(self, features: Tensor, parameter: Parameter, image_size: Size, output_size: Size) -> Tensor:
        axes = len(image_size)
        size = tuple(features.shape[-axes:])
        shifts = [divmod(int(parameter) * n, pixels) for n, pixels in zip(size, image_size, strict=True)]
        if not any(rest for _, rest in shifts):
            return features.roll([whole for whole, _ in shifts], tuple(range(-axes, 0)))
        shifted = self.coefficients(to_coefficients(features), parameter, image_size, output_size)
        return to_grid(shifted, size)

    def coefficients(
        self, features: Tensor, parameter: Parameter, image_size: Size, output_size: Size
    ) -> Tensor:
        for axis, pixels in enumerate(image_size):
            matrix = _shift_matrix(features.shape[axis], int(parameter) / pixels, features)
            features = torch.tensordot(matrix, features, dims=([1], [axis])).movedim(0, axis)
        return features


def border_median(features: Tensor) -> Tensor:
    """The median over the outermost pixels of each sample and channel: ``(batch, channels, 1, ...)``."""
    border = torch.ones(features.shape[2:], dtype=torch.bool, device=features.device)
    border[tuple(slice(1, -1) for _ in border.shape)] = False
    median = features[:, :, border].median(dim=2).values
    return median[(..., *[None] * border.dim())]


def rotation_matrix(degrees: float) -> NDArray[np.float64]:
    """Rotates points ``(x, y)`` counter-clockwise; exact at multiples of 90 degrees.

    >>> rotation_matrix(90).tolist()
    [[0.0, -1.0], [1.0, 0.0]]
    """
    quarters, rest = divmod(degrees, 90)
    cosine, sine = math.cos(math.radians(rest)), math.sin(math.radians(rest))
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    turned = np.linalg.matrix_power(quarter, int(quarters) % 4) @ np.array([[cosine, -sine], [sine, cosine]])
    return np.asarray(turned + 0.0, dtype=np.float64)  # without negative zeros


def _shift_matrix(count: int, fraction: float, like: Tensor) -> Tensor:
    """Shift ``count`` nested coefficients of one axis by this fraction of the period: plane rotations."""
    matrix = torch.zeros(count, count, dtype=torch.float64)
    matrix[0, 0] = 1
    for frequency in range(1, count // 2 + 1):
        angle = 2 * math.pi * frequency * fraction
        cosine, sine = math.cos(angle), math.sin(angle)
        plane = slice(2 * frequency - 1, 2 * frequency + 1)
        matrix[plane, plane] = torch.tensor([[cosine, -sine], [sine, cosine]], dtype=torch.float64)
    return matrix.to(like)


def _require_no_larger(output_size: Size, size: Size) -> None:
    if any(now > before for now, before in zip(output_size, size, strict=True)):
        before, now = (" x ".join(map(str, counts)) for counts in (size, output_size))
        raise NotMeasurable(f"its output grows from {before} to {now} when the image is downsampled")
