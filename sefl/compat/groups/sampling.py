"""Subsampling of regular fields: ``gsampling.layers``, around :mod:`sefl.groups`.

The filter is the closed form of :func:`sefl.groups.bandlimit`, exact and made in milliseconds, unless ``mode`` asks
for an optimised one. Weights of theirs bring their own filter, which is then applied as theirs is.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from sefl.arguments import require_positive
from sefl.compat.declared import Declared
from sefl.compat.groups.graphs import GraphConstructor, GroupGraphFactory
from sefl.compat.groups.spaces import finite, get_group
from sefl.compat.groups.subsampling import elements_of
from sefl.groups import Bandlimit, Canonicalize, FiniteGroup, OptimizedDesign, bandlimit, subgroup_of
from sefl.groups.group import FloatArray
from sefl.groups.sampling import multiply_fibres

_OPTIMIZED = ("linear_optim", "gpu_optim")
_MODES = ("analytical", *_OPTIMIZED)
_DESIGN = ("mode", "smooth_operator", "smoothness_loss_weight", "iterations", "equi_constraint")
# Arguments of theirs for the numerics of an optimisation that the closed form does not need, nor the optimised
# design: it is always a projector.
_WITHOUT_EFFECT = ("equi_correction", "threshold", "device", "dtype", "apply_antialiasing", "graph_shift")
_SAME = 1e-4  # between their single-precision bases and ours


def on_fibres(matrix: Tensor, x: Tensor, name: str) -> Tensor:
    """A matrix ``(m, n)`` on each fibre of ``(n,)`` or ``(batch, fields n, *space)``."""
    size = matrix.shape[1]
    if not x.is_floating_point():
        raise TypeError(f"{name} must be a real floating-point tensor, got {x.dtype}")
    if x.shape[-1 if x.dim() == 1 else 1] % size:
        raise ValueError(f"{name} must have a multiple of {size} channels, got shape {tuple(x.shape)}")
    if x.dim() == 1:
        return matrix.to(x.dtype) @ x
    return multiply_fibres(x, matrix)


class SamplingLayer(nn.Module):
    """The values of a signal on a group at the elements of a subgroup, without a filter.

    Args:
        sampling_factor: elements that ``"pool"`` takes together.
        nodes: the elements of the group.
        subsample_nodes: those of the subgroup, as indices.
        type: ``"sample"``, or ``"pool"`` for the maximum over neighbours of one signal ``(|G|,)``, which does not
            commute with the group.

    Shapes: ``(batch, fields * |G|, *space)`` to ``(batch, fields * |H|, *space)``, or ``(|G|,)`` to ``(|H|,)``.

    Raises:
        ValueError: if ``type`` is another, and in ``forward`` for input of another shape.
    """

    sampling_matrix: Tensor
    up_sampling_matrix: Tensor

    def __init__(
        self,
        *,
        sampling_factor: int = 2,
        nodes: Sequence[int],
        subsample_nodes: Sequence[int],
        type: str = "sample",
    ) -> None:
        super().__init__()
        if type not in ("sample", "pool"):
            raise ValueError(f"type must be 'sample' or 'pool', got {type!r}")
        self.sampling_factor, self.kind = sampling_factor, type
        self.__dict__["type"] = type  # theirs; of a module it is a method too
        self.nodes, self.subsample_nodes = list(nodes), list(subsample_nodes)
        self.sampled_nodes = None
        if type == "pool":
            self.pool = nn.MaxPool1d(sampling_factor, sampling_factor)
        else:
            shape = len(self.subsample_nodes), len(self.nodes)
            self.register_buffer("sampling_matrix", torch.empty(shape))
            self.register_buffer("up_sampling_matrix", torch.empty(shape[::-1]))
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """The matrices, which a module made on the meta device lacks."""
        if self.kind == "sample":
            self.sampling_matrix.copy_(torch.eye(len(self.nodes))[self.subsample_nodes])
            self.up_sampling_matrix.copy_(self.sampling_matrix.T)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "pool":
            if x.dim() != 1:
                raise ValueError(
                    f"x must be one signal (|G|,) for type 'pool', got shape {tuple(x.shape)}; take 'sample'"
                )
            pooled: Tensor = self.pool(x[None])[0]
            return pooled
        return on_fibres(self.sampling_matrix, x, "x")

    def up_sample(self, x: Tensor) -> Tensor:
        """Signals on the group with these values, and zeros elsewhere."""
        if self.kind == "pool":
            raise ValueError("type must be 'sample' for up_sample, got 'pool'")
        return on_fibres(self.up_sampling_matrix, x, "x")


def chosen_bandlimit(
    group: FiniteGroup, nodes: Sequence[int], mode: str, design: OptimizedDesign
) -> Bandlimit:
    """What a filter keeps on the way to the subgroup with these elements.

    Raises:
        ValueError: if the elements are no subgroup.
    """
    subgroup = subgroup_of(group, list(nodes))
    if mode in _OPTIMIZED:
        return bandlimit(group, subgroup, design="optimized", optimized=design)
    return bandlimit(group, subgroup)


def _reconstruction(limit: Bandlimit, nodes: Sequence[int]) -> FloatArray:
    """``(|G|, |H|)``: bandlimited signals from their values at ``nodes``, in this order."""
    columns = [limit.subgroup.elements.tolist().index(node) for node in nodes]
    return limit.reconstruction[:, columns]


def _group_of_basis(basis: ArrayLike) -> FiniteGroup:
    """The group that has this Fourier basis.

    Raises:
        ValueError: if none of theirs has.
    """
    given = np.asarray(torch.as_tensor(basis).detach().cpu().real)
    size = len(given)
    kinds = {"cycle": size, "dihedral": size // 2 * 2, "octahedral": 24, "full_octahedral": 48}
    for kind, elements in kinds.items():
        if given.shape == (elements, elements):
            graph = GroupGraphFactory.create(kind, list(range(size)))
            if np.allclose(graph.fourier_basis, given, atol=_SAME):
                return finite(kind, size // 2 if kind == "dihedral" else size)
    raise ValueError(
        "basis must be the Fourier basis of a cyclic, dihedral or octahedral group as GraphConstructor gives it, got "
        f"another of shape {given.shape}"
    )


class AntiAliasingLayer(nn.Module):
    """The low-pass filter before subsampling regular fields from a group to a subgroup, and the way back.

        forward(x) = P x,    up_sample(y) = U y,    with ``S U = 1`` and ``P U = U``

    ``P`` is the orthogonal projector of :func:`sefl.groups.bandlimit`, which commutes with the group; ``basis``,
    ``M``, ``L1_projector`` and ``up_sampling_basis`` are the same in coordinates of the Fourier basis, to be read.
    Theirs comes from an optimisation of seconds to minutes that ends without equivariance or without reconstruction
    (``analytical``: with ones and zeros on the subgroup), and on feature maps transforms back by the transposed
    basis, so that the outcome is not equivariant. ``state_dict`` of theirs load, and then it computes what theirs
    does, transposed basis included.

    Args:
        nodes, subsample_nodes: elements of the group and of the subgroup.
        adjaceny_matrix, subsample_adjacency_matrix, sub_basis: not needed.
        basis: the Fourier basis of the group, ``(|G|, |G|)``, as :class:`GraphConstructor` has it; says which group.
        mode: ``"analytical"`` for the closed form; ``"linear_optim"`` or ``"gpu_optim"`` for
            :class:`sefl.groups.OptimizedDesign` with the next three.
        smooth_operator: ``"laplacian"``, ``"normalized_laplacian"`` or ``"adjacency"``; ``"graph_shift"`` is the
            last.
        smoothness_loss_weight, iterations, equi_constraint: of the design; without the constraint its penalty on
            what does not commute is left out.
        device: without effect: move the layer.
        dtype: of the matrices at first; they are applied in the precision of what is filtered.
        graph_shift, raynold_op, equi_correction, threshold: without effect.

    Shapes: ``(batch, fields * |G|, *space)`` or one signal ``(|G|,)`` to the same; ``up_sample`` from ``|H|`` in the
    place of ``|G|``.

    Raises:
        ValueError: if an argument is out of its range, or the basis of none of their groups.
    """

    projector: Tensor
    signal_projector: Tensor
    reconstruction: Tensor
    _bases: list[Tensor | None]

    def __init__(
        self,
        *,
        nodes: Sequence[int],
        adjaceny_matrix: ArrayLike | None = None,
        basis: ArrayLike,
        subsample_nodes: Sequence[int],
        subsample_adjacency_matrix: ArrayLike | None = None,
        sub_basis: ArrayLike | None = None,
        smooth_operator: str = "laplacian",
        smoothness_loss_weight: float = 1.0,
        iterations: int = 500,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float,
        graph_shift: ArrayLike | None = None,
        raynold_op: ArrayLike | None = None,
        equi_constraint: bool = True,
        equi_correction: bool = True,
        mode: str = "linear_optim",
        threshold: float = 1e-3,
    ) -> None:
        arguments = {name: value for name, value in locals().items() if name in _DESIGN}
        design, chosen = design_of(arguments)
        limit = chosen_bandlimit(_group_of_basis(basis), subsample_nodes, chosen, design)
        self._set(limit, list(nodes), list(subsample_nodes), arguments, dtype)
        self._bases = [None if each is None else torch.as_tensor(each) for each in (basis, sub_basis)]

    @classmethod
    def of_bandlimit(
        cls,
        limit: Bandlimit,
        subsample_nodes: Sequence[int],
        arguments: Mapping[str, Any],
        dtype: torch.dtype = torch.float,
    ) -> "AntiAliasingLayer":
        """The layer of a bandlimit, without a basis, which is made when it is asked for."""
        layer = cls.__new__(cls)
        layer._set(limit, list(range(len(limit.subgroup.parent))), list(subsample_nodes), arguments, dtype)
        return layer

    def _set(
        self,
        limit: Bandlimit,
        nodes: list[int],
        below: list[int],
        arguments: Mapping[str, Any],
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.bandlimit, self.nodes, self.subsample_nodes, self.dtype = limit, nodes, below, dtype
        self.mode = arguments.get("mode", "analytical")
        self.iterations = arguments.get("iterations")
        self.smoothness_loss_weight = arguments.get("smoothness_loss_weight")
        self.equi_constraint = arguments.get("equi_constraint", True)
        self._bases = [None, None]
        for name in ("projector", "signal_projector"):
            self.register_buffer(name, torch.empty(len(nodes), len(nodes)))
        self.register_buffer("reconstruction", torch.empty(len(nodes), len(below)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The matrices, which a module made on the meta device lacks."""
        projector, reconstruction = self._exact()
        self.projector.copy_(projector)
        self.signal_projector.copy_(projector)
        self.reconstruction.copy_(reconstruction)
        self._own = True

    def forward(self, x: Tensor) -> Tensor:
        return on_fibres(self.signal_projector if x.dim() == 1 else self.projector, x, "x")

    anti_aliase = forward

    def up_sample(self, x: Tensor) -> Tensor:
        """Bandlimited signals on the group from their values on the subgroup."""
        return on_fibres(self.reconstruction, x, "x")

    def _basis(self, of_subgroup: bool) -> Tensor:
        found = self._bases[of_subgroup]
        if found is None:
            group = self.bandlimit.subgroup.parent
            graphs = _graphs(group, self.subsample_nodes)
            found = torch.as_tensor((graphs[1] if of_subgroup else graphs[0]).fourier_basis)
        return found.to(self.projector)

    @property
    def basis(self) -> Tensor:
        """The Fourier basis of the group, ``(|G|, |G|)``."""
        return self._basis(False)

    @property
    def sub_basis(self) -> Tensor:
        """The Fourier basis of the subgroup, ``(|H|, |H|)``."""
        return self._basis(True)

    @property
    def sampling_matrix(self) -> Tensor:
        """``S``, ``(|H|, |G|)``."""
        return torch.eye(len(self.nodes)).to(self.projector)[self.subsample_nodes]

    @property
    def L1_projector(self) -> Tensor:
        """The filter in the Fourier basis."""
        return self.basis.T @ self.signal_projector @ self.basis

    @property
    def M(self) -> Tensor:
        """From Fourier coefficients on the subgroup to those on the group."""
        scale = (len(self.subsample_nodes) / len(self.nodes)) ** 0.5
        mapping: Tensor = scale * self.basis.T @ self.reconstruction @ self.sub_basis
        return mapping

    @property
    def up_sampling_basis(self) -> Tensor:
        """From Fourier coefficients on the subgroup to values on the group, ``(|H|, |G|)``."""
        return (self.reconstruction @ self.sub_basis).T

    def fft(self, x: Tensor) -> Tensor:
        """Fourier coefficients of signals."""
        return on_fibres(self.basis.T, x, "x")

    def ifft(self, x: Tensor) -> Tensor:
        """Signals of Fourier coefficients. Of feature maps theirs is the transposed."""
        return on_fibres(self.basis, x, "x")

    def equi_correction(self, operator: Tensor) -> Tensor:
        """The nearest matrix between Fourier coefficients that commutes with the group."""
        group, basis = self.bandlimit.subgroup.parent, self.basis
        moves = torch.stack([torch.as_tensor(group.left_translation(g)) for g in range(len(group))])
        moves = basis.T @ moves.to(basis) @ basis
        return (moves @ operator @ moves.mT).mean(0)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        names = "basis", "sub_basis", "L1_projector", "up_sampling_basis"
        theirs = [state_dict.get(prefix + name) for name in names]
        if all(value is not None for value in theirs) and prefix + "projector" not in state_dict:
            basis, sub_basis, filter_, up = theirs
            sub_basis = sub_basis.to(up.dtype)
            filter_, basis = filter_.to(up.dtype), basis.to(up.dtype)
            for name in (
                *("basis", "sub_basis", "smoother", "M", "L1_eigs", "L1_projector", "up_sampling_basis"),
                "equi_projector",
            ):
                state_dict.pop(prefix + name, None)
            state_dict[prefix + "projector"] = (basis.T @ filter_ @ basis.T).real
            state_dict[prefix + "signal_projector"] = (basis @ filter_ @ basis.T).real
            state_dict[prefix + "reconstruction"] = (up.T @ sub_basis.T).real
        super()._load_from_state_dict(state_dict, prefix, *rest)
        if not self.projector.is_meta:
            given = self.projector.double().cpu(), self.reconstruction.double().cpu()
            self._own = all(
                torch.allclose(*pair, atol=_SAME) for pair in zip(given, self._exact(), strict=True)
            )

    def _exact(self) -> tuple[Tensor, Tensor]:
        limit = self.bandlimit
        up = _reconstruction(limit, self.subsample_nodes)
        return torch.tensor(limit.projector), torch.tensor(up)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch has no types for it
        if self._own:  # exact in the new precision too
            self.reset_parameters()
        return self


def _graphs(group: FiniteGroup, nodes: Sequence[int]) -> tuple[Any, Any]:
    """Their graphs of the group and of the subgroup with these elements."""
    kind = {"O": "octahedral", "Oh": "full_octahedral"}.get(group.name)
    kind = kind or ("dihedral" if group.name.startswith("D") else "cycle")
    small = subgroup_of(group, list(nodes)).group
    below = "octahedral" if small.name == "O" else "dihedral" if small.name.startswith("D") else "cycle"
    below = kind if len(nodes) == len(group) else below
    return (
        GroupGraphFactory.create(kind, list(range(len(group)))),
        GroupGraphFactory.create(below, list(nodes)),
    )


def solve_M(
    *,
    mode: str,
    iterations: int,
    device: torch.device | str,
    smoothness_loss_weight: float,
    sampling_matrix: Tensor,
    basis: Tensor,
    sub_basis: Tensor,
    smoother: Tensor,
    dtype: torch.dtype,
    equi_constraint: bool,
    equi_raynold_op: Tensor | None,
) -> Tensor:
    """``M`` of :class:`AntiAliasingLayer`, float64: from Fourier coefficients on the subgroup to those on the group.

    Of the arguments ``mode``, ``iterations``, ``smoothness_loss_weight``, ``equi_constraint`` (the roughness is the
    total variation), ``sampling_matrix`` and the bases say what it is.
    """
    layer = AntiAliasingLayer(
        nodes=range(sampling_matrix.shape[1]),
        basis=basis,
        sub_basis=sub_basis,
        subsample_nodes=sampling_matrix.real.argmax(1).tolist(),
        mode=mode,
        smooth_operator="adjacency",
        iterations=iterations,
        smoothness_loss_weight=smoothness_loss_weight,
        equi_constraint=equi_constraint,
    )
    mapping: Tensor = layer.double().M
    return mapping


class SmoothOperatorFactory:
    """Operators that measure how rough a signal on a graph is."""

    @staticmethod
    def build(
        adjacency_matrix: Tensor,
        smooth_operator: str = "laplacian",
        graph_shift: ArrayLike | None = None,
        dtype: torch.dtype = torch.cfloat,
    ) -> Tensor:
        """The operator of this name: ``"adjacency"`` (rows sum to 1), ``"laplacian"``, ``"normalized_laplacian"``, or
        ``"graph_shift"``, which is the one given.

        Raises:
            ValueError: if there is none.
        """
        degree = adjacency_matrix.sum(1)
        if smooth_operator == "graph_shift" and graph_shift is not None:
            return torch.as_tensor(graph_shift).to(dtype)
        laplacian = torch.diag(degree) - adjacency_matrix
        root = degree.pow(-0.5)
        operators = {
            "adjacency": adjacency_matrix / degree[:, None],
            "laplacian": laplacian,
            "normalized_laplacian": root[:, None] * laplacian * root,
        }
        if smooth_operator not in operators:
            names = ", ".join([*operators, "graph_shift with one given"])
            raise ValueError(f"smooth_operator must be one of {names}, got {smooth_operator!r}")
        return operators[smooth_operator].to(dtype)


def _projector(vectors: Tensor) -> Tensor:
    projector: Tensor = vectors @ torch.linalg.pinv(vectors)
    return projector


class ReynoldsProjectorHelper:
    """Projection of operators to those that commute with a group."""

    @staticmethod
    def build_projector(raynold_op: ArrayLike | Tensor, dtype: torch.dtype) -> Tensor:
        """The orthogonal projector to what a Reynolds operator leaves as it is."""
        values, vectors = torch.linalg.eigh(torch.as_tensor(raynold_op).to(dtype))
        return _projector(vectors[:, (values - 1).abs() < 1e-3])

    @staticmethod
    def project(projector: Tensor, operator: Tensor) -> Tensor:
        """An operator, as a vector, projected."""
        return (projector @ operator.flatten()).reshape(operator.shape)


class L1ProjectorUtils:
    """Projection to what a mapping from the subgroup reaches."""

    @staticmethod
    def compute_from_M(M: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """An orthonormal basis of the columns of ``M``, and the projector to them; theirs has complex eigenvectors."""
        left, sizes, _ = torch.linalg.svd(M, full_matrices=False)
        vectors = left[:, sizes > 1e-7 * sizes.max()]
        return vectors, (vectors @ vectors.mH).to(dtype)


class FourierOps:
    """Fourier transforms of fibres, ``(|G|,)`` or ``(batch, fields, |G|, *space)``."""

    @staticmethod
    def _apply(matrix: Tensor, x: Tensor) -> Tensor:
        if x.dim() not in (1, 5, 6):
            raise ValueError(f"x must be (|G|,) or (batch, fields, |G|, *space), got shape {tuple(x.shape)}")
        x = x.to(matrix.dtype)
        return matrix @ x if x.dim() == 1 else torch.einsum("fg,bcg...->bcf...", matrix, x)

    @staticmethod
    def forward(x: Tensor, basis: Tensor, dtype: torch.dtype) -> Tensor:
        """Coefficients of signals."""
        return FourierOps._apply(basis.mH, x)

    @staticmethod
    def inverse(x: Tensor, basis: Tensor) -> Tensor:
        """Signals of coefficients."""
        return FourierOps._apply(basis, x)


class Cannonicalizer(Declared):
    """Features moved, each sample by one element of the group, so that the strongest response is in the subgroup.

    :class:`sefl.groups.Canonicalize`, which goes by the largest of all features; theirs looks at the first alone.

    Args:
        group, subgroup: their kinds, as of :class:`SubgroupDownsample`.
        nodes_num, sub_nodes_num: their elements.
        in_channels: regular fields.
        dtype, device: kept as attributes alone.

    Shapes: ``forward(x, coset_rep=None, mode="forward")`` takes ``(batch, in_channels * |G|, *space)`` or ``(|G|,)``
    to the same and the elements that samples were moved back by, a list (of one signal the element): ``k`` for ``r^k``
    of a cyclic group, ``(j, k)`` for ``r^k s^j`` of a dihedral one, as escnn has them, otherwise the index.
    ``mode="backward"`` moves features to where they were, by ``coset_rep`` or what was found last.

    Raises:
        ValueError: if the group has no such subgroup, ``mode`` is another, or there is nothing to move back by.
    """

    group: str
    nodes_num: int
    subgroup: str
    sub_nodes_num: int
    in_channels: int
    dtype: torch.dtype = torch.float32
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        group, nodes_num, sub_nodes_num = self.group, self.nodes_num, self.sub_nodes_num
        if sub_nodes_num < 1 or nodes_num % sub_nodes_num:
            raise ValueError(f"sub_nodes_num must divide nodes_num ({nodes_num}), got {sub_nodes_num}")
        order = nodes_num // 2 if group == "dihedral" else nodes_num
        nodes = elements_of(group, order, self.subgroup, nodes_num // sub_nodes_num)
        self.canonicalize = Canonicalize(subgroup_of(finite(group, order), nodes))
        self.buffer: Any = None

    def _name(self, element: int) -> Any:
        if self.group == "dihedral":
            return divmod(element, self.nodes_num // 2)
        return element

    def _element(self, name: Any) -> int:
        return int(name[0]) * (self.nodes_num // 2) + int(name[1]) if self.group == "dihedral" else int(name)

    def coset_rep_r2(self, x: Tensor) -> list[Any]:
        """By which element each sample would be moved back."""
        return [self._name(element) for element in self.canonicalize.coset(x).tolist()]

    def coset_rep(self, x: Tensor) -> Any:
        """By which element one signal would be moved back."""
        return self.coset_rep_r2(x[None])[0]

    def forward(self, x: Tensor, coset_rep: Any = None, mode: str = "forward") -> tuple[Tensor, Any]:
        if x.dim() == 1:
            moved, names = self(x[None], None if coset_rep is None else [coset_rep], mode)
            self.buffer = names[0]
            return moved[0], names[0]
        if mode == "forward":
            moved, elements = self.canonicalize(x)
            self.buffer = [self._name(element) for element in elements.tolist()]
            return moved, self.buffer
        if mode != "backward":
            raise ValueError(f"mode must be 'forward' or 'backward', got {mode!r}")
        found = self.buffer if coset_rep is None else coset_rep
        if found is None:
            raise ValueError("coset_rep must be given, for nothing was moved before, got None")
        names = found if isinstance(found, list) else [found]
        elements = torch.tensor([self._element(name) for name in names], device=x.device)
        return self.canonicalize.invert(x, elements), names


class SubgroupDownsample(Declared):
    """Regular fields of a group low-passed and restricted to a subgroup.

    Its matrices are :class:`AntiAliasingLayer`'s (``anti_aliaser``) and :class:`SamplingLayer`'s (``sample``), and
    canonicalisation :class:`Cannonicalizer`'s; these say what differs from theirs.

    Args:
        group_type: ``"cycle"`` (or ``"cyclic"``), ``"dihedral"``, ``"octahedral"`` or ``"full_octahedral"``.
        order: rotations of a cyclic or dihedral group: the dihedral group of order 12 has 24 elements.
        sub_group_type: the same type, by default; or another that :func:`elements_of` has: ``"cycle"`` of a dihedral
            group by an even factor, ``"cycle"`` and ``"dihedral"`` of the octahedral ones about z, ``"octahedral"`` of
            the full one. (Theirs has a cyclic group of 6 elements as a subgroup of the octahedral one in ``G_sub``.)
        subsampling_factor: elements of the group over those of the subgroup.
        num_features: regular fields of the input.
        generator: ``"r-s"``, or ``"r"`` of a cyclic group. Their ``"s-sr"`` cannot be subsampled.
        device: where the matrices are at first.
        dtype: of the matrices at first; they are applied in the precision of the features.
        sample_type: ``"sample"``. Their ``"pool"``, which takes one signal only, is :class:`SamplingLayer`'s.
        apply_antialiasing: whether to filter first.
        anti_aliasing_kwargs: ``mode``, ``smoothness_loss_weight``, ``iterations``, ``smooth_operator``,
            ``equi_constraint``, ``equi_correction``, ``threshold`` of :class:`AntiAliasingLayer`. By default the closed
            form: theirs would optimise for minutes.
        cannonicalize: whether to move each sample to the coset of its strongest response first.

    Shapes: ``(batch, num_features * |G|, *space)`` to ``((batch, num_features * |H|, *space), elements)``, where
    ``elements`` are those of ``G`` by which samples were moved back, ``[(-1, -1)]`` without ``cannonicalize``. One
    signal ``(|G|,)`` becomes ``(|H|,)``.

    Raises:
        ValueError: if an argument has none of these values, or the group no such subgroup; in ``forward`` for input of
            another shape.

    >>> layer = SubgroupDownsample("dihedral", 12, "dihedral", 2, num_features=10, apply_antialiasing=True)
    >>> out, elements = layer(torch.rand(4, 10 * 24, 32, 32))
    >>> out.shape
    torch.Size([4, 120, 32, 32])
    """

    group_type: str
    order: int | None = None
    sub_group_type: str | None = None
    subsampling_factor: int = 1
    num_features: int = 1
    generator: str = "r-s"
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    sample_type: str = "sample"
    apply_antialiasing: bool = False
    anti_aliasing_kwargs: Mapping[str, Any] | None = None
    cannonicalize: Any = False

    def __post_init__(self) -> None:
        if self.sample_type != "sample":
            raise ValueError(
                f"sample_type must be 'sample', got {self.sample_type!r}: 'pool' is not equivariant"
            )
        if self.generator not in ("r-s", "r"):
            raise ValueError(f"generator must be 'r-s', or 'r' of a cyclic group, got {self.generator!r}")
        self.below = self.sub_group_type = self.sub_group_type or self.group_type
        self.num_features = require_positive("num_features", self.num_features)
        self.anti_aliasing_kwargs = dict(self.anti_aliasing_kwargs or {"mode": "analytical"})
        nodes = elements_of(self.group_type, self.order, self.below, self.subsampling_factor)
        group = finite(self.group_type, self.order)
        design, mode = design_of(self.anti_aliasing_kwargs)
        # What they call the order: of a dihedral group its rotations, of another its elements.
        self.sub_order = len(nodes) // (2 if self.below == "dihedral" else 1)
        self.sample = SamplingLayer(
            sampling_factor=self.subsampling_factor, nodes=range(len(group)), subsample_nodes=nodes
        )
        self.anti_aliaser: AntiAliasingLayer | None = None
        if self.apply_antialiasing:
            limit = chosen_bandlimit(group, nodes, mode, design)
            settings = self.anti_aliasing_kwargs
            self.anti_aliaser = AntiAliasingLayer.of_bandlimit(limit, nodes, settings, self.dtype)
        kinds = self.group_type, len(group), self.below, len(nodes), self.num_features
        self.cannonicalize = Cannonicalizer(*kinds, self.dtype, self.device) if self.cannonicalize else None
        self.to(self.dtype)
        if torch.device(self.device).type != "cpu":  # by default where tensors are made, which may be "meta"
            self.to(self.device)

    @property
    def G(self) -> Any:
        """escnn's group."""
        return get_group(self.group_type, self.order)

    @property
    def G_sub(self) -> Any:
        """escnn's group of the same name as the subgroup."""
        return get_group(self.below, self.sub_order)

    @property
    def graphs(self) -> GraphConstructor:
        """The graphs of both."""
        kinds = self.group_type, "r-s", self.below, self.subsampling_factor
        return GraphConstructor(len(self.sample.nodes), *kinds)

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        """The features on the subgroup, and by which elements samples were moved back."""
        channels = self.num_features * len(self.sample.nodes)
        if x.dim() > 2 and x.shape[1] != channels:
            raise ValueError(
                f"x must have num_features * |G| = {channels} channels, got shape {tuple(x.shape)}"
            )
        elements: Any = [(-1, -1)]
        if self.cannonicalize is not None:
            x, elements = self.cannonicalize(x)
        if self.anti_aliaser is None:
            return self.sample(x), elements
        filter_ = self.anti_aliaser.signal_projector if x.dim() == 1 else self.anti_aliaser.projector
        return on_fibres(self.sample.sampling_matrix @ filter_, x, "x"), elements

    def upsample(self, x: Tensor) -> Tensor:
        """Features on the group from those on the subgroup, ``(batch, num_features * |H|, *space)`` or ``(|H|,)``.

        Without a filter there are zeros between them, as in theirs.
        """
        by = self.sample if self.anti_aliaser is None else self.anti_aliaser
        return by.up_sample(x)


def design_of(anti_aliasing_kwargs: Mapping[str, Any] | None) -> tuple[OptimizedDesign, str]:
    """The optimised design that the authors' ``anti_aliasing_kwargs`` describe, and the mode.

    Raises:
        ValueError: if one has another name or value.
    """
    given = {key: value for key, value in (anti_aliasing_kwargs or {}).items() if key not in _WITHOUT_EFFECT}
    mode = given.pop("mode", "analytical")
    if mode not in _MODES:
        raise ValueError(
            "anti_aliasing_kwargs: mode must be 'analytical' (the closed form), 'linear_optim' or 'gpu_optim', "
            f"got {mode!r}"
        )
    weight = 1.0 if given.pop("equi_constraint", True) else 0.0
    if given.get("smooth_operator") == "graph_shift":
        given["smooth_operator"] = "adjacency"
    ours: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "smoothness_loss_weight": ("smoothness_weight", float),
        "iterations": ("iterations", int),
        "smooth_operator": ("operator", str),
    }
    unknown = sorted(set(given) - set(ours))
    if unknown:
        known = ", ".join(["mode", "equi_constraint", *ours, *_WITHOUT_EFFECT])
        raise ValueError(f"anti_aliasing_kwargs: {', '.join(unknown)} not supported, give some of {known}")
    settings = {ours[name][0]: ours[name][1](value) for name, value in given.items()}
    return OptimizedDesign(equivariance_weight=weight, **settings), mode
