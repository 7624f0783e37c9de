"""Bandlimited signals on a group as features: the few coefficients that determine them, and how the group moves those.

The signals that a bandlimit keeps (ICLR 2025) are a representation of the whole group ``G``, of dimension ``d`` at most
``|H|``. Their coefficients take no more memory than their samples on ``H``, and layers on them can commute with ``G``.
"""

import math
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from sefl.arguments import require_floating, require_integer, require_positive
from sefl.groups.bandlimit import Bandlimit, bandlimit, leading_bandlimit
from sefl.groups.blocks import Block, right_convolution
from sefl.groups.field import Element, RegularField
from sefl.groups.group import FloatArray, cyclic, dihedral
from sefl.groups.subgroup import Subgroup, subgroup_of

_TOLERANCE = 1e-9
_DIGITS = 6  # to which lengths are compared that rounding, in which machines differ, must not order


class BandlimitedField(RegularField):
    """Features ``(batch, fields * d, *space)``: the coefficients ``c`` of bandlimited signals ``E c`` on ``G``.

    The columns of ``E``, from smooth to rough, are orthonormal for the mean over ``G``: the first coefficient is the
    mean of the signal, where the band has the constants, and the sum of the squares of all its mean square. An element
    moves coefficients by the orthogonal matrix ``rho(g) = E^T L_g E / |G|``.

    Args:
        bandlimit: which signals: a closed form that commutes with all of ``G``.
        continuous: signals on the circle, ``SO(2)``, or on two of them, ``O(2)``: the trigonometric polynomials of
            which the bandlimit's are the samples on ``C_n`` or ``D_n``, ``n`` odd. See :func:`circular_field`.

    Attributes:
        bandlimit: the bandlimit.
        continuous: whether elements are all rotations, and reflections, of the plane.
        basis: ``E``, ``(|G|, d)``.
        widths: the dimensions of its irreducible blocks, which sum to ``d``.

    Raises:
        ValueError: if the bandlimit does not commute with ``G``.

    >>> from sefl.groups import cyclic
    >>> field = BandlimitedField(bandlimit(cyclic(12), "C6"))
    >>> field, field.channels, field.widths
    (BandlimitedField(C12 at 5 of 6 samples on C6), 5, (1, 2, 2))
    """

    def __init__(self, bandlimit: Bandlimit, continuous: bool = False) -> None:
        group = bandlimit.subgroup.parent
        commuting = right_convolution(group, bandlimit.projector[group.identity])
        if not bandlimit.kept or np.abs(bandlimit.projector - commuting).max() > _TOLERANCE:
            raise ValueError(
                f"bandlimit must commute with all of {group.name}, {bandlimit} does not: make it with "
                "equivariance='group' and design='closed_form'"
            )
        super().__init__(group, (bandlimit,))
        self.bandlimit = bandlimit
        self.continuous = continuous
        self.basis: FloatArray = math.sqrt(len(group)) * _canonical_basis(bandlimit)
        self.widths = tuple(block.dimension for block in bandlimit.kept)

    def __repr__(self) -> str:
        if self.continuous:
            return f"BandlimitedField({self.name} at {self.channels} coefficients)"
        return f"BandlimitedField({self.name} at {self.channels} of {len(self.fibre)} samples on {self.fibre.name})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BandlimitedField) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[Bandlimit, bool]:
        return self.bandlimit, self.continuous

    @property
    def name(self) -> str:
        """That of the group."""
        if not self.continuous:
            return self.group.name
        return "O(2)" if self.circle[1] else "SO(2)"

    @property
    def channels(self) -> int:
        """Of each field: ``d``."""
        return self.basis.shape[1]

    @cached_property
    def has_mean(self) -> bool:
        """Whether the first coefficient is the mean, which all bands have but some of ``fill="maximal"``."""
        return bool(np.abs(self.basis[:, 0] - 1).max() < _TOLERANCE)

    @cached_property
    def circle(self) -> tuple[int, bool]:
        """Rotations of a cyclic or dihedral group, and whether there are reflections.

        Raises:
            ValueError: if the group is another, or laid out otherwise.
        """
        size = len(self.group)
        for group, rotations in ((cyclic(size), size), (dihedral(max(1, size // 2)), size // 2)):
            if np.array_equal(group.table, self.group.table):
                return rotations, rotations < size
        raise ValueError(f"group must be cyclic or dihedral to have angles, got {self.group.name}")

    @cached_property
    def scalars(self) -> "BandlimitedField":
        """The field of constant signals, ``d = 1``: images that the group moves in space alone."""
        trivial = subgroup_of(self.group, [self.group.identity])
        return BandlimitedField(bandlimit(self.group, trivial), self.continuous)

    def leading(self, subgroup: Subgroup) -> "BandlimitedField":
        """The field of the first coefficients, as many as values on a smaller subgroup determine.

        Raises:
            ValueError: if ``subgroup`` is one of another group.
        """
        return BandlimitedField(leading_bandlimit(self.bandlimit, subgroup), self.continuous)

    def synthesis(self, angles: int | None = None) -> FloatArray:
        """``(points, d)``: from coefficients to values on ``G``, or at so many equidistant angles (of either side).

        Raises:
            ValueError: if there are too few angles for the band, or they are not those of all elements; or the group
                is neither cyclic nor dihedral.
        """
        if angles is None:
            return self.basis
        rotations, _ = self.circle
        angles = require_positive("angles", angles)
        if self.continuous and angles < rotations:
            raise ValueError(
                f"angles must be at least {rotations}, for a band of frequencies up to {rotations // 2}, got {angles}"
            )
        if not self.continuous and angles % rotations:
            raise ValueError(
                f"angles must be a multiple of the {rotations} of {self.group.name}, got {angles}"
            )
        return self._at(2 * np.pi / angles * np.arange(angles))

    def element(self, matrix: ArrayLike) -> Element | None:
        if not self.continuous:
            return super().element(matrix)
        matrix = np.asarray(matrix, dtype=np.float64)
        turns = matrix.shape == (2, 2) and (self.circle[1] or np.linalg.det(matrix) > 0)
        return matrix if turns else None

    def fibre_action(self, element: Element) -> FloatArray:
        """``rho(g)``, ``(d, d)``.

        Raises:
            ValueError: if ``element`` is not in ``G``.
        """
        if isinstance(element, int):
            moved_back = self.basis[self.group.table[self.group.inverse[self.group.element(element)]]]
        else:
            moved_back = self._moved_back(element)
        action: FloatArray = self.basis.T @ moved_back / len(self.group)
        return action

    def _moved_back(self, matrix: FloatArray) -> FloatArray:
        """``E`` at ``M^-1 a`` for all ``a``, of a rotation or reflection by any angle."""
        rotations, _ = self.circle
        angles = 2 * np.pi / rotations * np.arange(rotations)
        if np.linalg.det(matrix) > 0:
            return self._at(angles - math.atan2(matrix[1, 0], matrix[0, 0]))
        # M = r^t s with s the map x -> -x, and s r^a = r^-a s.
        values = self._at(math.atan2(-matrix[1, 0], -matrix[0, 0]) - angles)
        return np.concatenate([values[rotations:], values[:rotations]])

    def _at(self, angles: FloatArray) -> FloatArray:
        """``E`` at any angles, those of each side of a dihedral group one after the other."""
        rotations, _ = self.circle
        sides = self.basis.reshape(-1, rotations, self.channels)
        values: FloatArray = trigonometric_interpolation(rotations, angles) @ sides
        return values.reshape(-1, self.channels)

    def check(self, features: Tensor) -> None:
        require_floating("features", features)
        if features.dim() < 2 or features.shape[1] % self.channels:
            raise ValueError(
                f"features must be coefficients of signals on {self.name}, (batch, fields * {self.channels}, *space), "
                f"got shape {tuple(features.shape)}"
            )

    def _act_on_fibre(self, features: Tensor, element: Element) -> Tensor:
        return self._multiply_fibres(features, element)


@lru_cache(maxsize=64)
def circular_field(band: int, reflections: bool = False) -> BandlimitedField:
    """The signals on ``SO(2)``, or on ``O(2)``, of angular frequencies up to ``band``.

    Their values on ``C_n``, or on ``D_n``, determine them for ``n`` of at least ``2 band + 1``.

    Raises:
        ValueError: if ``band`` is negative.

    >>> circular_field(2), circular_field(2, reflections=True).widths
    (BandlimitedField(SO(2) at 5 coefficients), (1, 2, 1, 2, 2, 2))
    """
    rotations = 2 * require_integer("band", band, least=0) + 1
    group = dihedral(rotations) if reflections else cyclic(rotations)
    return BandlimitedField(bandlimit(group, group.name), continuous=True)


def trigonometric_interpolation(points: int, angles: FloatArray) -> FloatArray:
    """``(angles, points)``: values at any angles of the smoothest signal through equidistant points of the circle."""
    differences = angles[:, None] - 2 * np.pi / points * np.arange(points)
    frequencies = np.arange(points // 2 + 1)
    weights = np.where((frequencies == 0) | (2 * frequencies == points), 1.0, 2.0) / points
    matrix: FloatArray = np.cos(differences[..., None] * frequencies) @ weights
    return matrix


def _canonical_basis(bandlimit: Bandlimit) -> FloatArray:
    """``(|G|, d)``: of each block orthonormal signals that do not depend on how it was found."""
    return np.concatenate([_canonical(block) for block in bandlimit.kept], axis=1)


def _canonical(block: Block) -> FloatArray:
    """Gram-Schmidt on the columns of its projector, the longest first."""
    rest = block.basis @ block.basis.T
    columns = []
    for _ in range(block.dimension):
        lengths = np.round(len(rest) * np.einsum("xy,xy->y", rest, rest), _DIGITS)
        column = rest[:, int(np.argmax(lengths))]
        columns.append(column / np.linalg.norm(column))
        rest = rest - np.outer(columns[-1], columns[-1] @ rest)
    return np.stack(columns, axis=1)
