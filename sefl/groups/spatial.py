"""How orthogonal matrices move pixel and voxel grids, and group elements move regular fields on them."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional as F

from sefl.arguments import require_floating
from sefl.groups.group import FiniteGroup, FloatArray, IntArray
from sefl.tensors.graphs import outside_of_graphs

Region = Literal["disc", "image"]
"""What of an image counts: the inscribed disc (ball), which rotations leave as it is, or all of it."""

_TOLERANCE = 1e-6  # of the entries of an orthogonal matrix


def act_on_grid(features: Tensor, matrix: ArrayLike, background: float | Tensor = 0.0) -> Tensor:
    """Move features by an orthogonal matrix about the centre of their grid: ``(M f)(x) = f(M^-1 x)``.

    The axes are escnn's: the last one is ``x`` to the right, the one before ``-y`` and, of voxels, the first ``-z``,
    so that 90 degrees counter-clockwise are ``torch.rot90(features, 1, (-2, -1))``. A signed permutation matrix
    moves pixels and is exact; any other interpolates, bicubically between pixels and linearly between voxels.
    Linear in the features up to the background, and differentiable.

    Args:
        features: ``(batch, channels, height, width)`` or ``(batch, channels, depth, height, width)``.
        matrix: ``M``, ``(2, 2)`` or ``(3, 3)``, on ``(x, y)`` or ``(x, y, z)``.
        background: what lies outside of the grid, for all channels or ``(channels,)``.

    Returns:
        Features of the same shape, dtype and device.

    Raises:
        ValueError: if ``matrix`` is not orthogonal or of another dimension than the grid, if ``background`` is of
            another shape, or if a signed permutation exchanges axes of different sizes.
    """
    move = np.asarray(matrix, dtype=np.float64)
    _check(features, move)
    by_axis = _on_tensor_axes(move)
    if moves_pixels(by_axis):
        return _permute(features, np.rint(by_axis).astype(np.int64))
    return _interpolate(features, by_axis, _per_channel(background, features))


def act_on_fibre(features: Tensor, group: FiniteGroup, element: int) -> Tensor:
    """``L_g`` on the fibres alone, ``(L_g f)(x) = f(g^-1 x)``: a permutation of the channels of each field.

    Args:
        features: a regular field of ``group``, ``(batch, fields * |G|, *space)``, channel ``field * |G| + element``.
        group: ``G``.
        element: ``g``.

    Raises:
        ValueError: if the channels are no multiple of ``|G|`` or ``element`` is not in ``group``.
    """
    check_field(features, group)
    source = torch.as_tensor(group.table[group.inverse[group.element(element)]], device=features.device)
    moved: Tensor = features.unflatten(1, (-1, len(group))).index_select(2, source).flatten(1, 2)
    return moved


def act_on_field(
    features: Tensor, group: FiniteGroup, element: int, background: float | Tensor = 0.0
) -> Tensor:
    """``(g F)(x) = rho(g) F(g^-1 x)`` on a regular field: :func:`act_on_fibre`, and :func:`act_on_grid`.

    Args:
        features: ``(batch, fields * |G|, *space)`` with no spatial axes, or as many as ``group.matrices`` have.
        group: ``G``.
        element: ``g``.
        background: what lies outside of the grid; a tensor is per channel of the result.

    Raises:
        ValueError: if the channels are no multiple of ``|G|``, if ``element`` is not in ``group``, if there are
            spatial axes and the group does not move points of that dimension, and as in :func:`act_on_grid`.
    """
    moved = act_on_fibre(features, group, element)
    if features.dim() == 2:
        return moved
    return act_on_grid(moved, moves_of(group)[group.element(element)], background)


@outside_of_graphs  # group tables are numpy's, which would become tensors in a graph
def act_on_samples(
    features: Tensor,
    group: FiniteGroup,
    elements: Tensor,
    candidates: Sequence[int] | None = None,
    background: float | Tensor = 0.0,
) -> Tensor:
    """:func:`act_on_field` with an element of its own for each sample.

    Every candidate moves the whole batch, and each sample takes what its element made of it: no sample is handled
    on its own, and shapes do not depend on data.

    Args:
        features: ``(batch, fields * |G|, *space)``.
        group: ``G``.
        elements: ``(batch,)`` integers, an element for each sample.
        candidates: the elements that may occur; by default those that do.
        background: as in :func:`act_on_field`.

    Raises:
        ValueError: if ``elements`` are not one per sample, and as in :func:`act_on_field`.
    """
    if elements.shape != features.shape[:1]:
        raise ValueError(
            f"elements must be ({len(features)},), one per sample, got shape {tuple(elements.shape)}"
        )
    each = elements.reshape(-1, *[1] * (features.dim() - 1))
    moved = features
    for element in elements.unique().tolist() if candidates is None else candidates:
        moved = torch.where(each == element, act_on_field(features, group, element, background), moved)
    return moved


def check_field(features: Tensor, group: FiniteGroup) -> None:
    """Refuse what is no regular field of ``group``.

    Raises:
        TypeError: if ``features`` are not a floating-point tensor.
        ValueError: if ``features`` have no channels or these are no multiple of ``|G|``.
    """
    require_floating("features", features)
    if features.dim() < 2 or features.shape[1] % len(group):
        raise ValueError(
            f"features must be a regular field of {group.name}, (batch, fields * {len(group)}, *space), "
            f"got shape {tuple(features.shape)}"
        )


def moves_of(group: FiniteGroup) -> FloatArray:
    """``group.matrices``.

    Raises:
        ValueError: if the group has none.
    """
    if group.matrices is None:
        raise ValueError(
            f"{group.name} has no matrices, so it does not act on space: give features (batch, channels)"
        )
    return group.matrices


def _check(features: Tensor, matrix: FloatArray) -> None:
    dimensions = features.dim() - 2
    if dimensions not in (2, 3):
        raise ValueError(f"features must have 2 or 3 spatial axes, got shape {tuple(features.shape)}")
    if matrix.shape != (dimensions, dimensions):
        raise ValueError(
            f"matrix must be ({dimensions}, {dimensions}) as the grid has {dimensions} axes, got "
            f"{matrix.shape}"
        )
    if np.abs(matrix @ matrix.T - np.eye(dimensions)).max() > _TOLERANCE:
        raise ValueError(f"matrix must be orthogonal, got {matrix.tolist()}")


def _on_tensor_axes(matrix: FloatArray) -> FloatArray:
    """The matrix on the coordinates that the axes of a tensor have: ``(-y, x)`` or ``(-z, -y, x)``."""
    dimensions = len(matrix)
    axes = np.eye(dimensions)[::-1].copy()
    axes[:-1] *= -1
    return axes @ matrix @ axes.T


def moves_pixels(matrices: FloatArray) -> bool:
    """Whether orthogonal matrices, one or many, are signed permutations, which move pixels (cells) to pixels."""
    return bool(np.abs(matrices - np.rint(matrices)).max() < _TOLERANCE)


def sources_on_cells(group: FiniteGroup, fields: int, cells: int) -> IntArray:
    """Where ``L_g`` takes what it puts at each place of regular fields on a square from, for every element ``g``.

    Args:
        group: ``G``; its matrices move the square's cells to cells, or there is one cell.
        fields: of channels ``field * |G| + element``.
        cells: per side.

    Returns:
        Indices ``(|G|, fields * |G| * cells^2)`` into fields that are flattened.
    """
    places = np.arange(fields * len(group) * cells**2).reshape(fields, len(group), cells, cells)
    moved = []
    for element in range(len(group)):
        own = places[:, group.table[group.inverse[element]]]
        if cells > 1:
            source, flipped = _axes(np.rint(_on_tensor_axes(moves_of(group)[element])).astype(np.int64))
            own = np.flip(own.transpose(0, 1, *source + 2), flipped + 2)
        moved.append(own.reshape(-1))
    return np.stack(moved)


def _axes(matrix: IntArray) -> tuple[IntArray, IntArray]:
    """The axis that each axis comes from, and those that are reversed then, of a signed permutation."""
    return np.abs(matrix).argmax(axis=1), np.flatnonzero(matrix.sum(axis=1) < 0)


def _permute(features: Tensor, matrix: IntArray) -> Tensor:
    source, flipped = _axes(matrix)
    space = np.array(features.shape[2:])
    if (space[source] != space).any():
        raise ValueError(
            f"matrix exchanges axes of different sizes, {tuple(space.tolist())}: give features on a square or a cube"
        )
    moved = features.permute(0, 1, *(source + 2).tolist())
    return moved.flip((flipped + 2).tolist()) if len(flipped) else moved.contiguous()


def inscribed_ball(size: Sequence[int]) -> Tensor:
    """Which pixels (voxels) have their centres in the inscribed disc (ball): booleans of this size.

    >>> inscribed_ball((4, 4)).int()
    tensor([[0, 1, 1, 0],
            [1, 1, 1, 1],
            [1, 1, 1, 1],
            [0, 1, 1, 0]], dtype=torch.int32)
    """
    squares = [(torch.arange(n, dtype=torch.float64) - (n - 1) / 2).square() for n in size]
    distance = torch.zeros(tuple(size), dtype=torch.float64)
    for axis, square in enumerate(squares):
        distance += square[(..., *[None] * (len(size) - 1 - axis))]
    return distance <= (min(size) / 2) ** 2


def _interpolate(features: Tensor, matrix: FloatArray, background: Tensor) -> Tensor:
    # grid_sample counts from -1 to 1 on every axis, the last axis first, and has no half precision on CPUs.
    working = torch.promote_types(features.dtype, torch.float32)
    size = np.array(features.shape[2:], dtype=np.float64)
    to_source = matrix.T * size / size[:, None]
    theta = np.zeros((1, len(size), len(size) + 1))
    theta[0, :, :-1] = to_source[::-1, ::-1]
    shape = [1, 1, *features.shape[2:]]
    grid = F.affine_grid(torch.as_tensor(theta, device=features.device), shape, align_corners=False)
    moved = F.grid_sample(
        features.to(working) - background.to(working),
        grid.to(working).expand(len(features), *grid.shape[1:]),
        mode="bicubic" if len(size) == 2 else "bilinear",
        padding_mode="zeros",
        align_corners=False,
    )
    return (moved + background.to(working)).to(features.dtype)


def _per_channel(background: float | Tensor, features: Tensor) -> Tensor:
    value = torch.as_tensor(background, device=features.device)
    if value.dim() and value.shape != features.shape[1:2]:
        raise ValueError(
            f"background must be a number or of shape ({features.shape[1]},), one per channel, got {tuple(value.shape)}"
        )
    return value.reshape(-1, *[1] * (features.dim() - 2))
