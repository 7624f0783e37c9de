"""Cayley graphs with their Fourier bases: ``gsampling.core.graphs`` and ``gsampling.utils.graph_constructors``.

The bases are of escnn's irreps, as theirs are, element by element.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sefl.compat.groups.spaces import Registry, escnn, get_group
from sefl.compat.groups.subsampling import elements_of, is_subsampling_supported, subsample_with_strategy

Matrix = NDArray[np.float64]


class GroupGraphError(Exception):
    """A graph cannot be made."""


class UnsupportedGroupError(GroupGraphError):
    """There is no graph of this kind of group."""


class InvalidGeneratorError(GroupGraphError):
    """A dihedral group has no such generators."""


def _adjacency(edges: Sequence[tuple[int, int]], size: int) -> Matrix:
    matrix = np.zeros((size, size))
    for begin, end in edges:
        matrix[begin, end] = 1
    return matrix


class AbstractGroupGraph(ABC):
    """A Cayley graph on ``nodes``, which stand for the elements of a group in escnn's order.

    For graphs of one's own ``_build_graph_structure`` sets ``edges``, ``adjacency_matrix`` and
    ``directed_adjacency_matrix``, ``_build_spectral_operators`` ``smoother``, ``fourier_basis`` and
    ``equi_raynold_op``; of those here the last two are computed when they are first asked for.

    Raises:
        TypeError: if ``nodes`` is no list of integers.
        ValueError: if one is there twice.
    """

    adjacency_matrix: Matrix
    directed_adjacency_matrix: Matrix
    edges: list[tuple[int, int]]
    smoother: Matrix
    fourier_basis: Matrix
    equi_raynold_op: Matrix

    def __init__(self, nodes: list[int], generator: str | None = None) -> None:
        if not isinstance(nodes, list) or not all(isinstance(node, int) for node in nodes):
            raise TypeError(f"nodes must be a list of integers, got {nodes!r}")
        if len(set(nodes)) != len(nodes):
            raise ValueError(f"nodes must be different, got {nodes}")
        self.nodes, self.generator = nodes, generator
        self._build_graph_structure()
        self._build_spectral_operators()

    @abstractmethod
    def _build_graph_structure(self) -> None: ...

    @abstractmethod
    def _build_spectral_operators(self) -> None: ...

    @abstractmethod
    def get_basis(self, order: int) -> Matrix:
        """An orthonormal Fourier basis of the signals, ``(|G|, |G|)``."""

    @abstractmethod
    def get_irreps(self, order: int) -> Any:
        """escnn's direct sum of the irreps that the basis has."""

    @abstractmethod
    def get_equi_raynold(self, order: int) -> Matrix:
        """The mean of ``rho(g) kron rho(g)``, ``(|G|^2, |G|^2)``: the projector to what commutes with ``rho``."""

    @property
    def group_size(self) -> int:
        return len(self.nodes)

    def validate_mathematical_properties(self, tolerance: float = 1e-6) -> bool:
        """Whether the basis is orthonormal, and the Reynolds operator a symmetric projector with an invariant."""
        basis, mean = self.fourier_basis, self.equi_raynold_op
        return bool(
            np.allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=tolerance)
            and np.allclose(mean, mean.T, atol=tolerance)
            and np.allclose(mean @ mean, mean, atol=tolerance)
            and np.trace(mean) > 1 - tolerance
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}(nodes={len(self.nodes)}, generator={self.generator!r})"


class _OfGroup(AbstractGroupGraph):
    """Graphs of the groups here: ``kind`` by its name, with one basis function per entry of an irrep."""

    kind: ClassVar[str]

    def _build_spectral_operators(self) -> None:
        """Computed when they are asked for."""

    def __getattr__(self, name: str) -> Any:
        makers = {"fourier_basis": self.get_basis, "equi_raynold_op": self.get_equi_raynold}
        if name not in makers:
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        setattr(self, name, makers[name](self._order))
        return self.__dict__[name]

    @property
    def _order(self) -> int:
        return len(self.nodes) // 2 if self.kind == "dihedral" else len(self.nodes)

    def _connect(self, edges: list[tuple[int, int]]) -> None:
        self.edges = edges
        self.directed_adjacency_matrix = _adjacency(edges, len(self.nodes))
        self.adjacency_matrix = np.maximum(self.directed_adjacency_matrix, self.directed_adjacency_matrix.T)
        self.smoother = self.directed_adjacency_matrix.copy()

    def get_basis(self, order: int) -> Matrix:
        group = get_group(self.kind, order)
        size = group.order()
        columns = []
        for irrep in group.irreps():
            values = np.stack([irrep(element) for element in group.elements])
            columns.append(values.swapaxes(1, 2).reshape(size, -1) * (irrep.size / size) ** 0.5)
        basis: Matrix = np.concatenate(columns, axis=1)
        return basis

    def get_irreps(self, order: int) -> Any:
        irreps = get_group(self.kind, order).irreps()
        return escnn().group.directsum([irrep for irrep in irreps for _ in range(irrep.size)])

    def get_equi_raynold(self, order: int) -> Matrix:
        group, irreps = get_group(self.kind, order), self.get_irreps(order)
        values = np.stack([irreps(element) for element in group.elements])
        size = values.shape[-1]
        # rho(g^-1)^T is rho(g), for rho is orthogonal.
        mean = np.einsum("gij,gkl->ikjl", values, values, optimize=True) / len(values)
        projector: Matrix = mean.reshape(size**2, size**2)
        return projector


class CycleGraph(_OfGroup):
    """The cycle of a cyclic group, along its one generator. The basis is real: cosines and sines."""

    kind = "cycle"

    def _build_graph_structure(self) -> None:
        size = len(self.nodes)
        self._connect([(i, (i + 1) % size) for i in range(size)])

    def get_basis(self, order: int) -> Matrix:
        basis: Matrix = get_group("cycle", order).regular_representation.change_of_basis
        return basis

    def get_irreps(self, order: int) -> Any:
        return escnn().group.directsum(list(get_group("cycle", order).irreps()))


class DihedralGraph(_OfGroup):
    """The graph of a dihedral group along ``r`` and ``s``, or along ``s`` and ``s r``.

    Raises:
        InvalidGeneratorError: if ``generator`` is not ``"r-s"`` or ``"s-sr"``.
        ValueError: if the nodes are odd in number.
    """

    kind = "dihedral"

    def __init__(self, nodes: list[int], generator: str = "r-s") -> None:
        if generator not in ("r-s", "s-sr"):
            raise InvalidGeneratorError(f"generator must be 'r-s' or 's-sr', got {generator!r}")
        if len(nodes) % 2:
            raise ValueError(f"nodes must be even in number for a dihedral group, got {len(nodes)}")
        super().__init__(nodes, generator)

    def _build_graph_structure(self) -> None:
        size = len(self.nodes)
        half = size // 2
        if self.generator == "s-sr":
            reflections = [half, *range(size - 1, half, -1)]
            around = [node for pair in zip(range(half), reflections, strict=True) for node in pair]
            self._connect([(around[i], around[(i + 1) % size]) for i in range(size)])
            return
        self.edges_generator_1 = [(at + i, at + (i + 1) % half) for at in (0, half) for i in range(half)]
        self.edges_generator_2 = [(i, i + half) for i in range(half)]
        self._connect([*self.edges_generator_1, *self.edges_generator_2])
        mirrored = _adjacency(self.edges_generator_2, size)
        self.smoother = np.concatenate([_adjacency(self.edges_generator_1, size), mirrored + mirrored.T])


class OctahedralGraph(_OfGroup):
    """The graph of the rotations of a cube, along escnn's generators.

    Raises:
        ValueError: if there are not 24 nodes.
    """

    kind = "octahedral"
    name: ClassVar[str] = "Octahedral"
    size: ClassVar[int] = 24

    def __init__(self, nodes: list[int], generator: str | None = None) -> None:
        if len(nodes) != self.size:
            raise ValueError(
                f"{self.name} group must have exactly {self.size} elements, got {len(nodes)} nodes"
            )
        super().__init__(nodes, generator)

    def _build_graph_structure(self) -> None:
        self.G = get_group(self.kind, None)
        elements = list(self.G.elements)
        index = {element: i for i, element in enumerate(elements)}
        steps = product(elements, self.G.generators)
        self._connect([(index[element], index[element @ step]) for element, step in steps])


class FullOctahedralGraph(OctahedralGraph):
    """The graph of the rotations and reflections of a cube, along escnn's generators.

    Raises:
        ValueError: if there are not 48 nodes.
    """

    kind = "full_octahedral"
    name = "Full octahedral"
    size = 48


class GroupGraphFactory(Registry):
    """Graphs by the kind of the group."""

    _registry: ClassVar[dict[str, type[AbstractGroupGraph]]] = {
        "cycle": CycleGraph,
        "cyclic": CycleGraph,
        "dihedral": DihedralGraph,
        "octahedral": OctahedralGraph,
        "full_octahedral": FullOctahedralGraph,
    }

    @classmethod
    def register(cls, group_type: str, graph_class: type[AbstractGroupGraph]) -> None:
        """Add a kind.

        Raises:
            TypeError: if its class is no :class:`AbstractGroupGraph`.
        """
        if not issubclass(graph_class, AbstractGroupGraph):
            raise TypeError(f"graph_class must be an AbstractGroupGraph, got {graph_class.__name__}")
        cls._registry[group_type] = graph_class

    @classmethod
    def create(cls, group_type: str, nodes: list[int], generator: str | None = None) -> AbstractGroupGraph:
        """The graph of a group; only a dihedral one has a choice of generators.

        Raises:
            UnsupportedGroupError: if there is no such kind.
        """
        if group_type not in cls._registry:
            raise UnsupportedGroupError(
                f"group_type must be one of {', '.join(cls._registry)}, got {group_type!r}"
            )
        make = cls._registry[group_type]
        return make(nodes, generator or "r-s") if group_type == "dihedral" else make(nodes)


def create_group_graph(group_type: str, nodes: list[int], generator: str | None = None) -> AbstractGroupGraph:
    """:meth:`GroupGraphFactory.create`."""
    return GroupGraphFactory.create(group_type, nodes, generator)


@dataclass(eq=False)
class GraphConstructor:
    """The graphs of a group and of a subgroup.

    Theirs makes up a subgroup where it knows none; here that is an error.

    Args:
        group_size: elements of the group.
        group_type, subgroup_type: their kinds.
        group_generator: ``"r-s"`` or ``"s-sr"`` of a dihedral group, which only the first subsamples.
        subsampling_factor: elements of the group over those of the subgroup.

    Raises:
        ValueError: if the group has no such subgroup.
    """

    group_size: int
    group_type: str
    group_generator: str
    subgroup_type: str
    subsampling_factor: int

    def __post_init__(self) -> None:
        size, kind, generator = self.group_size, self.group_type, self.group_generator
        subgroup_type, factor = self.subgroup_type, self.subsampling_factor
        self.nodes = list(range(size))
        if is_subsampling_supported(kind, subgroup_type) and factor > 1:
            below = subsample_with_strategy(size, kind, generator, subgroup_type, factor)
        else:
            below = elements_of(kind, size // 2 if kind == "dihedral" else size, subgroup_type, factor)
        self.subgroup_size = len(below)
        self.graph = GroupGraphFactory.create(kind, self.nodes, generator)
        small = "dihedral" if subgroup_type == "adihedral" else subgroup_type
        self.subgroup_graph = GroupGraphFactory.create(small, below, generator)
