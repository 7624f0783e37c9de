"""Finite groups: a multiplication table and, where the group moves points of space, its matrices."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import permutations
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sefl.arguments import require_integer, require_positive

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class FiniteGroup:
    """A finite group ``G`` whose elements are the integers ``0 .. |G| - 1``.

    Named groups have their elements in escnn's order, so that signals on them are laid out as in escnn's regular
    fields: the rotation ``r^k`` of ``C_n`` is element ``k``; of ``D_n``, which has ``2 n`` elements, element ``k`` is
    ``r^k`` and element ``n + k`` is ``r^k s``, with ``s`` the reflection ``x -> -x``. The identity need not come first.

    Attributes:
        name: such as ``"C8"``, ``"D12"`` (24 elements), ``"O"``.
        table: ``(|G|, |G|)``; ``table[g, h]`` is the element ``g h``.
        labels: what to call each element.
        generators: named elements that generate the group: ``r`` and ``s`` of a dihedral group.
        matrices: ``(|G|, d, d)``, how the elements move points of ``R^d``, ``(x, y)`` or ``(x, y, z)``; ``None`` for
            a group that is given without.
    """

    name: str
    table: IntArray
    labels: tuple[str, ...]
    generators: Mapping[str, int]
    matrices: FloatArray | None = None

    @classmethod
    def from_table(
        cls,
        table: ArrayLike,
        name: str = "G",
        labels: Sequence[str] | None = None,
        generators: Mapping[str, int] | Sequence[int] | None = None,
        matrices: ArrayLike | None = None,
    ) -> "FiniteGroup":
        """The group of a multiplication table.

        Args:
            table: ``(n, n)`` integers, ``table[g][h]`` the element ``g h``.
            name: what to call the group.
            labels: what to call its elements; by default ``e`` and ``g0, g1, ...``.
            generators: elements that generate it, by name or as a list; by default a smallest-first choice.
            matrices: ``(n, d, d)``, an orthogonal representation by which the elements move points.

        Raises:
            ValueError: if the table is no group, if ``generators`` do not generate it, or if ``matrices`` do not
                multiply as the table does.

        >>> FiniteGroup.from_table([[0, 1], [1, 0]], name="parity")
        FiniteGroup('parity', 2 elements)
        """
        array = np.asarray(table)
        _check_table(array)
        array = array.astype(np.int64)
        size = len(array)
        if labels is None:
            identity = _identity(array)
            labels = ["e" if element == identity else f"g{element}" for element in range(size)]
        labels = tuple(labels)
        if len(labels) != size or len(set(labels)) != size:
            raise ValueError(f"labels must be {size} different names, one per element, got {len(labels)}")
        group = cls(name, array, labels, {}, None)
        if generators is None:
            generators = _choose_generators(group)
        if not isinstance(generators, Mapping):
            generators = {labels[element]: int(element) for element in generators}
        if len(group.generated_by(list(generators.values()))) != size:
            raise ValueError(f"generators {dict(generators)} do not generate all {size} elements of {name}")
        moves = None
        if matrices is not None:
            moves = np.asarray(matrices, dtype=np.float64)
            if moves.ndim != 3 or moves.shape[0] != size or moves.shape[1] != moves.shape[2]:
                raise ValueError(f"matrices must be ({size}, d, d), one per element, got shape {moves.shape}")
            if not np.allclose(moves[:, None] @ moves[None], moves[array], atol=1e-6):
                raise ValueError(f"matrices must multiply as the table of {name} does")
        return cls(name, array, labels, dict(generators), moves)

    @classmethod
    def from_escnn(cls, space: Any) -> "FiniteGroup":
        """The group of a ``GSpace`` of escnn's, elements in its order, so that its regular fields are ours.

        Args:
            space: an ``escnn.gspaces.GSpace`` of the plane or of space, such as ``flipRot2dOnR2(4)``.

        Returns:
            the same object for the same space; for those of :func:`finite_group` that group.

        Raises:
            TypeError: if ``space`` is no such space.
            ValueError: if its group is continuous.
        """
        if getattr(space, "basespace_action", None) is None:
            raise TypeError(
                f"space must be a GSpace of escnn's that moves points, got {space}: give rot2dOnR2(8) or its like"
            )
        return _from_escnn(space)

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        return f"FiniteGroup({self.name!r}, {len(self)} elements)"

    def moves_as(self, other: "FiniteGroup") -> bool:
        """Whether both have the same table and the same matrices, as a group and a copy of it have."""
        mine, theirs = self.matrices, other.matrices
        if not np.array_equal(self.table, other.table) or mine is None or theirs is None:
            return self is other
        return mine.shape == theirs.shape and np.allclose(mine, theirs)

    @cached_property
    def identity(self) -> int:
        """The element ``e``."""
        return _identity(self.table)

    @cached_property
    def inverse(self) -> IntArray:
        """``(|G|,)``: the inverse of each element."""
        inverse: IntArray = np.argmax(self.table == self.identity, axis=1)
        return inverse

    @cached_property
    def element_orders(self) -> IntArray:
        """``(|G|,)``: the least ``k >= 1`` with ``g^k = e``, of each element."""
        orders = np.ones(len(self), dtype=np.int64)
        power = np.arange(len(self))
        while (unfinished := power != self.identity).any():
            orders += unfinished
            power = np.where(unfinished, self.table[power, np.arange(len(self))], self.identity)
        return orders

    @cached_property
    def conjugacy_classes(self) -> list[IntArray]:
        """The classes ``{x g x^-1}``, each sorted, in the order of their first elements."""
        everything = np.arange(len(self))
        conjugates = self.table[self.table, self.inverse[:, None]]  # [x, g] -> x g x^-1
        classes: dict[tuple[int, ...], None] = {}
        for element in everything:
            classes.setdefault(tuple(np.unique(conjugates[:, element]).tolist()), None)
        return [np.array(members) for members in classes]

    def element(self, name: str | int) -> int:
        """The element called ``name``: a generator's name, a label, or the number itself.

        Raises:
            ValueError: if there is none.
        """
        if isinstance(name, str):
            if name in self.generators:
                return self.generators[name]
            if name in self.labels:
                return self.labels.index(name)
            raise ValueError(
                f"element {name!r} is not in {self.name}: give a generator ({', '.join(self.generators)}), "
                f"a label ({', '.join(self.labels[:6])}, ...) or a number from 0 to {len(self) - 1}"
            )
        if not isinstance(name, Integral) or isinstance(name, bool) or not 0 <= int(name) < len(self):
            raise ValueError(f"element {name} is not in {self.name}: give a number from 0 to {len(self) - 1}")
        return int(name)

    def power(self, element: int, exponent: int) -> int:
        """``g^k`` for ``k >= 0``."""
        result = self.identity
        for _ in range(exponent % int(self.element_orders[element])):
            result = int(self.table[result, element])
        return result

    def generated_by(self, elements: Sequence[int]) -> IntArray:
        """The elements of the subgroup that ``elements`` generate, sorted."""
        reached = np.zeros(len(self), dtype=bool)
        reached[self.identity] = True
        frontier = np.array([self.identity])
        steps = np.asarray(elements, dtype=np.int64)
        while len(frontier):
            following = np.zeros(len(self), dtype=bool)
            following[self.table[frontier[:, None], steps]] = True
            frontier = np.flatnonzero(following & ~reached)
            reached[frontier] = True
        return np.flatnonzero(reached)

    def left_translation(self, element: int) -> FloatArray:
        """``L_g`` on signals, ``(L_g f)(x) = f(g^-1 x)``: a permutation matrix ``(|G|, |G|)``."""
        matrix = np.zeros((len(self), len(self)))
        matrix[self.table[element], np.arange(len(self))] = 1
        return matrix

    def element_of_matrix(self, matrix: ArrayLike, tolerance: float = 1e-6) -> int | None:
        """The element that moves points as ``matrix`` does, ``None`` if there is none.

        Raises:
            ValueError: if the group has no :attr:`matrices`, or of another dimension.
        """
        matrix = np.asarray(matrix, dtype=np.float64)
        if self.matrices is None or matrix.shape != self.matrices.shape[1:]:
            shape = None if self.matrices is None else self.matrices.shape[1:]
            raise ValueError(f"matrix must be of the shape of {self.name}'s, {shape}, got {matrix.shape}")
        distance = np.abs(self.matrices - matrix).max(axis=(1, 2))
        nearest = int(distance.argmin())
        return nearest if distance[nearest] < tolerance else None


@lru_cache(maxsize=64)
def finite_group(name: str) -> FiniteGroup:
    """The group of a name.

    ``C8`` (8 rotations), ``D12`` (12 rotations and 12 reflections), ``T``, ``O``, ``I`` (rotations of the tetrahedron,
    octahedron, icosahedron), ``Oh`` (all 48 symmetries of the octahedron), ``S4`` (permutations), and products such as
    ``C4xC2``.

    Raises:
        ValueError: for another name.

    >>> finite_group("D12"), finite_group("C4xC2")
    (FiniteGroup('D12', 24 elements), FiniteGroup('C4xC2', 8 elements))
    """
    if "x" in name:
        first, second = name.split("x", maxsplit=1)
        return product(finite_group(first), finite_group(second))
    polyhedral: dict[str, Callable[[], FiniteGroup]] = {
        "T": tetrahedral,
        "O": octahedral,
        "Oh": full_octahedral,
        "I": icosahedral,
    }
    if name in polyhedral:
        return polyhedral[name]()
    match = re.fullmatch(r"([CDS])([1-9]\d*)", name)
    if match is None:
        raise ValueError(
            f"group {name!r} is unknown: give C1, C2, ..., D1, D2, ... (D12 has 24 elements), T, O, Oh, I, "
            "S1, ..., S6, or a product such as C4xC2"
        )
    families: dict[str, Callable[[int], FiniteGroup]] = {"C": cyclic, "D": dihedral, "S": symmetric}
    return families[match[1]](int(match[2]))


@lru_cache(maxsize=64)
def cyclic(order: int) -> FiniteGroup:
    """``C_n``: the rotations of the plane by multiples of ``360 / n`` degrees, counter-clockwise.

    Raises:
        ValueError: if ``order`` is not positive.
    """
    order = require_positive("order", order)
    k = np.arange(order)
    return FiniteGroup(
        name=f"C{order}",
        table=(k[:, None] + k) % order,
        labels=tuple("e" if power == 0 else _power("r", power) for power in k),
        generators={"r": 1} if order > 1 else {},
        matrices=_rotations(order),
    )


@lru_cache(maxsize=64)
def dihedral(order: int) -> FiniteGroup:
    """``D_n``: ``n`` rotations of the plane, ``r^k``, and ``n`` reflections, ``r^k s`` with ``s`` the map ``x -> -x``.

    Raises:
        ValueError: if ``order`` is not positive.
    """
    order = require_positive("order", order)
    k = np.arange(order)
    plus, minus = (k[:, None] + k) % order, (k[:, None] - k) % order
    rotations = _rotations(order)
    return FiniteGroup(
        name=f"D{order}",
        table=np.block([[plus, plus + order], [minus + order, minus]]),
        labels=tuple(
            "".join((_power("r", power), "s" * mirrored)) or "e"
            for mirrored in (0, 1)
            for power in k.tolist()
        ),
        generators={"r": 1, "s": order} if order > 1 else {"s": 1},
        matrices=np.concatenate([rotations, rotations @ np.diag([-1.0, 1.0])]),
    )


def trivial() -> FiniteGroup:
    """The group of one element, acting on the plane."""
    return cyclic(1)


@lru_cache(maxsize=1)
def octahedral() -> FiniteGroup:
    """``O``: the 24 rotations of the octahedron, in escnn's order."""
    return _from_matrices("O", np.round(_rotations_of_quaternions(_OCTAHEDRAL)))


@lru_cache(maxsize=1)
def full_octahedral() -> FiniteGroup:
    """``Oh``: the 48 symmetries of the octahedron in escnn's order, those of ``O`` first; ``i`` is the inversion."""
    rotations = octahedral()
    assert rotations.matrices is not None
    inversion = len(rotations) + rotations.identity
    generators = {**rotations.generators, "i": inversion}
    return _from_matrices("Oh", np.concatenate([rotations.matrices, -rotations.matrices]), generators)


@lru_cache(maxsize=1)
def icosahedral() -> FiniteGroup:
    """``I``: the 60 rotations of the icosahedron, in escnn's order."""
    return _from_matrices("I", _rotations_of_quaternions(_ICOSAHEDRAL))


@lru_cache(maxsize=1)
def tetrahedral() -> FiniteGroup:
    """``T``: the 12 rotations of the tetrahedron, in the order that they have in ``O``."""
    group = octahedral()
    assert group.matrices is not None
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    moved = corners @ group.matrices.transpose(0, 2, 1)  # (|O|, 4, 3)
    kept = np.flatnonzero((np.prod(moved, axis=2) > 0).all(axis=1))
    position = np.full(len(group), -1)
    position[kept] = np.arange(len(kept))
    return FiniteGroup.from_table(
        position[group.table[np.ix_(kept, kept)]], name="T", matrices=group.matrices[kept]
    )


@lru_cache(maxsize=8)
def symmetric(degree: int) -> FiniteGroup:
    """``S_n``: the permutations of ``n`` things, in lexicographic order, generated by a swap and a cycle.

    Raises:
        ValueError: if ``degree`` is not from 1 to 6 (720 elements).
    """
    degree = require_integer("degree", degree, least=1, most=6)
    elements = list(permutations(range(degree)))
    index = {element: position for position, element in enumerate(elements)}
    table = [[index[tuple(g[h[i]] for i in range(degree))] for h in elements] for g in elements]
    generators = {}
    if degree > 1:
        generators["swap"] = index[(1, 0, *range(2, degree))]
    if degree > 2:
        generators["cycle"] = index[(*range(1, degree), 0)]
    labels = ["".join(map(str, element)) for element in elements]
    return FiniteGroup.from_table(table, f"S{degree}", labels, generators)


def product(first: FiniteGroup, second: FiniteGroup) -> FiniteGroup:
    """The direct product: element ``i |B| + j`` is the pair of element ``i`` of ``first`` and ``j`` of ``second``."""
    size = len(second)
    table = first.table[:, None, :, None] * size + second.table[None, :, None, :]
    count = len(first) * size
    generators = {f"{name}1": element * size for name, element in first.generators.items()}
    generators |= {f"{name}2": element for name, element in second.generators.items()}
    return FiniteGroup(
        name=f"{first.name}x{second.name}",
        table=table.reshape(count, count),
        labels=tuple(f"({a},{b})" for a in first.labels for b in second.labels),
        generators=generators,
    )


_QUATERNION_PARTS = {
    "0": 0.0,
    "1": 1.0,
    "h": 0.5,
    "s": 0.5**0.5,
    "p": (5**0.5 + 1) / 4,
    "q": (5**0.5 - 1) / 4,
}
"""What a letter stands for in the unit quaternions ``x y z w`` below, ``w`` the real part; capitals are negative."""

_OCTAHEDRAL = """
    1000 0100 0010 0001 hHHh hHhh hhHh hhhh Hhhh HhHh HHhh HHHh
    s00s 0s0s 00ss 00Ss 0S0s S00s 0ss0 0Ss0 s0s0 S0s0 ss00 Ss00
"""

_ICOSAHEDRAL = """
    1000 0100 0010 0001 hHHh hHhh hhHh hhhh Hhhh HhHh HHhh HHHh
    hqp0 HQp0 hp0q HP0q hQp0 Hqp0 hP0q Hp0q h0qp H0Qp h0Qp H0qp
    qh0p QH0p qph0 qpH0 qH0p Qh0p QpH0 Qph0 q0ph Q0Ph q0Ph Q0ph
    phq0 phQ0 pq0h PQ0h pHq0 pHQ0 pQ0h Pq0h p0hq P0Hq p0Hq P0hq
    0hpq 0HPq 0hPq 0Hpq 0qhp 0QHp 0qHp 0Qhp 0pqh 0PQh 0pQh 0Pqh
"""


def _rotations_of_quaternions(words: str) -> FloatArray:
    """The rotations of space by the quaternions of a table: ``(count, 3, 3)``."""
    negative = {letter.upper(): -value for letter, value in _QUATERNION_PARTS.items() if letter.isalpha()}
    parts = _QUATERNION_PARTS | negative
    x, y, z, w = np.array([[parts[letter] for letter in word] for word in words.split()]).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.array(rows).transpose(2, 0, 1)


def _from_matrices(
    name: str, matrices: FloatArray, generators: Mapping[str, int] | None = None
) -> FiniteGroup:
    return FiniteGroup.from_table(_products(matrices), name, generators=generators, matrices=matrices)


def _products(matrices: FloatArray) -> IntArray:
    """``(|G|, |G|)``: which matrix the product of two is."""
    products = matrices[:, None] @ matrices[None]
    nearest: IntArray = np.abs(products[:, :, None] - matrices).max(axis=(3, 4)).argmin(axis=2)
    return nearest


_OF_ESCNN = {"Octahedral": "O", "FullOctahedral": "Oh", "Icosahedral": "I"}


@lru_cache(maxsize=256)
def _from_escnn(space: Any) -> FiniteGroup:
    theirs = space.fibergroup
    if theirs.order() < 1:
        raise ValueError(f"space must be one of a finite group, got {space}: give rot2dOnR2(8) or its like")
    matrices = np.stack([space.basespace_action(element) for element in theirs.elements])
    table = _products(matrices)
    name = _OF_ESCNN.get(theirs.name, theirs.name)
    known = finite_group(name) if re.fullmatch(r"[CD]\d+|Oh?|I", name) else None
    if known is None or not np.array_equal(known.table, table):
        return FiniteGroup.from_table(table, name, matrices=matrices)
    made = FiniteGroup.from_table(table, name, known.labels, known.generators, matrices)
    return known if known.moves_as(made) else made


def _rotations(order: int) -> FloatArray:
    angle = 2 * np.pi * np.arange(order) / order
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)


def _power(letter: str, exponent: int) -> str:
    return "" if exponent == 0 else letter if exponent == 1 else f"{letter}^{exponent}"


def _choose_generators(group: FiniteGroup) -> list[int]:
    """Elements of the highest order first, each of which enlarges the subgroup that those before it generate."""
    chosen: list[int] = []
    reached = group.generated_by(chosen)
    for element in np.argsort(-group.element_orders, kind="stable").tolist():
        if element not in reached:
            chosen.append(element)
            reached = group.generated_by(chosen)
    return chosen


def _check_table(table: NDArray[Any]) -> None:
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not np.issubdtype(table.dtype, np.integer):
        raise ValueError(
            f"table must be a square matrix of integers, got shape {table.shape} of {table.dtype}"
        )
    size = len(table)
    everything = np.arange(size)
    if (
        size == 0
        or not (np.sort(table, 0) == everything[:, None]).all()
        or not (np.sort(table) == everything).all()
    ):
        raise ValueError(f"table must have each of 0..{size - 1} once in every row and every column")
    identity = _identity(table)
    if not ((table[identity] == everything).all() and (table[:, identity] == everything).all()):
        raise ValueError("table must have an identity: a row and the same column that count from 0 up")
    if not (table[table] == table[everything[:, None, None], table]).all():
        raise ValueError("table must be associative: (a b) c = a (b c)")


def _identity(table: NDArray[Any]) -> int:
    return int((table == np.arange(len(table))).all(axis=1).argmax())
