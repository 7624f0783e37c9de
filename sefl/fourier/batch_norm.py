"""Batch norm over the batches of all processes: of coefficients, where it commutes with downsampling, and of grids."""

from typing import cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce

from sefl.fourier.basis import band, coefficient_count
from sefl.fourier.convolution import add_constant
from sefl.fourier.sampling import CoefficientModule


class _SharedBatchNorm(nn.Module):
    """Affine parameters, and the statistics that follow from sums over the batch.

    In a distributed training these are the sums over all processes, on any device, so that one process and two train
    alike; ``torch.nn.SyncBatchNorm`` does that on GPUs.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"channels must be a positive integer, got {channels}")
        self.channels = channels
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def _check(self, argument: str, channels: int) -> None:
        if channels != self.channels:
            raise ValueError(f"{argument} must have channels={self.channels}, got {channels}")

    def _affine(self, count: int, mean: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and constant of each channel, from the means over ``count`` pixels of the values and of their squares.

        Called in training; the running statistics follow.
        """
        size = mean.new_full((1,), count)
        sums = torch.cat([size, mean * count, square * count])
        if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
            sums = cast(Tensor, all_reduce(sums))
        size, total, square = sums.split([1, self.channels, self.channels])
        if size <= 1:
            raise ValueError("a training batch must hold more than one value per channel")
        mean = total / size
        variance = (square / size - mean.square()).clamp(min=0)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            # As torch.nn.BatchNorm2d: normalised by the variance of the sample, remembered that of the population.
            self.running_var.lerp_(variance * size / (size - 1), self.momentum)
        return self._scale_and_constant(mean, variance)

    def _scale_and_constant(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return scale, self.bias - mean * scale

    def extra_repr(self) -> str:
        return f"{self.channels}, eps={self.eps}, momentum={self.momentum}"


class SpectralBatchNorm(CoefficientModule, _SharedBatchNorm):
    """What ``torch.nn.BatchNorm2d`` does to the pixels of a band-limited image, done to its coefficients.

    The mean over the image is its constant coefficient, its mean square the sum of the squares of all coefficients
    (Parseval). In evaluation the layer is one scale and one constant per channel, the same at every resolution, and so
    exactly scale-equivariant. With ``statistics_resolution`` that is so in training, too: images of every resolution
    from this one on are then normalised by what they look like at it, and batches of fine and of coarse images agree.
    Other than the instance norm of :class:`sefl.fourier.ScaleEquivariantNonlinearity` this one keeps how strong a
    feature is in an image.

    In a distributed training the statistics are those of the batches of all processes together.

    Args:
        channels: channels of input and output.
        statistics_resolution: mean and variance are those of the images ideally downsampled to this resolution, if they
            are finer; by default those of the images themselves.
        eps: added to the variance.
        momentum: weight of a new batch in the statistics for evaluation.

    Shapes: ``(K, K, batch, channels)`` to the same, or for signals ``(K, batch, channels)``.

    Raises:
        ValueError: if ``channels`` or ``statistics_resolution`` is not positive, and in ``forward`` for coefficients of
            other channels, or for a training batch of a single coefficient, which has no variance.
    """

    def __init__(
        self,
        channels: int,
        statistics_resolution: int | None = None,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        super().__init__(channels, eps, momentum)
        self.leading = (
            None if statistics_resolution is None else coefficient_count(band(statistics_resolution))
        )

    def forward(self, coefficients: Tensor) -> Tensor:
        self._check("coefficients", coefficients.shape[-1])
        with torch.autocast(coefficients.device.type, enabled=False):
            if self.training:
                axes = tuple(range(coefficients.dim() - 2))
                precise = coefficients[(slice(self.leading),) * len(axes)].to(self.weight.dtype)
                count = precise.numel() // self.channels
                constants = precise[(0,) * len(axes)]
                scale, constant = self._affine(count, constants.mean(0), precise.square().sum(axes).mean(0))
            else:
                scale, constant = self._scale_and_constant(self.running_mean, self.running_var)
        dtype = coefficients.dtype
        return add_constant(coefficients * scale.to(dtype), constant.to(dtype))


class GridBatchNorm(_SharedBatchNorm):
    """``torch.nn.BatchNorm1d`` or ``2d`` with the statistics of the batches of all processes, on any device.

    Args:
        channels: channels of input and output.
        eps: added to the variance.
        momentum: weight of a new batch in the statistics for evaluation.

    Shapes: ``(batch, channels, *space)`` to the same. In training ``forward`` takes mean and variance from other maps
    of as many channels, if they are given.

    Raises:
        ValueError: if ``channels`` is not positive, and in ``forward`` for maps of other channels, or for a training
            batch of a single value per channel.
    """

    def forward(self, maps: Tensor, statistics_of: Tensor | None = None) -> Tensor:
        self._check("maps", maps.shape[1])
        with torch.autocast(maps.device.type, enabled=False):
            if self.training:
                measured = (maps if statistics_of is None else statistics_of).to(self.weight.dtype)
                axes = (0, *range(2, measured.dim()))
                count = measured.numel() // self.channels
                scale, constant = self._affine(count, measured.mean(axes), measured.square().mean(axes))
            else:
                scale, constant = self._scale_and_constant(self.running_mean, self.running_var)
            shape = (-1, *[1] * (maps.dim() - 2))
            precise = maps.to(self.weight.dtype)
            return torch.addcmul(constant.view(shape), precise, scale.view(shape)).to(maps.dtype)
