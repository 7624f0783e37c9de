"""The smallest spaces of signals on a group that left translation keeps, from smooth to rough.

Real signals on ``G`` split into isotypic components ``V_rho (x) W_rho``, one per real irrep ``rho``. Left translation
acts on ``V_rho`` alone, right convolution on ``W_rho`` alone, so a line ``w`` in a multiplicity space ``W_rho`` gives
an irreducible left-invariant space, the block ``V_rho (x) w``. Eigenspaces of a symmetric right convolution consist of
whole blocks: those of the Cayley graph's Laplacian order the blocks by smoothness, and a generic one tells all of
them apart. On the cyclic group the blocks are the frequencies, the pairs of cosine and sine.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sefl.groups.group import FiniteGroup, FloatArray

# Two eigenvalues are the same below this; those of generic elements come far apart, rounding is near 1e-14.
_SAME = 1e-9
_SEED = 20250401


@dataclass(frozen=True, eq=False)
class Block:
    """A left-irreducible space ``V_rho (x) w`` of signals on ``G``.

    Attributes:
        basis: ``(|G|, d)``, orthonormal columns. Blocks of one irrep have matching bases: left translation has the
            same matrix in each, and mixing the bases of two blocks mixes their lines ``w``.
        smoothness: the eigenvalue of the Cayley graph's Laplacian, zero for constant signals, larger for rougher ones;
            of a mixed block, the mean ``<w, L w>``.
        irrep: the number of ``rho``, counted from zero in the order in which the irreps first appear.
    """

    basis: FloatArray
    smoothness: float
    irrep: int

    @property
    def dimension(self) -> int:
        """``d``, the real dimension of ``V_rho``."""
        return self.basis.shape[1]


def right_convolution(group: FiniteGroup, kernel: FloatArray) -> FloatArray:
    """The matrix ``C[x, y] = c(x^-1 y)`` of a kernel ``c`` on ``G``: ``(|G|,)`` to ``(|G|, |G|)``.

    These matrices are exactly those that commute with every left translation.
    """
    matrix: FloatArray = kernel[group.table[group.inverse]]
    return matrix


def cayley_laplacian(group: FiniteGroup) -> FloatArray:
    """``(|G|, |G|)``: the Laplacian ``L = degree - adjacency`` of the Cayley graph of ``group.generators``.

    The graph joins ``x`` to ``x s`` and ``x s^-1`` for each generator ``s``. It depends on the generators, and so does
    what counts as smooth.
    """
    steps = np.fromiter(group.generators.values(), dtype=np.int64)
    steps = np.setdiff1d(np.concatenate([steps, group.inverse[steps]]), [group.identity])
    kernel = np.zeros(len(group))
    kernel[steps] = -1
    kernel[group.identity] = len(steps)
    return right_convolution(group, kernel)


@lru_cache(maxsize=256)
def blocks(group: FiniteGroup) -> tuple[Block, ...]:
    """All blocks of ``R[G]``, mutually orthogonal, the smoothest first; together they are a basis of all signals.

    Where an eigenspace of the Laplacian holds several lines of one ``W_rho``, a fixed random element of the right
    group algebra chooses among them.

    >>> from sefl.groups import cyclic
    >>> [(block.dimension, round(block.smoothness, 3)) for block in blocks(cyclic(6))]
    [(1, 0.0), (2, 1.0), (2, 3.0), (1, 4.0)]
    """
    random = np.random.default_rng(_SEED)
    generic = random.standard_normal(len(group))
    symmetric = right_convolution(group, generic + generic[group.inverse])
    found: list[tuple[float, int, float, FloatArray]] = []
    for smoothness, level in _eigenspaces(cayley_laplacian(group)):
        for label, basis in _eigenspaces(level.T @ symmetric @ level):
            found.append((round(smoothness, 9) + 0.0, basis.shape[1], label, level @ basis))
    found.sort(key=lambda block: block[:3])

    # A generic right convolution maps a block onto each other block of its irrep, and to zero in other irreps.
    transfer = right_convolution(group, random.standard_normal(len(group)))
    ordered: list[Block] = []
    first: list[FloatArray] = []  # of each irrep, its first block's image under the transfer
    for smoothness, dimension, _, basis in found:
        for irrep, image in enumerate(first):
            match = basis.T @ image
            size = float(np.linalg.norm(match))
            if size > _SAME * len(group):
                ordered.append(Block(basis @ match * (np.sqrt(dimension) / size), smoothness, irrep))
                break
        else:
            ordered.append(Block(basis, smoothness, len(first)))
            first.append(transfer @ basis)
    return tuple(ordered)


@lru_cache(maxsize=256)
def characters(group: FiniteGroup) -> FloatArray:
    """``chi_rho(g)``, the trace of ``g`` in each real irrep: ``(irreps, |G|)``, numbered as in :func:`blocks`."""
    dimension: dict[int, int] = {}
    kernels: dict[int, FloatArray] = {}  # of the isotypic projectors, proportional to the characters
    for block in blocks(group):
        dimension[block.irrep] = block.dimension
        kernel = block.basis @ block.basis[group.identity]
        kernels[block.irrep] = kernels.get(block.irrep, 0) + kernel
    return np.stack([dimension[irrep] * kernel / kernel[group.identity] for irrep, kernel in kernels.items()])


def _eigenspaces(symmetric: FloatArray) -> list[tuple[float, FloatArray]]:
    """Eigenvalues, ascending, with orthonormal bases of their eigenspaces."""
    values, vectors = np.linalg.eigh(symmetric)
    ends = np.flatnonzero(np.diff(values) > _SAME * max(1.0, float(np.abs(values).max()))) + 1
    return [
        (float(part.mean()), basis)
        for part, basis in zip(np.split(values, ends), np.split(vectors, ends, axis=1), strict=True)
    ]
