"""What torch's batch norms keep, and statistics of the batches of all processes, for layers that compute their own."""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Self, cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.module import register_module_module_registration_hook

from sefl.arguments import require_number, require_positive


class SharedBatchNorm(_BatchNorm):
    """What torch's batch norms keep, and the statistics of the batches of all processes.

    In a distributed training these are over all processes, on any device, so that one process and two train alike;
    ``torch.nn.SyncBatchNorm`` does that on GPUs. Tools that look for torch's batch norms find this one. Statistics
    are float32 at least, also in a network of half precision.
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__(
            require_positive("channels", channels),
            require_number("eps", eps, least=0),
            None if momentum is None else require_number("momentum", momentum, least=0, most=1),
        )
        # Where the default type is a half one.
        self._keep_precise({"running_mean": self.running_mean, "running_var": self.running_var})

    @property
    def channels(self) -> int:
        return self.num_features

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        statistics = {"running_mean": self.running_mean, "running_var": self.running_var}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch has no types for it
        self._keep_precise(statistics)
        return self

    def _keep_precise(self, statistics: dict[str, Tensor | None]) -> None:
        """Where ``statistics`` have been rounded to half precision, put them back, on the device where they are now."""
        for name, exact in statistics.items():
            rounded = getattr(self, name)
            if rounded is not None and exact is not None and rounded.dtype != precise_type(rounded.dtype):
                setattr(self, name, exact.to(rounded.device, precise_type(rounded.dtype)))

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance: the batch's in training, or where none are kept, else those remembered."""
        if self.training or self.running_mean is None:
            return self._of_batch(*self._measured(x))
        assert self.running_var is not None
        return self.running_mean, self.running_var

    @abstractmethod
    def _measured(self, x: Tensor) -> tuple[int, Tensor, Tensor]:
        """How many values each channel of this process has, their mean and their variance."""

    def _of_batch(self, count: int, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance over the batches of all processes from those over the ``count`` pixels of this one.

        The running statistics follow in training. Of processes' parts by Chan, Golub & LeVeque (1979): no mean of
        squares, of which the square of a large mean would leave nothing but rounding.
        """
        size: int | Tensor = count
        if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
            parts = mean.new_zeros(distributed.get_world_size(), 1 + 2 * self.num_features)
            parts[distributed.get_rank()] = torch.cat([mean.new_tensor([count]), mean, variance])
            counts, means, variances = cast(Tensor, all_reduce(parts)).split(
                [1, self.num_features, self.num_features], 1
            )
            share = counts / counts.sum().clamp(min=1)
            size = counts.detach().sum()
            mean = means[0] + (share * (means - means[0])).sum(0)
            variance = (share * (variances + (means - mean).square())).sum(0)
        if size <= 1:
            raise ValueError("a training batch must hold more than one value per channel")
        if self.training and self.track_running_stats and self.running_mean is not None:
            self._remember(mean.detach(), variance.detach() * size / (size - 1))
        return mean, variance

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """As torch does: normalised by the variance of the sample, remembered that of the population."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), weight)
        self.running_var.lerp_(variance.to(self.running_var.dtype), weight)

    def _scale(self, variance: Tensor) -> Tensor:
        return self.weight * torch.rsqrt(variance + self.eps)


def mean_over(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The mean over the axes, which remain, rounded once: the second sum has no large mean to round at.

    Of nothing it is 0: a process whose batch is empty takes no part in the statistics.
    """
    count = max(1, math.prod(x.shape[axis] for axis in axes))
    mean = x.sum(axes, keepdim=True) / count
    return mean + (x - mean).sum(axes, keepdim=True) / count


def precise_type(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _survive_conversion(parent: nn.Module, name: str, replacement: nn.Module | None) -> Any:
    """Keep a layer of ours where ``nn.SyncBatchNorm.convert_sync_batchnorm`` puts one that it has made from it.

    Lightning's ``sync_batchnorm`` calls that. Ours are shared between processes already, and no layer of torch's
    normalises coefficients. The conversion takes every subclass of torch's and cannot be told otherwise.
    """
    present = parent._modules.get(name)
    if (
        isinstance(present, SharedBatchNorm)
        and isinstance(replacement, nn.SyncBatchNorm)
        and replacement.weight is present.weight
    ):
        return present
    return None


register_module_module_registration_hook(_survive_conversion)
