"""What the metrics share: sums that stay in float64 whatever precision the model around them is cast to."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric
from torchmetrics.utilities import rank_zero_warn

from sefl.metrics.functional import float64_device


class Float64Metric(Metric):
    """A metric whose states follow the model's device but never its dtype.

    torchmetrics shields its states from ``model.half()`` but not from ``model.to(torch.bfloat16)``, which is
    what Lightning's ``bf16-true`` precision calls: a sum in bfloat16 stops growing after 256 samples. On a
    device without float64 (Apple's MPS) the states stay on the CPU, and so do those of a metric made on the meta
    device, where they would have no values: they begin at zero, and ``to_empty`` of the module around them keeps them.

    Samples that give no finite number are counted, :meth:`count_not_finite`, and ``compute()`` warns of them.

    >>> from sefl.metrics import EquivarianceError
    >>> EquivarianceError().to(torch.bfloat16).total.dtype
    torch.float64
    """

    full_state_update = False
    is_differentiable = False
    not_finite: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self._device.type == "meta":
            self._device = torch.device("cpu")
        self.add_sum("not_finite", torch.tensor(0))

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Self:
        def move(state: Tensor) -> Tensor:
            return state.to(float64_device(fn(state.new_empty(0, dtype=torch.float32)).device))

        super()._apply(move, exclude_state)
        return self

    def add_state(self, name: str, default: Tensor, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Add a state that begins at zero, as all of ours do; see ``torchmetrics.Metric.add_state``."""
        if default.is_meta:
            default = torch.zeros_like(default, device="cpu")
        super().add_state(name, default, *args, **kwargs)

    def add_sum(self, name: str, default: Any) -> None:
        """Add a state that processes sum."""
        self.add_state(name, default=default, dist_reduce_fx="sum")

    def count_not_finite(self, finite: Tensor) -> None:
        """Count what ``finite``, boolean, says no of."""
        self.not_finite = self.not_finite + (~finite).sum().to(self.not_finite.device)

    def warn_of_not_finite(self, what: str) -> None:
        """Say how many there were and ``what`` follows."""
        if self.not_finite > 0:
            rank_zero_warn(f"{type(self).__name__}: {int(self.not_finite)} {what}")


class Mean(Float64Metric, MeanMetric):  # type: ignore[misc]  # torchmetrics: is_differentiable is None
    """The mean of numbers, such as losses of samples; NaN stays NaN.

    >>> mean = Mean()
    >>> mean.update(torch.tensor([1.0, 2.0]))
    >>> mean.compute()
    tensor(1.5000)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(nan_strategy="disable", **kwargs)
