"""Which group of ours a ``GSpace`` of escnn's has, and which subgroup one space is of another."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
from escnn import gspaces
from escnn.gspaces import GSpace

from sefl.groups.convolution import moving_matrices
from sefl.groups.group import FiniteGroup, FloatArray
from sefl.groups.subgroup import Subgroup


def subspace_of(space: GSpace, below: Any) -> tuple[GSpace, Subgroup]:
    """The space of a subgroup, and that subgroup as one of ours.

    Args:
        space: of a finite group ``G``.
        below: what ``space.restrict`` takes; or the space of ``H`` itself, such as ``rot2dOnR3(4)`` within
            ``octaOnR3()``, for which escnn has no identifier.

    Returns:
        The space of ``H``, and ``H`` in ``G`` with the elements in the order of the regular representations.

    Raises:
        ValueError: if ``below`` is the space of no subgroup of ``G``. What ``space.restrict`` refuses it says itself.
    """
    inner = below if isinstance(below, GSpace) else space.restrict(below)[0]
    return inner, _embedded(space, inner)


@lru_cache(maxsize=256)
def _embedded(space: GSpace, inner: GSpace) -> Subgroup:
    group, subgroup = FiniteGroup.from_escnn(space), FiniteGroup.from_escnn(inner)
    matrices, found = moving_matrices(subgroup), []
    if matrices.shape[1:] == moving_matrices(group).shape[1:]:
        found = [group.element_of_matrix(matrix) for matrix in matrices]
    if not found or None in found:
        raise ValueError(f"below must be the space of a subgroup of {space}, got {inner}")
    return Subgroup(group, subgroup, np.array(found))


@lru_cache(maxsize=256)
def space_of(group: FiniteGroup) -> GSpace:
    """The space of escnn's on whose regular fields ``group`` acts as on ours.

    Args:
        group: any of rotations and reflections of the plane that :func:`sefl.groups.finite_group` or a subgroup of one
            is; of space ``O``, ``Oh``, ``I``, and rotations about the ``z`` axis.

    Raises:
        ValueError: if escnn has none with these matrices and this order of elements.
    """
    matrices = moving_matrices(group)
    for space in _candidates(matrices):
        theirs = FiniteGroup.from_escnn(space)
        if np.array_equal(theirs.table, group.table) and np.allclose(moving_matrices(theirs), matrices):
            return space
    raise ValueError(
        f"group must be of a space of escnn's, with the elements in its order, got {group.name}: give C_n, D_n, O, Oh, "
        "I, or subgroups in the plane; or the FieldType itself"
    )


def _candidates(matrices: FloatArray) -> list[GSpace]:
    size = len(matrices)
    turning = np.linalg.det(matrices) > 0
    if matrices.shape[1] == 2:
        if turning.all():
            return [gspaces.rot2dOnR2(size)]
        mirror = matrices[np.flatnonzero(~turning)[0]]
        axis = math.atan2(mirror[1, 0], mirror[0, 0]) % (2 * math.pi) / 2
        return [gspaces.flipRot2dOnR2(size // 2, axis=axis)]
    makers = {24: gspaces.octaOnR3, 48: gspaces.fullOctaOnR3, 60: gspaces.icoOnR3}
    return [gspaces.rot2dOnR3(size), *([makers[size]()] if size in makers else [])]
