"""Images that know their number, a model that writes down what it is given, and a fit of one on the other.

Image ``n`` has the constant value ``n``, which every kind of downsampling keeps, so that a batch tells which
samples it holds. As a script this is one process of a distributed run: ``python numbered_images.py FOLDER
DEVICES``.
"""

import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from datamodules import DataSet, ScaleDataModule, ScaleSettings
from datamodules.split import draw_stratified_parts

IMAGE_SIZE = 9
CLASSES = 4


def numbered(**changed: Any) -> DataSet:
    """Constant images of four classes of unequal frequency; ``sizes`` of them in each part."""
    sizes = changed.pop("sizes", (130, 53, 47))

    def load() -> tuple[Tensor, Tensor]:
        number = torch.arange(sum(sizes))
        images = number.float().view(-1, 1, 1, 1).expand(-1, 1, IMAGE_SIZE, IMAGE_SIZE).contiguous()
        return images, (number % 7).clamp(max=CLASSES - 1)

    said = {
        "name": "NumberedImages",
        "image_size": IMAGE_SIZE,
        "channels": 1,
        "class_names": "0123"[:CLASSES],
        "mean": [0.0],
        "std": [1.0],
        "load": load,
        "draw_parts": lambda labels, generator: draw_stratified_parts(labels, sizes, generator),
    }
    return DataSet(**{**said, **changed})


class NumberedImages(ScaleDataModule):
    """The images of :func:`numbered`; options are those of the data set or settings."""

    def __init__(self, **options: Any) -> None:
        known = {field.name for field in fields(ScaleSettings)}
        settings = {"resolutions": [5, 6, 7, 8, 9], "batch_size": 8, "eval_batch_size": 5}
        settings |= {name: value for name, value in options.items() if name in known}
        data = numbered(**{name: value for name, value in options.items() if name not in known})
        super().__init__(data, ScaleSettings(**settings))


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
