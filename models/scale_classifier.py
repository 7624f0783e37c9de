"""What every network that predicts at several resolutions is trained by: losses, metrics, optimisers."""

from typing import Literal

import numpy as np
import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn import functional as F

from models.network_module import Batch, NetworkModule, images_of
from sefl.arguments import require_number, require_one_of
from sefl.metrics import PerResolutionAccuracy, ScaleConsistency
from sefl.metrics.accumulation import Mean
from sefl.networks import BandNetwork, ScaleNetwork
from sefl.training.step_progress import counted


class ScaleClassifier(NetworkModule):
    """Trains a network of :mod:`sefl.networks` that predicts for several bands, or at the resolution of its input.

    The loss is the cross-entropy summed over the bands, plus ``consistency_weight`` times
    ``max(L_b - L_{b-1}, 0)`` per sample and pair of neighbouring bands (NeurIPS 2023, section 4.3; the published code
    compares batch means). With ``trained_bands: own`` it is that of the finest band, the images' own, with ``two`` of a
    coarser one too, drawn for each batch: a head that is a network is then evaluated for these alone.

    Logged: ``train/loss``; ``val/loss``, ``val/accuracy`` and ``val/scale_consistency`` (over the bands of each
    sample, where there are several); and the same for ``test``, with ``test/accuracy_r`` for each resolution ``r``. A
    first test loader holds each sample at its own resolution, and a second, if there is one, the samples at the
    finest: scale consistency over every resolution is measured on these, and beside it the fraction whose loss
    nowhere rises, ``test/scale_consistency_monotone``.

    Args:
        network: what is trained.
        consistency_weight: weight of the scale-consistency hinge.
        trained_bands: ``"all"``, as published, ``"two"`` or ``"own"``.
        label_smoothing: what of each label is spread over all classes in training.
        mixup: images and labels are mixed in training, in pairs by ``Beta(mixup, mixup)`` (Zhang et al. 2018), each
            with another of its process; 0 for not at all.
        optimizer: from parameters to an optimiser.
        lr_scheduler: from the optimiser to its schedule; :class:`models.schedules.OneCycle` steps with the optimiser,
            any other once per epoch.

    Raises:
        ValueError: if an argument is out of its range, or a network without bands is to be trained on two.
    """

    network: ScaleNetwork

    def __init__(
        self,
        network: ScaleNetwork,
        consistency_weight: float = 1e-3,
        trained_bands: Literal["all", "two", "own"] = "all",
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(network, optimizer, lr_scheduler)
        self.consistency_weight = require_number("consistency_weight", consistency_weight, least=0)
        require_one_of("trained_bands", trained_bands, ("all", "two", "own"))
        if trained_bands != "all" and not isinstance(network, BandNetwork):
            raise ValueError(
                f"trained_bands must be 'all' for a {type(network).__name__}, got {trained_bands!r}: it has no bands"
            )
        self.trained_bands = trained_bands
        self.label_smoothing = require_number("label_smoothing", label_smoothing, least=0, below=1)
        self.mixup = require_number("mixup", mixup, least=0)
        resolutions = range(network.base_resolution, network.max_resolution + 1)
        self.val_loss, self.test_loss = Mean(), Mean()
        self.val_accuracy = PerResolutionAccuracy(resolutions)
        self.test_accuracy = PerResolutionAccuracy(resolutions)
        self.val_consistency, self.test_consistency = ScaleConsistency(), ScaleConsistency()
        self.test_monotone = ScaleConsistency(strict=True)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        images, targets = batch
        # The same draws in every process, in a run that goes on as in one without a break.
        generator = np.random.default_rng([torch.initial_seed(), self.current_epoch, batch_index])
        if self.mixup:
            targets = F.one_hot(targets, self.network.classes).to(images.dtype)
            share = generator.beta(self.mixup, self.mixup)
            partners = torch.from_numpy(generator.permutation(len(images))).to(targets.device)
            images = torch.lerp(images[partners], images, share)
            targets = torch.lerp(targets[partners], targets, share)
        losses = self.band_losses(self._trained_logits(images, generator), targets, self.label_smoothing)
        increase = (losses[:, 1:] - losses[:, :-1]).clamp(min=0).sum(1).mean()
        loss = losses.sum(1).mean() + self.consistency_weight * increase
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/loss_finest", losses[:, -1].mean())
        self.log("train/consistency_hinge", increase)
        return loss

    def _trained_logits(self, images: Tensor, generator: np.random.Generator) -> Tensor:
        """Logits ``(batch, bands, classes)`` of the bands that are trained on."""
        if self.trained_bands != "all" and isinstance(self.network, BandNetwork):
            own = self.network.band_index(images.shape[-1])
            coarser = [int(generator.integers(own))] if own and self.trained_bands == "two" else []
            logits: Tensor = self.network(images, [*coarser, own])
        else:
            logits = self(images)
        return logits

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
            logits = self.network.predict(images)
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
        return self.network.predict(images_of(batch))

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
    def band_losses(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy of each sample at each band: logits ``(batch, bands, classes)`` to ``(batch, bands)``.

        ``labels`` are ``(batch,)``, or probabilities ``(batch, classes)``.
        """
        bands = logits.shape[1]
        losses = F.cross_entropy(
            logits.float().flatten(0, 1),
            labels.repeat_interleave(bands, 0),
            reduction="none",
            label_smoothing=label_smoothing,
        )
        return losses.view(-1, bands)

    def _log_consistency(self, name: str, metric: ScaleConsistency) -> None:
        """Log it if any process measured anything, which all of them decide together: computing it takes all."""
        if self.trainer.strategy.reduce_boolean_decision(metric.update_called, all=False):
            self.log_global(name, metric.compute())
