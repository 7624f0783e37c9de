"""How many images per second the training loaders give, beside how many the training steps take.

Data and networks are those of files in ``configs/``; the images are random ones of the same shape, so that no data set
need be there, stored as the real ones are: those of STL-10 in a file that is mapped to memory.
"""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from jsonargparse import ArgumentParser
from torch import Tensor

from sefl.bench.comparisons import PASSES, Comparison, PipelineSizes
from sefl.bench.timing import Action
from sefl.bench.work import images, lightning_loss, seeded, training_step

CONFIGS = Path(__file__).parents[2] / "configs"
PIPELINES, IMAGES = "pipelines", "images"
WORKERS = "workers"
"""Ends the names of the contestants that load, after their number of processes."""

_IMAGES_IN_FILE = 500
_SEED = 0


@dataclass(frozen=True)
class Configured:
    """The data of one configuration file, with random images, and the networks of several.

    Args:
        folder: in ``configs/``.
        data: the file whose data they are, without its suffix.
        networks: the files whose networks they are.
        options: of the data, beside the file's.
        stored: makes the images, ``(samples, channels, height, width)``, uint8, in a given empty folder.
    """

    folder: str
    data: str
    networks: tuple[str, ...]
    stored: Callable[[Path], Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def default_datamodule(self) -> Any:
        """The datamodule as configured, without images."""
        return self._made({})

    def batch(self, sizes: PipelineSizes) -> int:
        """Images in a batch."""
        return int(sizes.batch or self.default_datamodule.settings.batch_size)

    def resolutions(self, sizes: PipelineSizes) -> list[int]:
        """Some of the data's resolutions, from the lowest to the highest."""
        every = self.default_datamodule.resolutions
        return [every[i] for i in np.linspace(0, len(every) - 1, sizes.resolutions).round().astype(int)]

    def datamodule(self, sizes: PipelineSizes, workers: int, folder: Path) -> Any:
        """The datamodule, set up."""
        options = {
            "batch_size": self.batch(sizes),
            "resolutions": self.resolutions(sizes),
            "train_size": sizes.images * sizes.resolutions,
            "num_workers": workers,
        }
        return self.prepared(options, self.stored(folder))

    def prepared(self, options: Mapping[str, Any], images: Any) -> Any:
        """The datamodule with these options and images, set up."""
        made = self._made(options)
        made.load_images = lambda: (images, torch.arange(len(images)) % made.num_classes)
        made.setup()
        return made

    def network(self, name: str) -> Any:
        """The network of a file."""
        from pytorch_lightning import LightningModule

        return _instance(LightningModule, self._read(name)["model"])

    def _made(self, options: Mapping[str, Any]) -> Any:
        from pytorch_lightning import LightningDataModule

        section = self._read(self.data)["data"]
        return _instance(
            LightningDataModule, {**section, "init_args": section["init_args"] | self.options | options}
        )

    def _read(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = yaml.safe_load((CONFIGS / self.folder / f"{name}.yaml").read_text())
        return content


def _instance(kind: type, section: Mapping[str, Any]) -> Any:
    """What LightningCLI makes of a section of a configuration."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--made", type=kind)
    return parser.instantiate_classes(parser.parse_object({"made": dict(section)})).made


def mapped_photographs(folder: Path, size: int = 13_000) -> Any:
    """As many random images as STL-10 has with labels, mapped to memory; they repeat after a while."""
    from datamodules.stl10 import CHANNELS, IMAGE_SIZE, MappedImages

    file = folder / "images.bin"
    shape = _IMAGES_IN_FILE, CHANNELS, IMAGE_SIZE, IMAGE_SIZE
    np.random.default_rng(_SEED).integers(0, 256, shape, np.uint8).tofile(file)
    return MappedImages([file] * (size // _IMAGES_IN_FILE))


def digits(folder: Path | None = None, size: int = 70_000) -> Tensor:
    """So many random images, by default as many as MNIST has."""
    return torch.randint(
        256, (size, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(_SEED)
    )


STL10 = Configured(
    "stl10_scale",
    "fourier_small",
    ("fourier_small", "cnn_small"),
    mapped_photographs,
    options={"cutout_augmentation": {"size": 32}},
)
MNIST = Configured("mnist_scale", "fourier", ("fourier", "cnn"), digits)


@dataclass(frozen=True)
class LoadWork:
    """All batches of an epoch, one after the other, without training on them.

    Args:
        configured: whose data.
        sizes: how many.
        workers: loader processes.
    """

    configured: Configured
    sizes: PipelineSizes
    workers: int

    def build(self, device: torch.device) -> Action:
        folder = tempfile.TemporaryDirectory()
        datamodule = self.configured.datamodule(self.sizes, self.workers, Path(folder.name))
        return partial(_load_all, datamodule.train_dataloader(), folder)


@dataclass(frozen=True)
class TrainWork:
    """A training step at each resolution, on a random batch that is there.

    Args:
        configured: whose network and data.
        network: the name of its file.
        sizes: which resolutions.
    """

    configured: Configured
    network: str
    sizes: PipelineSizes

    def build(self, device: torch.device) -> Action:
        step = training_step(partial(self.configured.network, self.network), lightning_loss, device)
        size, channels = self.configured.batch(self.sizes), self.configured.default_datamodule.channels
        labels = (torch.arange(size) % self.configured.default_datamodule.num_classes).to(device)
        batches = [
            (seeded(partial(images, size, channels, resolution)).to(device), labels)
            for resolution in self.configured.resolutions(self.sizes)
        ]

        def train() -> None:
            for batch in batches:
                step(batch)

        return train


def pipelines(sizes: PipelineSizes) -> list[Comparison]:
    """STL10Scale's and MNISTScale's loaders beside the training steps of two networks each."""
    compared = []
    for configured in (STL10, MNIST):
        loaders = {f"{number} {WORKERS}": LoadWork(configured, sizes, number) for number in sizes.workers}
        networks = {
            f"{configured.folder}/{name}": TrainWork(configured, name, sizes) for name in configured.networks
        }
        batch = configured.batch(sizes)
        in_a_round = {**dict.fromkeys(loaders, sizes.images), **dict.fromkeys(networks, batch)}
        compared.append(
            Comparison(
                part="data",
                work=type(configured.default_datamodule).__name__,
                passes=PASSES[True],
                contestants={**loaders, **networks},
                items=batch,
                counted=(),
                weighed=(),
                table=PIPELINES,
                known={name: {IMAGES: sizes.resolutions * number} for name, number in in_a_round.items()},
            )
        )
    return compared


def _load_all(loader: Iterable[Any], folder: tempfile.TemporaryDirectory[str]) -> None:
    """Go through an epoch; the folder of the images stays as long as this can be called."""
    for _ in loader:
        pass
