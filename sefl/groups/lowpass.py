"""Which blocks of signals on a group to keep, so that restriction to a subgroup loses nothing of them."""

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import numpy as np

from sefl.groups.blocks import Block, blocks
from sefl.groups.capacity import best_multiplicities
from sefl.groups.group import FloatArray, IntArray
from sefl.groups.subgroup import Subgroup

Equivariance = Literal["group", "subgroup"]
Fill = Literal["lowpass", "maximal"]

# Singular values of restriction, one in a tight frame, are compared to these digits: rounding leaves 1e-12 of a zero,
# and no bound must fall between the equal values of an irrep.
_DIGITS = 6
_ZERO = 10.0**-_DIGITS
# Below this, a block that almost aliases with itself is mixed with the next of its irrep, as one that does.
_WELL_CONDITIONED = 0.5
_SEED = 20250402
_GENERIC_LINES = 16


def lowpass_blocks(subgroup: Subgroup, equivariance: Equivariance, fill: Fill) -> list[Block]:
    """The kept blocks, mutually orthogonal, in the order of choice. See :func:`sefl.groups.bandlimit`."""
    if equivariance == "subgroup":
        return _partial_blocks(subgroup)
    kept, dropped = _whole_blocks(subgroup)
    if fill == "maximal" and sum(block.dimension for block in kept) < len(subgroup.elements):
        return _fill_up(subgroup, kept, dropped)
    return kept


def leading_blocks(subgroup: Subgroup, ordered: Sequence[Block]) -> list[Block]:
    """The first of the blocks, up to one that aliases with itself or with those before it."""
    samples = _Samples(subgroup)
    kept: list[Block] = []
    for block in ordered:
        if samples.margin(block.basis) < _WELL_CONDITIONED:
            break
        samples.take(block.basis)
        kept.append(block)
    return kept


class _Samples:
    """Signals on ``H``, some directions of which are taken: ``taken``, ``(|H|, k)`` with orthonormal columns."""

    def __init__(self, subgroup: Subgroup) -> None:
        self.elements: IntArray = subgroup.elements
        self.scale = np.sqrt(subgroup.rate)  # a tight frame's samples have norm 1 / scale
        self.taken: FloatArray = np.zeros((len(subgroup.elements), 0))

    def free_part(self, basis: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The samples of ``basis`` less what is taken: singular vectors on ``H``, values, vectors in the basis."""
        samples = self.scale * basis[self.elements]
        for _ in range(2):  # the second removes what rounding left
            samples = samples - self.taken @ (self.taken.T @ samples)
        left, values, right = np.linalg.svd(samples, full_matrices=False)
        return left, np.round(values, _DIGITS), right

    def margin(self, basis: FloatArray) -> float:
        """How far signals are from aliasing: one in a tight frame, zero if samples do not determine them."""
        if basis.shape[1] > len(self.elements) - self.taken.shape[1]:
            return 0.0
        return float(self.free_part(basis)[1].min())

    def own_margin(self, basis: FloatArray) -> float:
        """The same as if nothing were taken: zero if signals alias among themselves."""
        if basis.shape[1] > len(self.elements):
            return 0.0
        values = np.linalg.svd(self.scale * basis[self.elements], compute_uv=False)
        return round(float(values.min()), _DIGITS)

    def take(self, basis: FloatArray) -> None:
        left, values, _ = self.free_part(basis)
        self.taken = np.concatenate([self.taken, left[:, values > 0]], axis=1)


def _whole_blocks(subgroup: Subgroup) -> tuple[list[Block], list[Block]]:
    """One pass from smooth to rough: what is kept, what is dropped."""
    samples = _Samples(subgroup)
    waiting = list(blocks(subgroup.parent))
    kept: list[Block] = []
    dropped: list[Block] = []
    while waiting:
        pool, line, margin = _best_mix(samples, waiting)
        if margin >= _WELL_CONDITIONED:
            kept.append(_combine(pool, line))
            samples.take(kept[-1].basis)
            waiting = [block for block in waiting if block not in pool] + _complement(pool, line)
            waiting.sort(key=lambda block: round(block.smoothness, 9))
        else:
            dropped.append(waiting.pop(0))
            if samples.own_margin(dropped[-1].basis) < _WELL_CONDITIONED:
                samples.take(dropped[-1].basis)  # a rougher alias must not take its place
    return kept, dropped


def _fill_up(subgroup: Subgroup, kept: list[Block], dropped: list[Block]) -> list[Block]:
    """As many blocks of each irrep as the largest dimension takes: those kept, and lines out of those dropped."""
    wanted: dict[int, int] = {}
    for block in kept:
        wanted[block.irrep] = wanted.get(block.irrep, 0) + 1
    missing = best_multiplicities(subgroup, wanted)
    samples = _Samples(subgroup)
    filled: list[Block] = []
    pools: dict[int, list[Block]] = {}
    for block in kept:
        if missing[block.irrep] > 0:
            missing[block.irrep] -= 1
            samples.take(block.basis)
            filled.append(block)
        else:
            pools.setdefault(block.irrep, []).append(block)
    for block in dropped:
        pools.setdefault(block.irrep, []).append(block)
    for irrep, pool in pools.items():
        for _ in range(missing[irrep]):
            line, _ = _best_line(samples, pool)
            filled.append(_combine(pool, line))
            samples.take(filled[-1].basis)
            pool = _complement(pool, line)
    return filled


def _partial_blocks(subgroup: Subgroup) -> list[Block]:
    """Of each block, from smooth to rough, the part that samples determine beside what is kept."""
    samples = _Samples(subgroup)
    kept: list[Block] = []
    waiting = list(blocks(subgroup.parent))
    for least in (_WELL_CONDITIONED, _ZERO):
        rest: list[Block] = []
        for block in waiting:
            left, values, right = samples.free_part(block.basis)
            free = values >= least
            if free.any():
                kept.append(Block(block.basis @ right[free].T, block.smoothness, block.irrep))
                samples.taken = np.concatenate([samples.taken, left[:, free]], axis=1)
            if not free.all():
                rest.append(Block(block.basis @ right[~free].T, block.smoothness, block.irrep))
        waiting = rest
    return kept


def _best_mix(samples: _Samples, waiting: list[Block]) -> tuple[list[Block], FloatArray, float]:
    """How to keep the first block that waits: a pool of blocks, a line in it, and the margin of that line.

    The pool are the blocks of this irrep and smoothness, and if they alias with themselves those of the next
    smoothness of the irrep with which the mix does not.
    """
    pool = _level(waiting)
    line, margin = _best_line(samples, pool)
    if margin < _WELL_CONDITIONED and max(samples.own_margin(b.basis) for b in pool) < _WELL_CONDITIONED:
        rougher = [block for block in waiting if block.irrep == pool[0].irrep and block not in pool]
        while rougher:
            partners = _level(rougher)
            mixed_line, mixed_margin = _best_line(samples, pool + partners)
            if mixed_margin >= _WELL_CONDITIONED:
                return pool + partners, mixed_line, mixed_margin
            rougher = [block for block in rougher if block not in partners]
    return pool, line, margin


def _level(waiting: list[Block]) -> list[Block]:
    """The first block and the others of its irrep that are as smooth."""
    return [
        block
        for block in waiting
        if block.irrep == waiting[0].irrep and abs(block.smoothness - waiting[0].smoothness) < _ZERO
    ]


def _best_line(samples: _Samples, pool: list[Block]) -> tuple[FloatArray, float]:
    """The line in the multiplicity space that ``pool`` spans of the largest margin, the first of equals."""
    lines = _lines(len(pool))
    margins = [samples.margin(_combine(pool, line).basis) for line in lines]
    best = int(np.argmax(margins))
    return lines[best], margins[best]


def _lines(count: int) -> list[FloatArray]:
    """Unit vectors of ``R^count``: the axes, their 45-degree mixes, and generic ones if there are more than two."""
    axes = np.eye(count)
    lines = list(axes)
    for first, second in combinations(axes, 2):
        lines += [(first + second) / np.sqrt(2), (first - second) / np.sqrt(2)]
    if count > 2:
        generic = np.random.default_rng(_SEED).standard_normal((_GENERIC_LINES, count))
        lines += list(generic / np.linalg.norm(generic, axis=1, keepdims=True))
    return lines


def _combine(pool: list[Block], line: FloatArray) -> Block:
    """The block of the unit vector ``line`` in the multiplicity space that ``pool`` spans."""
    basis = sum(weight * block.basis for weight, block in zip(line, pool, strict=True))
    smoothness = sum(weight**2 * block.smoothness for weight, block in zip(line, pool, strict=True))
    return Block(np.asarray(basis), float(smoothness), pool[0].irrep)


def _complement(pool: list[Block], line: FloatArray) -> list[Block]:
    """The blocks that ``line`` leaves of ``pool``, from smooth to rough."""
    # A reflection, and a fixed choice among equals: rounding, in which machines differ, must not turn the lines.
    axis = np.eye(len(line))[0]
    normal = line + (axis if line[0] >= 0 else -axis)
    others = (np.eye(len(line)) - 2 * np.outer(normal, normal) / (normal @ normal))[1:]
    smoothness = np.array([block.smoothness for block in pool])
    _, turn = np.linalg.eigh(np.round((others * smoothness) @ others.T, _DIGITS))
    lines = turn.T @ others
    leading = np.argmax(np.abs(np.round(lines, _DIGITS)), axis=1)
    lines *= np.sign(lines[np.arange(len(lines)), leading])[:, None]
    return [_combine(pool, other) for other in lines]
