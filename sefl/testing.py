"""Assertions for the tests of networks and layers: that they are equivariant up to rounding."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sefl.equivariance import GroupAction, IdealDownsampling, Transformation, measure

TOLERANCES = {torch.float64: 1e-24, torch.float32: 1e-10, torch.bfloat16: 1e-2, torch.float16: 1e-4}
"""The relative squared error that rounding may cause, by the type of the images."""


def assert_scale_equivariant(
    network: nn.Module,
    images: Tensor,
    resolutions: Sequence[int] | None = None,
    layers: Sequence[str] = ("",),
    tolerance: float | None = None,
) -> None:
    """Assert that features of ideally downsampled images are the ideally downsampled features: ``f(D_r x) = D_r f(x)``.

    The definition of Rahman & Yeh, NeurIPS 2023. Features may be pixel grids of any stride, nested coefficients of a
    :class:`sefl.fourier.CoefficientModule`, or bands.

    Args:
        network: of images, called as ``network(images)``.
        images: ``(batch, channels, height, width)``, or signals ``(batch, channels, length)``.
        resolutions: pixels per side to downsample to. By default all from the network's ``base_resolution``, or from 8.
        layers: which, as for :func:`sefl.equivariance.measure`; by default the network as a whole.
        tolerance: the largest relative squared error of an image, by default :data:`TOLERANCES` of the images' type.

    Raises:
        AssertionError: with layer, resolution and error, of whatever is above the tolerance or cannot be measured.
        ValueError: as :func:`sefl.equivariance.measure`.

    >>> assert_scale_equivariant(nn.Conv2d(1, 2, 1), torch.randn(2, 1, 12, 12))
    >>> assert_scale_equivariant(nn.ReLU(), torch.randn(2, 1, 10, 10).double(), [9])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    AssertionError: ReLU: not equivariant (torch.float64, tolerance 1e-24): downsample 9, error ...
    """
    downsampling = IdealDownsampling(None if resolutions is None else list(resolutions))
    _assert_equivariant(network, images, downsampling, layers, tolerance)


def assert_group_equivariant(
    network: nn.Module,
    images: Tensor,
    group: str,
    elements: Sequence[str] | None = None,
    layers: Sequence[str] = ("",),
    tolerance: float | None = None,
) -> None:
    """Assert that features of moved images are the moved features, ``f(g x) = g f(x)``, for elements of a group.

    Features may be pixel grids, invariant vectors ``(batch, features)`` or regular fields, which say so: see
    :class:`sefl.equivariance.layer_outputs.LayerOutput`.

    Args:
        network: of images, called as ``network(images)``.
        images: ``(batch, channels, height, width)``, or volumes ``(batch, channels, depth, height, width)``.
        group: its name, such as ``"D4"`` or ``"O"``. Elements that do not map the grid to itself, such as rotations by
            45 degrees, are interpolated, and want a tolerance of your own.
        elements: labels or generators, by default all but the identity.
        layers: which, as for :func:`sefl.equivariance.measure`; by default the network as a whole.
        tolerance: the largest relative squared error of an image, by default :data:`TOLERANCES` of the images' type.

    Raises:
        AssertionError: with layer, element and error, of whatever is above the tolerance or cannot be measured.
        ValueError: as :func:`sefl.equivariance.measure`, or if the group or an element is unknown.

    >>> pool = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())
    >>> assert_group_equivariant(pool, torch.randn(2, 1, 8, 8), "D4")
    """
    action = GroupAction(group, None if elements is None else list(elements))
    _assert_equivariant(network, images, action, layers, tolerance)


def _assert_equivariant(
    network: nn.Module,
    images: Tensor,
    transformation: Transformation,
    layers: Sequence[str],
    tolerance: float | None,
) -> None:
    if tolerance is None and images.dtype not in TOLERANCES:
        raise ValueError(
            f"images must be of one of {list(TOLERANCES)}, or tolerance given, got {images.dtype}"
        )
    allowed = TOLERANCES[images.dtype] if tolerance is None else tolerance
    table = measure(network, images, [transformation], layers)

    def name(layer: str) -> str:
        return layer or type(network).__name__

    unmeasured = [f"{name(layer)}: not measured: {why}" for (layer, _), why in table.unmeasured.items()]
    broken: dict[str, list[str]] = {}
    for row in table:
        if row.transformation == transformation.name and not row.max <= allowed:
            broken.setdefault(name(row.layer), []).append(
                f"{transformation.name} {row.parameter}, error {row.max:.1e}"
            )
    where = f"not equivariant ({images.dtype}, tolerance {allowed:g})"
    lines = [*unmeasured, *(f"{layer}: {where}: {'; '.join(found)}" for layer, found in broken.items())]
    if lines:
        raise AssertionError("\n".join(lines))
