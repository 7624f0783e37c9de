"""What the metrics share: sums that stay in float64 whatever precision the model around them is cast to."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torchmetrics import Metric

from sefl.metrics.functional import float64_device


class Float64Metric(Metric):
    """A metric whose states follow the model's device but never its dtype.

    torchmetrics shields its states from ``model.half()`` but not from ``model.to(torch.bfloat16)``, which is
    what Lightning's ``bf16-true`` precision calls: a sum in bfloat16 stops growing after 256 samples. On a
    device without float64 (Apple's MPS) the states stay on the CPU.

    >>> from sefl.metrics import EquivarianceError
    >>> EquivarianceError().to(torch.bfloat16).total.dtype
    torch.float64
    """

    full_state_update = False
    is_differentiable = False

    def _apply(self, fn: Callable, exclude_state: Sequence[str] = "") -> Self:
        def move(state: Tensor) -> Tensor:
            return state.to(float64_device(fn(state.new_empty(0, dtype=torch.float32)).device))

        super()._apply(move, exclude_state)
        return self

    def add_sum(self, name: str, default: Any) -> None:
        """Add a state that processes sum."""
        self.add_state(name, default=default, dist_reduce_fx="sum")
