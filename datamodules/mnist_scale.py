"""MNIST-scale: each MNIST image at one of the resolutions 8 to 28 (NeurIPS 2023, section 5)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from datamodules.augmentation import CircularShift
from datamodules.mnist import (
    IMAGE_SIZE,
    MEAN,
    OFFICIAL_TEST_SIZE,
    OFFICIAL_TRAIN_SIZE,
    STD,
    download_mnist,
    read_mnist,
)
from datamodules.protocols import OfficialParts, Protocol
from datamodules.scale import ScaleDataModule
from datamodules.split import Parts

# The published protocol: 10,000 of the pooled images to train on.
OFFICIAL = OfficialParts(OFFICIAL_TRAIN_SIZE, OFFICIAL_TEST_SIZE, pool_train=10_000)


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
        checksums: whether the files must be MNIST's own, not others of its format, such as Fashion-MNIST's.
        **common: the other arguments of :class:`ScaleDataModule`.

    Raises:
        ValueError: if an argument is outside its range or contradicts another.
    """

    def __init__(
        self,
        data_dir: str = "data",
        download: bool = False,
        protocol: Protocol = "pool",
        val_size: int = 10_000,
        mean: float = MEAN,
        std: float = STD,
        shift_augmentation: CircularShift | None = CircularShift(),  # noqa: B008 (immutable)
        checksums: bool = True,
        **common: Any,
    ) -> None:
        OFFICIAL.check(protocol, val_size)
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
        self.data_dir = data_dir
        self.download = download
        self.checksums = checksums
        self.protocol = protocol
        self.val_size = val_size

    def prepare_data(self) -> None:
        """Download what is missing, if ``download`` is set; on one process per machine."""
        if self.download:
            download_mnist(self.data_dir)

    def load_images(self) -> tuple[Tensor, Tensor]:
        """The official training images followed by the test images: ``(70000, 1, 28, 28)`` and ``(70000,)``.

        Raises:
            FileNotFoundError: if the files are missing.
            ValueError: if they are damaged, exchanged or others than MNIST's.
        """
        return read_mnist(self.data_dir, self.checksums)

    def draw_parts(self, labels: NDArray[np.int64], generator: np.random.Generator) -> Parts:
        """Training, validation and test indices by ``protocol``, stratified."""
        return OFFICIAL.draw(self.protocol, self.val_size, labels, generator)
