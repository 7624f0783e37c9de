"""Batch norm over the batches of all processes: of coefficients, where it commutes with downsampling, and of grids."""

import torch
from torch import Tensor

from sefl.arguments import require_floating, require_positive
from sefl.fourier.basis import band, coefficient_count
from sefl.fourier.sampling import CoefficientModule, require_channels
from sefl.tensors.batch_norm import SharedBatchNorm, mean_over, precise_type


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
            outcome = precise * scale
            constant = (0,) * (coefficients.dim() - 2)
            outcome[constant] = torch.addcmul(self.bias.to(scale.dtype), precise[constant] - mean, scale)
        return outcome.to(coefficients.dtype)

    def _measured(self, x: Tensor) -> tuple[int, Tensor, Tensor]:
        leading = (slice(self.leading),) * (x.dim() - 2)
        precise = x[leading].to(precise_type(self.weight.dtype))
        by_frequency = precise.flatten(end_dim=-3)
        constants, others = by_frequency[0], by_frequency[1:]
        mean = mean_over(constants, (0,))
        energy = others.square().sum(0) + (constants - mean).square()
        count = precise.numel() // self.num_features
        return count, mean.squeeze(0), energy.sum(0) / max(1, len(constants))


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
            shape = (-1, *[1] * (maps.dim() - 2))
            scale = self._scale(variance).view(shape)
            # The mean goes first: what is left of a large one would else be rounding.
            centred = maps.to(scale.dtype) - mean.view(shape)
            return torch.addcmul(self.bias.to(scale.dtype).view(shape), centred, scale).to(maps.dtype)

    def _measured(self, x: Tensor) -> tuple[int, Tensor, Tensor]:
        precise = x.to(precise_type(self.weight.dtype))
        axes = (0, *range(2, x.dim()))
        count = precise.numel() // self.num_features
        mean = mean_over(precise, axes)
        variance = (precise - mean).square().sum(axes) / max(1, count)
        return count, mean.flatten(), variance
