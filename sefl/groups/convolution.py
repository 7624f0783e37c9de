"""Group convolution between regular fields of any finite group that acts on pixels by orthogonal matrices.

A kernel ``K`` from one regular field of ``H`` to another is equivariant when ``K(g x)[g a, g b] = K(x)[a, b]`` (Cohen &
Welling, ICML 2016; Weiler & Cesa, NeurIPS 2019, equation 4). Its rows move freely, so the solutions are induced from
scalar filters that no constraint binds, one for every element of ``H``:

    K(x)[a, b] = kappa_{a^-1 b}(a^-1 x),        and from a scalar image        K(x)[a] = kappa(a^-1 x).

The scalar filters are the circular or spherical harmonics on Gaussian rings of escnn's ``R2Conv`` and ``R3Conv``, with
their radii, widths and highest frequencies. So these are escnn's kernels, to the last dimension, without its linear
systems: no Clebsch-Gordan coefficients, no cache on disk, any subgroup.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from sefl.arguments import is_odd, require_floating, require_integer, require_positive
from sefl.groups.group import FiniteGroup, FloatArray, IntArray
from sefl.groups.subgroup import Subgroup
from sefl.tensors.constants import constant

# Widths of the Gaussian rings, in pixels, as in escnn's compute_basis_params: a single pixel, the last ring, others.
CENTRE_WIDTH = 0.005
OUTER_WIDTH = 0.4
INNER_WIDTH = 0.6


class ExpandedConv(nn.Module, ABC):
    """An ordinary convolution with a kernel that is expanded from fewer weights in every call.

    That takes a fraction of the convolution's time, and nothing goes stale when weights change.

    Args:
        dimension: of space: 2 or 3.
        kernel_size: pixels per axis, odd.
        padding: zeros at every border, ``dilation * (kernel_size // 2)`` by default, which keeps the size.
        stride: pixels from one output to the next.
        dilation: pixels from one tap of the kernel to the next.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self, dimension: int, kernel_size: int, padding: int | None, stride: int, dilation: int
    ) -> None:
        super().__init__()
        self.dimension = dimension
        self.kernel_size = _check_kernel_size(kernel_size)
        self.stride = require_positive("stride", stride)
        self.dilation = require_positive("dilation", dilation)
        same = self.dilation * (self.kernel_size // 2)
        self.padding = same if padding is None else require_integer("padding", padding, least=0)

    @property
    @abstractmethod
    def in_channels(self) -> int:
        """Channels of the input."""

    @property
    @abstractmethod
    def out_channels(self) -> int:
        """Channels of the output."""

    @abstractmethod
    def kernel(self) -> Tensor:
        """The kernel of the ordinary convolution that this is: ``(out_channels, in_channels, *kernel)``."""

    @abstractmethod
    def channel_bias(self) -> Tensor | None:
        """Its bias, ``(out_channels,)``."""

    @abstractmethod
    def input_in_words(self) -> tuple[str, str]:
        """What acts on space, and what the channels of the input are, for messages."""

    def forward(self, features: Tensor) -> Tensor:
        self._check(features)
        convolve = F.conv2d if self.dimension == 2 else F.conv3d
        return convolve(
            features,
            self.kernel(),
            self.channel_bias(),
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )

    def _check(self, features: Tensor) -> None:
        require_floating("features", features)
        acting, fields = self.input_in_words()
        if features.dim() != 2 + self.dimension:
            raise ValueError(
                f"features must have {2 + self.dimension} axes, (batch, channels, *space), for {acting} acts "
                f"on {self.dimension}-D space; got shape {tuple(features.shape)}"
            )
        if features.shape[1] != self.in_channels:
            raise ValueError(
                f"features must have {self.in_channels} channels ({fields}), got {features.shape[1]}"
            )

    def geometry_in_words(self) -> str:
        """For ``repr``."""
        return f"kernel_size={self.kernel_size}, padding={self.padding}, stride={self.stride}, dilation={self.dilation}"


class GroupConv(ExpandedConv):
    """Convolution between regular fields of ``H``; from scalar images it is :class:`LiftingConv`.

        out[o, a](x) = bias[o] + sum_{i, b, y} K[o, i](y)[a, b] in[i, b](x + y)
        K[o, i](y)[a, b] = sum_n weight[o, i, a^-1 b, n] filter_n(a^-1 y)

    It commutes with ``H``, which acts by ``(g f)[i, a](x) = f[i, g^-1 a](g^-1 x)``: to rounding for elements that map
    the pixel grid to itself, up to the resolution of the pixels for the others. ``x`` counts pixels along the last
    axis, ``-y`` along the second last, ``-z`` along the one before, as in escnn.

    The kernel is expanded in every call; ``state_dict`` holds ``weight`` and ``bias``.

    Args:
        group: ``H``, a group of 2 x 2 or 3 x 3 matrices.
        in_fields: regular fields of the input.
        out_fields: regular fields of the output.
        kernel_size: pixels per axis, odd.
        padding: zeros at every border, ``dilation * (kernel_size // 2)`` by default, which keeps the size.
        stride: pixels from one output to the next. It keeps the symmetry of the grid where it divides
            ``size + 2 padding - dilation (kernel_size - 1) - 1``.
        dilation: pixels from one tap of the kernel to the next.
        bias: add a learned constant per field.

    Shapes: ``(batch, in_fields |H|, *space)`` to ``(batch, out_fields |H|, *space)``; channel ``field |H| + element``.
    ``weight`` is ``(out_fields, in_fields, |H|, filters)``.

    Raises:
        ValueError: if an argument is out of its range or ``group`` has no such matrices, and in ``forward`` for an
            input of other axes or channels.
    """

    lifting: ClassVar[bool] = False

    def __init__(
        self,
        group: FiniteGroup,
        in_fields: int,
        out_fields: int,
        kernel_size: int,
        *,
        padding: int | None = None,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(moving_matrices(group).shape[-1], kernel_size, padding, stride, dilation)
        self.group = group
        self.in_fields = require_positive("in_fields", in_fields)
        self.out_fields = require_positive("out_fields", out_fields)
        self._filter_shape = sampled_filters(group, self.kernel_size).shape[1:]
        size = (self.out_fields, self.in_fields, self._filter_shape[0])
        self.weight = nn.Parameter(torch.empty(size if self.lifting else (*size[:2], len(group), size[2])))
        self.bias = nn.Parameter(torch.empty(self.out_fields)) if bias else None
        self.reset_parameters()

    @property
    def filters(self) -> Tensor:
        """:func:`sampled_filters` in the precision of the weights: ``(|H|, filters, *kernel)``."""
        like = self.weight
        return constant(sampled_filters, self.group, self.kernel_size, dtype=like.dtype, device=like.device)

    @property
    def in_channels(self) -> int:
        return self.in_fields if self.lifting else self.in_fields * len(self.group)

    @property
    def out_channels(self) -> int:
        return self.out_fields * len(self.group)

    def reset_parameters(self) -> None:
        """He's initialisation, for a ReLU to follow: white noise of variance 1 comes out with variance 2.

        Filters have norm 1 on average over ``H``, so every weight contributes alike (escnn's ``generalized_he_init``
        has half the variance). The bias is 0.
        """
        nn.init.normal_(self.weight, std=math.sqrt(2 / math.prod(self.weight.shape[1:])))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def kernel(self) -> Tensor:
        filters = self.filters.flatten(2)
        if self.lifting:
            taps = torch.einsum("oin,anx->oaix", self.weight, filters)
        else:
            size = len(self.group)
            quotients = constant(_quotients, self.group, dtype=torch.int64, device=filters.device)
            weight = self.weight.index_select(2, quotients).unflatten(2, (size, size))
            taps = torch.einsum("oiabn,anx->oaibx", weight, filters)
        return taps.reshape(self.out_channels, self.in_channels, *self._filter_shape[1:])

    def channel_bias(self) -> Tensor | None:
        return None if self.bias is None else self.bias.repeat_interleave(len(self.group))

    def restrict(self, subgroup: Subgroup) -> "GroupConv":
        """The same function as a convolution of a subgroup: it has more weights, from which training goes on.

        It maps what :class:`sefl.groups.FieldRestriction` makes of the input to what that makes of the output.

        Args:
            subgroup: one of :attr:`group`.

        Returns:
            a convolution with ``|G| / |H|`` times as many fields, of output and (unless scalars) of input.

        Raises:
            ValueError: if ``subgroup`` is one of another group.
        """
        if not self.group.moves_as(subgroup.parent):
            raise ValueError(
                f"subgroup must be one of {self.group.name}, got {subgroup.name} of another group"
            )
        group, cosets = self.group, subgroup.right_coset_representatives
        restricted = type(self)(
            subgroup.group,
            self.in_fields * (1 if self.lifting else len(cosets)),
            self.out_fields * len(cosets),
            self.kernel_size,
            padding=self.padding,
            stride=self.stride,
            dilation=self.dilation,
            bias=self.bias is not None,
        ).to(self.weight)
        like = self.weight
        filters = constant(
            _filters_by_filters, subgroup, self.kernel_size, dtype=like.dtype, device=like.device
        )
        with torch.no_grad():
            if self.lifting:
                weight = torch.einsum("oin,jnm->ojim", self.weight, filters)
            else:
                # From h' t_k to h t_j the kernel has the weight of t_j^-1 (h^-1 h') t_k.
                between = group.table[group.table[group.inverse[cosets][:, None], subgroup.elements]]
                quotients = torch.as_tensor(between[:, :, cosets], device=like.device)
                weight = torch.einsum("oijhkn,jnm->ojikhm", self.weight[:, :, quotients], filters)
            restricted.weight.copy_(weight.reshape(restricted.weight.shape))
            if self.bias is not None and restricted.bias is not None:
                restricted.bias.copy_(self.bias.repeat_interleave(len(cosets)))
        return restricted.train(self.training)

    def input_in_words(self) -> tuple[str, str]:
        kind = "scalar images" if self.lifting else f"regular fields of {len(self.group)} elements"
        return self.group.name, f"{self.in_fields} {kind}"

    def extra_repr(self) -> str:
        return (
            f"{self.group.name}, {self.in_fields}, {self.out_fields}, "
            f"{self.geometry_in_words()}, bias={self.bias is not None}"
        )


class LiftingConv(GroupConv):
    """:class:`GroupConv` from scalar images, which ``H`` moves alone, to regular fields of ``H``.

        out[o, a](x) = bias[o] + sum_{i, y} K[o, i](y)[a] in[i](x + y)
        K[o, i](y)[a] = sum_n weight[o, i, n] filter_n(a^-1 y)

    Shapes: ``(batch, in_fields, *space)`` to ``(batch, out_fields |H|, *space)``. ``weight`` is
    ``(out_fields, in_fields, filters)``.
    """

    lifting = True


def _quotients(group: FiniteGroup) -> IntArray:
    """``a^-1 b`` of every pair of elements: ``(|H|^2,)``."""
    return group.table[group.inverse].ravel()


def _filters_by_filters(subgroup: Subgroup, kernel_size: int) -> FloatArray:
    """The filters of ``G``, turned by ``t_j`` of every right coset, as sums of those of ``H``: ``(rate, n, m)``."""
    outer = sampled_filters(subgroup.parent, kernel_size)
    inner = sampled_filters(subgroup.group, kernel_size).swapaxes(0, 1)
    inner = inner.reshape(len(inner), -1)
    turned = outer[subgroup.parent.table[subgroup.elements[:, None], subgroup.right_coset_representatives]]
    samples = turned.transpose(1, 2, 0, *range(3, turned.ndim)).reshape(turned.shape[1], turned.shape[2], -1)
    sums: FloatArray = samples @ np.linalg.pinv(inner)
    return sums


def sampled_filters(group: FiniteGroup, kernel_size: int) -> FloatArray:
    """The scalar filters, turned by every element and sampled at the pixels: ``filter_n(a^-1 x)`` is ``[a, n, x]``.

    Elements that differ by a symmetry of the pixel grid, ``l a`` and ``a``, get the same numbers at permuted pixels, so
    that a kernel is symmetric without any rounding, in every precision. The mean over ``H`` of each filter's squared
    norm is 1.

    Returns:
        ``(|H|, filters, kernel_size, ..., kernel_size)``; 1, 6, 11, 18 filters in the plane and 1, 10, 19, 35 in space
        for the sizes 1, 3, 5, 7.

    Raises:
        ValueError: if ``group`` has no matrices of 2 or 3 dimensions, or ``kernel_size`` is not odd.

    >>> from sefl.groups import cyclic
    >>> sampled_filters(cyclic(8), 5).shape
    (8, 11, 5, 5)
    """
    matrices = moving_matrices(group)
    kernel_size = _check_kernel_size(kernel_size)
    dimension = matrices.shape[-1]
    pixels = pixel_centres(kernel_size, dimension)
    whole = np.rint(matrices)
    lattice = np.flatnonzero(np.abs(matrices - whole).max(axis=(1, 2)) < 1e-6)
    representatives = group.table[lattice].min(axis=0)  # t of a = l t
    symmetries = group.table[np.arange(len(group)), group.inverse[representatives]]  # l
    sampled = {t: scalar_filters(pixels @ matrices[t], kernel_size) for t in set(representatives.tolist())}
    filters = np.stack(
        [
            sampled[t][:, _pixel_numbers(pixels @ whole[symmetry], kernel_size)]
            for t, symmetry in zip(representatives.tolist(), symmetries.tolist(), strict=True)
        ]
    )
    filters /= np.sqrt((filters**2).sum(axis=2).mean(axis=0))[:, None]
    on_grid: FloatArray = filters.reshape(*filters.shape[:2], *(kernel_size,) * dimension)
    return on_grid


def scalar_filters(points: FloatArray, kernel_size: int) -> FloatArray:
    """Harmonics on Gaussian rings of whole radii up to ``kernel_size // 2``, at points of the plane or of space.

    They span what escnn's ``CircularShellsBasis`` and ``SphericalShellsBasis`` do with the rings, widths and highest
    frequencies of its ``R2Conv`` and ``R3Conv``; of every frequency but 0, the value at the origin is 0.

    Args:
        points: ``(points, d)``, with ``d`` 2 or 3.
        kernel_size: an odd number of pixels.

    Returns:
        ``(filters, points)``.
    """
    radius = np.linalg.norm(points, axis=1)
    at_origin = radius < 1e-9
    directions = points / np.where(at_origin, 1, radius)[:, None]
    outer = kernel_size // 2
    filters = []
    for ring in range(outer + 1):
        width = CENTRE_WIDTH if ring == 0 else OUTER_WIDTH if ring == outer else INNER_WIDTH
        profile = np.exp(-(((radius - ring) / width) ** 2) / 2)
        for frequency in range(_highest_frequency(ring, outer, points.shape[1]) + 1):
            supported = profile * ~at_origin if frequency else profile
            filters += [supported * harmonic for harmonic in _harmonics(directions, frequency)]
    return np.stack(filters)


def _harmonics(directions: FloatArray, frequency: int) -> Iterator[FloatArray]:
    """The circular, or spherical, harmonics of a frequency, up to their norm, at unit vectors ``(points, d)``."""
    wave = directions[:, 0] + 1j * directions[:, 1]
    if directions.shape[1] == 2:
        yield from _parts(wave, frequency)
        return
    legendre = np.polynomial.legendre.Legendre.basis(frequency)
    for order in range(frequency + 1):
        polar = legendre.deriv(order)(directions[:, 2])
        for part in _parts(wave, order):
            yield polar * part


def _parts(wave: NDArray[np.complex128], power: int) -> list[FloatArray]:
    if power == 0:
        return [np.ones(len(wave))]
    return [(wave**power).real, (wave**power).imag]


def _highest_frequency(ring: int, outer: int, dimension: int) -> int:
    """Of a ring, as in escnn: ``_manual_fco1`` of its ``r2convolution`` and of its ``r3convolution``."""
    if ring == 0:
        return 0
    if dimension == 3:
        return min(2 * ring, outer - ring + 2)
    return min(2 * ring, 2 if ring == outer else 2 * ring - (ring + 1) % 2)


def pixel_centres(kernel_size: int, dimension: int) -> FloatArray:
    """``(pixels, d)``: ``x`` to the right along the last axis, ``y`` and ``z`` against theirs; the centre is 0."""
    steps = np.arange(kernel_size) - kernel_size // 2
    axes = np.meshgrid(*[-steps] * (dimension - 1), steps, indexing="ij")
    centres: FloatArray = np.stack([axis.ravel() for axis in reversed(axes)], axis=1).astype(np.float64)
    return centres


def _pixel_numbers(points: FloatArray, kernel_size: int) -> IntArray:
    """Which row of :func:`pixel_centres` each of the points ``(pixels, d)`` is."""
    signs = np.array([1, *[-1] * (points.shape[1] - 1)])
    steps = np.rint(points * signs).astype(np.int64) + kernel_size // 2
    return cast(IntArray, np.ravel_multi_index(tuple(steps.T[::-1]), (kernel_size,) * points.shape[1]))


def moving_matrices(group: FiniteGroup) -> FloatArray:
    """The 2 x 2 or 3 x 3 matrices of a group.

    Raises:
        ValueError: if it has none.
    """
    dimension = None if group.matrices is None else group.matrices.shape[-1]
    if group.matrices is None or dimension not in (2, 3):
        has = "none" if dimension is None else f"matrices of {dimension} dimensions"
        raise ValueError(
            f"group must have matrices by which it moves points of the plane or of space, {group.name} has {has}: "
            "give C8, D12, O, Oh, ..., a subgroup of those, or matrices to FiniteGroup.from_table"
        )
    return group.matrices


def _check_kernel_size(kernel_size: int) -> int:
    if not is_odd(kernel_size):
        below = max(1, int(kernel_size) - 1)
        raise ValueError(
            f"kernel_size must be odd, for the kernel to have a centre, got {kernel_size}: give {below} or {below + 2}"
        )
    return int(kernel_size)
