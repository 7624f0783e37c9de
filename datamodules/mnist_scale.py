"""MNIST-scale: each MNIST image at one of the resolutions 8 to 28 (NeurIPS 2023, section 5)."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from datamodules import mnist
from datamodules.augmentation import CircularShift
from datamodules.data_set import DataSet
from datamodules.protocols import OfficialParts, Protocol
from datamodules.scale import ScaleDataModule
from datamodules.settings import ScaleSettings

# The published protocol: 10,000 of the pooled images to train on.
OFFICIAL = OfficialParts(mnist.OFFICIAL_TRAIN_SIZE, mnist.OFFICIAL_TEST_SIZE, pool_train=10_000)


@dataclass
class MNISTScaleSettings(ScaleSettings):
    """Those of :class:`ScaleSettings`, by default with the published shifts; ``null`` for none."""

    shift_augmentation: CircularShift | None = CircularShift()


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
        checksums: whether the files must be MNIST's own, not others of its format, such as Fashion-MNIST's.
        **common: the options of :class:`MNISTScaleSettings`.

    Raises:
        ValueError: if an argument is outside its range or contradicts another.
    """

    def __init__(
        self,
        data_dir: str = "data",
        download: bool = False,
        protocol: Protocol = "pool",
        val_size: int = 10_000,
        mean: float = mnist.MEAN,
        std: float = mnist.STD,
        checksums: bool = True,
        **common: Any,
    ) -> None:
        data = DataSet(
            f"MNISTScale/{protocol}",
            mnist.IMAGE_SIZE,
            channels=1,
            class_names=mnist.CLASS_NAMES,
            mean=[mean],
            std=[std],
            load=partial(mnist.read_mnist, data_dir, checksums),
            draw_parts=OFFICIAL.drawn_by(protocol, val_size),
            download=partial(mnist.download_mnist, data_dir) if download else None,
        )
        super().__init__(data, MNISTScaleSettings(**common))
