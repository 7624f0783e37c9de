"""Equivariance error of a layer, accumulated over samples and processes."""

from typing import Any

import torch
from torch import Tensor

from sefl.metrics.accumulation import Float64Metric
from sefl.metrics.functional import relative_squared_error


class EquivarianceError(Float64Metric):
    """Mean and maximum over samples of ``||expected - actual||^2 / ||expected||^2``.

    ``expected`` is the transformed output ``D_r f(x)``, ``actual`` the output ``f(D_r x)`` for the
    transformed input. Sums are kept in float64, so that any number of processes gives the number that one
    gives. A sample whose ``expected`` is zero counts as 0 if ``actual`` is zero too, as infinity if not; NaN
    stays NaN, and ``compute()`` warns of it.

    ``update(expected, actual)`` takes two tensors ``(batch, ...)`` of one shape and any floating-point
    precision. ``compute()`` gives ``{"mean", "max", "count"}``; mean and max of no samples are NaN.

    Raises:
        TypeError: from ``update``, if an input is not floating point.
        ValueError: from ``update``, if the shapes differ.

    >>> error = EquivarianceError()
    >>> error.update(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[2.0, 1.0], [0.0, 1.0]]))
    >>> error.compute()["mean"], error.compute()["max"], error.compute()["count"]
    (tensor(0.1250, dtype=torch.float64), tensor(0.2500, dtype=torch.float64), tensor(2))
    """

    higher_is_better = False
    total: Tensor
    largest: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_sum("total", torch.zeros((), dtype=torch.float64))
        self.add_state("largest", torch.zeros((), dtype=torch.float64), dist_reduce_fx="max")
        self.add_sum("count", torch.tensor(0))

    def update(self, expected: Tensor, actual: Tensor) -> None:
        errors = relative_squared_error(expected, actual).to(self.total.device)
        self.total = self.total + errors.sum()
        self.largest = torch.cat([self.largest[None], errors]).amax()
        self.count = self.count + len(errors)
        self.count_not_finite(errors.isfinite())

    def compute(self) -> dict[str, Tensor]:
        self.warn_of_not_finite("errors are not finite, nor are their mean and maximum")
        largest = torch.where(self.count > 0, self.largest, torch.nan)
        return {"mean": self.total / self.count, "max": largest, "count": self.count}
