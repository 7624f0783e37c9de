"""Linear layers over frequencies that commute with ideal downsampling: triangular in frequency.

A linear map of coefficients is scale-equivariant exactly when its output at frequency ``k`` reads input frequencies up
to ``|k|`` alone (NeurIPS 2023, claim 1): in nested real coefficients a block lower triangular matrix, of one row for
the constant and two, cosine and sine, for every frequency above. On two axes a matrix of this kind acts along each:
output ``(k1, k2)`` reads the inputs with ``|j1| <= |k1|`` and ``|j2| <= |k2|``, all of them in shells up to its own.
"""

from abc import abstractmethod
from collections.abc import Sequence
from math import prod
from typing import ClassVar

import torch
from torch import Tensor, nn

from sefl.arguments import require_positive
from sefl.fourier.basis import band
from sefl.fourier.sampling import CoefficientModule, band_in_layer, in_autocast
from sefl.fourier.triangular import BlockTriangle, reset_triangle, triangular_product
from sefl.tensors.graphs import outside_of_graphs


def coefficient_triangle(band: int, bandwidth: int | None = None) -> BlockTriangle:
    """Of maps between nested coefficients: blocks of 1, 2, 2, ... for the frequencies 0, 1, 2, ... up to ``band``."""
    sizes = (1, *([2] * band))
    return BlockTriangle(sizes, sizes, bandwidth)


def frequency_triangle(band: int, bandwidth: int | None = None) -> BlockTriangle:
    """Of maps between sequences of one value per frequency."""
    sizes = (1,) * (band + 1)
    return BlockTriangle(sizes, sizes, bandwidth)


class TriangleWeights(nn.ParameterList):
    """The entries of triangles, ``(groups, triangle.size)`` each, which draws them: it is the module that holds them.

    Whatever initialises memory that ``to_empty`` left asks each module for the parameters that are its own.
    """

    def __init__(self, groups: int, triangles: tuple[BlockTriangle, ...]) -> None:
        super().__init__(torch.empty(groups, triangle.size) for triangle in triangles)
        self.triangles = triangles
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As :meth:`TriangularMixer.reset_parameters`."""
        for weight, triangle in zip(self, self.triangles, strict=True):
            reset_triangle(weight, triangle, decay=1.0)


class TriangularMixer(CoefficientModule):
    """What the mixers over frequencies share: one triangle per axis and group of channels, checks, initial values.

    A subclass says in ``forward_band`` what the triangles act on, and which these are in ``axis_triangles``.
    """

    axes: ClassVar[int]

    def __init__(
        self, channels: int, max_resolution: int, bandwidth: int | None = None, groups: int = 1
    ) -> None:
        super().__init__()
        self.triangles = self.axis_triangles(band(max_resolution), bandwidth)
        self.channels = require_positive("channels", channels)
        self.groups = require_positive("groups", groups)
        if self.channels % self.groups:
            raise ValueError(f"groups must divide channels ({channels}), got {groups}")
        self.max_resolution = require_positive("max_resolution", max_resolution)
        self.bandwidth = bandwidth
        self.weights = TriangleWeights(self.groups, self.triangles)

    def reset_parameters(self) -> None:
        """Random, so that signals whose amplitude falls as 1 / frequency, as images' do, keep that spectrum."""
        self.weights.reset_parameters()

    @outside_of_graphs
    def forward(self, coefficients: Tensor) -> Tensor:
        finest = band_in_layer(coefficients, self.axes, self.max_resolution, self.channels, "channels")
        return self.forward_band(in_autocast(coefficients), finest)

    @abstractmethod
    def axis_triangles(self, finest: int, bandwidth: int | None) -> tuple[BlockTriangle, ...]:
        """The triangle along each axis, for frequencies up to ``finest``."""

    @abstractmethod
    def forward_band(self, coefficients: Tensor, finest: int) -> Tensor:
        """The output for checked coefficients of this band, in the dtype in which products are taken."""

    def mix(self, values: Tensor, finest: int) -> Tensor:
        """The triangles of the frequencies up to ``finest`` on ``values``, whose leading axes they match.

        These frequencies come first among the entries of all.
        """
        leading = [triangle.leading(finest + 1) for triangle in self.triangles]
        entries = [
            weight[:, : triangle.size].to(values.dtype)
            for weight, triangle in zip(self.weights, leading, strict=True)
        ]
        return mix_axes(values, entries, leading)

    def extra_repr(self) -> str:
        return (
            f"{self.channels}, max_resolution={self.max_resolution}, bandwidth={self.bandwidth}, "
            f"groups={self.groups}"
        )


class _FrequencyMixerNd(TriangularMixer):
    """What :class:`FrequencyMixer1d` does, along ``axes`` axes."""

    def axis_triangles(self, finest: int, bandwidth: int | None) -> tuple[BlockTriangle, ...]:
        return (coefficient_triangle(finest, bandwidth),) * self.axes

    def forward_band(self, coefficients: Tensor, finest: int) -> Tensor:
        return self.mix(coefficients, finest)


class FrequencyMixer1d(_FrequencyMixerNd):
    """A learned linear map over the frequencies of signals along one axis: ``C -> T C``, block lower triangular ``T``.

    Exactly scale-equivariant at every length up to ``max_resolution``. It does not commute with shifts, as
    :class:`sefl.fourier.MagnitudeMixer1d` does, and the channels of a sample do not mix.

    The entries of ``T`` are stored frequency by frequency (``weights[0]``): those of a mixer with a lower
    ``max_resolution`` are the leading ones.

    Args:
        channels: channels of input and output.
        max_resolution: samples per axis of the finest input.
        bandwidth: frequency ``k`` reads the frequencies ``k - bandwidth .. k``, by default all from 0 on.
        groups: neighbouring channels are divided into so many groups with weights of their own: 1 shares the weights
            among all channels, ``channels`` has weights for each.

    Shapes: ``(K, batch, channels)`` to the same, ``K = 2 band + 1``.

    Raises:
        ValueError: if an argument is out of its range, and in ``forward`` for coefficients that are of another shape,
            are finer than ``max_resolution`` or have other than ``channels`` channels.
    """

    axes = 1


class FrequencyMixer2d(_FrequencyMixerNd):
    """A learned linear map over the frequencies of images, along each axis in turn: ``C -> T1 C T2^T``.

    :class:`FrequencyMixer1d` on two axes, where arguments and errors are described; ``weights[0]`` acts along the
    first axis, ``weights[1]`` along the second.

    Shapes: ``(K, K, batch, channels)`` to the same, ``K = 2 band + 1``.
    """

    axes = 2


def mix_axes(values: Tensor, entries: Sequence[Tensor], triangles: Sequence[BlockTriangle]) -> Tensor:
    """A triangular product along each of the leading axes in turn.

    Args:
        values: ``(K, batch, channels)`` or ``(K1, K2, batch, channels)``.
        entries: for each axis ``(groups, triangle.size)``, one triangle for each group of neighbouring channels.
        triangles: for each axis, which entries these are.

    Returns:
        Values of the same shape.
    """
    groups = len(entries[0])
    if groups == 1:  # whatever lies before an axis is a batch, and nothing has to move in memory
        for axis, (own, triangle) in enumerate(zip(entries, triangles, strict=True)):
            flat = values.reshape(prod(values.shape[:axis]), values.shape[axis], -1)
            values = triangular_product(own, flat, triangle).view(values.shape)
        return values
    grouped: Tensor = values.unflatten(-1, (groups, -1)).movedim(-2, 0)
    for axis, (own, triangle) in enumerate(zip(entries, triangles, strict=True), start=1):
        in_front = grouped.movedim(axis, 1)
        mixed = triangular_product(own, in_front.flatten(2).contiguous(), triangle)
        grouped = mixed.view(in_front.shape).movedim(1, axis)
    return grouped.movedim(0, -2).flatten(-2)
