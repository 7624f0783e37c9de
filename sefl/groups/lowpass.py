"""Which blocks of signals on a group to keep, so that restriction to a subgroup loses nothing of them."""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from sefl.groups.blocks import Block, blocks
from sefl.groups.group import FloatArray, IntArray
from sefl.groups.subgroup import Subgroup

Equivariance = Literal["group", "subgroup"]
Fill = Literal["lowpass", "maximal"]

# Singular values below this are zero: rounding leaves 1e-12, a tight frame has one.
_ZERO = 1e-6
_SEED = 20250402
_GENERIC_LINES = 16


def lowpass_blocks(subgroup: Subgroup, equivariance: Equivariance, fill: Fill) -> list[Block]:
    """The kept blocks, mutually orthogonal, in the order of choice. See :func:`sefl.groups.bandlimit`."""
    if equivariance == "subgroup":
        return _partial_blocks(subgroup)
    kept, dropped = _whole_blocks(subgroup)
    if fill == "maximal":
        kept = kept + _fill_up(subgroup, kept, dropped)
    return kept


class _Samples:
    """Signals on ``H``, some directions of which are taken: ``taken``, ``(|H|, k)`` with orthonormal columns."""

    def __init__(self, subgroup: Subgroup) -> None:
        self.elements: IntArray = subgroup.elements
        self.scale = np.sqrt(subgroup.rate)  # a tight frame's samples have norm 1 / scale
        self.taken: FloatArray = np.zeros((len(subgroup.elements), 0))

    def free_part(self, block: Block) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Singular vectors and values of a block's samples less what is taken: in ``H``, values, in the block."""
        samples = self.scale * block.basis[self.elements]
        for _ in range(2):  # the second removes what rounding left
            samples = samples - self.taken @ (self.taken.T @ samples)
        left, values, right = np.linalg.svd(samples, full_matrices=False)
        significant = values > _ZERO
        return left[:, significant], values[significant], right[significant]

    def margin(self, block: Block) -> float:
        """How far a block is from aliasing: one in a tight frame, zero if samples do not determine it."""
        _, values, _ = self.free_part(block)
        return float(values.min()) if len(values) == block.dimension else 0.0

    def aliases_with_itself(self, block: Block) -> bool:
        return (
            int(np.linalg.matrix_rank(self.scale * block.basis[self.elements], tol=_ZERO)) < block.dimension
        )

    def take(self, block: Block) -> None:
        self.taken = np.concatenate([self.taken, self.free_part(block)[0]], axis=1)


def _whole_blocks(subgroup: Subgroup) -> tuple[list[Block], list[Block]]:
    """One pass from smooth to rough: what is kept, what is dropped."""
    samples = _Samples(subgroup)
    waiting = list(blocks(subgroup.parent))
    kept: list[Block] = []
    dropped: list[Block] = []
    while waiting:
        block = waiting.pop(0)
        if samples.margin(block) > 0:
            kept.append(block)
        elif not samples.aliases_with_itself(block):
            dropped.append(block)
            continue
        elif (mixed := _mix_with_partner(samples, block, waiting)) is not None:
            block, position, rest = mixed
            kept.append(block)
            waiting[position] = rest
        else:
            dropped.append(block)
        samples.take(block)  # of a dropped block too: a rougher alias must not take its place
    return kept, dropped


def _mix_with_partner(
    samples: _Samples, block: Block, waiting: list[Block]
) -> tuple[Block, int, Block] | None:
    """A 45-degree mix of a block and the smoothest of its irrep with which samples determine it.

    Returns:
        The mix, the partner's position in ``waiting`` and what is left of the two; ``None`` if there is no mix.
    """
    for position, partner in enumerate(waiting):
        if partner.irrep == block.irrep:
            mixes = [_combine([block, partner], line) for line in _ORTHOGONAL_MIXES]
            margins = [samples.margin(mix) for mix in mixes]
            best = int(np.argmax(margins))
            if margins[best] > 0:
                return mixes[best], position, mixes[1 - best]
    return None


_ORTHOGONAL_MIXES = np.array([[1.0, 1.0], [1.0, -1.0]]) / np.sqrt(2)


def _combine(parts: list[Block], line: FloatArray) -> Block:
    """The block of the unit vector ``line`` in the multiplicity space that ``parts`` span."""
    basis = np.tensordot(line, np.stack([part.basis for part in parts]), axes=1)
    smoothness = float(line**2 @ [part.smoothness for part in parts])
    return Block(basis, smoothness, parts[0].irrep)


def _fill_up(subgroup: Subgroup, kept: list[Block], dropped: list[Block]) -> list[Block]:
    """More blocks, out of all that was dropped, until samples determine no further one."""
    samples = _Samples(subgroup)
    for block in kept:
        samples.take(block)
    added: list[Block] = []
    pools: dict[int, list[Block]] = {}
    for block in dropped:
        pools.setdefault(block.irrep, []).append(block)
    for pool in pools.values():
        while pool:
            lines = list(_lines(len(pool)))
            margins = [samples.margin(_combine(pool, line)) for line in lines]
            best = int(np.argmax(margins))
            if margins[best] == 0:
                break
            block = _combine(pool, lines[best])
            added.append(block)
            samples.take(block)
            complement = np.linalg.svd(lines[best][None])[2][1:]
            pool[:] = [_combine(pool, line) for line in complement]
    return added


def _lines(count: int) -> Iterator[FloatArray]:
    """Unit vectors of ``R^count``: those of the axes, then generic ones."""
    yield from np.eye(count)
    if count > 1:
        for line in np.random.default_rng(_SEED).standard_normal((_GENERIC_LINES, count)):
            yield line / np.linalg.norm(line)


def _partial_blocks(subgroup: Subgroup) -> list[Block]:
    """Of each block, from smooth to rough, the part that samples determine beside what is kept."""
    samples = _Samples(subgroup)
    kept: list[Block] = []
    for block in blocks(subgroup.parent):
        left, _, right = samples.free_part(block)
        if len(right):
            kept.append(Block(block.basis @ right.T, block.smoothness, block.irrep))
            samples.taken = np.concatenate([samples.taken, left], axis=1)
    return kept
