"""What every classifier at several resolutions shares, of images or signals: losses, metrics, optimisers."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, get_args

import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn import functional as F

from models.schedules import scheduled
from sefl.arguments import require_floating, require_number, require_positive
from sefl.fourier import downsample
from sefl.metrics import PerResolutionAccuracy, ScaleConsistency
from sefl.metrics.accumulation import Mean
from sefl.networks.fourier_blocks import Dimensions
from sefl.runs.stored_models import StoredModel
from sefl.training.step_progress import counted

Batch = tuple[Tensor, Tensor]


class ScaleClassifier(StoredModel):
    """Base of the classifiers: a subclass gives ``forward`` and, where it has a cheaper way, the predictions.

    ``forward`` maps images ``(batch, in_channels, r, r)`` to logits ``(batch, bands, classes)``, bands from coarse to
    fine, the last one being the prediction at the resolution of the input. With ``dimensions=1`` the images are
    signals ``(batch, in_channels, length)`` and resolutions are lengths.

    The loss is the cross-entropy summed over the bands, plus ``consistency_weight`` times
    ``max(L_b - L_{b-1}, 0)`` per sample and pair of neighbouring bands (NeurIPS 2023, section 4.3; the published code
    compares batch means). Regularisation is the optimiser's weight decay.

    Logged: ``train/loss``; ``val/loss``, ``val/accuracy`` and ``val/scale_consistency`` (over the bands of each
    sample, where there are several); and the same for ``test``, with ``test/accuracy_r`` for each resolution ``r``. A
    first test loader holds each sample at its own resolution, and a second, if there is one, the samples at the
    finest: scale consistency over every resolution is measured on these, and beside it the fraction whose loss
    nowhere rises, ``test/scale_consistency_monotone``.

    Args:
        in_channels: channels of the images.
        classes: number of classes.
        base_resolution: coarsest resolution of an input.
        max_resolution: finest resolution of an input.
        consistency_weight: weight of the scale-consistency hinge.
        optimizer: from parameters to an optimiser.
        lr_scheduler: from the optimiser to its schedule; :class:`models.schedules.OneCycle` steps with the optimiser,
            any other once per epoch.
        dimensions: 2 for images, 1 for signals.

    Raises:
        TypeError: in ``forward``, if the images are not a floating-point tensor.
        ValueError: if an argument is out of its range, and in ``forward`` for images that are not square, have other
            than ``in_channels`` channels or a resolution outside the range.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        base_resolution: int,
        max_resolution: int,
        consistency_weight: float,
        optimizer: OptimizerCallable,
        lr_scheduler: LRSchedulerCallable | None,
        dimensions: Dimensions = 2,
    ) -> None:
        super().__init__()
        self.in_channels = require_positive("in_channels", in_channels)
        self.classes = require_positive("classes", classes)
        if not 1 <= base_resolution <= max_resolution:
            raise ValueError(
                f"base_resolution must lie in 1..max_resolution ({max_resolution}), got {base_resolution}"
            )
        self.base_resolution = require_positive("base_resolution", base_resolution)
        self.max_resolution = require_positive("max_resolution", max_resolution)
        self.consistency_weight = require_number("consistency_weight", consistency_weight, least=0)
        if dimensions not in get_args(Dimensions):
            raise ValueError(f"dimensions must be 1 for signals or 2 for images, got {dimensions}")
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.dimensions = dimensions
        resolutions = range(self.base_resolution, self.max_resolution + 1)
        self.val_loss, self.test_loss = Mean(), Mean()
        self.val_accuracy, self.test_accuracy = (
            PerResolutionAccuracy(resolutions),
            PerResolutionAccuracy(resolutions),
        )
        self.val_consistency, self.test_consistency = ScaleConsistency(), ScaleConsistency()
        self.test_monotone = ScaleConsistency(strict=True)

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(batch, bands, classes)`` of images ``(batch, in_channels, r, r)``."""

    @abstractmethod
    def measured_layers(self) -> list[str]:
        """Names of the modules whose equivariance ``callbacks.EquivarianceMonitor`` measures by default."""

    def predict_all_resolutions(self, images: Tensor, resolutions: Sequence[int] | None = None) -> Tensor:
        """Logits at each of ``resolutions`` for the images ideally downsampled to it.

        Args:
            images: ``(batch, in_channels, r, r)``.
            resolutions: by default every integer from ``base_resolution`` to ``r``.

        Returns:
            ``(batch, len(resolutions), classes)``.

        Raises:
            ValueError: if a resolution is below the base or above that of the images.
        """
        resolutions = self._resolutions(images, resolutions)
        resample = downsample
        one_by_one = counted(resolutions, len(resolutions), "Resolutions", self._trainer)
        return torch.stack([self(resample(images, r))[:, -1] for r in one_by_one], dim=1)

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
        self._log_global("val/loss", self.val_loss.compute(), prog_bar=True)
        accuracy = self.val_accuracy.compute()
        self._log_global("val/accuracy", accuracy["overall"], prog_bar=True)
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
            losses = self.band_losses(self.predict_all_resolutions(images), labels)
            self.test_consistency.update(losses)
            self.test_monotone.update(losses)

    def predict_step(self, batch: Batch | Tensor, batch_index: int, dataloader_idx: int = 0) -> Tensor:
        """Logits ``(batch, classes)`` at the resolution of the images, with or without their labels beside them."""
        images = batch if isinstance(batch, Tensor) else batch[0]
        logits: Tensor = self(images)[:, -1]
        return logits

    def on_test_epoch_end(self) -> None:
        self._log_global("test/loss", self.test_loss.compute())
        for resolution, accuracy in self.test_accuracy.compute().items():
            if resolution == "overall":
                self._log_global("test/accuracy", accuracy)
            elif not accuracy.isnan():
                self._log_global(f"test/accuracy_{resolution}", accuracy)
        self._log_consistency("test/scale_consistency", self.test_consistency)
        self._log_consistency("test/scale_consistency_monotone", self.test_monotone)
        for metric in (self.test_loss, self.test_accuracy, self.test_consistency, self.test_monotone):
            metric.reset()

    def configure_optimizers(self) -> Any:
        return scheduled(self, self.optimizer, self.lr_scheduler)

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
            self._log_global(name, metric.compute())

    def _log_global(self, name: str, value: Tensor, prog_bar: bool = False) -> None:
        """Log a metric that is computed over all processes: they hold the same number, and its mean is that number."""
        self.log(name, value.float(), sync_dist=True, prog_bar=prog_bar)

    def _resolutions(self, images: Tensor, resolutions: Sequence[int] | None) -> Sequence[int]:
        finest = images.shape[-1]
        if resolutions is None:
            return range(self.base_resolution, finest + 1)
        outside = [r for r in resolutions if not self.base_resolution <= r <= finest]
        if outside:
            kind = "signals" if self.dimensions == 1 else "images"
            raise ValueError(
                f"resolutions must lie between base_resolution {self.base_resolution} and the {kind}' {finest}, "
                f"got {outside}"
            )
        return resolutions

    def _check_images(self, images: Tensor) -> None:
        require_floating("signals" if self.dimensions == 1 else "images", images)
        shape = tuple(images.shape)
        if self.dimensions == 1:
            kind, quantity, expected = "signals", "length", "(batch, channels, length)"
        else:
            kind, quantity, expected = "images", "resolution", "square, (batch, channels, r, r)"
        if images.dim() != 2 + self.dimensions or len(set(shape[2:])) != 1:
            raise ValueError(f"{kind} must be {expected}, got shape {shape}")
        if shape[1] != self.in_channels:
            raise ValueError(f"{kind} must have in_channels={self.in_channels}, got {shape[1]}")
        if not self.base_resolution <= shape[2] <= self.max_resolution:
            raise ValueError(
                f"{kind} of {quantity} {shape[2]} are outside the model's range, base_resolution "
                f"{self.base_resolution} to max_resolution {self.max_resolution}"
            )
