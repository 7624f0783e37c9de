"""How many dimensions of signals on a group the values on a subgroup can determine, irrep by irrep.

A left-invariant space holds ``V_rho`` some number ``w_rho`` of times. Restriction to ``H`` maps its ``sigma``-isotypic
parts, ``sigma`` an irrep of ``H``, into those of ``R[H]``, so it can be injective only if, for every ``sigma``,

    sum over rho of  w_rho dim_sigma(Res rho)  <=  dim_sigma(R[H]).

The bound is sharp: an element of ``W_rho``, the dual of ``V_rho``, consists of free vectors, one for each copy of each
``sigma`` in ``Res rho``, and generic free vectors are independent as long as there is room for them.
"""

import numpy as np

from sefl.groups.blocks import blocks, characters
from sefl.groups.group import IntArray
from sefl.groups.subgroup import Subgroup

_Score = tuple[int, int, float]  # dimension, how much of it was wanted, minus the roughness
_State = tuple[int, ...]  # the room that is left for each irrep of H


def restricted_dimensions(subgroup: Subgroup) -> IntArray:
    """``dim_sigma(Res rho)``: ``(irreps of H, irreps of G)``, real dimensions of isotypic parts."""
    inner = characters(subgroup.group)
    size = len(subgroup.group)
    # The isotypic projector of sigma is the mean over h of dim(R[H]_sigma) / chi_sigma(e) * chi_sigma(h) L_h.
    weights = room(subgroup)[:, None] / inner[:, [subgroup.group.identity]] / size
    return np.rint((weights * inner) @ characters(subgroup.parent)[:, subgroup.elements].T).astype(np.int64)


def room(subgroup: Subgroup) -> IntArray:
    """``dim_sigma(R[H])`` of each irrep of ``H``: ``(irreps of H,)``."""
    found = blocks(subgroup.group)
    return np.bincount([block.irrep for block in found], [block.dimension for block in found]).astype(
        np.int64
    )


def dimension_bound(subgroup: Subgroup) -> int:
    """The largest dimension of a left-invariant space of signals on ``G`` on which restriction to ``H`` is injective.

    >>> from sefl.groups import cyclic, subgroup
    >>> dimension_bound(subgroup(cyclic(24), "C8")), dimension_bound(subgroup(cyclic(24), "C6"))
    (8, 5)
    """
    counts = best_multiplicities(subgroup, {})
    dimensions = {block.irrep: block.dimension for block in blocks(subgroup.parent)}
    return sum(count * dimensions[irrep] for irrep, count in counts.items())


def best_multiplicities(subgroup: Subgroup, wanted: dict[int, int]) -> dict[int, int]:
    """The multiplicities ``w_rho`` of the largest dimension; among those, near ``wanted``; among those, the smoothest.

    An integer programme, solved by dynamic programming over the room left in ``R[H]``, separately for sets of irreps
    that do not compete for the same room.

    Args:
        subgroup: ``H`` in ``G``.
        wanted: multiplicities to keep where the largest dimension allows it, by number of irrep.
    """
    uses = restricted_dimensions(subgroup)
    capacity = room(subgroup)
    roughness: dict[int, list[float]] = {}
    dimensions: dict[int, int] = {}
    for block in blocks(subgroup.parent):
        roughness.setdefault(block.irrep, []).append(round(block.dimension * block.smoothness, 6))
        dimensions[block.irrep] = block.dimension
    best: dict[int, int] = {}
    for irreps in _competitors(uses):
        rows = np.flatnonzero(uses[:, irreps].any(axis=1))
        full = int(capacity[rows].sum())
        if sum(wanted.get(irrep, 0) * dimensions[irrep] for irrep in irreps) == full:
            best |= {irrep: wanted.get(irrep, 0) for irrep in irreps}
            continue
        states: dict[_State, tuple[_Score, tuple[int, ...]]] = {
            tuple(capacity[rows].tolist()): ((0, 0, 0.0), ())
        }
        for irrep in irreps:
            use = uses[rows, irrep].tolist()
            following: dict[_State, tuple[_Score, tuple[int, ...]]] = {}
            for state, ((dimension, kept, smoothness), counts) in states.items():
                for count in range(len(roughness[irrep]) + 1):
                    left = tuple(have - count * need for have, need in zip(state, use, strict=True))
                    if min(left) < 0:
                        break
                    score = (
                        dimension + count * dimensions[irrep],
                        kept + min(count, wanted.get(irrep, 0)) * dimensions[irrep],
                        smoothness - sum(roughness[irrep][:count]),
                    )
                    if left not in following or score > following[left][0]:
                        following[left] = (score, (*counts, count))
            states = following
        _, counts = max(states.values())
        best |= dict(zip(irreps, counts, strict=True))
    return best


def _competitors(uses: IntArray) -> list[list[int]]:
    """The irreps of ``G`` in sets that share irreps of ``H`` among themselves only."""
    remaining = list(range(uses.shape[1]))
    sets: list[list[int]] = []
    while remaining:
        members = {remaining[0]}
        while True:
            rows = uses[:, sorted(members)].any(axis=1)
            joined = set(np.flatnonzero(uses[rows].any(axis=0)).tolist())
            if joined <= members:
                break
            members |= joined
        sets.append(sorted(members))
        remaining = [irrep for irrep in remaining if irrep not in members]
    return sets
