"""Networks of one prediction, such as those on regular features of a group, trained with the cross-entropy."""

import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn import functional as F

from models.network_module import Batch, NetworkModule, images_of
from sefl.metrics import Accuracy
from sefl.metrics.accumulation import Mean
from sefl.networks import Network


class Classifier(NetworkModule):
    """Trains a network from images to logits ``(batch, classes)`` with the cross-entropy.

    Logged: ``train/loss``; ``val/loss`` and ``val/accuracy``; the same for ``test``.

    Args:
        network: what is trained, such as a :class:`sefl.networks.GroupSampledNetwork`.
        optimizer: from parameters to an optimiser.
        lr_scheduler: from the optimiser to its schedule; :class:`models.schedules.OneCycle` steps with the optimiser,
            any other once per epoch.
    """

    def __init__(
        self,
        network: Network,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(network, optimizer, lr_scheduler)
        self.val_loss, self.test_loss = Mean(), Mean()
        self.val_accuracy, self.test_accuracy = Accuracy(), Accuracy()

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        images, labels = batch
        loss = F.cross_entropy(self(images).float(), labels)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        self._evaluate(batch, self.val_loss, self.val_accuracy)

    def on_validation_epoch_end(self) -> None:
        self._log_measures("val", self.val_loss, self.val_accuracy)

    def test_step(self, batch: Batch, batch_index: int, dataloader_idx: int = 0) -> None:
        if dataloader_idx == 0:  # a further loader has the same samples at another resolution
            self._evaluate(batch, self.test_loss, self.test_accuracy)

    def predict_step(self, batch: Batch | Tensor, batch_index: int, dataloader_idx: int = 0) -> Tensor:
        """Logits ``(batch, classes)`` of images, with or without their labels beside them."""
        logits: Tensor = self(images_of(batch))
        return logits

    def on_test_epoch_end(self) -> None:
        self._log_measures("test", self.test_loss, self.test_accuracy)

    def _evaluate(self, batch: Batch, loss: Mean, accuracy: Accuracy) -> None:
        images, labels = batch
        logits = self(images).float()
        loss.update(F.cross_entropy(logits, labels, reduction="none"))
        accuracy.update(logits, labels)

    def _log_measures(self, prefix: str, loss: Mean, accuracy: Accuracy) -> None:
        self.log_global(f"{prefix}/loss", loss.compute(), prog_bar=prefix == "val")
        self.log_global(f"{prefix}/accuracy", accuracy.compute(), prog_bar=prefix == "val")
        loss.reset()
        accuracy.reset()
