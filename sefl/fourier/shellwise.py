"""The passes over the bands behind the non-linearities: forward, and the backward pass that recomputes the grids.

Runs of neighbouring bands share a grid, which is as fine as the last of them needs: from a band to the next the signal
on it changes by the shells between, and is not synthesised anew. The work is a sequence of small-matrix products over
many columns. It is done in blocks of columns that stay in cache, and the backward pass recomputes each grid instead of
keeping every band's: from the finest band of a run down, taking shells off.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from sefl.fourier import native
from sefl.fourier.activation import Activation, parameters_of
from sefl.fourier.basis import analysis_matrix, band_of_count, coefficient_count, synthesis_matrix
from sefl.fourier.blocks import Workspace, column_blocks
from sefl.fourier.sampling import along_last_axes
from sefl.fourier.shells import Index, Shells
from sefl.tensors.constants import constant
from sefl.tensors.differentiation import differentiated_again, plain_gradients, transformed


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
    sharing: float = 1.0

    def runs(self) -> list["range"]:
        """The bands that are computed, by their places among :attr:`bands`, divided into those that share a grid.

        What shares is the same for all resolutions and layers: the bands from ``t + 1`` to ``u`` of one sequence, with
        ``2 u + 1`` at most ``sharing`` times ``2 t + 3``.
        """
        tops = [self.top(output_band) for output_band in self.bands]
        starts = [index for index, top in enumerate(tops) if not index or top != tops[index - 1]]
        return [range(*ends) for ends in pairwise([*starts, len(tops)])]

    def top(self, output_band: int) -> int:
        """The finest of the bands that share a grid with this one."""
        return _top(output_band, self.sharing)

    def shells_read(self, output_band: int) -> range:
        """The shells that are read off the grid of a band: those above the band before, at the base all."""
        first = 0 if output_band == self.base else output_band - self.bands.step + 1
        return range(first, min(output_band, self.output_band) + 1)

    def activate(self, by_sample: Tensor, trained: Sequence[Tensor]) -> Tensor:
        """The activation of features ``(batch, channels, *space)``, with these parameters of its own."""
        # Under autocast the features are bfloat16 and the parameters of an activation, PReLU's say, are not.
        precision = by_sample.dtype
        for parameter in trained:
            precision = torch.promote_types(precision, parameter.dtype)
        x = by_sample.to(precision)
        own = parameters_of(self.activation)
        if all(one is other for one, other in zip(own, trained, strict=True)):
            return self.activation(x).to(by_sample.dtype)
        # Its module had them for one call (torch.func.functional_call) and has others in the backward pass.
        assert isinstance(self.activation, nn.Module)
        names = (name for name, _ in self.activation.named_parameters())
        outcome: Tensor = functional_call(self.activation, dict(zip(names, trained, strict=True)), (x,))
        return outcome.to(by_sample.dtype)

    @property
    def base(self) -> int:
        return self.bands[0]

    @property
    def is_relu(self) -> bool:
        """The common case, which needs no memory of its own: ReLU in place, its gradient from the grid alone."""
        return self.activation is F.relu or type(self.activation) is nn.ReLU

    @property
    def is_compiled(self) -> bool:
        """Whether the compiled passes are for this: ReLU on images."""
        return self.is_relu and self.shells.axes == 2


@cache
def _top(output_band: int, sharing: float) -> int:
    top = 0
    while top < output_band:
        top = max(top + 1, (int(sharing * coefficient_count(top + 1)) - 1) // 2)
    return top


class Grid:
    """The grid of a run of bands: matrices, sizes, and what they do to a block of columns.

    Shapes, along two axes: coefficients ``(K, K, N)``, values ``(points, points, N)``; along one: ``(K, N)`` and
    ``(points, N)``.
    """

    def __init__(self, run: range, plan: Plan, like: Tensor, channels: int) -> None:
        self.run = run
        self.plan = plan
        self.shells = plan.shells
        bands = plan.bands[run.start : run.stop]
        self.pooled_points = math.ceil(plan.oversampling * coefficient_count(plan.top(bands[-1])))
        self.points = plan.window * self.pooled_points
        # At the base, and behind skipped bands, the input may hold fewer frequencies than the pooled grid's share.
        held = band_of_count(like.shape[0])
        self.input_bands = [min(plan.window * output_band, held) for output_band in bands]
        self.inputs = coefficient_count(self.input_bands[-1])
        # Pixel 0 is the centre of the first window. Were it the first sample, a reversal would tear windows apart.
        centre = (1 - plan.window) / 2
        self.synthesis = synthesis_matrix(self.input_bands[-1], self.points, like.dtype, like.device, centre)
        self.analysis = analysis_matrix(bands[-1], self.pooled_points, like.dtype, like.device)
        self.largest = max(self.inputs, self.points) ** self.shells.axes
        self.whole = self.shells.whole(self.inputs)
        self.channels = channels

    def blocks(self, flat: Tensor) -> Iterator[slice]:
        """Blocks of columns: of whole samples, but for ReLU, since parameters may belong to channels."""
        return column_blocks(flat, self.largest, 1 if self.plan.is_relu else self.channels)

    def values(self, coefficients: Tensor, place: int, workspace: Workspace) -> Tensor:
        """A block of coefficients on the grid, up to the input band of a place in the run."""
        values = workspace.take("values", *self.shells.extent(self.points), coefficients.shape[-1])
        synthesis = self.synthesis[:, : coefficient_count(self.input_bands[place])]
        return self.shells.synthesise(synthesis, coefficients, values, workspace)

    def shells_read(self, place: int) -> range:
        """The shells of the output that are read off this grid at a place in the run."""
        return self.plan.shells_read(self.plan.bands[self.run[place]])

    def between(self, place: int) -> range:
        """The shells of the input that a place in the run adds to the place before."""
        return range(self.input_bands[place - 1] + 1, self.input_bands[place] + 1)

    def change(self, values: Tensor, coefficients: Tensor, place: int, sign: int) -> None:
        """Add to the grid what a place adds to the place before, or take it off."""
        for shell in self.between(place):
            synthesis = self.synthesis[:, : coefficient_count(shell)]
            self.shells.synthesise_shell(synthesis, coefficients, values, alpha=sign)

    def activated(self, values: Tensor, trained: Sequence[Tensor]) -> Tensor:
        """Activation and pooling: from ``points`` to ``pooled_points`` per axis."""
        # As torch lays features out, so that what belongs to a channel finds it: (samples, channels, *space).
        by_sample = values.unflatten(-1, (-1, self.channels)).movedim((-2, -1), (0, 1))
        outcome = self.plan.activate(by_sample, trained)
        activated = outcome.movedim((0, 1), (-2, -1)).reshape(values.shape)
        if self.plan.window == 1:
            return activated
        pooled = F.max_pool2d(self.shells.image(activated), self.shells.window(self.plan.window))
        return self._of_image(pooled, self.pooled_points)

    def rectified(self, values: Tensor, out: Tensor) -> Tensor:
        """What :meth:`activated` is for ReLU, of values pooled first; into ``out`` where nothing is pooled."""
        if self.plan.window == 1:
            return torch.clamp(values, min=0, out=out)
        pooled = F.max_pool2d(self.shells.image(values), self.shells.window(self.plan.window))
        return self._of_image(pooled.clamp_(min=0), self.pooled_points)

    def rectified_backward(self, values: Tensor, gradient: Tensor) -> Tensor:
        """The gradient of :meth:`rectified`, which is written over ``gradient``."""
        where = torch.ops.aten.threshold_backward.grad_input
        if self.plan.window == 1:
            where(gradient, values, 0, grad_input=gradient)
            return gradient
        image, window = self.shells.image(values), self.shells.window(self.plan.window)
        pooled, indices = F.max_pool2d(image, window, return_indices=True)
        where(gradient, self._of_image(pooled, self.pooled_points), 0, grad_input=gradient)
        unpooled = torch.ops.aten.max_pool2d_with_indices_backward(
            self.shells.image(gradient), image, window, window, (0, 0), (1, 1), False, indices
        )
        return self._of_image(unpooled, self.points)

    def _of_image(self, image: Tensor, points: int) -> Tensor:
        """The inverse of ``Shells.image``, of as many points per axis."""
        return image.squeeze(0).permute(1, 2, 0).reshape(*self.shells.extent(points), image.shape[1])

    def activated_backward(
        self, values: Tensor, gradient: Tensor, trained: list[Tensor], totals: list[Tensor]
    ) -> Tensor:
        """The gradient of :meth:`activated`; those of the activation's own parameters are added to ``totals``."""
        learning = [index for index, parameter in enumerate(trained) if parameter.requires_grad]
        with torch.enable_grad():
            leaf = values.detach().requires_grad_()
            outcome = self.activated(leaf, trained)
        inputs = [leaf, *(trained[index] for index in learning)]
        result, *parts = torch.autograd.grad(outcome, inputs, gradient, allow_unused=True)
        for index, part in zip(learning, parts, strict=True):
            if part is not None:
                totals[index] += part
        return result

    def write_shells(self, place: int, activated: Tensor, out: Tensor, workspace: Workspace) -> None:
        """Write a band's shells of the activated grid's coefficients (all of them at the base) into ``out``."""
        shells = self.shells_read(place)
        if not shells.start:
            count = coefficient_count(shells[-1])
            out[self.shells.whole(count)] = self.shells.analyse(self.analysis[:count], activated, workspace)
            return
        for shell in shells:
            self.shells.analyse_shell(self.analysis[: coefficient_count(shell)], activated, out)

    def read_shells(self, place: int, gradient: Tensor, workspace: Workspace) -> Tensor:
        """The transpose of :meth:`write_shells`."""
        shells = self.shells_read(place)
        extent = self.shells.extent(self.pooled_points)
        result = workspace.take("activated gradient", *extent, gradient.shape[-1])
        if not shells.start:
            synthesis = self.analysis[: coefficient_count(shells[-1])].T
            return self.shells.synthesise(synthesis, gradient, result, workspace)
        for index, shell in enumerate(shells):
            synthesis = self.analysis[: coefficient_count(shell)].T
            self.shells.synthesise_shell(synthesis, gradient, result, beta=min(index, 1))
        return result


def shellwise_activation(
    coefficients: Tensor, weight: Tensor | None, bias: Tensor | None, plan: Plan
) -> Tensor:
    """Each shell of the output from the grid of its own band, normalised with these scales and offsets of the bands."""
    trained = parameters_of(plan.activation)
    if transformed():
        return _plain_activation(plan, coefficients, weight, bias, *trained)
    return cast(Tensor, _ShellwiseActivation.apply(coefficients, weight, bias, plan, *trained))


def _plain_activation(
    plan: Plan, coefficients: Tensor, weight: Tensor | None, bias: Tensor | None, *trained: Tensor
) -> Tensor:
    shells, axes = plan.shells, plan.shells.axes
    exact = torch.promote_types(coefficients.dtype, torch.float32)
    outcome: Tensor | None = None
    for run in plan.runs():
        grid = Grid(run, plan, coefficients, coefficients.shape[-1])
        for place, index in enumerate(run):
            source = coefficients[shells.whole(coefficient_count(grid.input_bands[place]))]
            synthesis = grid.synthesis[:, : len(source)]
            values = along_last_axes(source.movedim((-2, -1), (0, 1)), [synthesis] * axes)
            if weight is not None and bias is not None:
                constant, others = source.flatten(end_dim=-3).tensor_split([1])
                energy = others.to(exact).square().sum(0) + plan.eps
                scale = (weight[index] * energy.rsqrt()).to(values.dtype)
                mean, scale = (each.view(*each.shape, *[1] * axes) for each in (constant[0], scale))
                values = (values - mean) * scale + bias[index].to(values.dtype).view(-1, *[1] * axes)
            activated = plan.activate(values, trained)
            if plan.window > 1:
                pool = F.max_pool1d if axes == 1 else F.max_pool2d
                activated = pool(activated, plan.window)
            finest = min(plan.bands[index], plan.output_band)
            analysis = grid.analysis[: coefficient_count(finest)]
            analysed = along_last_axes(activated, [analysis] * axes).movedim((0, 1), (-2, -1))
            outcome = analysed if outcome is None else _extended(outcome, analysed, axes)
    assert outcome is not None
    return outcome.contiguous()


def _extended(inner: Tensor, outer: Tensor, axes: int) -> Tensor:
    """``outer`` whose leading coefficients are those of ``inner``."""
    count = len(inner)
    for axis in reversed(range(axes)):
        inner = torch.cat([inner, outer[(slice(count),) * axis + (slice(count, None),)]], dim=axis)
    return inner


class _ShellwiseActivation(torch.autograd.Function):
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
            norm = _Norm.of(inverse_deviation, weight, bias, flat.dtype)
            grids = [Grid(run, plan, flat, channels) for run in plan.runs()]
            count = coefficient_count(plan.output_band)
            if plan.is_compiled and native.takes(flat):
                out = native.rectify(flat, grids, count, norm.scale, norm.offset)
            else:
                out = _activated(flat, grids, count, norm, trained)
        ctx.plan = plan
        ctx.save_for_backward(coefficients, weight, bias, inverse_deviation, *trained)
        return out.view(*plan.shells.extent(count), batch, channels)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        coefficients, weight, bias, inverse_deviation, *trained = ctx.saved_tensors
        plan: Plan = ctx.plan
        if differentiated_again(gradient):
            plain = partial(_plain_activation, plan)
            of_inputs = plain_gradients(plain, (coefficients, weight, bias, *trained), gradient)
            return *of_inputs[:3], None, *of_inputs[3:]
        batch, channels = coefficients.shape[-2:]
        trained_gradients = [
            torch.zeros_like(parameter, dtype=torch.promote_types(parameter.dtype, torch.float32))
            for parameter in trained
        ]
        with torch.autocast(coefficients.device.type, enabled=False):
            flat = coefficients.contiguous().flatten(-2)
            upstream = gradient.contiguous().flatten(-2)
            norm = _Norm.of(inverse_deviation, weight, bias, flat.dtype)
            grids = [Grid(run, plan, flat, channels) for run in plan.runs()]
            if plan.is_compiled and native.takes(flat):
                downstream, *by_norm = native.rectify_backward(upstream, flat, grids, norm.scale, norm.offset)
            else:
                downstream, *by_norm = _activated_backward(
                    upstream, flat, grids, norm, trained, trained_gradients
                )
            scale_gradient, offset_gradient = by_norm
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


def _activated(
    flat: Tensor, grids: Sequence[Grid], count: int, norm: "_Norm", trained: Sequence[Tensor]
) -> Tensor:
    """``(count, [count,] columns)`` of such coefficients."""
    plan = grids[0].plan
    out = flat.new_empty(*plan.shells.extent(count), flat.shape[-1])
    workspace = Workspace(flat)
    for grid in grids:
        for block in grid.blocks(flat):
            source = norm.centred(flat[(*grid.whole, block)], workspace)
            values = grid.values(source, 0, workspace)
            for place, index in enumerate(grid.run):
                if place:
                    grid.change(values, source, place, 1)
                inside = norm.inside(values, index, block, workspace)
                if not plan.is_relu:
                    activated = grid.activated(inside, trained)
                else:  # over what nobody reads again; pooled values have memory of their own
                    spent = plan.window > 1 or inside is not values or place == len(grid.run) - 1
                    rectified = inside if spent else workspace.take("inside", *inside.shape)
                    activated = grid.rectified(inside, rectified)
                grid.write_shells(place, activated, out[..., block], workspace)
    return out


def _activated_backward(
    upstream: Tensor,
    flat: Tensor,
    grids: Sequence[Grid],
    norm: "_Norm",
    trained: list[Tensor],
    trained_gradients: list[Tensor],
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The gradients by ``flat``, the norm held fixed, and by its scales and offsets; those of ``trained`` are added."""
    plan = grids[0].plan
    downstream = torch.empty_like(flat)
    scale_gradient, offset_gradient = (
        None if given is None else torch.zeros_like(given) for given in (norm.scale, norm.offset)
    )
    workspace = Workspace(flat)
    # From fine to coarse, so that the first run writes what the others add to.
    for grid in reversed(grids):
        first = grid is grids[-1]
        if first and grid.inputs < len(flat):
            downstream.zero_()
            first = False
        for block in grid.blocks(flat):
            source = norm.centred(flat[(*grid.whole, block)], workspace)
            values = grid.values(source, len(grid.run) - 1, workspace)
            finer = None if len(grid.run) == 1 else workspace.take("inner", *source.shape)
            total: Tensor | None = None
            for place in reversed(range(len(grid.run))):
                index = grid.run[place]
                inside = norm.inside(values, index, block, workspace)
                gradient_here = grid.read_shells(place, upstream[..., block], workspace)
                if plan.is_relu:
                    gradient_here = grid.rectified_backward(inside, gradient_here)
                else:
                    gradient_here = grid.activated_backward(inside, gradient_here, trained, trained_gradients)
                if norm.scale is not None and scale_gradient is not None and offset_gradient is not None:
                    flattened = gradient_here.view(-1, gradient_here.shape[-1])
                    torch.sum(flattened, 0, out=offset_gradient[index, block])
                    product = torch.mul(gradient_here, values, out=inside)
                    torch.sum(product.view_as(flattened), 0, out=scale_gradient[index, block])
                    gradient_here = gradient_here.mul_(norm.scale[index, block])
                if total is None:
                    total = gradient_here
                    if place:
                        total = workspace.take("total", *gradient_here.shape).copy_(gradient_here)
                else:
                    total.add_(gradient_here)
                if finer is not None and place:
                    for shell in grid.between(place):
                        transposed = grid.synthesis[:, : coefficient_count(shell)].T
                        plan.shells.analyse_shell(transposed, total, finer)
                    grid.change(values, source, place, -1)
            assert total is not None
            lowest = coefficient_count(grid.input_bands[0])
            inner = plan.shells.analyse(grid.synthesis[:, :lowest].T, total, workspace)
            if finer is not None:
                finer[plan.shells.whole(lowest)] = inner
                inner = finer
            if norm.scale is not None:
                inner[plan.shells.extent(0)] = 0
            target = downstream[(*grid.whole, block)]
            target.copy_(inner) if first else target.add_(inner)
    return downstream, scale_gradient, offset_gradient


@dataclass(frozen=True)
class _Norm:
    """Instance norm, ``(bands, columns)``: ``scale`` for each coefficient but the constant one, which is ``offset``."""

    scale: Tensor | None
    offset: Tensor | None

    @classmethod
    def of(
        cls, inverse_deviation: Tensor | None, weight: Tensor | None, bias: Tensor | None, dtype: torch.dtype
    ) -> "_Norm":
        """From ``(bands, batch, channels)`` and ``(bands or more, channels)``; without them no norm."""
        if inverse_deviation is None or weight is None or bias is None:
            return cls(None, None)
        used = len(inverse_deviation)
        scale = inverse_deviation * weight[:used].unsqueeze(1)
        offset = bias[:used].unsqueeze(1).expand_as(scale)
        return cls(scale.flatten(1).to(dtype), offset.flatten(1).to(dtype).contiguous())

    def centred(self, block: Tensor, workspace: Workspace) -> Tensor:
        """The coefficients of which norms are taken, and the activation's input is made: without the constant one."""
        if self.scale is None:
            return block
        centred = workspace.take("centred", *block.shape).copy_(block)
        centred[(0,) * (block.dim() - 1)] = 0
        return centred

    def inside(self, values: Tensor, index: int, columns: slice, workspace: Workspace) -> Tensor:
        """The values that the activation sees in a band: normalised where there is a norm."""
        if self.scale is None or self.offset is None:
            return values
        inside = workspace.take("inside", *values.shape)
        return torch.addcmul(self.offset[index, columns], values, self.scale[index, columns], out=inside)


def _first_place(axes: int, reached: tuple[int, ...]) -> NDArray[np.int64]:
    """Of each input coefficient the first place that holds it; their number for the constant one, and for none."""
    count = coefficient_count(reached[-1])
    shell = (np.arange(count) + 1) // 2
    first = np.searchsorted(np.array(reached), shell if axes == 1 else np.maximum.outer(shell, shell))
    first.flat[0] = len(reached)
    return first.reshape(-1)


def _places(flat: Tensor, plan: Plan) -> tuple[Index, Tensor]:
    """The input coefficients that any place holds, and of each the first that does."""
    finest = band_of_count(flat.shape[0])
    reached = tuple(min(plan.window * output_band, finest) for output_band in plan.bands)
    first = constant(_first_place, plan.shells.axes, reached, dtype=torch.int64, device=flat.device)
    return plan.shells.whole(coefficient_count(reached[-1])), first


def _inverse_deviations(flat: Tensor, plan: Plan) -> Tensor:
    """``(variance + eps)^(-1/2)`` of every band: ``(bands, batch * channels)``, in float32 at least."""
    exact = torch.promote_types(flat.dtype, torch.float32)
    held, first = _places(flat, plan)
    energies = flat[held].to(exact).square().reshape(len(first), -1)
    added = energies.new_zeros(len(plan.bands) + 1, energies.shape[1]).index_add_(0, first, energies)
    return (added[:-1].cumsum(0) + plan.eps).rsqrt()


def _add_energy_gradient(flat: Tensor, gradient: Tensor, plan: Plan, target: Tensor) -> None:
    """Add ``gradient[i] * C`` over all bands ``i`` that hold a coefficient (the factor 2 and 1/2 cancel).

    ``gradient`` is float32 at least: the cube of a small deviation's inverse is no float16.
    """
    held, first = _places(flat, plan)
    summed = F.pad(gradient.flip(0).cumsum(0).flip(0), (0, 0, 0, 1))
    target[held].addcmul_(flat[held], summed[first].view_as(flat[held]))
