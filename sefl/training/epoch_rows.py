"""The numbers of training in the row of an epoch."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import LearningRateMonitor

TRAINING = "train/"


class EpochRow(Callback):
    """Logs what training logged at an epoch's last batch, and its learning rates, whatever ``log_every_n_steps`` is.

    It is logged at the step of that batch, under which validation is logged too, so that the epoch is one row of
    ``metrics.csv``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rates: dict[str, float] = {}

    def on_train_batch_start(self, trainer: Trainer, _: LightningModule, batch: Any, batch_idx: int) -> None:
        # Before the batch: a schedule has gone on by its end.
        if batch_idx + 1 == trainer.num_training_batches:
            monitors = [each for each in trainer.callbacks if isinstance(each, LearningRateMonitor)]  # type: ignore[attr-defined]
            self._rates = monitors[0]._extract_stats(trainer, "any") if monitors else {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx + 1 != trainer.num_training_batches:
            return
        measured = trainer.callback_metrics.items()  # on every process: it may reduce
        if not trainer.is_global_zero:
            return
        logged = {name: float(value) for name, value in measured if name.startswith(TRAINING)}
        row = {**self._rates, **logged, "epoch": trainer.current_epoch}
        for logger in trainer.loggers:
            logger.log_metrics(row, step=trainer.fit_loop.epoch_loop._batches_that_stepped)
