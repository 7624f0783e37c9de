"""Learning-rate schedules that span the whole training, however long the command line makes it."""

import math
from typing import Any

from pytorch_lightning import LightningModule
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


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
        ValueError: if ``warmup`` is outside [0, 1).
    """

    def __init__(
        self, optimizer: Optimizer, warmup: float = 0.15, start: float = 0.04, final: float = 1e-3
    ) -> None:
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup must lie in [0, 1), got {warmup}")
        self.warmup = warmup
        self.start = start
        self.final = final
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
    """What ``configure_optimizers`` returns: :class:`OneCycle` steps with the optimiser, any other once per epoch."""
    chosen = optimizer(module.parameters())
    if lr_scheduler is None:
        return chosen
    scheduler = lr_scheduler(chosen)
    interval = "epoch"
    if isinstance(scheduler, OneCycle):
        scheduler.span(int(module.trainer.estimated_stepping_batches))
        interval = "step"
    return {"optimizer": chosen, "lr_scheduler": {"scheduler": scheduler, "interval": interval}}
