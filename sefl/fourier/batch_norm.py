"""Batch norm over the batches of all processes: of coefficients, where it commutes with downsampling, and of grids."""

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from sefl.arguments import require_floating, require_positive
from sefl.fourier.basis import band, coefficient_count
from sefl.fourier.sampling import CoefficientModule, require_channels
from sefl.tensors.batch_norm import SharedBatchNorm, mean_over, precise_type
from sefl.tensors.differentiation import differentiated_again, plain_gradients, transformed


class SpectralBatchNorm(SharedBatchNorm, CoefficientModule):
    """What ``torch.nn.BatchNorm2d`` does to the pixels of a band-limited image, done to its coefficients.

    The mean over the image is its constant coefficient, its variance the sum of the squares of all others (Parseval).
    In evaluation the layer is one scale and one constant per channel, the same at every resolution, and so exactly
    scale-equivariant. With ``statistics_resolution`` that is so in training, too: images of every resolution
    from this one on are then normalised by what they look like at it, and batches of fine and of coarse images agree.
    Other than the instance norm of :class:`sefl.fourier.ScaleEquivariantNonlinearity2d` this one keeps how strong a
    feature is in an image.

    In a distributed training the statistics are those of the batches of all processes together. Whatever looks for
    torch's batch norms finds this one (``update_bn``, stochastic weight averaging, finetuning);
    ``convert_sync_batchnorm`` leaves it in its network as it is.

    Args:
        channels: channels of input and output.
        statistics_resolution: mean and variance are those of the images ideally downsampled to this resolution, if they
            are finer; by default those of the images themselves.
        eps: added to the variance.
        momentum: weight of a new batch in the statistics for evaluation; ``None`` takes the mean over all batches.

    Shapes: ``(K, K, batch, channels)`` to the same, or for signals ``(K, batch, channels)``.

    Raises:
        ValueError: if an argument is out of its range, and in ``forward`` for coefficients of other channels, or for a
            training batch of a single coefficient, which has no variance.
    """

    def __init__(
        self,
        channels: int,
        statistics_resolution: int | None = None,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
    ) -> None:
        super().__init__(channels, eps, momentum)
        self.leading = None
        if statistics_resolution is not None:
            self.leading = coefficient_count(
                band(require_positive("statistics_resolution", statistics_resolution))
            )

    def forward(self, coefficients: Tensor) -> Tensor:
        require_floating("coefficients", coefficients)
        require_channels(coefficients, self.num_features)
        with torch.autocast(coefficients.device.type, enabled=False):
            mean, variance = self._statistics(coefficients)
            scale = self._scale(variance)
            precise = coefficients.to(torch.promote_types(coefficients.dtype, scale.dtype))
            scaled = _plain_scaled if _traced() else _Scaled.apply
            outcome = cast(Tensor, scaled(precise, mean, scale, self.bias.to(scale.dtype)))
        return outcome.to(coefficients.dtype)

    def _measured(self, x: Tensor) -> tuple[int, Tensor, Tensor]:
        leading = (slice(self.leading),) * (x.dim() - 2)
        precise = x[leading].to(precise_type(self.weight.dtype))
        mean, variance = (_plain_spectral_moments if _traced() else _SpectralMoments.apply)(precise)
        return precise.numel() // self.num_features, mean, variance


def _traced() -> bool:
    """Whether what looks through operations, ``torch.func`` or a compiler, has none of its own to see here."""
    return transformed() or torch.compiler.is_compiling()


def _plain_spectral_moments(coefficients: Tensor) -> Tensor:
    """``(2, channels)``: the mean, of the constant coefficients, and the variance, the energy around it (Parseval)."""
    by_frequency = coefficients.flatten(end_dim=-3)
    constants, others = by_frequency[0], by_frequency[1:]
    mean = mean_over(constants, (0,))
    energy = others.square().sum((0, 1)) + (constants - mean).square().sum(0)
    return torch.stack([mean.squeeze(0), energy / max(1, len(constants))])


class _SpectralMoments(torch.autograd.Function):
    """:func:`_plain_spectral_moments`, whose backward pass writes one gradient."""

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor) -> Tensor:
        moments = _plain_spectral_moments(coefficients)
        ctx.save_for_backward(coefficients, moments)
        return moments

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor | None:
        coefficients, (mean, _) = ctx.saved_tensors
        if differentiated_again(gradient):
            return plain_gradients(_plain_spectral_moments, (coefficients,), gradient)[0]
        by_mean, by_energy = gradient / max(1, coefficients.shape[-2])
        constant = (0,) * (coefficients.dim() - 2)
        downstream: Tensor = coefficients * (2 * by_energy)
        downstream[constant] = by_mean + 2 * by_energy * (coefficients[constant] - mean)
        return downstream


def _plain_scaled(coefficients: Tensor, mean: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """``(x - mean) scale + bias`` of the signals ``x`` that the coefficients stand for."""
    outcome = coefficients * scale
    constant = (0,) * (coefficients.dim() - 2)
    outcome[constant] = torch.addcmul(bias, coefficients[constant] - mean, scale)
    return outcome


class _Scaled(torch.autograd.Function):
    """:func:`_plain_scaled`, whose backward pass writes one gradient."""

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, mean: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(coefficients, mean, scale, bias)
        return _plain_scaled(coefficients, mean, scale, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        coefficients, mean, scale, bias = ctx.saved_tensors
        if differentiated_again(gradient):
            return tuple(plain_gradients(_plain_scaled, (coefficients, mean, scale, bias), gradient))
        upstream, values = gradient.flatten(end_dim=-3), coefficients.flatten(end_dim=-3)
        by_bias = upstream[0].sum(0)
        by_scale = (upstream[1:] * values[1:]).sum((0, 1)) + (upstream[0] * (values[0] - mean)).sum(0)
        return gradient * scale, -scale * by_bias, by_scale, by_bias


class GridBatchNorm(SharedBatchNorm):
    """``torch.nn.BatchNorm1d`` or ``2d`` with the statistics of the batches of all processes, on any device.

    Args:
        channels: channels of input and output.
        eps: added to the variance.
        momentum: weight of a new batch in the statistics for evaluation; ``None`` takes the mean over all batches.

    Shapes: ``(batch, channels, *space)`` to the same. In training ``forward`` takes mean and variance from other maps
    of as many channels, if they are given.

    Raises:
        ValueError: if an argument is out of its range, and in ``forward`` for maps of other channels, or for a training
            batch of a single value per channel.
    """

    def forward(self, maps: Tensor, statistics_of: Tensor | None = None) -> Tensor:
        require_floating("maps", maps)
        if maps.shape[1] != self.num_features:
            raise ValueError(f"maps must have channels={self.num_features}, got {maps.shape[1]}")
        with torch.autocast(maps.device.type, enabled=False):
            mean, variance = self._statistics(maps if statistics_of is None else statistics_of)
            scale = self._scale(variance)
            return _affine(_mixed(maps, scale.dtype), mean, scale, self.bias.to(scale.dtype)).to(maps.dtype)

    def _measured(self, x: Tensor) -> tuple[int, Tensor, Tensor]:
        count = x.numel() // self.num_features
        moments = _plain_moments if transformed() else _Moments.apply
        mean, variance = moments(_mixed(x, precise_type(self.weight.dtype)))
        return count, mean, variance


def _plain_moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    maps = maps.to(precise_type(maps.dtype)).transpose(0, 1).flatten(1)
    mean = mean_over(maps, (1,))
    return mean.squeeze(1), mean_over((maps - mean).square(), (1,)).squeeze(1)


class _Moments(torch.autograd.Function):
    """Mean and variance of each channel in one pass over maps, by what torch has for its own batch norm."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> tuple[Tensor, Tensor]:
        if not maps.numel():  # a process whose batch is empty takes no part in the statistics
            mean = variance = maps.new_zeros(maps.shape[1], dtype=precise_type(maps.dtype))
        else:
            # The weight says of which precision the statistics are.
            ones = maps.new_ones(maps.shape[1], dtype=precise_type(maps.dtype))
            _, mean, inverse_deviation = torch.native_batch_norm(maps, ones, None, None, None, True, 0.0, 0.0)
            variance = inverse_deviation.square().reciprocal()
        ctx.save_for_backward(maps, mean)
        return mean, variance

    @staticmethod
    def backward(ctx: Any, of_mean: Tensor, of_variance: Tensor) -> Tensor:
        maps, mean = ctx.saved_tensors
        count = max(1, maps.numel() // len(mean))
        return _affine(maps, mean, 2 * of_variance / count, of_mean / count)


def _affine(maps: Tensor, mean: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """``(maps - mean) scale + bias`` of each channel, in one pass over the maps.

    The mean goes first: what is left of a large one would else be rounding. To torch it is a constant; its gradient
    goes by the bias, to which it adds zero.
    """
    constant = mean.detach()
    bias = bias - (mean - constant) * scale
    return F.batch_norm(maps, constant, torch.ones_like(constant), scale, bias, eps=0.0)


def _mixed(maps: Tensor, dtype: torch.dtype) -> Tensor:
    """Maps of the statistics' type, or of half precision beside float32 ones: torch normalises either."""
    return maps if maps.dtype.itemsize < 4 and dtype == torch.float32 else maps.to(dtype)
