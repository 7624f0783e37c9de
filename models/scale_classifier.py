"""What every network that predicts at several resolutions is trained by: losses, metrics, optimisers."""

import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn import functional as F

from models.network_module import Batch, NetworkModule, images_of
from sefl.arguments import require_number
from sefl.metrics import PerResolutionAccuracy, ScaleConsistency
from sefl.metrics.accumulation import Mean
from sefl.networks import ScaleNetwork
from sefl.training.step_progress import counted


class ScaleClassifier(NetworkModule):
    """Trains a network of :mod:`sefl.networks` that predicts for several bands, or at the resolution of its input.

    The loss is the cross-entropy summed over the bands, plus ``consistency_weight`` times
    ``max(L_b - L_{b-1}, 0)`` per sample and pair of neighbouring bands (NeurIPS 2023, section 4.3; the published code
    compares batch means). Regularisation is the optimiser's weight decay.

    Logged: ``train/loss``; ``val/loss``, ``val/accuracy`` and ``val/scale_consistency`` (over the bands of each
    sample, where there are several); and the same for ``test``, with ``test/accuracy_r`` for each resolution ``r``. A
    first test loader holds each sample at its own resolution, and a second, if there is one, the samples at the
    finest: scale consistency over every resolution is measured on these, and beside it the fraction whose loss
    nowhere rises, ``test/scale_consistency_monotone``.

    Args:
        network: what is trained.
        consistency_weight: weight of the scale-consistency hinge.
        optimizer: from parameters to an optimiser.
        lr_scheduler: from the optimiser to its schedule; :class:`models.schedules.OneCycle` steps with the optimiser,
            any other once per epoch.

    Raises:
        ValueError: if ``consistency_weight`` is negative or not finite.
    """

    network: ScaleNetwork

    def __init__(
        self,
        network: ScaleNetwork,
        consistency_weight: float = 1e-3,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(network, optimizer, lr_scheduler)
        self.consistency_weight = require_number("consistency_weight", consistency_weight, least=0)
        resolutions = range(network.base_resolution, network.max_resolution + 1)
        self.val_loss, self.test_loss = Mean(), Mean()
        self.val_accuracy = PerResolutionAccuracy(resolutions)
        self.test_accuracy = PerResolutionAccuracy(resolutions)
        self.val_consistency, self.test_consistency = ScaleConsistency(), ScaleConsistency()
        self.test_monotone = ScaleConsistency(strict=True)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        images, labels = batch
        losses = self.band_losses(self(images), labels)
        increase = (losses[:, 1:] - losses[:, :-1]).clamp(min=0).sum(1).mean()
        loss = losses.sum(1).mean() + self.consistency_weight * increase
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/loss_finest", losses[:, -1].mean())
        self.log("train/consistency_hinge", increase)
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        images, labels = batch
        logits = self(images)
        losses = self.band_losses(logits, labels)
        self.val_loss.update(losses[:, -1])
        self.val_accuracy.update(logits[:, -1], labels, images.shape[-1])
        if losses.shape[1] > 1:  # a single band says nothing of consistency
            self.val_consistency.update(losses)

    def on_validation_epoch_end(self) -> None:
        self.log_global("val/loss", self.val_loss.compute(), prog_bar=True)
        accuracy = self.val_accuracy.compute()
        self.log_global("val/accuracy", accuracy["overall"], prog_bar=True)
        self._log_consistency("val/scale_consistency", self.val_consistency)
        for metric in (self.val_loss, self.val_accuracy, self.val_consistency):
            metric.reset()

    def test_step(self, batch: Batch, batch_index: int, dataloader_idx: int = 0) -> None:
        images, labels = batch
        if dataloader_idx == 0:
            logits = self(images)[:, -1]
            self.test_loss.update(F.cross_entropy(logits.float(), labels, reduction="none"))
            self.test_accuracy.update(logits, labels, images.shape[-1])
        else:
            logits = self.network.predict_all_resolutions(
                images, progress=lambda items: counted(items, len(items), "Resolutions", self._trainer)
            )
            losses = self.band_losses(logits, labels)
            self.test_consistency.update(losses)
            self.test_monotone.update(losses)

    def predict_step(self, batch: Batch | Tensor, batch_index: int, dataloader_idx: int = 0) -> Tensor:
        """Logits ``(batch, classes)`` at the resolution of the images, with or without their labels beside them."""
        logits: Tensor = self(images_of(batch))[:, -1]
        return logits

    def on_test_epoch_end(self) -> None:
        self.log_global("test/loss", self.test_loss.compute())
        for resolution, accuracy in self.test_accuracy.compute().items():
            if resolution == "overall":
                self.log_global("test/accuracy", accuracy)
            elif not accuracy.isnan():
                self.log_global(f"test/accuracy_{resolution}", accuracy)
        self._log_consistency("test/scale_consistency", self.test_consistency)
        self._log_consistency("test/scale_consistency_monotone", self.test_monotone)
        for metric in (self.test_loss, self.test_accuracy, self.test_consistency, self.test_monotone):
            metric.reset()

    @staticmethod
    def band_losses(logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of each sample at each band: logits ``(batch, bands, classes)`` to ``(batch, bands)``."""
        bands = logits.shape[1]
        losses = F.cross_entropy(
            logits.float().flatten(0, 1), labels.repeat_interleave(bands), reduction="none"
        )
        return losses.view(-1, bands)

    def _log_consistency(self, name: str, metric: ScaleConsistency) -> None:
        """Log it if any process measured anything, which all of them decide together: computing it takes all."""
        if self.trainer.strategy.reduce_boolean_decision(metric.update_called, all=False):
            self.log_global(name, metric.compute())
