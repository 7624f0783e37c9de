"""Pointwise non-linearities and max-pooling that commute with ideal downsampling (NeurIPS 2023, claim 1 and eq. 8).

A layer is scale-equivariant exactly when its output at frequency ``k`` depends on input frequencies up to ``|k|``
alone. So every shell of the output (the frequencies with ``max(|k1|, |k2|) = b``) is read off a grid of its own,

    shell b of the output = shell b of  A pool(sigma(S C[:K, :K] S^T)) A^T,     K = 2 p b + 1,

for every band ``b`` from the base to the finest, with window ``p = 1`` where nothing is pooled. Everything below the
base band comes from the base band. Skipping bands is an option, which costs exactness.

The work is a sequence of small-matrix products over many columns. It is done in blocks of columns that stay in
cache, and the backward pass recomputes each grid instead of keeping every band's.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sefl.fourier.basis import analysis_matrix, band, band_of_count, coefficient_count, synthesis_matrix
from sefl.fourier.blocks import Workspace, column_blocks
from sefl.fourier.sampling import CoefficientModule
from sefl.fourier.shells import analyse, analyse_shell, band_in_range, synthesise, synthesise_shell

Activation = Callable[[Tensor], Tensor]


class ScaleEquivariantMaxPool2d(CoefficientModule):
    """Instance norm per band, pointwise activation and max-pooling: resolution ``r`` to ``ceil(r / window)``.

    Output shell ``k`` comes from input band ``window * k``, sampled on ``window * m`` points per axis
    (``m = 2 k + 1``, or more with oversampling), activated, max-pooled to ``m`` points. Windows lie symmetrically
    around the pooled samples, so that the pooled signal is not shifted and reversals of the axes are kept.

    Exactly scale-equivariant at every integer resolution from ``base_resolution`` to ``max_resolution``; a finer
    input is refused.

    With ``band_step`` above 1 bands are skipped, as by the published code's ``increment``: only every
    ``band_step``-th output band from the base on has a grid, and the shells between are taken from the next band that
    has one. That is cheaper and **not** equivariant but at the resolutions of the bands that are computed: at the
    others the shells above the last of these miss the frequencies that a finer image would have shown them.

    Args:
        window: pooling window and stride ``p`` in pixels; 1 pools nothing.
        activation: a deterministic, out-of-place pointwise function, or a module, whose parameters are trained.
        base_resolution: resolution from which on the layer is equivariant.
        max_resolution: finest input resolution.
        channels: normalise each band of each channel to zero mean and unit variance over space, with ``channels``
            learned scales and offsets per band; ``None`` leaves out the norm.
        oversampling: grid points per axis as a multiple of the critical ``2 b + 1``; a finer grid aliases less,
            which brings the layer closer to commuting with sub-pixel shifts.
        eps: added to the variance.
        band_step: of the output bands compute each so many; 1 computes all and is exact. An increment of ``2 m`` pixels
            in the published code is a step of ``m`` bands.

    Shapes: ``(K, K, batch, channels)`` to ``(K', K', batch, channels)``; ``K = 2 band + 1``.

    Raises:
        ValueError: if an argument is out of its range, and in ``forward`` for coefficients that are not square,
            lie below the base or above the maximum, or have other than ``channels`` channels.
    """

    def __init__(
        self,
        window: int,
        activation: Activation = F.relu,
        base_resolution: int = 8,
        max_resolution: int = 28,
        channels: int | None = None,
        oversampling: float = 1.0,
        eps: float = 1e-5,
        band_step: int = 1,
    ) -> None:
        super().__init__()
        if window < 1:
            raise ValueError(f"window must be a positive integer, got {window}")
        if not 1 <= base_resolution <= max_resolution:
            raise ValueError(
                f"base_resolution must lie in 1..max_resolution ({max_resolution}), got {base_resolution}"
            )
        if oversampling < 1:
            raise ValueError(f"oversampling must be at least 1, got {oversampling}")
        if band_step < 1:
            raise ValueError(f"band_step must be a positive integer, got {band_step}")
        if getattr(activation, "inplace", False):
            raise ValueError(f"activation must not work in place, got {activation!r}; use inplace=False")
        self.window = window
        self.activation = activation
        self.base_resolution = base_resolution
        self.max_resolution = max_resolution
        self.oversampling = oversampling
        self.eps = eps
        self.band_step = band_step
        self.base_band = self._output_band(base_resolution)
        bands = len(self._bands(self._output_band(max_resolution)))
        if channels is None:
            self.register_parameter("weight", None)
            self.register_parameter("bias", None)
        else:
            self.weight = nn.Parameter(torch.ones(bands, channels))
            self.bias = nn.Parameter(torch.zeros(bands, channels))

    def forward(self, coefficients: Tensor) -> Tensor:
        finest = self._check(coefficients)
        # From the largest resolution of this band: 2 band + 2 pixels share it with 2 band + 1.
        output_band = max(band(-(-(2 * finest + 1) // self.window)), self.base_band)
        plan = _Plan(
            bands=self._bands(output_band),
            output_band=output_band,
            window=self.window,
            oversampling=self.oversampling,
            activation=self.activation,
            eps=self.eps,
        )
        trained = _parameters_of(self.activation)
        return cast(Tensor, _ShellwiseActivation.apply(coefficients, self.weight, self.bias, plan, *trained))

    def _output_band(self, resolution: int) -> int:
        return band(-(-resolution // self.window))

    def _bands(self, output_band: int) -> range:
        """The bands that are computed: from the base up to the first that is not below ``output_band``."""
        return range(self.base_band, output_band + self.band_step, self.band_step)

    def _check(self, coefficients: Tensor) -> int:
        finest = band_in_range(coefficients, self.base_resolution, self.max_resolution, of="layer")
        if self.weight is not None and coefficients.shape[3] != self.weight.shape[1]:
            raise ValueError(
                f"coefficients must have channels={self.weight.shape[1]}, got {coefficients.shape[3]}"
            )
        return finest

    def extra_repr(self) -> str:
        norm = None if self.weight is None else self.weight.shape[1]
        return (
            f"window={self.window}, resolutions={self.base_resolution}..{self.max_resolution}, "
            f"channels={norm}, oversampling={self.oversampling}, band_step={self.band_step}"
        )


class ScaleEquivariantNonlinearity(ScaleEquivariantMaxPool2d):
    """Instance norm per band and a pointwise activation, exactly scale-equivariant (NeurIPS 2023, eq. 8).

    :class:`ScaleEquivariantMaxPool2d` with a window of one pixel, where arguments, shapes and errors are described.
    The affine parameters follow instance norm's, one set per band: the mean of a band is its constant coefficient,
    its variance the sum of its other squared coefficients (Parseval).
    """

    def __init__(
        self,
        activation: Activation = F.relu,
        base_resolution: int = 8,
        max_resolution: int = 28,
        channels: int | None = None,
        oversampling: float = 1.0,
        eps: float = 1e-5,
        band_step: int = 1,
    ) -> None:
        super().__init__(
            1, activation, base_resolution, max_resolution, channels, oversampling, eps, band_step
        )


@dataclass(frozen=True)
class _Plan:
    """What the passes over the bands need besides tensors; the last of ``bands`` may lie above ``output_band``."""

    bands: range
    output_band: int
    window: int
    oversampling: float
    activation: Activation
    eps: float

    def grid(self, output_band: int, coefficients: Tensor) -> "_Grid":
        return _Grid(output_band, self, coefficients)

    def shells(self, output_band: int) -> range:
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
    """The grid of one output band: matrices, sizes, and what they do to a block of columns ``(K, K, N)``."""

    def __init__(self, output_band: int, plan: _Plan, like: Tensor) -> None:
        pooled_points = math.ceil(plan.oversampling * coefficient_count(output_band))
        self.plan = plan
        self.is_base = output_band == plan.base
        self.shells = plan.shells(output_band)
        self.pooled_points = pooled_points
        self.points = plan.window * pooled_points
        # At the base, and behind skipped bands, the input may hold fewer frequencies than the pooled grid's share.
        self.input_band = min(plan.window * output_band, band_of_count(like.shape[0]))
        self.inputs = coefficient_count(self.input_band)
        # Pixel 0 is the centre of the first window. Were it the first sample, a reversal would tear windows apart.
        centre = (1 - plan.window) / 2
        self.synthesis = synthesis_matrix(self.input_band, self.points, like.dtype, like.device, centre)
        self.analysis = analysis_matrix(output_band, pooled_points, like.dtype, like.device)
        self.largest = max(self.inputs, self.points) ** 2

    def values(self, coefficients: Tensor, workspace: Workspace) -> Tensor:
        """``S C S^T`` of a block ``(K, K, N)``: ``(points, points, N)``."""
        columns = coefficients.shape[-1]
        half = workspace.take("half", self.inputs, self.points, columns)
        torch.bmm(self.synthesis.expand(self.inputs, self.points, self.inputs), coefficients, out=half)
        values = workspace.take("values", self.points, self.points * columns)
        torch.mm(self.synthesis, half.view(self.inputs, self.points * columns), out=values)
        return values.view(self.points, self.points, columns)

    def values_transposed(self, gradient: Tensor, workspace: Workspace) -> Tensor:
        """The transpose of :meth:`values`: ``(points, points, N)`` to ``(K, K, N)``."""
        columns = gradient.shape[-1]
        half = workspace.take("half", self.inputs, self.points * columns)
        torch.mm(self.synthesis.T, gradient.reshape(self.points, -1), out=half)
        result = workspace.take("transposed", self.inputs, self.inputs, columns)
        torch.bmm(
            self.synthesis.T.expand(self.inputs, self.inputs, self.points),
            half.view(self.inputs, self.points, columns),
            out=result,
        )
        return result

    def activated(self, values: Tensor) -> Tensor:
        """Activation and pooling of ``(points, points, N)``: ``(pooled_points, pooled_points, N)``."""
        # Under autocast the features are bfloat16 and the parameters of an activation, PReLU's say, are not.
        precision = values.dtype
        for parameter in _parameters_of(self.plan.activation):
            precision = torch.promote_types(precision, parameter.dtype)
        activated = self.plan.activation(values.to(precision)).to(values.dtype)
        if self.plan.window == 1:
            return activated
        # (rows, columns, N) in memory is one image of N channels, channels last.
        image = activated.unsqueeze(0).permute(0, 3, 1, 2)
        return F.max_pool2d(image, self.plan.window).squeeze(0).permute(1, 2, 0)

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

    def write_shells(self, activated: Tensor, out: Tensor) -> None:
        """Write this band's shells of ``A activated A^T`` (all of it at the base) into ``out (K', K', N)``."""
        if self.is_base:
            analyse(self.analysis, activated, out)
            return
        for shell in self.shells:
            analyse_shell(self.analysis[: coefficient_count(shell)], activated, out)

    def read_shells(self, gradient: Tensor, workspace: Workspace) -> Tensor:
        """The transpose of :meth:`write_shells`: ``(K', K', N)`` to ``(pooled_points, pooled_points, N)``."""
        points = self.pooled_points
        result = workspace.take("activated gradient", points, points, gradient.shape[-1])
        if self.is_base:
            return synthesise(self.analysis.T, gradient, result)
        for index, shell in enumerate(self.shells):
            synthesise_shell(
                self.analysis[: coefficient_count(shell)].T, gradient, result, beta=min(index, 1)
            )
        return result


class _ShellwiseActivation(torch.autograd.Function):
    """``(C, scale per band, offset per band) -> coefficients``; grids are recomputed in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        coefficients: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        plan: _Plan,
        *trained: Tensor,
    ) -> Tensor:
        count, _, batch, channels = coefficients.shape
        with torch.autocast(coefficients.device.type, enabled=False):
            flat = coefficients.contiguous().view(count, count, batch * channels)
            inverse_deviation = None
            if weight is not None:
                inverse_deviation = _inverse_deviations(flat, plan).view(len(plan.bands), batch, channels)
            out_count = coefficient_count(plan.output_band)
            out = flat.new_empty(out_count, out_count, batch * channels)
            workspace = Workspace(flat)
            for index, output_band in enumerate(plan.bands):
                grid = plan.grid(output_band, flat)
                norm = _BandNorm.of(index, inverse_deviation, weight, bias, batch, flat.dtype)
                for block in column_blocks(flat, grid.largest):
                    inside = _inside(flat[: grid.inputs, : grid.inputs, block], norm, block, workspace)
                    values = grid.values(inside, workspace)
                    activated = values.clamp_(min=0) if plan.is_relu else grid.activated(values)
                    grid.write_shells(activated, out[:, :, block])
        ctx.plan = plan
        ctx.save_for_backward(coefficients, weight, bias, inverse_deviation, *trained)
        return out.view(out_count, out_count, batch, channels)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        coefficients, weight, bias, inverse_deviation, *trained = ctx.saved_tensors
        plan: _Plan = ctx.plan
        count, _, batch, channels = coefficients.shape
        trained_gradients = [torch.zeros_like(parameter) for parameter in trained]
        with torch.autocast(coefficients.device.type, enabled=False):
            flat = coefficients.contiguous().view(count, count, batch * channels)
            upstream = gradient.contiguous().view(*gradient.shape[:2], batch * channels)
            downstream = torch.empty_like(flat)
            scale_gradient = offset_gradient = None
            if weight is not None:
                shape = (len(plan.bands), batch * channels)
                scale_gradient, offset_gradient = flat.new_zeros(shape), flat.new_zeros(shape)
            workspace = Workspace(flat)
            # From fine to coarse, so that the first band writes what the others add to.
            for index, output_band in reversed(list(enumerate(plan.bands))):
                grid = plan.grid(output_band, flat)
                first = output_band == plan.bands[-1]
                if first and grid.inputs < count:
                    downstream.zero_()
                    first = False
                norm = _BandNorm.of(index, inverse_deviation, weight, bias, batch, flat.dtype)
                for block in column_blocks(flat, grid.largest):
                    source = flat[: grid.inputs, : grid.inputs, block]
                    inside = _inside(source, norm, block, workspace)
                    values = grid.values(inside, workspace)
                    activated_gradient = grid.read_shells(upstream[:, :, block], workspace)
                    if plan.is_relu:
                        value_gradient = torch.ops.aten.threshold_backward.grad_input(
                            activated_gradient, values, 0, grad_input=activated_gradient
                        )
                    else:
                        value_gradient = grid.activated_backward(
                            values, activated_gradient, trained, trained_gradients
                        )
                    inner = grid.values_transposed(value_gradient, workspace)
                    target = downstream[: grid.inputs, : grid.inputs, block]
                    if norm is None:
                        target.copy_(inner) if first else target.add_(inner)
                        continue
                    assert scale_gradient is not None
                    assert offset_gradient is not None
                    offset_gradient[index, block] = inner[0, 0]
                    inner[0, 0] = 0
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
                _add_energy_gradient(flat, energy_gradient.flatten(1).to(flat.dtype), plan, downstream)
        downstream = downstream.view_as(coefficients)
        return downstream, weight_gradient, bias_gradient, None, *trained_gradients


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
    normalised[0, 0] = norm.offset[columns]
    return normalised


def _input_shells(plan: _Plan, finest: int) -> Iterator[tuple[int, int, range]]:
    """For each output band the input shells that it adds to the bands before: ``(index, first, shells)``."""
    seen = 0
    for index, output_band in enumerate(plan.bands):
        reached = min(plan.window * output_band, finest)
        yield index, output_band, range(seen + 1, reached + 1)
        seen = max(seen, reached)


def _inverse_deviations(flat: Tensor, plan: _Plan) -> Tensor:
    """``(variance + eps)^(-1/2)`` of every band: ``(bands, batch * channels)``, in float32 at least."""
    exact = torch.promote_types(flat.dtype, torch.float32)
    energy = flat.new_zeros(flat.shape[-1], dtype=exact)
    variances = []
    for _, _, shells in _input_shells(plan, band_of_count(flat.shape[0])):
        for shell in shells:
            count = coefficient_count(shell)
            energy = energy + flat[count - 2 : count, :count].to(exact).square().sum((0, 1))
            energy = energy + flat[: count - 2, count - 2 : count].to(exact).square().sum((0, 1))
        variances.append(energy)
    return (torch.stack(variances) + plan.eps).rsqrt()


def _add_energy_gradient(flat: Tensor, gradient: Tensor, plan: _Plan, target: Tensor) -> None:
    """Add ``gradient[i] * C`` over all bands ``i`` that hold a coefficient (the factor 2 and 1/2 cancel)."""
    held = gradient.flip(0).cumsum(0).flip(0)
    for index, _, shells in _input_shells(plan, band_of_count(flat.shape[0])):
        for shell in shells:
            count = coefficient_count(shell)
            bottom = (slice(count - 2, count), slice(count))
            side = (slice(count - 2), slice(count - 2, count))
            target[bottom].addcmul_(flat[bottom], held[index])
            target[side].addcmul_(flat[side], held[index])


def _parameters_of(activation: Activation) -> tuple[Tensor, ...]:
    return tuple(activation.parameters()) if isinstance(activation, nn.Module) else ()
