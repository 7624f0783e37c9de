"""Spatially localised spectral convolution with a real kernel (NeurIPS 2023, section 4.1, with real taps).

A kernel of ``k x k`` taps ``w`` on the finest grid, ``n`` pixels per side, has the transfer function

    W[k1, k2] = sum_d w[d] exp(-2 pi i (k1 d1 + k2 d2) / n),

which multiplies the spectrum frequency by frequency, whatever the resolution. In nested real coefficients the pairs
(cos, sin) x (cos, sin) of one ``(|k1|, |k2|)`` mix among themselves only: sum and difference turn the four numbers
into the plane waves of ``(k1, k2)`` and ``(k1, -k2)``, each a pair (cos, sin) that a complex number multiplies. As a
real matrix product over the channels that is ``[a, s] @ [[P, -Q], [Q, P]]`` with ``W = P + i Q``.

A signal is an image of one row, its kernel one row of taps.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from sefl.arguments import is_odd, require_positive
from sefl.fourier import native
from sefl.fourier.basis import band_of_count
from sefl.fourier.blocks import Workspace, row_blocks
from sefl.fourier.sampling import CoefficientModule, band_in_layer, in_autocast, to_coefficients, to_grid
from sefl.tensors.constants import constant
from sefl.tensors.differentiation import differentiated_again, plain_gradients, transformed
from sefl.tensors.graphs import outside_of_graphs


class _SpectralConvNd(CoefficientModule):
    """What :class:`SpectralConv2d` does, along ``axes`` axes."""

    axes: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        max_resolution: int,
        bias: bool = True,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels = require_positive("in_channels", in_channels)
        self.out_channels = out_channels = require_positive("out_channels", out_channels)
        self.max_resolution = require_positive("max_resolution", max_resolution)
        if not is_odd(kernel_size) or kernel_size > max_resolution:
            raise ValueError(
                f"kernel_size must be odd and at most max_resolution ({max_resolution}), got {kernel_size}"
            )
        self.kernel_size = int(kernel_size)
        self.weight = nn.Parameter(torch.empty(*(self.kernel_size,) * self.axes, in_channels, out_channels))
        self.residual = nn.Parameter(torch.empty(in_channels, out_channels)) if residual else None
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform in ``+-1 / sqrt(fan in)``, as ``torch.nn.Conv2d``."""
        bound = 1 / math.sqrt(self.in_channels * self.kernel_size**self.axes)
        nn.init.uniform_(self.weight, -bound, bound)
        if self.residual is not None:
            nn.init.uniform_(self.residual, -1 / math.sqrt(self.in_channels), 1 / math.sqrt(self.in_channels))
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def taps(self) -> Tensor:
        """The whole kernel, residual path included: ``(kernel_size, [kernel_size,] in_channels, out_channels)``."""
        if self.residual is None:
            return self.weight
        margins = (self.kernel_size // 2,) * (2 * self.axes)
        centre = self.residual[(None,) * self.axes]
        return self.weight + nn.functional.pad(centre, (0, 0, 0, 0, *margins))

    @outside_of_graphs
    def forward(self, coefficients: Tensor) -> Tensor:
        band_in_layer(coefficients, self.axes, self.max_resolution, self.in_channels, "in_channels")
        return convolve(coefficients, self.taps(), self.bias, self.max_resolution)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"max_resolution={self.max_resolution}, bias={self.bias is not None}, "
            f"residual={self.residual is not None}"
        )


class SpectralConv1d(_SpectralConvNd):
    """Convolution of signals: resolutions are lengths. Arguments and errors are those of :class:`SpectralConv2d`.

    Shapes: ``(K, batch, in_channels)`` to ``(K, batch, out_channels)``.
    """

    axes = 1


class SpectralConv2d(_SpectralConvNd):
    """Circular convolution with a real ``kernel_size x kernel_size`` kernel that lives on the finest grid.

    The kernel is centred, spans ``kernel_size / max_resolution`` of the image at every resolution, and acts on any
    band up to ``max_resolution``'s. At ``max_resolution`` itself it is the ordinary circular cross-channel
    convolution with these taps, low-passed to the band.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: taps per axis, odd; at most ``max_resolution``.
        max_resolution: pixels per side of the grid on which the taps sit, and the finest input.
        bias: add a learned constant per output channel.
        residual: add a learned 1 x 1 convolution beside the kernel (the residual path of the paper's networks); it
            costs nothing, for it is folded into the centre tap.

    Shapes: ``(K, K, batch, in_channels)`` to ``(K, K, batch, out_channels)``.

    Raises:
        ValueError: if an argument is out of its range, and in ``forward`` for coefficients that are of another shape,
            are finer than ``max_resolution`` or have other than ``in_channels`` channels.
    """

    axes = 2


def convolve(coefficients: Tensor, taps: Tensor, bias: Tensor | None, max_resolution: int) -> Tensor:
    """What :class:`SpectralConv2d` does with ``taps (k, k, in, out)``, and on signals with ``(k, in, out)``."""
    coefficients = in_autocast(coefficients)
    taps = taps.to(coefficients.dtype)
    of_signals = coefficients.dim() == 3
    if of_signals:
        coefficients, taps = coefficients[None], taps[None]
    if taps.shape[1] == 1:
        mixed = torch.matmul(coefficients, taps[0, 0])
    else:
        product = _plain_product if transformed() else _FrequencyProduct.apply
        mixed = cast(Tensor, product(coefficients, taps, max_resolution))
    if bias is not None:
        mixed = add_constant(mixed, bias.to(mixed.dtype))
    return mixed.squeeze(0) if of_signals else mixed


class _AddConstant(torch.autograd.Function):
    """Add a constant per channel to a signal, in place: it is the constant coefficient that changes."""

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, constant: Tensor) -> Tensor:
        ctx.mark_dirty(coefficients)
        coefficients[(0,) * (coefficients.dim() - 2)] += constant
        return coefficients

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient, gradient[(0,) * (gradient.dim() - 2)].sum(0)


def add_constant(coefficients: Tensor, constant: Tensor) -> Tensor:
    """Add ``constant (channels,)`` to signals given by ``coefficients ([K,] K, batch, channels)``, which it changes."""
    if transformed():
        margins = [side for count in reversed(coefficients.shape[:-2]) for side in (0, count - 1)]
        return coefficients + F.pad(
            constant.view(*[1] * (coefficients.dim() - 1), -1), [0, 0, 0, 0, *margins]
        )
    return cast(Tensor, _AddConstant.apply(coefficients, constant))


def _plain_product(coefficients: Tensor, taps: Tensor, grid: int) -> Tensor:
    """The convolution as such, on the grid of the taps, of one row of pixels where the coefficients have one."""
    rows, columns = coefficients.shape[:2]
    height, across = taps.shape[:2]
    size = (1 if height == 1 else grid, grid)
    margins = (across // 2, across // 2, height // 2, height // 2)
    images = F.pad(to_grid(coefficients, size), margins, mode="circular")
    return to_coefficients(F.conv2d(images, taps.flip(0, 1).permute(3, 2, 0, 1)))[:rows, :columns]


class _FrequencyProduct(torch.autograd.Function):
    """``(coefficients, taps) -> coefficients``, rows of frequencies at a time; transfer functions are not stored."""

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, taps: Tensor, grid: int) -> Tensor:
        ctx.grid = grid
        ctx.save_for_backward(coefficients, taps)
        if native.takes(coefficients) and native.takes(taps):
            return native.convolve(coefficients, taps, grid)
        out = coefficients.new_empty(*coefficients.shape[:3], taps.shape[3])
        with torch.autocast(coefficients.device.type, enabled=False):
            for rows in _row_groups(coefficients, taps):
                workspace = rows.workspace
                waves = rows.split(coefficients, "input")
                transfer = rows.transfer(taps, grid)
                product = workspace.take("output", *waves.shape[:2], 2 * taps.shape[3])
                torch.bmm(waves, transfer, out=product)
                rows.join(product, out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        coefficients, taps = ctx.saved_tensors
        if differentiated_again(gradient):
            plain = partial(_plain_product, grid=ctx.grid)
            return *plain_gradients(plain, (coefficients, taps), gradient), None
        gradient = gradient.contiguous()
        wants_input, wants_taps, _ = ctx.needs_input_grad
        if native.takes(gradient) and native.takes(taps):
            return (
                native.convolve(gradient, taps, ctx.grid, turned=True) if wants_input else None,
                native.convolve_backward(gradient, coefficients, taps, ctx.grid) if wants_taps else None,
                None,
            )
        downstream = torch.empty_like(coefficients) if wants_input else None
        inputs, outputs = taps.shape[2:]
        taps_gradient = taps.new_zeros(taps.shape[0] * taps.shape[1], inputs * outputs)
        with torch.autocast(coefficients.device.type, enabled=False):
            for rows in _row_groups(coefficients, taps):
                workspace = rows.workspace
                upstream = rows.split(gradient, "output")
                if downstream is not None:
                    transfer = rows.transfer(taps, ctx.grid)
                    product = workspace.take("input", *upstream.shape[:2], 2 * inputs)
                    torch.bmm(upstream, transfer.transpose(1, 2), out=product)
                    rows.join(product, downstream)
                if wants_taps:
                    waves = rows.split(coefficients, "input")
                    product = workspace.take("transfer", waves.shape[0], 2 * inputs, 2 * outputs)
                    torch.bmm(waves.transpose(1, 2), upstream, out=product)
                    rows.add_taps_gradient(product, ctx.grid, taps_gradient, taps.shape)
        return downstream, taps_gradient.view_as(taps) if wants_taps else None, None


class _RowGroup:
    """Frequencies ``k1`` in ``rows`` (``None``: ``k1 = 0``) with every ``k2``, as one batch of complex products.

    Plane waves of a group are laid out as ``(waves, batch, [cos channels, sin channels])``: for ``k1 > 0`` each row
    has ``k2 = 0``, then ``k2 = 1..b``, then ``k2 = -1..-b``; for ``k1 = 0`` there is ``k2 = 0`` (with no sine) and
    ``k2 = 1..b``.
    """

    def __init__(self, rows: range | None, finest: int, workspace: Workspace) -> None:
        self.rows = rows
        self.finest = finest
        self.workspace = workspace
        self.per_row = finest + 1 if rows is None else 2 * finest + 1
        self.waves = self.per_row * (1 if rows is None else len(rows))

    def split(self, coefficients: Tensor, name: str) -> Tensor:
        """Plane waves ``(waves, batch, 2 channels)`` out of coefficients ``(K, K, batch, channels)``."""
        batch, channels = coefficients.shape[2:]
        waves = self.workspace.take(name, self.waves, batch, 2 * channels)
        cosine, sine = waves[..., :channels], waves[..., channels:]
        b = self.finest
        if self.rows is None:
            cosine[0], sine[0] = coefficients[0, 0], 0
            cosine[1:], sine[1:] = coefficients[0, 1::2], coefficients[0, 2::2]
            return waves
        shape = (len(self.rows), self.per_row, batch, channels)
        cosine, sine = cosine.view(shape), sine.view(shape)
        cos_rows, sin_rows = self._rows(coefficients)
        cosine[:, 0], sine[:, 0] = cos_rows[:, 0], sin_rows[:, 0]
        cos_cos, cos_sin = cos_rows[:, 1::2], cos_rows[:, 2::2]
        sin_cos, sin_sin = sin_rows[:, 1::2], sin_rows[:, 2::2]
        torch.sub(cos_cos, sin_sin, out=cosine[:, 1 : b + 1])
        torch.add(cos_cos, sin_sin, out=cosine[:, b + 1 :])
        torch.add(sin_cos, cos_sin, out=sine[:, 1 : b + 1])
        torch.sub(sin_cos, cos_sin, out=sine[:, b + 1 :])
        return waves

    def join(self, waves: Tensor, out: Tensor) -> None:
        """The transpose of :meth:`split` on ``k1, k2 > 0`` (which halves and all are its inverse), into ``out``."""
        batch, channels = out.shape[2:]
        cosine, sine = waves[..., :channels], waves[..., channels:]
        b = self.finest
        if self.rows is None:
            out[0, 0] = cosine[0]
            out[0, 1::2], out[0, 2::2] = cosine[1:], sine[1:]
            return
        shape = (len(self.rows), self.per_row, batch, channels)
        cosine, sine = cosine.view(shape), sine.view(shape)
        cos_rows, sin_rows = self._rows(out)
        cos_rows[:, 0], sin_rows[:, 0] = cosine[:, 0], sine[:, 0]
        plus, minus = slice(1, b + 1), slice(b + 1, None)
        torch.add(cosine[:, plus], cosine[:, minus], out=cos_rows[:, 1::2])
        torch.sub(cosine[:, minus], cosine[:, plus], out=sin_rows[:, 2::2])
        torch.add(sine[:, plus], sine[:, minus], out=sin_rows[:, 1::2])
        torch.sub(sine[:, plus], sine[:, minus], out=cos_rows[:, 2::2])

    def transfer(self, taps: Tensor, grid: int) -> Tensor:
        """``[[P, -Q], [Q, P]]`` of every wave: ``(waves, 2 in_channels, 2 out_channels)``."""
        inputs, outputs = taps.shape[2:]
        waveform = self._waveform(taps.shape, grid, taps)
        parts = self.workspace.take("parts", 2 * self.waves, inputs * outputs)
        torch.mm(waveform, taps.reshape(-1, inputs * outputs), out=parts)
        real, imaginary = parts.view(2, self.waves, inputs, outputs)
        transfer = self.workspace.take("transfer", self.waves, 2 * inputs, 2 * outputs)
        transfer[:, :inputs, :outputs] = real
        transfer[:, inputs:, outputs:] = real
        transfer[:, inputs:, :outputs] = imaginary
        torch.neg(imaginary, out=transfer[:, :inputs, outputs:])
        return transfer

    def add_taps_gradient(self, gradient: Tensor, grid: int, target: Tensor, taps: torch.Size) -> None:
        """Add to ``target (taps, in * out)`` what a gradient of :meth:`transfer` says of the taps."""
        inputs, outputs = gradient.shape[1] // 2, gradient.shape[2] // 2
        parts = self.workspace.take("parts", 2, self.waves, inputs, outputs)
        torch.add(gradient[:, :inputs, :outputs], gradient[:, inputs:, outputs:], out=parts[0])
        torch.sub(gradient[:, inputs:, :outputs], gradient[:, :inputs, outputs:], out=parts[1])
        target.addmm_(self._waveform(taps, grid, gradient).T, parts.view(2 * self.waves, inputs * outputs))

    def _rows(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        assert self.rows is not None
        first, last = self.rows[0], self.rows[-1]
        return coefficients[2 * first - 1 : 2 * last : 2], coefficients[2 * first : 2 * last + 1 : 2]

    def _waveform(self, taps: torch.Size, grid: int, like: Tensor) -> Tensor:
        bounds = None if self.rows is None else (self.rows[0], self.rows[-1])
        size = (taps[0], taps[1])
        return constant(_waveform, bounds, self.finest, size, grid, dtype=like.dtype, device=like.device)


def _row_groups(coefficients: Tensor, taps: Tensor) -> Iterator[_RowGroup]:
    finest_row, finest = (band_of_count(count) for count in coefficients.shape[:2])
    workspace = Workspace(coefficients)
    yield _RowGroup(None, finest, workspace)
    batch = coefficients.shape[2]
    inputs, outputs = taps.shape[2:]
    per_row = (2 * finest + 1) * (2 * batch * max(inputs, outputs) + 4 * inputs * outputs)
    for block in row_blocks(finest_row, per_row * coefficients.element_size(), coefficients.device):
        yield _RowGroup(range(block.start + 1, block.stop + 1), finest, workspace)


def _waveform(
    rows: tuple[int, int] | None, finest: int, size: tuple[int, int], grid: int
) -> NDArray[np.float64]:
    """From taps of this size to the real, then the imaginary parts of a group's transfer: ``(2 waves, taps)``.

    Waves of ``k1, k2 != 0`` carry the factor 1/2 that joining their sum and difference needs.
    """
    if rows is None:
        first, second = np.zeros(finest + 1), np.arange(finest + 1)
        factor = np.ones(finest + 1)
    else:
        positive = np.arange(1, finest + 1)
        second = np.concatenate([[0], positive, -positive])
        factor = np.where(second == 0, 1.0, 0.5)
        count = rows[1] - rows[0] + 1
        first = np.repeat(np.arange(rows[0], rows[1] + 1), len(second))
        second, factor = np.tile(second, count), np.tile(factor, count)
    down, across = (np.arange(taps) - taps // 2 for taps in size)
    turns = (first[:, None, None] * down[:, None] + second[:, None, None] * across) / grid
    phase = 2 * math.pi * turns.reshape(len(first), -1)
    return np.concatenate([factor[:, None] * np.cos(phase), -factor[:, None] * np.sin(phase)])
