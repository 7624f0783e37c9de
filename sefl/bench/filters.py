"""What making a bandlimit takes: surveys over all groups and subgroups, and the closed form against the optimised."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from sefl.bench.comparisons import OPTIMIZED, OURS, Comparison, GroupSizes
from sefl.bench.timing import Action
from sefl.groups import Bandlimit, FiniteGroup, Subgroup, bandlimit, finite_group, subgroup, subgroups

FILTERS, DESIGNS = "filters", "designs"
FILTER_TARGET = 0.05
"""Seconds within which each filter shall be made."""

SEARCH = "(search of its subgroups)"
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "group": {},
    "group, maximal": {"fill": "maximal"},
    "subgroup": {"equivariance": "subgroup"},
}
"""The equivariance of a filter, and the options of it."""


@dataclass(frozen=True, kw_only=True)
class Survey(Comparison):
    """One piece of work on each group of a family, or on each of its subgroups.

    Args:
        groups: the names of the groups.
        pieces: the pieces of work in a group, by name.
    """

    groups: tuple[str, ...]
    pieces: Callable[[FiniteGroup], Iterator[tuple[str, Action]]]

    def build(self, device: torch.device) -> dict[str, Action]:
        groups = [finite_group(name) for name in self.groups]
        return {name: action for group in groups for name, action in self.pieces(group)}


@dataclass(frozen=True)
class FilterWork:
    """Making the bandlimit of one subgroup.

    Args:
        group: its name.
        subgroup: its name.
        options: of :func:`sefl.groups.bandlimit`.
    """

    group: str
    subgroup: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self, device: torch.device) -> Action:
        return partial(new_bandlimit, self.pair(), **self.options)

    def pair(self) -> Subgroup:
        return subgroup(finite_group(self.group), self.subgroup)


@dataclass(frozen=True, kw_only=True)
class DesignComparison(Comparison):
    """The closed form against the optimised design, in time and in what they promise."""

    def facts(self) -> dict[str, dict[str, float]]:
        made = {
            name: bandlimit(work.pair().parent, work.pair(), **work.options)
            for name, work in self.contestants.items()
            if isinstance(work, FilterWork)
        }
        return {name: promises(limit) for name, limit in made.items()}


def surveys(sizes: GroupSizes) -> list[Comparison]:
    """Every filter of every group of each family; apart from them, the search of the subgroups."""
    pieces: dict[str, Callable[[FiniteGroup], Iterator[tuple[str, Action]]]] = {
        variant: partial(_filters, options=options) for variant, options in VARIANTS.items()
    }
    pieces[SEARCH] = _search
    return [
        Survey(
            part="groups",
            table=FILTERS,
            work=family,
            passes=variant,
            contestants={},
            items=1,
            groups=groups,
            pieces=of_group,
        )
        for family, groups in sizes.families.items()
        for variant, of_group in pieces.items()
    ]


def designs(sizes: GroupSizes) -> list[Comparison]:
    """The closed form against the optimised design."""
    return [
        DesignComparison(
            part="groups",
            table=DESIGNS,
            work=f"{group} -> {name}",
            passes="construction",
            contestants={
                OURS: FilterWork(group, name),
                OPTIMIZED: FilterWork(group, name, {"design": "optimized"}),
            },
            items=1,
            counted=(),
            weighed=(),
        )
        for group, name in sizes.designs
    ]


def promises(limit: Bandlimit) -> dict[str, float]:
    """The dimension of a bandlimit, and how far it is from keeping what it promises, relative to ``|P|``.

    ``reconstruction`` is ``|U S P - P|``, ``equivariance`` the largest ``|L_g P - P L_g|`` of an element ``g``.
    """
    projector, size = limit.projector, np.linalg.norm(limit.projector)
    table = limit.subgroup.parent.table
    moved = projector[table[:, :, None], table[:, None, :]] - projector
    returned = limit.reconstruction @ limit.restriction @ projector - projector
    return {
        "dimension": limit.dimension,
        "reconstruction": float(np.linalg.norm(returned) / size),
        "equivariance": float(np.linalg.norm(moved, axis=(1, 2)).max() / size),
    }


def new_bandlimit(pair: Subgroup, **options: Any) -> Bandlimit:
    """The bandlimit, made anew: of copies of the groups, for which no cache has anything."""
    parent = replace(pair.parent)
    return bandlimit(parent, replace(pair, parent=parent, group=replace(pair.group)), **options)


def one_per_class(group: FiniteGroup) -> list[Subgroup]:
    """The first subgroup of each class of conjugate ones."""
    found: dict[tuple[int, ...], Subgroup] = {}
    for candidate in subgroups(group):
        conjugates = np.sort(group.table[group.table[:, candidate.elements], group.inverse[:, None]], axis=1)
        found.setdefault(min(map(tuple, conjugates.tolist())), candidate)
    return list(found.values())


def _filters(group: FiniteGroup, options: Mapping[str, Any]) -> Iterator[tuple[str, Action]]:
    seen: Counter[str] = Counter()
    for pair in one_per_class(group):
        name = f"{group.name} -> {pair.group.name}"
        seen[name] += 1
        number = f" ({seen[name]})" if seen[name] > 1 else ""
        yield name + number, partial(new_bandlimit, pair, **options)


def _search(group: FiniteGroup) -> Iterator[tuple[str, Action]]:
    yield group.name, lambda: subgroups(replace(group))
