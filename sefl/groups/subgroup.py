"""Subgroups of a finite group: uniform ones along a generator of the Cayley graph, by name, and all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from numbers import Integral
from typing import Any

import numpy as np

from sefl.arguments import require_positive
from sefl.groups.group import FiniteGroup, IntArray


@dataclass(frozen=True, eq=False, repr=False)
class Subgroup:
    """A subgroup ``H`` of ``G``.

    The elements of ``H`` are laid out as escnn lays out a group of that type: a cyclic ``H`` as the powers of its
    first generator, a dihedral ``H`` as its rotations followed by its reflections, so that features restricted to
    ``H`` are a regular field of ``H``.

    Attributes:
        parent: ``G``.
        group: ``H`` as a group of its own, with the matrices that its elements have in ``G``.
        elements: ``(|H|,)``, which element of ``G`` each element of ``H`` is.
    """

    parent: FiniteGroup
    group: FiniteGroup
    elements: IntArray

    def __repr__(self) -> str:
        return f"Subgroup({self.name})"

    @property
    def name(self) -> str:
        """Such as ``"C4 < C8 {e, r^2, r^4, r^6}"``."""
        shown = ", ".join(self.parent.labels[element] for element in self.elements[:8])
        return f"{self.group.name} < {self.parent.name} {{{shown}{', ...' * (len(self.elements) > 8)}}}"

    @property
    def rate(self) -> int:
        """The index of ``H`` in ``G``, ``|G| / |H|``."""
        return len(self.parent) // len(self.group)

    @cached_property
    def coset_of(self) -> IntArray:
        """``(|G|,)``: the number of the left coset ``g H`` of each element, in the order of their first elements."""
        members = np.sort(self.parent.table[:, self.elements], axis=1)
        cosets: IntArray = np.unique(members[:, 0], return_inverse=True)[1]
        return cosets

    @cached_property
    def coset_representatives(self) -> IntArray:
        """``(rate,)``: an element of each left coset, the identity of its own coset and the first of the others."""
        representatives = np.unique(self.coset_of, return_index=True)[1]
        representatives[self.coset_of[self.parent.identity]] = self.parent.identity
        return representatives

    @property
    def right_coset_representatives(self) -> IntArray:
        """``(rate,)``: an element of each right coset ``H g``, the inverses of :attr:`coset_representatives`."""
        return self.parent.inverse[self.coset_representatives]

    @cached_property
    def position(self) -> IntArray:
        """``(|G|,)``: the element of ``H`` that an element of ``G`` is, ``-1`` for those outside."""
        position = np.full(len(self.parent), -1)
        position[self.elements] = np.arange(len(self.elements))
        return position


def subgroup_of(group: FiniteGroup, elements: Sequence[int] | IntArray) -> Subgroup:
    """The subgroup that consists of ``elements``, in any order.

    Raises:
        ValueError: if they are not closed under multiplication.
    """
    members = np.unique(np.asarray(elements, dtype=np.int64))
    if len(members) == 0 or len(group.generated_by(members.tolist())) != len(members):
        raise ValueError(f"elements {members.tolist()} are no subgroup of {group.name}")
    return _subgroup(group, tuple(members.tolist()))


def uniform_subgroup(
    group: FiniteGroup, generator: str | int, rate: int, generators: Sequence[str | int] | None = None
) -> Subgroup:
    """Subsample along one generator ``s_d``: what the others and ``s_d^rate`` reach from the identity.

    In the Cayley graph of ``G`` and the generators, the edges of ``s_d`` are replaced by those of ``s_d^rate``
    (ICLR 2025, algorithm 1).

    Args:
        group: ``G``.
        generator: ``s_d``, one of ``generators``.
        rate: the index that the subgroup shall have.
        generators: a generating set, by default ``group.generators``.

    Raises:
        ValueError: if ``generators`` do not generate ``group`` or lack ``generator``; if ``rate`` does not divide the
            order of ``generator``, or what is reached does not have index ``rate``. It names the rates that work.

    >>> from sefl.groups import dihedral
    >>> uniform_subgroup(dihedral(4), "r", 2)
    Subgroup(D2 < D4 {e, r^2, s, r^2s})
    """
    chosen = [group.element(name) for name in (group.generators if generators is None else generators)]
    if len(group.generated_by(chosen)) != len(group):
        raise ValueError(f"generators {generators} do not generate all of {group.name}")
    step = group.element(generator)
    if step not in chosen:
        raise ValueError(f"generator {generator!r} must be one of the generators {_labels(group, chosen)}")
    rate = require_positive("rate", rate)
    others = [element for element in chosen if element != step]
    order = int(group.element_orders[step])

    def reached(by: int) -> IntArray:
        return group.generated_by([*others, group.power(step, by)])

    if order % rate == 0 and len(reached(rate)) * rate == len(group):
        return subgroup_of(group, reached(rate))
    works = [by for by in range(1, order + 1) if order % by == 0 and len(reached(by)) * by == len(group)]
    why = (
        f"it does not divide the order {order} of {generator!r}"
        if order % rate
        else f"what it reaches has index {len(group) // len(reached(rate))}"
    )
    raise ValueError(
        f"rate {rate} along generator {generator!r} of {group.name} gives no subgroup of index {rate}: {why}; "
        f"rates that work are {works}"
    )


def subgroup(group: FiniteGroup, name: str | int | tuple[int | None, int]) -> Subgroup:
    """The subgroup of a name, or of an identifier of escnn's.

    Args:
        group: ``G``.
        name: the type of the subgroup, such as ``"C4"`` or ``"D6"``: where there are several, the first of
            :func:`subgroups`, which has the first reflection; or, for ``C_n``, escnn's number of rotations, and, for
            ``D_n``, escnn's ``(axis, rotations)``: ``(None, 6)`` is ``C6``, ``(1, 6)`` is ``D6`` with reflection
            ``r s``.

    Raises:
        ValueError: if there is none; it names those that there are.

    >>> from sefl.groups import dihedral
    >>> subgroup(dihedral(12), "D6").rate, subgroup(dihedral(4), (1, 2))
    (2, Subgroup(D2 < D4 {e, r^2, rs, r^3s}))
    """
    found = subgroups(group)
    if isinstance(name, str):
        for candidate in found:
            if candidate.group.name == name:
                return candidate
    else:
        elements = _escnn_elements(group, name)
        if elements is not None:
            return subgroup_of(group, elements)
    names = ", ".join(dict.fromkeys(candidate.group.name for candidate in found))
    raise ValueError(f"subgroup {name!r} of {group.name} does not exist; there are {names}")


def subgroups(group: FiniteGroup, rate: int | None = None) -> list[Subgroup]:
    """All subgroups, the largest first, or those of one index; those with earlier elements come first.

    Args:
        group: ``G``; of up to some hundred elements.
        rate: the index ``|G| / |H|``.

    Raises:
        ValueError: if no subgroup has that index; it names the rates that work.

    >>> from sefl.groups import cyclic, dihedral
    >>> subgroups(cyclic(4))
    [Subgroup(C4 < C4 {e, r, r^2, r^3}), Subgroup(C2 < C4 {e, r^2}), Subgroup(C1 < C4 {e})]
    >>> [found.group.name for found in subgroups(dihedral(4), rate=2)]
    ['C4', 'D2', 'D2']
    """
    found = [_subgroup(group, members) for members in _all_subgroups(group)]
    if rate is None:
        return found
    rate = require_positive("rate", rate)
    of_rate = [candidate for candidate in found if candidate.rate == rate]
    if not of_rate:
        works = sorted({candidate.rate for candidate in found})
        raise ValueError(
            f"rate {rate}: {group.name} has no subgroup of that index; rates that work are {works}"
        )
    return of_rate


def automatic_subgroup(group: FiniteGroup, rate: int) -> Subgroup:
    """A subgroup of index ``rate`` of the same kind as ``group``, if there is one.

    The first that subsampling along one generator gives, tried in the order of ``group.generators`` (of a dihedral
    group: fewer rotations, all their reflections); where none does, the first of ``subgroups(group, rate)``, which
    lists the alternatives.

    Raises:
        ValueError: if no subgroup has that index; it names the rates that work.

    >>> from sefl.groups import dihedral
    >>> automatic_subgroup(dihedral(12), 3)
    Subgroup(D4 < D12 {e, r^3, r^6, r^9, s, r^3s, r^6s, r^9s})
    """
    available = subgroups(group, rate)
    for generator in group.generators:
        try:
            return uniform_subgroup(group, generator, rate)
        except ValueError:
            continue
    return available[0]


@lru_cache(maxsize=64)
def _all_subgroups(group: FiniteGroup) -> tuple[tuple[int, ...], ...]:
    """The members of every subgroup: closed under joining one more cyclic subgroup."""
    cyclic: dict[tuple[int, ...], int] = {}
    for element in range(len(group)):
        cyclic.setdefault(tuple(group.generated_by([element]).tolist()), element)
    found: dict[tuple[int, ...], tuple[int, ...]] = {
        (group.identity,): ()
    }  # members: elements that generate them
    frontier = list(found)
    while frontier:
        members = frontier.pop()
        inside = set(members)
        for element in cyclic.values():
            if element not in inside:
                generating = (*found[members], element)
                joined = tuple(group.generated_by(generating).tolist())
                if joined not in found:
                    found[joined] = generating
                    frontier.append(joined)
    return tuple(sorted(found, key=lambda members: (-len(members), members)))


@lru_cache(maxsize=1024)
def _subgroup(group: FiniteGroup, members: tuple[int, ...]) -> Subgroup:
    name, elements, generators = _canonical_order(group, np.array(members))
    position = np.full(len(group), -1)
    position[elements] = np.arange(len(elements))
    table = position[group.table[np.ix_(elements, elements)]]
    inner = FiniteGroup.from_table(
        table,
        name,
        labels=[group.labels[element] for element in elements],
        generators={label: int(position[element]) for label, element in generators.items()} or None,
        matrices=None if group.matrices is None else group.matrices[elements],
    )
    return Subgroup(group, inner, elements)


def _canonical_order(group: FiniteGroup, members: IntArray) -> tuple[str, IntArray, dict[str, int]]:
    """Name, order and generators of a subgroup: powers of ``r``, then these times ``s``, where it has that form."""
    size = len(members)
    if size == len(group):
        return group.name, members, dict(group.generators)
    orders = group.element_orders[members]
    if (orders == size).any():
        step = int(members[orders == size][0])
        return f"C{size}", _powers(group, step, size), {"r": step} if size > 1 else {}
    for step in members[orders == size // 2].tolist() if size % 2 == 0 else []:
        rotations = _powers(group, step, size // 2)
        reflections = np.setdiff1d(members, rotations)
        inverted = group.table[group.table[reflections, step], reflections] == group.inverse[step]
        if (group.element_orders[reflections] == 2).all() and inverted.all():
            mirror = int(reflections[0])
            order = np.concatenate([rotations, group.table[rotations, mirror]])
            return f"D{size // 2}", order, {"r": step, "s": mirror}
    counts = tuple(np.bincount(orders).tolist())
    named = {(0, 1, 3, 8): "T", (0, 1, 9, 8, 6): "O", (0, 1, 7, 8, 0, 0, 8): "Th", (0, 1, 15, 20, 0, 24): "I"}
    return named.get(counts, f"order{size}"), members, {}


def _powers(group: FiniteGroup, step: int, count: int) -> IntArray:
    return np.array([group.power(step, exponent) for exponent in range(count)])


def _escnn_elements(group: FiniteGroup, identifier: Any) -> list[int] | None:
    """The elements of escnn's subgroup of ``C_n`` or ``D_n`` of an identifier, ``None`` if there is none."""
    rotations = int(group.element_orders[group.generators["r"]]) if "r" in group.generators else 1
    if isinstance(identifier, Integral) and len(group) == rotations:
        axis, order = None, int(identifier)
    elif isinstance(identifier, tuple) and len(identifier) == 2 and len(group) == 2 * rotations:
        axis, order = identifier
    else:
        return None
    if order < 1 or rotations % order or (axis is not None and not 0 <= axis < rotations // order):
        return None
    generating = [group.power(group.generators["r"], rotations // order)] if rotations > 1 else []
    if axis is not None:
        generating.append(int(group.table[group.power(group.generators["r"], axis), group.generators["s"]]))
    elements: list[int] = group.generated_by(generating).tolist()
    return elements


def _labels(group: FiniteGroup, elements: Sequence[int]) -> str:
    return ", ".join(group.labels[element] for element in elements)
