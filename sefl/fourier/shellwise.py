"""The passes over the bands behind the non-linearities: forward, and the backward pass that recomputes the grids.

The work is a sequence of small-matrix products over many columns. It is done in blocks of columns that stay in
cache, and the backward pass recomputes each grid instead of keeping every band's.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sefl.fourier.activation import Activation, parameters_of
from sefl.fourier.basis import analysis_matrix, band_of_count, coefficient_count, synthesis_matrix
from sefl.fourier.blocks import Workspace, column_blocks
from sefl.fourier.shells import Shells


@dataclass(frozen=True)
class Plan:
    """What the passes over the bands need besides tensors; the last of ``bands`` may lie above ``output_band``."""

    shells: Shells
    bands: range
    output_band: int
    window: int
    oversampling: float
    activation: Activation
    eps: float

    def shells_read(self, output_band: int) -> range:
        """The shells that are read off the grid of a band: those above the band before."""
        return range(output_band - self.bands.step + 1, min(output_band, self.output_band) + 1)

    @property
    def base(self) -> int:
        return self.bands[0]

    @property
    def is_relu(self) -> bool:
        """The common case, which needs no memory of its own: ReLU in place, its gradient from the grid alone."""
        return self.window == 1 and (self.activation is F.relu or type(self.activation) is nn.ReLU)


class _Grid:
    """The grid of one output band: matrices, sizes, and what they do to a block of columns.

    Shapes, along two axes: coefficients ``(K, K, N)``, values ``(points, points, N)``; along one: ``(K, N)`` and
    ``(points, N)``.
    """

    def __init__(self, output_band: int, plan: Plan, like: Tensor, channels: int) -> None:
        pooled_points = math.ceil(plan.oversampling * coefficient_count(output_band))
        self.plan = plan
        self.is_base = output_band == plan.base
        self.shells = plan.shells
        self.shells_read = plan.shells_read(output_band)
        self.pooled_points = pooled_points
        self.points = plan.window * pooled_points
        # At the base, and behind skipped bands, the input may hold fewer frequencies than the pooled grid's share.
        self.input_band = min(plan.window * output_band, band_of_count(like.shape[0]))
        self.inputs = coefficient_count(self.input_band)
        # Pixel 0 is the centre of the first window. Were it the first sample, a reversal would tear windows apart.
        centre = (1 - plan.window) / 2
        self.synthesis = synthesis_matrix(self.input_band, self.points, like.dtype, like.device, centre)
        self.analysis = analysis_matrix(output_band, pooled_points, like.dtype, like.device)
        self.largest = max(self.inputs, self.points) ** self.shells.axes
        self.whole = self.shells.whole(self.inputs)
        self.channels = channels

    def blocks(self, flat: Tensor) -> Iterator[slice]:
        """Blocks of columns: of whole samples, but for ReLU, since parameters may belong to channels."""
        return column_blocks(flat, self.largest, 1 if self.plan.is_relu else self.channels)

    def values(self, coefficients: Tensor, workspace: Workspace) -> Tensor:
        """A block of coefficients on the grid."""
        values = workspace.take("values", *self.shells.extent(self.points), coefficients.shape[-1])
        return self.shells.synthesise(self.synthesis, coefficients, values, workspace)

    def values_transposed(self, gradient: Tensor, workspace: Workspace) -> Tensor:
        """The transpose of :meth:`values`."""
        return self.shells.analyse(self.synthesis.T, gradient, workspace)

    def activated(self, values: Tensor) -> Tensor:
        """Activation and pooling: from ``points`` to ``pooled_points`` per axis."""
        # Under autocast the features are bfloat16 and the parameters of an activation, PReLU's say, are not.
        precision = values.dtype
        for parameter in parameters_of(self.plan.activation):
            precision = torch.promote_types(precision, parameter.dtype)
        # As torch lays features out, so that what belongs to a channel finds it: (samples, channels, *space).
        by_sample = values.unflatten(-1, (-1, self.channels)).movedim((-2, -1), (0, 1))
        outcome = self.plan.activation(by_sample.to(precision)).to(values.dtype)
        activated = outcome.movedim((0, 1), (-2, -1)).reshape(values.shape)
        if self.plan.window == 1:
            return activated
        pooled = F.max_pool2d(self.shells.image(activated), self.shells.window(self.plan.window))
        return (
            pooled.squeeze(0)
            .permute(1, 2, 0)
            .reshape(*self.shells.extent(self.pooled_points), values.shape[-1])
        )

    def activated_backward(
        self, values: Tensor, gradient: Tensor, trained: list[Tensor], totals: list[Tensor]
    ) -> Tensor:
        """The gradient of :meth:`activated`; those of the activation's own parameters are added to ``totals``."""
        with torch.enable_grad():
            leaf = values.detach().requires_grad_()
            outcome = self.activated(leaf)
        learning = [index for index, parameter in enumerate(trained) if parameter.requires_grad]
        inputs = [leaf, *(trained[index] for index in learning)]
        result, *parts = torch.autograd.grad(outcome, inputs, gradient, allow_unused=True)
        for index, part in zip(learning, parts, strict=True):
            if part is not None:
                totals[index] += part
        return result

    def write_shells(self, activated: Tensor, out: Tensor, workspace: Workspace) -> None:
        """Write this band's shells of the activated grid's coefficients (all of them at the base) into ``out``."""
        if self.is_base:
            out[self.shells.whole(len(self.analysis))] = self.shells.analyse(
                self.analysis, activated, workspace
            )
            return
        for shell in self.shells_read:
            self.shells.analyse_shell(self.analysis[: coefficient_count(shell)], activated, out)

    def read_shells(self, gradient: Tensor, workspace: Workspace) -> Tensor:
        """The transpose of :meth:`write_shells`."""
        extent = self.shells.extent(self.pooled_points)
        result = workspace.take("activated gradient", *extent, gradient.shape[-1])
        if self.is_base:
            return self.shells.synthesise(self.analysis.T, gradient, result, workspace)
        for index, shell in enumerate(self.shells_read):
            self.shells.synthesise_shell(
                self.analysis[: coefficient_count(shell)].T, gradient, result, beta=min(index, 1)
            )
        return result


class ShellwiseActivation(torch.autograd.Function):
    """``(C, scale per band, offset per band) -> coefficients``; grids are recomputed in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        coefficients: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        plan: Plan,
        *trained: Tensor,
    ) -> Tensor:
        batch, channels = coefficients.shape[-2:]
        with torch.autocast(coefficients.device.type, enabled=False):
            flat = coefficients.contiguous().flatten(-2)
            inverse_deviation = None
            if weight is not None:
                inverse_deviation = _inverse_deviations(flat, plan).view(len(plan.bands), batch, channels)
            extent = plan.shells.extent(coefficient_count(plan.output_band))
            out = flat.new_empty(*extent, batch * channels)
            workspace = Workspace(flat)
            for index, output_band in enumerate(plan.bands):
                grid = _Grid(output_band, plan, flat, channels)
                norm = _BandNorm.of(index, inverse_deviation, weight, bias, batch, flat.dtype)
                for block in grid.blocks(flat):
                    inside = _inside(flat[(*grid.whole, block)], norm, block, workspace)
                    values = grid.values(inside, workspace)
                    activated = values.clamp_(min=0) if plan.is_relu else grid.activated(values)
                    grid.write_shells(activated, out[..., block], workspace)
        ctx.plan = plan
        ctx.save_for_backward(coefficients, weight, bias, inverse_deviation, *trained)
        return out.view(*extent, batch, channels)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        coefficients, weight, bias, inverse_deviation, *trained = ctx.saved_tensors
        plan: Plan = ctx.plan
        count = len(coefficients)
        batch, channels = coefficients.shape[-2:]
        trained_gradients = [
            torch.zeros_like(parameter, dtype=torch.promote_types(parameter.dtype, torch.float32))
            for parameter in trained
        ]
        with torch.autocast(coefficients.device.type, enabled=False):
            flat = coefficients.contiguous().flatten(-2)
            upstream = gradient.contiguous().flatten(-2)
            downstream = torch.empty_like(flat)
            scale_gradient = offset_gradient = None
            if weight is not None:
                shape = (len(plan.bands), batch * channels)
                scale_gradient, offset_gradient = flat.new_zeros(shape), flat.new_zeros(shape)
            workspace = Workspace(flat)
            constant = plan.shells.extent(0)
            # From fine to coarse, so that the first band writes what the others add to.
            for index, output_band in reversed(list(enumerate(plan.bands))):
                grid = _Grid(output_band, plan, flat, channels)
                first = output_band == plan.bands[-1]
                if first and grid.inputs < count:
                    downstream.zero_()
                    first = False
                norm = _BandNorm.of(index, inverse_deviation, weight, bias, batch, flat.dtype)
                for block in grid.blocks(flat):
                    source = flat[(*grid.whole, block)]
                    inside = _inside(source, norm, block, workspace)
                    values = grid.values(inside, workspace)
                    activated_gradient = grid.read_shells(upstream[..., block], workspace)
                    if plan.is_relu:
                        value_gradient = torch.ops.aten.threshold_backward.grad_input(
                            activated_gradient, values, 0, grad_input=activated_gradient
                        )
                    else:
                        value_gradient = grid.activated_backward(
                            values, activated_gradient, trained, trained_gradients
                        )
                    inner = grid.values_transposed(value_gradient, workspace)
                    target = downstream[(*grid.whole, block)]
                    if norm is None:
                        target.copy_(inner) if first else target.add_(inner)
                        continue
                    assert scale_gradient is not None
                    assert offset_gradient is not None
                    offset_gradient[index, block] = inner[constant]
                    inner[constant] = 0
                    product = workspace.take("values", *inner.shape)
                    torch.mul(inner, source, out=product)
                    torch.sum(product.view(-1, product.shape[-1]), 0, out=scale_gradient[index, block])
                    if first:
                        torch.mul(inner, norm.scale[block], out=target)
                    else:
                        target.addcmul_(inner, norm.scale[block])
            weight_gradient = bias_gradient = None
            if weight is not None:
                assert scale_gradient is not None
                assert offset_gradient is not None
                used = len(plan.bands)
                per_sample = scale_gradient.view(used, batch, channels).to(inverse_deviation.dtype)
                # Bands finer than the input took no part.
                weight_gradient, bias_gradient = torch.zeros_like(weight), torch.zeros_like(bias)
                weight_gradient[:used] = (per_sample * inverse_deviation).sum(1)
                bias_gradient[:used] = offset_gradient.view(used, batch, channels).sum(1)
                # scale = weight (variance + eps)^(-1/2), and the variance adds up squared coefficients.
                energy_gradient = -per_sample * weight[:used].unsqueeze(1) * inverse_deviation**3
                _add_energy_gradient(flat, energy_gradient.flatten(1), plan, downstream)
        downstream = downstream.view_as(coefficients)
        rounded = [total.to(one.dtype) for total, one in zip(trained_gradients, trained, strict=True)]
        return downstream, weight_gradient, bias_gradient, None, *rounded


@dataclass(frozen=True)
class _BandNorm:
    """Instance norm of one band: ``scale`` for every coefficient, the constant one replaced by ``offset``."""

    scale: Tensor
    offset: Tensor

    @classmethod
    def of(
        cls,
        index: int,
        inverse_deviation: Tensor | None,
        weight: Tensor | None,
        bias: Tensor | None,
        batch: int,
        dtype: torch.dtype,
    ) -> "_BandNorm | None":
        if inverse_deviation is None or weight is None or bias is None:
            return None
        scale = (inverse_deviation[index] * weight[index]).flatten().to(dtype)
        return cls(scale, bias[index].repeat(batch).to(dtype))


def _inside(block: Tensor, norm: _BandNorm | None, columns: slice, workspace: Workspace) -> Tensor:
    """The coefficients that the activation sees: normalised where there is a norm."""
    if norm is None:
        return block
    normalised = workspace.take("normalised", *block.shape)
    torch.mul(block, norm.scale[columns], out=normalised)
    normalised[(0,) * (block.dim() - 1)] = norm.offset[columns]
    return normalised


def _input_shells(plan: Plan, finest: int) -> Iterator[tuple[int, int, range]]:
    """For each output band the input shells that it adds to the bands before: ``(index, first, shells)``."""
    seen = 0
    for index, output_band in enumerate(plan.bands):
        reached = min(plan.window * output_band, finest)
        yield index, output_band, range(seen + 1, reached + 1)
        seen = max(seen, reached)


def _inverse_deviations(flat: Tensor, plan: Plan) -> Tensor:
    """``(variance + eps)^(-1/2)`` of every band: ``(bands, batch * channels)``, in float32 at least."""
    exact = torch.promote_types(flat.dtype, torch.float32)
    energy = flat.new_zeros(flat.shape[-1], dtype=exact)
    axes = tuple(range(plan.shells.axes))
    variances = []
    for _, _, shells in _input_shells(plan, band_of_count(flat.shape[0])):
        for shell in shells:
            for part in plan.shells.parts(coefficient_count(shell)):
                energy = energy + flat[part].to(exact).square().sum(axes)
        variances.append(energy)
    return (torch.stack(variances) + plan.eps).rsqrt()


def _add_energy_gradient(flat: Tensor, gradient: Tensor, plan: Plan, target: Tensor) -> None:
    """Add ``gradient[i] * C`` over all bands ``i`` that hold a coefficient (the factor 2 and 1/2 cancel).

    ``gradient`` is float32 at least: the cube of a small deviation's inverse is no float16.
    """
    held = gradient.flip(0).cumsum(0).flip(0)
    for index, _, shells in _input_shells(plan, band_of_count(flat.shape[0])):
        for shell in shells:
            for part in plan.shells.parts(coefficient_count(shell)):
                target[part].addcmul_(flat[part], held[index])
