"""Networks of ImageNet: trained on crops, tested on the central crop of larger images and on random ones."""

import numpy as np
import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.functional import center_crop

from models.network_module import Batch, NetworkModule, images_of
from sefl.arguments import require_integer
from sefl.metrics import Accuracy
from sefl.metrics.accumulation import Mean
from sefl.metrics.shift import ShiftConsistency
from sefl.networks import ScaleNetwork

_TOP = 5


class CropClassifier(NetworkModule):
    """Trains a network with the cross-entropy, and tests whether a shift of the image changes what it says.

    Of images finer than the network's ``max_resolution``, ``r`` pixels per side, the central ``r x r`` pixels count; so
    does of a :class:`datamodules.ImageNet` of 256 pixels the usual central crop of 224.

    Logged: ``train/loss``; ``val/loss``, ``val/accuracy`` and ``val/accuracy_top5``; the same for ``test``, and

    * ``test/shift_consistency``: how often the same class is predicted for two random crops of an image (Zhang, ICML
      2019, section 4: of images of 256 pixels crops of 224, at offsets drawn from 0 to 31 on each axis).

    Args:
        network: what is trained, such as a :class:`sefl.networks.TorchvisionNetwork`.
        crop_pairs: of how many pairs of crops per test image shift consistency is the mean; 5 as published, 0 for none.
        seed: of the offsets.
        optimizer: from parameters to an optimiser.
        lr_scheduler: from the optimiser to its schedule; :class:`models.schedules.OneCycle` steps with the optimiser,
            any other once per epoch.

    Raises:
        ValueError: if an argument is out of its range.
    """

    network: ScaleNetwork

    def __init__(
        self,
        network: ScaleNetwork,
        crop_pairs: int = 5,
        seed: int = 0,
        optimizer: OptimizerCallable = torch.optim.SGD,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(network, optimizer, lr_scheduler)
        self.crop_pairs = require_integer("crop_pairs", crop_pairs, 0)
        self.seed = require_integer("seed", seed, 0)
        self.val_loss, self.test_loss = Mean(), Mean()
        self.val_accuracy, self.test_accuracy = Accuracy(), Accuracy()
        self.val_top, self.test_top = Mean(), Mean()
        self.test_shift = ShiftConsistency()

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(batch, 1, classes)`` of the central crops of images ``(batch, channels, h, w)``."""
        return super().forward(self._central(images))

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        images, labels = batch
        loss = F.cross_entropy(self._logits(images), labels)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        self._evaluate(batch, self.val_loss, self.val_accuracy, self.val_top)

    def on_validation_epoch_end(self) -> None:
        self._log_measures("val", self.val_loss, self.val_accuracy, self.val_top)

    def test_step(self, batch: Batch, batch_index: int) -> None:
        self._evaluate(batch, self.test_loss, self.test_accuracy, self.test_top)
        images, _ = batch
        generator = np.random.default_rng([self.seed, self.global_rank, batch_index])
        for _ in range(self.crop_pairs):
            pair = [self._logits(random_crops(images, self._size(images), generator)) for _ in range(2)]
            self.test_shift.update(torch.stack(pair))

    def on_test_epoch_end(self) -> None:
        self._log_measures("test", self.test_loss, self.test_accuracy, self.test_top)
        if self.crop_pairs:
            self.log_global("test/shift_consistency", self.test_shift.compute()["pairs"])
            self.test_shift.reset()

    def predict_step(self, batch: Batch | Tensor, batch_index: int, dataloader_idx: int = 0) -> Tensor:
        """Logits ``(batch, classes)`` of central crops, of images with or without their labels beside them."""
        return self._logits(images_of(batch))

    def _size(self, images: Tensor) -> int:
        return int(min(self.network.max_resolution, *images.shape[-2:]))

    def _central(self, images: Tensor) -> Tensor:
        cropped: Tensor = center_crop(images, [self._size(images)] * 2)
        return cropped

    def _logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self(images)
        return logits[:, -1].float()

    def _evaluate(self, batch: Batch, loss: Mean, accuracy: Accuracy, top: Mean) -> None:
        images, labels = batch
        logits = self._logits(images)
        loss.update(F.cross_entropy(logits, labels, reduction="none"))
        accuracy.update(logits, labels)
        best = logits.topk(min(_TOP, logits.shape[1])).indices
        top.update((best == labels[:, None]).any(1).float())

    def _log_measures(self, prefix: str, loss: Mean, accuracy: Accuracy, top: Mean) -> None:
        for name, metric in {"loss": loss, "accuracy": accuracy, "accuracy_top5": top}.items():
            self.log_global(f"{prefix}/{name}", metric.compute(), prog_bar=prefix == "val")
            metric.reset()


def random_crops(images: Tensor, size: int, generator: np.random.Generator) -> Tensor:
    """Of each image its own crop, at offsets of less than the margin on each axis (0 where there is none).

    Args:
        images: ``(batch, channels, h, w)``.
        size: pixels per side of the crops.
        generator: the source of the offsets.

    Returns:
        ``(batch, channels, size, size)``.
    """
    margins = [max(1, side - size) for side in images.shape[-2:]]
    offsets = generator.integers(margins, size=(len(images), 2)).tolist()
    crops = [
        image[:, row : row + size, column : column + size]
        for image, (row, column) in zip(images, offsets, strict=True)
    ]
    return torch.stack(crops)
