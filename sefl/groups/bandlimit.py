"""Bandlimited signals on a group: the anti-aliasing filter before restriction to a subgroup, and the way back."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, get_args

import numpy as np

from sefl.arguments import require_one_of
from sefl.groups.blocks import Block, right_convolution
from sefl.groups.group import FiniteGroup, FloatArray
from sefl.groups.lowpass import Equivariance, Fill, leading_blocks, lowpass_blocks
from sefl.groups.optimized import OptimizedDesign, optimized_basis
from sefl.groups.subgroup import Subgroup, automatic_subgroup
from sefl.groups.subgroup import subgroup as subgroup_of_name

Design = Literal["closed_form", "optimized"]
_DEFAULT_DESIGN = OptimizedDesign()


@dataclass(frozen=True, eq=False, repr=False)
class Bandlimit:
    """Signals on ``G`` that their values on ``H`` determine.

    With the restriction ``S`` to ``H``, the projector ``P`` onto these signals and the reconstruction ``U``::

        U S P = P,      P P = P = P^T,      range(U) = range(P).

    Downsampling is ``S P``, upsampling is ``U``; both matrices are constant and must not be written to.

    Attributes:
        subgroup: ``H`` in ``G``.
        projector: ``P``, ``(|G|, |G|)``, the anti-aliasing filter.
        reconstruction: ``U``, ``(|G|, |H|)``, the pseudo-inverse of ``S`` on ``range(P)``.
        kept: the blocks, or parts of blocks, that make up ``range(P)``, in the order of choice; an optimised design
            has none.
    """

    subgroup: Subgroup
    projector: FloatArray
    reconstruction: FloatArray
    kept: tuple[Block, ...] = ()

    def __repr__(self) -> str:
        return f"Bandlimit({self.subgroup.name}, dimension {self.dimension})"

    @cached_property
    def restriction(self) -> FloatArray:
        """``S``, ``(|H|, |G|)``: zeros and ones that select the elements of ``H`` in their order."""
        matrix = np.zeros((len(self.subgroup.elements), len(self.subgroup.parent)))
        matrix[np.arange(len(matrix)), self.subgroup.elements] = 1
        matrix.flags.writeable = False
        return matrix

    @cached_property
    def dimension(self) -> int:
        """The rank of ``P``, at most ``|H|``."""
        return round(float(np.trace(self.projector)))

    @property
    def complete(self) -> bool:
        """Whether every signal on ``H`` is the restriction of a bandlimited one: ``dimension == |H|``."""
        return self.dimension == len(self.subgroup.elements)

    @cached_property
    def amplification(self) -> float:
        """The largest factor by which ``U`` enlarges noise on ``H``, over that of a tight frame, ``sqrt(|G|/|H|)``."""
        return float(np.linalg.norm(self.reconstruction, 2) / np.sqrt(self.subgroup.rate))


def bandlimit(
    group: FiniteGroup,
    subgroup: Subgroup | str | int,
    *,
    equivariance: Equivariance = "group",
    fill: Fill = "lowpass",
    design: Design = "closed_form",
    optimized: OptimizedDesign = _DEFAULT_DESIGN,
) -> Bandlimit:
    """The smooth signals on ``G`` that their values on ``H`` determine.

    Signals on ``G`` are a sum of blocks, from smooth to rough (:func:`sefl.groups.blocks.blocks`). A block is kept
    unless it aliases on ``H``, with itself or with a block kept before. One that aliases with itself is first mixed
    with the next of its irrep, where there is one. On the cyclic group this is the ideal low-pass filter.

    Args:
        group: ``G``.
        subgroup: ``H``; a name for :func:`sefl.groups.subgroup`; or a rate for
            :func:`sefl.groups.automatic_subgroup`.
        equivariance: the projector commutes with the left translations of the whole ``"group"``, or of the
            ``"subgroup"`` alone: then of a block that aliases with itself the part that does not is kept (on the
            cyclic group the cosine at the Nyquist frequency of ``H``), and ``complete`` always holds.
        fill: ``"lowpass"`` lets nothing rough take the place of something smooth that had to be dropped, nor keeps
            what is nearly an alias; ``"maximal"`` goes on to the largest dimension that an invariant space can have
            (:func:`sefl.groups.capacity.dimension_bound`), which may cost smooth blocks, even the constant signals.
            Only the closed form with ``equivariance="group"`` has this choice, the others have dimension ``|H|``.
        design: ``"closed_form"``, exact; or ``"optimized"``, as in the paper, which commutes with translations
            approximately.
        optimized: the weights and iterations of the optimised design.

    Returns:
        The bandlimit, the same object for the same arguments.

    Raises:
        ValueError: if ``subgroup`` does not exist or is one of another group; if an option is unknown.

    See "Group Downsampling with Equivariant Anti-aliasing" (ICLR 2025), the subgroup sampling theorem, whose
    optimised operator the closed form replaces.

    >>> from sefl.groups import cyclic
    >>> limit = bandlimit(cyclic(24), "C8")
    >>> limit, limit.projector.shape, limit.reconstruction.shape
    (Bandlimit(C8 < C24 {e, r^3, r^6, r^9, r^12, r^15, r^18, r^21}, dimension 7), (24, 24), (24, 8))
    """
    require_one_of("equivariance", equivariance, get_args(Equivariance))
    require_one_of("fill", fill, get_args(Fill))
    require_one_of("design", design, get_args(Design))
    if isinstance(subgroup, Subgroup):
        if subgroup.parent is not group:
            raise ValueError(f"subgroup must be one of {group.name}, got {subgroup.name} of another group")
    elif isinstance(subgroup, str):
        subgroup = subgroup_of_name(group, subgroup)
    else:
        subgroup = automatic_subgroup(group, subgroup)
    if design == "optimized":
        return _optimized(subgroup, equivariance, optimized)
    return _closed_form(subgroup, equivariance, fill)


@lru_cache(maxsize=256)
def leading_bandlimit(bandlimit: Bandlimit, subgroup: Subgroup) -> Bandlimit:
    """The longest run of leading blocks of a bandlimit that values on a smaller subgroup determine.

    Coefficients of the one are the first coefficients of the other. On cyclic groups it is what :func:`bandlimit`
    finds on its own; on others that may be larger, and rougher than ``bandlimit`` allows.

    Raises:
        ValueError: if ``subgroup`` is one of another group.

    >>> from sefl.groups import cyclic
    >>> from sefl.groups import subgroup as subgroup_of_name
    >>> leading_bandlimit(bandlimit(cyclic(24), "C12"), subgroup_of_name(cyclic(24), "C6")).dimension
    5
    """
    if subgroup.parent is not bandlimit.subgroup.parent:
        raise ValueError(
            f"subgroup must be one of {bandlimit.subgroup.parent.name}, got {subgroup.name} of another group"
        )
    kept = leading_blocks(subgroup, bandlimit.kept)
    basis = np.concatenate([block.basis for block in kept], axis=1)
    return _bandlimit(subgroup, basis @ basis.T, basis, tuple(kept))


@lru_cache(maxsize=256)
def _closed_form(subgroup: Subgroup, equivariance: Equivariance, fill: Fill) -> Bandlimit:
    group = subgroup.parent
    kept = lowpass_blocks(subgroup, equivariance, fill)
    basis = np.concatenate([block.basis for block in kept], axis=1)
    projector = basis @ basis.T
    if equivariance == "group":
        # Averaged over G, the projector commutes with G to the last bit.
        kernel = projector[np.arange(len(group))[:, None], group.table].mean(axis=0)
        projector = right_convolution(group, (kernel + kernel[group.inverse]) / 2)
    return _bandlimit(subgroup, projector, basis, tuple(kept))


@lru_cache(maxsize=64)
def _optimized(subgroup: Subgroup, equivariance: Equivariance, design: OptimizedDesign) -> Bandlimit:
    basis = optimized_basis(subgroup, equivariance, design)
    return _bandlimit(subgroup, basis @ basis.T, basis, ())


def _bandlimit(
    subgroup: Subgroup, projector: FloatArray, basis: FloatArray, kept: tuple[Block, ...]
) -> Bandlimit:
    samples: FloatArray = basis[subgroup.elements]
    reconstruction = basis @ np.linalg.pinv(samples)
    for matrix in (projector, reconstruction):
        matrix.flags.writeable = False
    return Bandlimit(subgroup, projector, reconstruction, kept)
