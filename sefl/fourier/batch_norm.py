"""Batch norm of signals that are given by their coefficients, which commutes with ideal downsampling once trained."""

from typing import cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce

from sefl.fourier.convolution import add_constant
from sefl.fourier.sampling import CoefficientModule


class SpectralBatchNorm(CoefficientModule):
    """What ``torch.nn.BatchNorm2d`` does to the pixels of a band-limited image, done to its coefficients.

    The mean over the image is its constant coefficient, its mean square the sum of the squares of all coefficients
    (Parseval). In evaluation the layer is one scale and one constant per channel, the same at every resolution, and so
    exactly scale-equivariant; in training it is as far from it as the statistics of its batches differ. Other than the
    instance norm of :class:`sefl.fourier.ScaleEquivariantNonlinearity` it keeps how strong a feature is in an image.

    In a distributed training the statistics are those of the batches of all processes together, so that one process
    and two train alike.

    Args:
        channels: channels of input and output.
        eps: added to the variance.
        momentum: weight of a new batch in the statistics for evaluation.

    Shapes: ``(K, K, batch, channels)`` to the same, or for signals ``(K, batch, channels)``.

    Raises:
        ValueError: if ``channels`` is not positive, and in ``forward`` for coefficients of other channels, or for a
            training batch of a single coefficient, which has no variance.
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

    def forward(self, coefficients: Tensor) -> Tensor:
        if coefficients.shape[-1] != self.channels:
            raise ValueError(f"coefficients must have channels={self.channels}, got {coefficients.shape[-1]}")
        with torch.autocast(coefficients.device.type, enabled=False):
            mean, variance = (
                self._batch_statistics(coefficients)
                if self.training
                else (self.running_mean, self.running_var)
            )
            scale = self.weight * torch.rsqrt(variance + self.eps)
            constant = self.bias - mean * scale
        dtype = coefficients.dtype
        return add_constant(coefficients * scale.to(dtype), constant.to(dtype))

    def _batch_statistics(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance over all images and pixels; the running ones follow."""
        axes = tuple(range(coefficients.dim() - 2))
        precise = coefficients.to(self.weight.dtype)
        batch = precise.new_full((1,), precise.shape[-2])
        sums = torch.cat([batch, precise[(0,) * len(axes)].sum(0), precise.square().sum((*axes, -2))])
        if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
            sums = cast(Tensor, all_reduce(sums))
        batch, total, square = sums.split([1, self.channels, self.channels])
        mean = total / batch
        variance = (square / batch - mean.square()).clamp(min=0)
        with torch.no_grad():
            count = batch * coefficients.shape[0] ** len(axes)
            if count <= 1:
                raise ValueError("coefficients of a training batch must be more than one per channel")
            self.running_mean.lerp_(mean, self.momentum)
            # As torch.nn.BatchNorm2d: normalised by the variance of the sample, remembered that of the population.
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        return mean, variance

    def extra_repr(self) -> str:
        return f"{self.channels}, eps={self.eps}, momentum={self.momentum}"
