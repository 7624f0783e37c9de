"""Steerable convolution of bandlimited signals: what commutes with all of ``G`` at the cost of ``H``.

A kernel between the coefficients of two bands is equivariant when ``K(g x) = rho(g) K(x) rho'(g)^T`` (Weiler & Cesa,
NeurIPS 2019, equation 4). With ``E`` the basis of the outer band and the scalar filters of
:class:`sefl.groups.GroupConv`, whose span ``G`` keeps, all solutions are

    K(x) = mean_{a in G}  E[a]^T (rho'(a) u)^T  filter_n(a^-1 x),        u any vector:

``rho(a)`` moves ``E[e]`` to ``E[a]``, so this is the mean over ``G`` of a rank-one kernel, and ``E[e]`` generates each
irreducible block. Blocks mix with each other independently, and the solutions of each pair are few, small and made
orthonormal on their own; so the size of ``G`` hardly enters. On the plane and ``C_n`` these are the kernels of escnn's
``R2Conv`` between the same irreps.
"""

import math
from functools import lru_cache
from itertools import accumulate, pairwise, product

import numpy as np
import torch
from torch import Tensor, nn

from sefl.arguments import require_positive
from sefl.groups.bandlimited import BandlimitedField
from sefl.groups.convolution import ExpandedConv, moving_matrices, sampled_filters
from sefl.groups.group import FiniteGroup, FloatArray, cyclic, dihedral
from sefl.tensors.constants import constant

_DEPENDENT = (
    1e-6  # what is left of a kernel that others span; rounding leaves 1e-12, one that they do not span .01
)


class SteerableConv(ExpandedConv):
    """Convolution between fields of bandlimited signals that commutes with all of ``G``.

        out[o](x) = bias[o] E^T 1 / |G| + sum_{i, y} K[o, i](y) in[i](x + y),    K[o, i] = sum_m weight[o, i, m] K_m

    with orthonormal kernels ``K_m``, computed once and shared, that span all equivariant ones of the scalar filters of
    :class:`sefl.groups.GroupConv`. It commutes as that does: to rounding for elements of ``G``, not of ``H`` alone,
    that map the pixel grid to itself, up to the resolution of the pixels for the others.

    Args:
        source: the field of the input and how many there are; ``(field.scalars, channels)`` for images.
        target: those of the output, on the same group.
        kernel_size: pixels per axis, odd.
        padding, stride, dilation: as of :class:`sefl.groups.GroupConv`.
        bias: add a learned constant signal per field, if the band of ``target`` has the constants.

    Shapes: ``(batch, in_fields d', *space)`` to ``(batch, out_fields d, *space)``; channel ``field d + coefficient``.
    ``weight`` is ``(out_fields, in_fields, kernels)``.

    Raises:
        ValueError: if an argument is out of its range, the fields are of different groups or the group has no
            matrices, and in ``forward`` for an input of other axes or channels.

    >>> from sefl.groups import BandlimitedField, bandlimit, cyclic
    >>> field = BandlimitedField(bandlimit(cyclic(12), "C6"))
    >>> SteerableConv((field, 6), (field, 10), 5)(torch.rand(2, 30, 9, 9)).shape
    torch.Size([2, 50, 9, 9])
    """

    def __init__(
        self,
        source: tuple[BandlimitedField, int],
        target: tuple[BandlimitedField, int],
        kernel_size: int,
        *,
        padding: int | None = None,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = True,
    ) -> None:
        other, group = source[0].group, target[0].group
        if other is not group or source[0].continuous != target[0].continuous:
            raise ValueError(f"target must be on the group of source, {source[0]}, got {target[0]}")
        super().__init__(moving_matrices(group).shape[-1], kernel_size, padding, stride, dilation)
        self.source, self.output_type = source[0], target[0]
        self.in_fields = require_positive("source's number of fields", source[1])
        self.out_fields = require_positive("target's number of fields", target[1])
        kernels = sum(len(kernels) for _, _, kernels in pairs_of_blocks(*self._between))
        self.weight = nn.Parameter(torch.empty(self.out_fields, self.in_fields, kernels))
        self.bias = nn.Parameter(torch.empty(self.out_fields)) if bias and self.output_type.has_mean else None
        self.reset_parameters()

    @property
    def _between(self) -> tuple[BandlimitedField, BandlimitedField, int]:
        return self.source, self.output_type, self.kernel_size

    @property
    def in_channels(self) -> int:
        return self.in_fields * self.source.channels

    @property
    def out_channels(self) -> int:
        return self.out_fields * self.output_type.channels

    def reset_parameters(self) -> None:
        """He's initialisation, for a ReLU to follow: the mean square of signals of white coefficients is doubled.

        The bias is 0.
        """
        _, in_fields, kernels = self.weight.shape
        nn.init.normal_(self.weight, std=math.sqrt(2 * self.source.channels / (in_fields * max(1, kernels))))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def kernel(self) -> Tensor:
        like = self.weight
        basis = constant(steerable_kernels, *self._between, dtype=like.dtype, device=like.device)
        taps = like.flatten(0, 1) @ basis.flatten(1)
        by_field = taps.view(self.out_fields, self.in_fields, *basis.shape[1:])
        return by_field.transpose(1, 2).reshape(self.out_channels, self.in_channels, *basis.shape[3:])

    def channel_bias(self) -> Tensor | None:
        if self.bias is None:
            return None
        return nn.functional.pad(self.bias[:, None], (0, self.output_type.channels - 1)).flatten()

    def input_in_words(self) -> tuple[str, str]:
        return self.source.name, f"{self.in_fields} fields of {self.source.channels} coefficients"

    def extra_repr(self) -> str:
        return (
            f"({self.source}, {self.in_fields}), ({self.output_type}, {self.out_fields}), "
            f"{self.geometry_in_words()}, bias={self.bias is not None}"
        )


def steerable_kernels(source: BandlimitedField, target: BandlimitedField, kernel_size: int) -> FloatArray:
    """Orthonormal kernels that span the equivariant ones: ``(kernels, d, d', *kernel)``."""
    pairs = pairs_of_blocks(source, target, kernel_size)
    shape = pairs[0][2].shape[3:]
    basis = np.zeros((sum(len(kernels) for *_, kernels in pairs), target.channels, source.channels, *shape))
    first = 0
    for rows, columns, kernels in pairs:
        basis[first : first + len(kernels), rows, columns] = kernels
        first += len(kernels)
    return basis


@lru_cache(maxsize=64)
def pairs_of_blocks(
    source: BandlimitedField, target: BandlimitedField, kernel_size: int
) -> tuple[tuple[slice, slice, FloatArray], ...]:
    """Which coefficients of ``target`` and of ``source`` two blocks are, and the kernels between these."""
    group, inner, outer = _averaging(source, target, kernel_size)
    filters = sampled_filters(group, kernel_size)
    return tuple(
        (rows, columns, _kernels(group, outer[:, rows], inner[:, columns], filters))
        for rows, columns in product(_slices(target.widths), _slices(source.widths))
    )


def _averaging(
    source: BandlimitedField, target: BandlimitedField, kernel_size: int
) -> tuple[FiniteGroup, FloatArray, FloatArray]:
    """The group that kernels are averaged over, and the bases of the two bands on it.

    Of a continuous group it is as fine as to tell apart all frequencies of the bands and of filters of this size.
    """
    if not source.continuous:
        return source.group, source.basis, target.basis
    (rotations, mirrored), (others, _) = source.circle, target.circle
    angles = rotations // 2 + others // 2 + kernel_size
    group = dihedral(angles) if mirrored else cyclic(angles)
    return group, source.synthesis(angles), target.synthesis(angles)


def _kernels(group: FiniteGroup, outer: FloatArray, inner: FloatArray, filters: FloatArray) -> FloatArray:
    """``(kernels, p, q, *kernel)`` of two irreducible blocks with the bases ``(|G|, p)`` and ``(|G|, q)``."""
    size, count, *shape = filters.shape
    moves = np.einsum("xi,axj->aij", inner, inner[group.table[group.inverse]]) / size
    moved = np.einsum("ap,aqu->apqu", outer, moves).reshape(size, -1)
    candidates = (moved.T @ filters.reshape(size, -1) / size).reshape(
        outer.shape[1], inner.shape[1], inner.shape[1], count, -1
    )
    flat = candidates.transpose(3, 2, 0, 1, 4).reshape(count * inner.shape[1], -1)
    kernels: FloatArray = _orthonormal(flat).reshape(-1, outer.shape[1], inner.shape[1], *shape)
    return kernels


def _orthonormal(vectors: FloatArray) -> FloatArray:
    """Gram-Schmidt in the order given, so that nothing depends on the machine; what those before span is left out."""
    found = np.zeros((0, vectors.shape[1]))
    for rest in vectors[np.linalg.norm(vectors, axis=1) > _DEPENDENT]:
        length = np.linalg.norm(rest)
        for _ in range(2):  # the second takes what rounding left
            rest = rest - (rest @ found.T) @ found
        if (remaining := np.linalg.norm(rest)) > _DEPENDENT * length:
            found = np.concatenate([found, rest[None] / remaining])
    return found


def _slices(widths: tuple[int, ...]) -> list[slice]:
    return [slice(*ends) for ends in pairwise(accumulate(widths, initial=0))]
