"""A classifier of regular features that are subsampled from a group to smaller and smaller subgroups."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn import functional as F

from models.schedules import scheduled
from sefl.groups import OptimizedDesign
from sefl.metrics import Accuracy
from sefl.metrics.accumulation import Mean
from sefl.networks import GroupSampledNetwork
from sefl.runs.stored_models import StoredModel

Batch = tuple[Tensor, Tensor]


class GroupSampledClassifier(StoredModel):
    """Trains a :class:`sefl.networks.GroupSampledNetwork` (Rahman & Yeh, ICLR 2025) with the cross-entropy.

    ``forward`` maps images ``(batch, in_channels, h, w)``, or volumes ``(batch, in_channels, d, h, w)`` for a group
    that acts on space, to logits ``(batch, classes)``. ``symmetry_group`` is the name of the group, under which
    ``callbacks.EquivarianceMonitor`` measures it by default. Logged: ``train/loss``; ``val/loss`` and
    ``val/accuracy``; the same for ``test``.

    Args:
        group: the group ``G`` to begin with: ``"C8"``, ``"D12"`` (24 elements), ``"O"``, ...: see
            :func:`sefl.groups.finite_group`.
        in_channels: channels of the images.
        classes: number of classes.
        widths: regular fields of each stage; a stage on ``H`` has ``|H|`` times as many channels.
        kernel_sizes: taps per axis of each stage, odd; one number for all.
        group_rates: index of the subgroup that each stage goes to, 1 to stay; by default all 1.
        subgroups: the subgroup of each stage by name, such as ``"C4"``, instead of the automatic choice for its rate;
            ``null`` where the rate decides.
        spatial_rates: blur pooling of each stage, 1 for none; by default 2 in the first stage.
        anti_aliasing: the filter before subsampling: ``"closed_form"``, ``"optimized"`` (the paper's design) or
            ``"none"``.
        equivariance: whether the filter commutes with the whole ``"group"`` or with the ``"subgroup"`` alone, which
            keeps one frequency more where the subgroup is even.
        canonicalize: move each image's features to the coset of the strongest response before subsampling (Xu et al.
            2021).
        optimized: weights and iterations of the optimised filter; by default its own.
        pooling: how the last features are pooled over group and space.
        dropout: dropout of the pooled features.
        optimizer: from parameters to an optimiser.
        lr_scheduler: from the optimiser to its schedule; :class:`models.schedules.OneCycle` steps with the optimiser,
            any other once per epoch.

    Raises:
        ValueError: if an argument is out of its range, or a group has no subgroup of a rate or name; and in ``forward``
            for images of another number of axes or channels.
    """

    def __init__(
        self,
        group: str = "C8",
        in_channels: int = 1,
        classes: int = 10,
        widths: list[int] | None = None,
        kernel_sizes: int | list[int] = 5,
        group_rates: list[int] | None = None,
        subgroups: list[str | None] | None = None,
        spatial_rates: list[int] | None = None,
        anti_aliasing: Literal["closed_form", "optimized", "none"] = "closed_form",
        equivariance: Literal["group", "subgroup"] = "group",
        canonicalize: bool = False,
        optimized: OptimizedDesign | None = None,
        pooling: Literal["max", "mean"] = "max",
        dropout: float = 0.3,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        widths = [8, 16, 32] if widths is None else widths
        stages = len(widths)
        self.network = GroupSampledNetwork(
            group,
            in_channels,
            classes,
            widths,
            kernel_sizes if isinstance(kernel_sizes, Sequence) else [kernel_sizes] * stages,
            [1] * stages if group_rates is None else group_rates,
            [None] * stages if subgroups is None else subgroups,
            [2] + [1] * (stages - 1) if spatial_rates is None else spatial_rates,
            anti_aliasing,
            equivariance,
            canonicalize,
            optimized,
            pooling=pooling,
            dropout=dropout,
        )
        self.symmetry_group = group
        self.in_channels = in_channels
        self.classes = classes
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.val_loss, self.test_loss = Mean(), Mean()
        self.val_accuracy, self.test_accuracy = Accuracy(), Accuracy()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits

    def measured_layers(self) -> list[str]:
        """Each stage before and after its subsampling, and the head."""
        return [f"network.{name}" for name in self.network.measured_layers()]

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
        logits: Tensor = self(batch if isinstance(batch, Tensor) else batch[0])
        return logits

    def on_test_epoch_end(self) -> None:
        self._log_measures("test", self.test_loss, self.test_accuracy)

    def configure_optimizers(self) -> Any:
        return scheduled(self, self.optimizer, self.lr_scheduler)

    def _evaluate(self, batch: Batch, loss: Mean, accuracy: Accuracy) -> None:
        images, labels = batch
        logits = self(images).float()
        loss.update(F.cross_entropy(logits, labels, reduction="none"))
        accuracy.update(logits, labels)

    def _log_measures(self, prefix: str, loss: Mean, accuracy: Accuracy) -> None:
        # Every process computes the same number over all of them; its mean is that number.
        self.log(f"{prefix}/loss", loss.compute(), sync_dist=True, prog_bar=prefix == "val")
        self.log(f"{prefix}/accuracy", accuracy.compute().float(), sync_dist=True, prog_bar=prefix == "val")
        loss.reset()
        accuracy.reset()
