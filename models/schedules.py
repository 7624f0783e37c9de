"""Learning-rate schedules that span the whole training, however long the command line makes it."""

import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

from pytorch_lightning import LightningModule
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from sefl.arguments import require_number

SCHEDULED = ("lr", "initial_lr", "max_lr", "min_lr")
"""What schedules write into the groups of an optimiser."""


class OneCycle(LambdaLR):
    """Linear warm-up to the optimiser's own learning rate, then a cosine down to a small fraction of it.

    Steps once per optimiser step. The number of steps is not an argument: the LightningModule tells it once the
    trainer knows it (:meth:`span`), so that changing ``trainer.max_epochs`` needs no second change.

    Args:
        optimizer: its learning rate is the peak.
        warmup: fraction of the steps that the warm-up takes, in [0, 1).
        start: learning rate of the first step as a fraction of the peak.
        final: learning rate that the last step leads to, as a fraction of the peak.

    Raises:
        ValueError: if ``warmup`` is outside [0, 1), or ``start`` or ``final`` is negative or not finite.
    """

    def __init__(
        self, optimizer: Optimizer, warmup: float = 0.15, start: float = 0.04, final: float = 1e-3
    ) -> None:
        self.warmup = require_number("warmup", warmup, least=0, below=1)
        self.start = require_number("start", start, least=0)
        self.final = require_number("final", final, least=0)
        self.total_steps = 1
        super().__init__(optimizer, self._factor)

    def span(self, total_steps: int) -> None:
        """Spread the schedule over this many optimiser steps."""
        self.total_steps = max(1, int(total_steps))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore where the schedule was, on the span of this training rather than the interrupted one's."""
        super().load_state_dict({**state_dict, "total_steps": self.total_steps})
        # The optimizer came back with the rate that the interrupted training would have gone on with.
        self._last_lr = [base * self._factor(self.last_epoch) for base in self.base_lrs]
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate

    def _factor(self, step: int) -> float:
        progress = min(1.0, step / self.total_steps)
        if progress < self.warmup:
            return self.start + (1 - self.start) * progress / self.warmup
        descent = (progress - self.warmup) / (1 - self.warmup)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * descent))


def scheduled(
    module: LightningModule, optimizer: OptimizerCallable, lr_scheduler: LRSchedulerCallable | None
) -> Any:
    """What ``configure_optimizers`` returns: :class:`OneCycle` steps with the optimiser, any other once per epoch.

    Raises:
        ValueError: if a number of the optimiser or the schedule is not finite; torch refuses only negative ones; or if
            nothing but a time ends the training, which OneCycle has to span.
    """
    chosen = optimizer(module.parameters())
    for group in chosen.param_groups:
        require_finite(
            "optimizer", chosen, {name: value for name, value in group.items() if name != "params"}
        )
    if lr_scheduler is None:
        return chosen
    scheduler = lr_scheduler(chosen)
    given = inspect.signature(type(scheduler)).parameters
    require_finite("lr_scheduler", scheduler, {name: vars(scheduler).get(name) for name in given})
    # Rates that the schedule begins with, such as the peak of torch's OneCycleLR.
    for group in chosen.param_groups:
        require_finite("lr_scheduler", scheduler, {name: group.get(name) for name in SCHEDULED})
    interval = "epoch"
    if isinstance(scheduler, OneCycle):
        steps = module.trainer.estimated_stepping_batches
        if math.isinf(steps):
            raise ValueError(
                "--trainer.max_epochs: OneCycle needs an end, got none. Set it or --trainer.max_steps, beside max_time."
            )
        scheduler.span(int(steps))
        interval = "step"
    return {"optimizer": chosen, "lr_scheduler": {"scheduler": scheduler, "interval": interval}}


def require_finite(argument: str, made: object, options: Mapping[str, Any]) -> None:
    """Refuse options, numbers or sequences of numbers among them, that are not finite.

    Raises:
        ValueError: if one is not.
    """
    for name, value in options.items():
        if not all(map(math.isfinite, _numbers(value))):
            raise ValueError(f"{argument}: {name} of {type(made).__name__} must be finite, got {value}")


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, Tensor):
        yield from value.flatten().tolist()
    elif isinstance(value, int | float):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _numbers(each)
