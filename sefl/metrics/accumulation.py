"""What the metrics share: sums that stay in float64 whatever precision the model around them is cast to."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import rank_zero_warn

from sefl.metrics.functional import float64_device


class Float64Metric(Metric):
    """A metric whose states follow the model's device but never its dtype.

    torchmetrics shields its states from ``model.half()`` but not from ``model.to(torch.bfloat16)``, which is
    what Lightning's ``bf16-true`` precision calls: a sum in bfloat16 stops growing after 256 samples. On a
    device without float64 (Apple's MPS) the states stay on the CPU.

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
        self.add_sum("not_finite", torch.tensor(0))

    def _apply(self, fn: Callable, exclude_state: Sequence[str] = "") -> Self:
        def move(state: Tensor) -> Tensor:
            return state.to(float64_device(fn(state.new_empty(0, dtype=torch.float32)).device))

        super()._apply(move, exclude_state)
        return self

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
