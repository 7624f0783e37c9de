"""The optimised bandlimit of the ICLR 2025 paper, for comparison with the closed form."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from sefl.arguments import require_integer, require_number, require_one_of, require_positive
from sefl.groups.blocks import blocks, cayley_laplacian
from sefl.groups.group import FiniteGroup, FloatArray, IntArray
from sefl.groups.subgroup import Subgroup

Operator = Literal["adjacency", "laplacian", "normalized_laplacian"]

# Steps that L-BFGS remembers, and the gradient at which it has arrived.
_HISTORY = 20
_GRADIENT_TOLERANCE = 1e-9
# Of the start, relative to the size of a column of the mapping.
_NOISE = 0.1


@dataclass(frozen=True)
class OptimizedDesign:
    """What the optimised bandlimit minimises, and how.

    Attributes:
        smoothness_weight: of the roughness of the upsampled basis functions.
        equivariance_weight: of the part of the projector that does not commute with translations.
        operator: what measures roughness, on the Cayley graph with adjacency ``A``, where each element has ``d``
            neighbours: ``"laplacian"`` is ``<f, (d - A) f>``, ``"normalized_laplacian"`` is ``<f, (1 - A / d) f>``,
            ``"adjacency"`` is the graph's total variation ``|f - A f / d|^2``.
        iterations: of L-BFGS, at most.
        seed: of the random start.

    Raises:
        ValueError: if a weight is negative or not finite, ``operator`` unknown, ``iterations`` not positive or ``seed``
            negative.
    """

    smoothness_weight: float = 1e-2
    equivariance_weight: float = 1.0
    operator: Operator = "laplacian"
    iterations: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("smoothness_weight", "equivariance_weight"):
            object.__setattr__(self, name, require_number(name, getattr(self, name), least=0))
        require_one_of("operator", self.operator, get_args(Operator))
        object.__setattr__(self, "iterations", require_positive("iterations", self.iterations))
        object.__setattr__(self, "seed", require_integer("seed", self.seed, least=0))


def optimized_basis(
    subgroup: Subgroup, equivariance: Literal["group", "subgroup"], design: OptimizedDesign
) -> FloatArray:
    """An orthonormal basis ``(|G|, |H|)`` of the signals that an optimised bandlimit keeps.

    With Fourier bases ``F_G`` and ``F_H``, the columns of ``B = F_G M`` are to be functions of ``H``'s basis upsampled
    to ``G``. The spectral mapping ``M`` minimises

        |S B - F_H|^2 + a tr(B^T R B) + b |P - mean over g of L_g P L_g^-1|^2,        P = B (B^T B)^-1 B^T,

    each term per basis function, with ``R`` the measure of roughness. In "Group Downsampling with Equivariant
    Anti-aliasing" (ICLR 2025) this designs the anti-aliasing operator of the subgroup sampling theorem.
    """
    group = subgroup.parent
    # Gradients and the CPU, whatever mode or default device the caller is in.
    with torch.inference_mode(False), torch.enable_grad():
        fourier = _fourier_basis(group)
        sampled = fourier[torch.from_numpy(subgroup.elements)]
        target = _fourier_basis(subgroup.group) / subgroup.rate**0.5  # a unit function restricts to this norm
        roughness = fourier.T @ _roughness(group, design.operator) @ fourier
        elements = np.arange(len(group)) if equivariance == "group" else subgroup.elements
        mean_over_translations = _reynolds_operator(group, elements)

        # The minimum without the penalty is a linear system's; noise, as there the penalty's gradient may vanish.
        normal = subgroup.rate * sampled.T @ sampled + design.smoothness_weight * roughness
        mapping = torch.linalg.pinv(normal, hermitian=True) @ (subgroup.rate * sampled.T @ target)
        random = torch.Generator("cpu").manual_seed(design.seed)
        noise = torch.randn(mapping.shape, generator=random, dtype=torch.float64, device="cpu")
        mapping = (mapping + _NOISE / len(group) ** 0.5 * noise).requires_grad_()

        def objective() -> Tensor:
            reconstruction = (sampled @ mapping - target).square().sum() * subgroup.rate
            variation = torch.einsum("ik,ij,jk->", mapping, roughness, mapping)
            basis = fourier @ mapping
            projector = basis @ torch.linalg.solve(basis.T @ basis, basis.T)
            moved = (projector - mean_over_translations(projector)).square().sum()
            total = reconstruction + design.smoothness_weight * variation + design.equivariance_weight * moved
            per_element: Tensor = total / len(target)
            return per_element

        _minimize(objective, mapping, design.iterations)
        basis = torch.linalg.qr(fourier @ mapping.detach())[0]
    found: FloatArray = basis.numpy()
    return found


def _minimize(objective: Callable[[], Tensor], parameter: Tensor, iterations: int) -> None:
    optimizer = torch.optim.LBFGS(
        [parameter],
        max_iter=iterations,
        max_eval=2 * iterations,
        history_size=_HISTORY,
        tolerance_grad=_GRADIENT_TOLERANCE,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = objective()
        loss.backward()
        return loss

    optimizer.step(closure)


def _fourier_basis(group: FiniteGroup) -> Tensor:
    return torch.from_numpy(np.concatenate([block.basis for block in blocks(group)], axis=1))


def _roughness(group: FiniteGroup, operator: Operator) -> Tensor:
    laplacian = torch.from_numpy(cayley_laplacian(group))
    if operator == "laplacian":
        return laplacian
    normalized = laplacian / laplacian[0, 0].clamp_min(1)
    return normalized if operator == "normalized_laplacian" else normalized @ normalized


def _reynolds_operator(group: FiniteGroup, elements: IntArray) -> Callable[[Tensor], Tensor]:
    """The mean of ``L_g P L_g^-1`` over the ``elements`` of a subgroup, as a function of ``P``."""
    moved = torch.from_numpy(group.table[elements])  # row g: x -> g x

    def mean(matrix: Tensor) -> Tensor:
        return matrix[moved[:, :, None], moved[:, None, :]].mean(dim=0)

    return mean
