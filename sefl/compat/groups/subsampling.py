"""Which elements a subgroup has: ``gsampling.core.subsampling``. They are in the order of the subgroup's own elements.

Of an octahedral group theirs is in another order, ``e, r, r^3, r^2``, and of the full one to ``dihedral`` it has the
quarter turns about z with and without inversion, which is no dihedral group: here these are turns and mirrorings.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from sefl.arguments import require_positive
from sefl.compat.groups.spaces import finite
from sefl.groups import FiniteGroup, Subgroup, subgroup, uniform_subgroup

_QUARTER_TURN = ((0, -1, 0), (1, 0, 0), (0, 0, 1))  # about z
_MIRRORING = np.diag([-1.0, 1, 1])
_HALF_TURN = np.diag([-1.0, 1, -1])  # of the plane the same mirroring
_SIZES = {"octahedral": 24, "full_octahedral": 48}


def _about_z(group: FiniteGroup, rotations: int, mirrored: bool) -> list[int]:
    """``C_n`` or ``D_n`` about z: turns ``r^k``, and then ``r^k s`` with ``s: x -> -x``; a half turn where needed."""
    turn = group.element_of_matrix(_QUARTER_TURN)
    assert turn is not None
    turns = [group.power(turn, k * 4 // rotations) for k in range(rotations)]
    if not mirrored:
        return turns
    found = [group.element_of_matrix(matrix) for matrix in (_MIRRORING, _HALF_TURN)]
    mirroring = next(element for element in found if element is not None)
    return turns + [int(group.table[r, mirroring]) for r in turns]


def _listed(found: Subgroup) -> list[int]:
    elements: list[int] = found.elements.tolist()
    return elements


def elements_of(group_type: str, order: int | None, sub_group_type: str, factor: int) -> list[int]:
    """The elements of the group that make up the subgroup.

    Args:
        group_type: ``"cycle"``, ``"cyclic"``, ``"dihedral"``, ``"octahedral"`` or ``"full_octahedral"``.
        order: rotations of a cyclic or dihedral group.
        sub_group_type: one of these, or ``"adihedral"`` of a dihedral one: by rotations to a dihedral group whose
            first reflection is ``r s``.
        factor: elements of the group over those of the subgroup.

    Raises:
        ValueError: if there is no such subgroup.
    """
    kind, below = ("cycle" if each == "cyclic" else each for each in (group_type, sub_group_type))
    factor, group = require_positive("subsampling_factor", factor), finite(kind, order)
    if factor == 1 and kind == below:
        return list(range(len(group)))
    if kind == below and kind in ("cycle", "dihedral"):
        return _listed(uniform_subgroup(group, "r", factor))
    if kind == "dihedral":
        rotations = len(group) // 2
        if below == "cycle" and factor % 2 == 0 and rotations % (factor // 2) == 0:
            return list(range(0, rotations, factor // 2))
        if below == "adihedral" and rotations % factor == 0:
            return [*range(0, rotations, factor), *range(rotations + 1, 2 * rotations, factor)]
    if kind in _SIZES:
        size, odd = divmod(_SIZES[kind], factor)
        if below in ("cycle", "dihedral") and not odd:
            rotations = size if below == "cycle" else size // 2
            if rotations in (2, 4) and size % rotations == 0:
                return _about_z(group, rotations, below == "dihedral")
            if (rotations == 3 and kind == "octahedral") or size == 3:
                return _listed(subgroup(group, f"{'C' if below == 'cycle' else 'D'}3"))
        if (kind, below, factor) == ("full_octahedral", "octahedral", 2):
            return _listed(subgroup(group, "O"))
    raise ValueError(
        f"subsampling {group_type} (order {order}) to {sub_group_type} by {factor} is not supported: give cycle to "
        "cycle or dihedral to dihedral by a factor of the order, dihedral to cycle by twice such a factor, octahedral "
        "to cycle by 6, 8 or 12 or to dihedral by 3, 4 or 6, full_octahedral to cycle by 12, 16 or 24, to dihedral by "
        "6 or 12, or to octahedral by 2"
    )


class SubsamplingStrategy(ABC):
    """How one kind of group is subsampled to another; for strategies of one's own."""

    @abstractmethod
    def subsample(
        self, nodes: list[int], subsampling_factor: int | None = None, generator: str | None = None
    ) -> list[int]:
        """Those of ``nodes``, one per element of the group, that make up the subgroup."""

    @abstractmethod
    def validate_parameters(
        self, group_size: int, subsampling_factor: int | None = None, generator: str | None = None
    ) -> bool:
        """True; a ``ValueError`` says what is wrong."""


class SubsamplingRegistry:
    """The strategies, by the kinds of the group and of the subgroup."""

    _strategies: ClassVar[dict[tuple[str, str], SubsamplingStrategy]] = {}

    @classmethod
    def register(cls, transition: tuple[str, str], strategy: SubsamplingStrategy) -> None:
        """Add a strategy.

        Raises:
            TypeError: if it is no :class:`SubsamplingStrategy`.
        """
        if not isinstance(strategy, SubsamplingStrategy):
            raise TypeError(f"strategy must be a SubsamplingStrategy, got {type(strategy).__name__}")
        cls._strategies[transition] = strategy

    @classmethod
    def get_strategy(cls, parent_group: str, subgroup: str) -> SubsamplingStrategy:
        """The strategy for these kinds.

        Raises:
            NotImplementedError: if there is none.
        """
        if (parent_group, subgroup) not in cls._strategies:
            known = ", ".join(f"{above} to {below}" for above, below in cls._strategies)
            raise NotImplementedError(
                f"subsampling {parent_group} to {subgroup} is not supported; {known} are"
            )
        return cls._strategies[parent_group, subgroup]

    @classmethod
    def get_supported_transitions(cls) -> list[tuple[str, str]]:
        return list(cls._strategies)


class _BuiltIn(SubsamplingStrategy):
    """A strategy for the groups of these kinds, registered when its class is made."""

    kinds: ClassVar[tuple[str, str]]

    def __init_subclass__(cls, kinds: tuple[str, str]) -> None:
        cls.kinds = kinds
        SubsamplingRegistry.register(kinds, cls())

    def __init__(self) -> None:
        if self.kinds[0] == "full_octahedral":  # their attributes
            of = "octahedral" if self.kinds[1] == "octahedral" else "z_axis"
            setattr(self, f"_{of}_subgroup_indices", self._elements(48, None))

    def _elements(self, size: int, factor: int | None) -> list[int]:
        kind, below = self.kinds
        order = size // 2 if kind == "dihedral" else size
        default = {
            "octahedral": {"cycle": 6},
            "full_octahedral": {"cycle": 12, "dihedral": 6, "octahedral": 2},
        }
        return elements_of(kind, order, below, factor or default.get(kind, {}).get(below, 1))

    def subsample(
        self, nodes: list[int], subsampling_factor: int | None = None, generator: str | None = None
    ) -> list[int]:
        self.validate_parameters(len(nodes), subsampling_factor, generator)
        return [nodes[element] for element in self._elements(len(nodes), subsampling_factor)]

    def validate_parameters(
        self, group_size: int, subsampling_factor: int | None = None, generator: str | None = None
    ) -> bool:
        kind, below = self.kinds
        if kind in _SIZES:
            if group_size != _SIZES[kind]:
                name = kind.replace("_", " ").capitalize()
                raise ValueError(
                    f"{name} group must have {_SIZES[kind]} elements, got group_size {group_size}"
                )
        elif kind == "dihedral" and (generator != "r-s" or group_size % 2):
            raise ValueError(
                f"generator must be 'r-s' and group_size even from dihedral to {below}, got {generator!r}, {group_size}"
            )
        self._elements(group_size, subsampling_factor)
        return True


class CycleToCycleStrategy(_BuiltIn, kinds=("cycle", "cycle")):
    """Every ``factor``-th rotation."""


class DihedralToDihedralStrategy(_BuiltIn, kinds=("dihedral", "dihedral")):
    """Every ``factor``-th rotation, and as many reflections."""


class DihedralToCycleStrategy(_BuiltIn, kinds=("dihedral", "cycle")):
    """Every ``factor / 2``-th rotation."""


class DihedralToAdihedralStrategy(_BuiltIn, kinds=("dihedral", "adihedral")):
    """Every ``factor``-th rotation and the reflections ``r s`` times these."""


class OctahedralToCycleStrategy(_BuiltIn, kinds=("octahedral", "cycle")):
    """Quarter turns about z."""


class FullOctahedralToCycleStrategy(_BuiltIn, kinds=("full_octahedral", "cycle")):
    """Quarter turns about z."""


class FullOctahedralToDihedralStrategy(_BuiltIn, kinds=("full_octahedral", "dihedral")):
    """Quarter turns about z and mirrorings at planes that hold the axis."""


class FullOctahedralToOctahedralStrategy(_BuiltIn, kinds=("full_octahedral", "octahedral")):
    """All rotations."""


for _alias in (("cyclic", "cycle"), ("cyclic", "cyclic"), ("cycle", "cyclic")):
    SubsamplingRegistry.register(_alias, CycleToCycleStrategy())


def subsample_with_strategy(
    group_size: int, group_type: str, group_generator: str | None, subgroup_type: str, subsampling_factor: int
) -> list[int]:
    """The elements of the subgroup, by the registered strategy."""
    strategy = SubsamplingRegistry.get_strategy(group_type, subgroup_type)
    strategy.validate_parameters(group_size, subsampling_factor, group_generator)
    return strategy.subsample(list(range(group_size)), subsampling_factor, group_generator)


def get_supported_subsampling_transitions() -> list[tuple[str, str]]:
    """The kinds of groups and subgroups that have a strategy."""
    return SubsamplingRegistry.get_supported_transitions()


def is_subsampling_supported(parent_group: str, subgroup: str) -> bool:
    """Whether these kinds have a strategy."""
    return (parent_group, subgroup) in SubsamplingRegistry.get_supported_transitions()
