"""Images that know their number, a model that writes down what it is given, and a fit of one on the other.

Image ``n`` has the constant value ``n``, which every kind of downsampling keeps, so that a batch tells which
samples it holds. As a script this is one process of a distributed run: ``python numbered_images.py FOLDER
DEVICES``.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from datamodules import ScaleDataModule
from datamodules.split import draw_stratified_parts

IMAGE_SIZE = 9
CLASSES = 4


class NumberedImages(ScaleDataModule):
    """``sum(sizes)`` constant images of four classes of unequal frequency."""

    def __init__(self, sizes: tuple[int, int, int] = (130, 53, 47), **common: Any) -> None:
        settings = {
            "image_size": IMAGE_SIZE,
            "resolutions": [5, 6, 7, 8, 9],
            "channels": 1,
            "num_classes": CLASSES,
            "mean": [0.0],
            "std": [1.0],
            "batch_size": 8,
            "eval_batch_size": 5,
        }
        super().__init__(dataset="NumberedImages", **{**settings, **common})
        self.sizes = list(sizes)

    def load_images(self) -> tuple[Tensor, Tensor]:
        samples = sum(self.sizes)
        number = torch.arange(samples)
        images = number.float().view(-1, 1, 1, 1).expand(-1, 1, IMAGE_SIZE, IMAGE_SIZE).contiguous()
        return images, (number % 7).clamp(max=CLASSES - 1)

    def draw_parts(
        self, labels: NDArray[np.int64], generator: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        train, val, test = draw_stratified_parts(labels, self.sizes, generator)
        return train, val, test


def numbers(images: Tensor) -> list[int]:
    """Which samples a batch of :class:`NumberedImages` holds."""
    return images.mean(dim=(1, 2, 3)).round().long().tolist()


class Witness(LightningModule):
    """Notes ``(epoch, resolution, samples)`` of every batch of every stage."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, CLASSES)
        self.seen: dict[str, list[tuple[int, int, list[int]]]] = {
            "train": [],
            "val": [],
            "test": [],
            "finest": [],
        }

    def note(self, stage: str, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        self.seen[stage].append((self.current_epoch, images.shape[-1], numbers(images)))
        return nn.functional.cross_entropy(self.layer(images.mean(dim=(2, 3)) / 100), labels)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self.note("train", batch)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.note("val", batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        self.note("finest" if dataloader_idx else "test", batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def trainer(folder: Path, callbacks: list[Callback] | None = None, **settings: Any) -> Trainer:
    """A quiet trainer on the CPU."""
    quiet: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 2,
        "num_sanity_val_steps": 0,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "default_root_dir": folder,
    }
    return Trainer(callbacks=callbacks, **{**quiet, **settings})


def main(folder: Path, devices: int) -> None:
    runner = trainer(folder, devices=devices, strategy="ddp")
    model, data = Witness(), NumberedImages()
    runner.fit(model, data)
    runner.test(model, data, verbose=False)
    torch.save(model.seen, folder / f"seen-{runner.global_rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
