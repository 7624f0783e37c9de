"""Scale consistency: does a finer image never cost more than a coarser one?"""

from typing import Any

import torch
from torch import Tensor

from sefl.metrics.accumulation import Float64Metric
from sefl.metrics.functional import is_scale_consistent


class ScaleConsistency(Float64Metric):
    """Fraction of samples whose loss at the finest resolution is no larger than at every coarser one.

    With ``strict``, the fraction whose losses nowhere increase from coarse to fine: a smaller number, to be
    reported under its own name. Ties are consistent, losses that are not finite never. No samples give NaN.

    ``update(losses)`` takes ``(batch, resolutions)``, ordered from coarse to fine.

    Args:
        strict: whether the losses must be monotone.

    Raises:
        ValueError: from ``update``, if ``losses`` is not two-dimensional.

    >>> consistency = ScaleConsistency()
    >>> consistency.update(torch.tensor([[3.0, 2.0, 1.0], [2.0, 3.0, 1.0], [1.0, 2.0, 3.0], [1.0, 1.0, 1.0]]))
    >>> consistency.compute()
    tensor(0.7500, dtype=torch.float64)
    """

    higher_is_better = True
    consistent: Tensor
    count: Tensor

    def __init__(self, strict: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.strict = strict
        self.add_sum("consistent", torch.tensor(0))
        self.add_sum("count", torch.tensor(0))

    def update(self, losses: Tensor) -> None:
        consistent = is_scale_consistent(losses, self.strict).to(self.count.device)
        self.consistent = self.consistent + consistent.sum()
        self.count = self.count + len(consistent)
        self.count_not_finite(losses.isfinite().all(1))

    def compute(self) -> Tensor:
        self.warn_of_not_finite("samples have losses that are not finite and count as inconsistent")
        return self.consistent.double() / self.count
