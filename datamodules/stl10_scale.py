"""STL10-scale: each STL-10 image at one of the resolutions 49 to 97 (NeurIPS 2023, section 5)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from datamodules.crop_flip_cutout import Cutout, RandomCrop, RandomFlip
from datamodules.protocols import OfficialParts, Protocol
from datamodules.scale import ScaleDataModule
from datamodules.split import Parts
from datamodules.stl10 import (
    CHANNELS,
    CLASS_NAMES,
    CLASSES,
    MEAN,
    OFFICIAL_TEST_SIZE,
    OFFICIAL_TRAIN_SIZE,
    STD,
    MappedImages,
    download_stl10,
    read_stl10,
)

# The published protocol: 5,000 of the 13,000 pooled images to test on. Its finest resolution is one above the images'
# own 96: the odd size that holds the same band, 47, once the Nyquist term of the even one is dropped.
OFFICIAL = OfficialParts(OFFICIAL_TRAIN_SIZE, OFFICIAL_TEST_SIZE, pool_test=5_000)
LOWEST_RESOLUTION, FINEST_RESOLUTION = 49, 97


class STL10Scale(ScaleDataModule):
    """STL-10 with each image at one resolution; see :class:`ScaleDataModule` for what a batch is.

    ``protocol`` chooses between the published one, ``pool`` (the 13,000 labelled images pooled; 5,000 for test,
    ``val_size`` for validation, the other 7,000 for training), and ``standard`` (the official 8,000 test images;
    validation held out of the official 5,000 training images). Parts are stratified and drawn from ``seed``.

    The images have 96 pixels per side; the resolution 97 is upsampled from these, ideally or bicubically as
    ``downsampling`` says. The unlabelled images are not needed. Files stay on the disk, mapped to memory.

    Args:
        data_dir: the folder that has, or gets, ``stl10_binary``.
        download: fetch the files if one is missing or damaged.
        protocol: ``pool`` (7,000 training images of all 13,000) or ``standard`` (the official test images).
        val_size: validation samples.
        resolutions: the resolutions, each at most 97; by default every one from 49 on.
        mean: what is taken from each channel, on a scale from 0 to 1; by default that of the training images.
        std: what each channel is divided by.
        crop_augmentation, flip_augmentation, cutout_augmentation: as in :class:`ScaleDataModule`; by default the
            published ones, ``null`` for none.
        **common: the other arguments of :class:`ScaleDataModule`.

    Raises:
        ValueError: if an argument is outside its range or contradicts another.
    """

    def __init__(
        self,
        data_dir: str = "data",
        download: bool = False,
        protocol: Protocol = "pool",
        val_size: int = 1_000,
        resolutions: list[int] | None = None,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
        crop_augmentation: RandomCrop | None = RandomCrop(),  # noqa: B008 (immutable)
        flip_augmentation: RandomFlip | None = RandomFlip(),  # noqa: B008
        cutout_augmentation: Cutout | None = Cutout(),  # noqa: B008
        **common: Any,
    ) -> None:
        OFFICIAL.check(protocol, val_size)
        if resolutions is None:
            resolutions = list(range(LOWEST_RESOLUTION, FINEST_RESOLUTION + 1))
        self.classes = list(CLASS_NAMES)
        super().__init__(
            image_size=FINEST_RESOLUTION,
            channels=CHANNELS,
            num_classes=CLASSES,
            dataset=f"STL10Scale/{protocol}",
            mean=list(mean),
            std=list(std),
            resolutions=resolutions,
            crop_augmentation=crop_augmentation,
            flip_augmentation=flip_augmentation,
            cutout_augmentation=cutout_augmentation,
            **common,
        )
        self.data_dir = data_dir
        self.download = download
        self.protocol = protocol
        self.val_size = val_size

    def prepare_data(self) -> None:
        """Download the files if one is missing or damaged, if ``download`` is set; on one process per machine."""
        if self.download:
            download_stl10(self.data_dir)

    def load_images(self) -> tuple[MappedImages, Tensor]:
        """The official training images followed by the test images: ``(13000, 3, 96, 96)`` and ``(13000,)``.

        Raises:
            FileNotFoundError: if files are missing.
            ValueError: if they are truncated or damaged.
        """
        return read_stl10(self.data_dir)

    def draw_parts(self, labels: NDArray[np.int64], generator: np.random.Generator) -> Parts:
        """Training, validation and test indices by ``protocol``, stratified."""
        return OFFICIAL.draw(self.protocol, self.val_size, labels, generator)
