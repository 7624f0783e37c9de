"""Training ends when its numbers do: a loss or weights that are not finite stop it before they are stored."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from sefl.arguments import require_positive
from sefl.files.writing import TrainingStopped

NEVER = torch.iinfo(torch.int64).max
SKIPPED_IN_A_ROW = 20
"""How many losses in a row may overflow under a gradient scaler, which skips their steps, before training is stuck."""
MOST_NAMES = 3


class FiniteTraining(Callback):
    """Stops training, on all processes together, when the loss or the weights are not finite.

    Losses are looked at on the device and asked for every ``every_n_steps``, before each validation, at each epoch's
    end and before each checkpoint, together with the weights: no step waits for the device more often than logging
    does, and no checkpoint holds weights that are not finite. Where a gradient scaler (16-bit mixed precision) skips
    steps that overflow, a loss counts when so many in a row are not finite that training is stuck.

    Lightning's own are no replacement: ``EarlyStopping(check_finite=True)`` looks at one logged measure after the
    validation, and the NaN weights are then stored; ``detect_anomaly`` synchronises every operation.

    Args:
        every_n_steps: how often to ask; by default as often as the trainer logs.
        stop: whether to stop; if not, training goes on and a warning says once that its numbers are not finite.

    Raises:
        ValueError: if ``every_n_steps`` is not a positive integer.
        TrainingStopped: from the hooks, with epoch, step, learning rate and what is not finite.
    """

    def __init__(self, every_n_steps: int | None = None, stop: bool = True) -> None:
        self.every_n_steps = (
            None if every_n_steps is None else require_positive("every_n_steps", every_n_steps)
        )
        self.stop = stop
        self.warned = False
        self._seen: list[tuple[int, int, float]] = []
        """Epoch, step and learning rate of the batches since the trainer asked last."""
        self._in_a_row: Tensor | int = 0
        self._first: Tensor | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._forget()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        rates = [float(group["lr"]) for optimizer in trainer.optimizers for group in optimizer.param_groups]
        self._seen.append((trainer.current_epoch, trainer.global_step, max(rates, default=math.nan)))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            most = SKIPPED_IN_A_ROW if getattr(trainer.precision_plugin, "scaler", None) else 1
            first = loss.new_full((), NEVER, dtype=torch.int64) if self._first is None else self._first
            self._in_a_row = torch.where(loss.detach().isfinite().all(), 0, self._in_a_row + 1)
            too_many = (self._in_a_row >= most) & (first == NEVER)
            self._first = torch.where(too_many, len(self._seen) - 1, first)
        every = self.every_n_steps or trainer.log_every_n_steps or 1  # type: ignore[attr-defined]  # Lightning sets it
        if (batch_idx + 1) % every == 0:
            self._check(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._check(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._check(trainer, pl_module)

    def _check(self, trainer: Trainer, model: LightningModule) -> None:
        """Decide with all processes whether to go on.

        Raises:
            TrainingStopped: if not.
        """
        if not self._seen or self.warned or trainer.state.fn is not TrainerFn.FITTING:
            return
        first = NEVER if self._first is None else int(self._first)
        last = len(self._seen) - 1
        broken = not weights_are_finite(model)
        # Weights are the same on all processes; losses, statistics of batches and shards of weights are not.
        mine = torch.tensor([first, last if broken else NEVER], device=model.device)
        loss_at, weights_at = trainer.strategy.reduce(mine, reduce_op="min").tolist()
        at = min(loss_at, weights_at)
        if at == NEVER:
            self._forget()
            return
        found = ["the loss"] * (loss_at != NEVER) + [named(not_finite(model))] * (weights_at != NEVER)
        epoch, step, rate = self._seen[at]
        message = (
            f"training is not finite in epoch {epoch}, step {step}, at learning rate {rate:g}: not finite: "
            f"{' and '.join(found)}. Try a lower learning rate or --trainer.gradient_clip_val, and look at the data; "
            "checkpoints that were written before are kept."
        )
        if self.stop:
            raise TrainingStopped(message)
        self.warned = True
        rank_zero_warn(message)

    def _forget(self) -> None:
        self._seen.clear()
        self._first = None


def weights_are_finite(model: nn.Module) -> bool:
    """Whether no parameter is infinite or NaN and no buffer NaN; masks among buffers may be infinite.

    Of weights that are sharded the part of this process counts, which may be empty.

    >>> weights_are_finite(nn.ParameterList([torch.zeros(0), torch.ones(2)]))
    True
    """
    parameters = [part for part in map(_local, model.parameters()) if part.numel()]
    buffers = [part for part in map(_local, model.buffers()) if part.numel() and part.is_floating_point()]
    # The largest of all magnitudes: in the weights' own precision, it overflows in none.
    largest, statistic = (get_total_norm(each, math.inf) for each in (parameters, buffers))
    return bool(largest.isfinite() & ~statistic.isnan().to(largest.device))


def not_finite(model: nn.Module) -> list[str]:
    """The names of the parameters and buffers of which :func:`weights_are_finite` says no."""
    parameters = [name for name, each in model.named_parameters() if not _local(each).isfinite().all()]
    return parameters + [name for name, each in model.named_buffers() if _local(each).isnan().any()]


def named(weights: list[str]) -> str:
    """What to call them in a message.

    >>> named(["head.weight"]), named([*"abcd"]), named([])
    ('the weights head.weight', 'the weights a, b, c and 1 more', 'the weights of another process')
    """
    if not weights:
        return "the weights of another process"
    more = f" and {len(weights) - MOST_NAMES} more" * (len(weights) > MOST_NAMES)
    return f"the weights {', '.join(weights[:MOST_NAMES])}{more}"


def _local(weight: Tensor) -> Tensor:
    """Of weights that are sharded, the part that lies here."""
    of_process = getattr(weight, "to_local", None)
    return (weight if of_process is None else of_process()).detach()
