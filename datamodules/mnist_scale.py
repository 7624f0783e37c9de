"""MNIST-scale: each MNIST image at one of the resolutions 8 to 28 (NeurIPS 2023, section 5)."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.datasets import MNIST

from datamodules.augmentation import CircularShift
from datamodules.scale import ScaleDataModule, draw_stratified_parts

# The published protocol: 10,000 of the pooled images to train on.
POOL_TRAIN_SIZE = 10_000
OFFICIAL_TRAIN_SIZE, OFFICIAL_TEST_SIZE = 60_000, 10_000
IMAGE_SIZE = 28

# Of the official training images.
MEAN, STD = 0.1307, 0.3081


class MNISTScale(ScaleDataModule):
    """MNIST with each image at one resolution; see :class:`ScaleDataModule` for what a batch is.

    ``protocol`` chooses between the published one, ``pool`` (the 70,000 images pooled; 10,000 for training,
    ``val_size`` for validation, the other 50,000 for test), and ``standard`` (the official test images;
    validation held out of the official training images). Parts are stratified and drawn from ``seed``.

    Args:
        data_dir: the folder that has, or gets, ``MNIST/raw``.
        download: fetch what is missing.
        protocol: ``pool`` (10,000 training images of all 70,000) or ``standard`` (the official test images).
        val_size: validation samples.
        mean: what is taken from each pixel, on a scale from 0 to 1; by default that of the training images.
        std: what each pixel is divided by.
        shift_augmentation: as in :class:`ScaleDataModule`; by default the published one, ``null`` for none.
        **common: the other arguments of :class:`ScaleDataModule`.

    Raises:
        ValueError: if an argument is outside its range or contradicts another.
    """

    def __init__(
        self,
        data_dir: str = "data",
        download: bool = False,
        protocol: Literal["pool", "standard"] = "pool",
        val_size: int = 10_000,
        mean: float = MEAN,
        std: float = STD,
        shift_augmentation: CircularShift | None = CircularShift(),  # noqa: B008 (immutable)
        **common: Any,
    ) -> None:
        if protocol not in ("pool", "standard"):
            raise ValueError(f"protocol must be 'pool' or 'standard', got {protocol!r}")
        super().__init__(
            image_size=IMAGE_SIZE,
            channels=1,
            num_classes=10,
            dataset=f"MNISTScale/{protocol}",
            mean=[mean],
            std=[std],
            shift_augmentation=shift_augmentation,
            **common,
        )
        available = OFFICIAL_TRAIN_SIZE
        if protocol == "pool":
            available += OFFICIAL_TEST_SIZE - POOL_TRAIN_SIZE
        if not 1 <= val_size < available:
            raise ValueError(f"val_size must be between 1 and {available - 1}, got {val_size}")
        self.data_dir = data_dir
        self.download = download
        self.protocol = protocol
        self.val_size = val_size

    def prepare_data(self) -> None:
        """Download what is missing, if ``download`` is set; on one process per machine."""
        if self.download:
            for train in (True, False):
                MNIST(self.data_dir, train=train, download=True)

    def load_images(self) -> tuple[Tensor, Tensor]:
        """The official training images followed by the test images: ``(70000, 1, 28, 28)`` and ``(70000,)``.

        Raises:
            FileNotFoundError: if the files are missing.
            ValueError: if they are damaged.
        """
        folder = Path(self.data_dir).absolute() / "MNIST" / "raw"
        files = [Path(url).stem for url, _ in MNIST.resources]
        missing = [name for name in files if not (folder / name).is_file()]
        if missing:
            raise FileNotFoundError(
                f"data_dir {self.data_dir!r} has no MNIST: {folder} lacks {', '.join(missing)}; "
                "set download: true, or data_dir to the folder that has MNIST/raw"
            )
        try:
            parts = [MNIST(self.data_dir, train=train) for train in (True, False)]
        except (AssertionError, KeyError, OSError, RuntimeError, ValueError) as error:
            raise ValueError(f"{_damaged(self.data_dir, folder)} ({error})") from error
        images = torch.cat([part.data for part in parts]).unsqueeze(1)
        labels = torch.cat([part.targets for part in parts])
        total = OFFICIAL_TRAIN_SIZE + OFFICIAL_TEST_SIZE
        if images.shape != (total, 1, IMAGE_SIZE, IMAGE_SIZE) or labels.shape != (total,):
            raise ValueError(_damaged(self.data_dir, folder))
        return images, labels

    def draw_parts(
        self, labels: NDArray[np.int64], generator: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Training, validation and test indices by ``protocol``, stratified."""
        if self.protocol == "pool":
            test_size = len(labels) - POOL_TRAIN_SIZE - self.val_size
            train, val, test = draw_stratified_parts(
                labels, [POOL_TRAIN_SIZE, self.val_size, test_size], generator
            )
            return train, val, test
        sizes = [OFFICIAL_TRAIN_SIZE - self.val_size, self.val_size]
        train, val = draw_stratified_parts(labels[:OFFICIAL_TRAIN_SIZE], sizes, generator)
        return train, val, np.arange(OFFICIAL_TRAIN_SIZE, len(labels))


def _damaged(data_dir: str, folder: Path) -> str:
    return f"data_dir {data_dir!r} has a damaged MNIST; delete {folder} and set download: true"
