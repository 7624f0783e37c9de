"""STL10-scale: each STL-10 image at one of the resolutions 49 to 97 (NeurIPS 2023, section 5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from datamodules import stl10
from datamodules.crop_flip_cutout import Cutout, RandomCrop, RandomFlip
from datamodules.data_set import DataSet
from datamodules.protocols import OfficialParts, Protocol
from datamodules.scale import ScaleDataModule
from datamodules.settings import ScaleSettings

# The published protocol: 5,000 of the 13,000 pooled images to test on. Its finest resolution is one above the images'
# own 96: the odd size that holds the same band, 47, once the Nyquist term of the even one is dropped.
OFFICIAL = OfficialParts(stl10.OFFICIAL_TRAIN_SIZE, stl10.OFFICIAL_TEST_SIZE, pool_test=5_000)
LOWEST_RESOLUTION, FINEST_RESOLUTION = 49, 97


@dataclass
class STL10ScaleSettings(ScaleSettings):
    """Those of :class:`ScaleSettings`, by default with the published crops, flips and cutouts; ``null`` for none."""

    crop_augmentation: RandomCrop | None = RandomCrop()
    flip_augmentation: RandomFlip | None = RandomFlip()
    cutout_augmentation: Cutout | None = Cutout()


class STL10Scale(ScaleDataModule):
    """STL-10 with each image at one resolution; see :class:`ScaleDataModule` for what a batch is.

    ``protocol`` chooses between the published one, ``pool`` (the 13,000 labelled images pooled; 5,000 for test,
    ``val_size`` for validation, the other 7,000 for training), and ``standard`` (the official 8,000 test images;
    validation held out of the official 5,000 training images). Parts are stratified and drawn from ``seed``.

    The images have 96 pixels per side; the resolution 97 is upsampled from these, ideally or bicubically as
    ``downsampling`` says, and by default there is every one from 49 to it. The unlabelled images are not needed. Files
    stay on the disk, mapped to memory.

    Args:
        data_dir: the folder that has, or gets, ``stl10_binary``.
        download: fetch the files if one is missing or damaged.
        protocol: ``pool`` (7,000 training images of all 13,000) or ``standard`` (the official test images).
        val_size: validation samples.
        mean: what is taken from each channel, on a scale from 0 to 1; by default that of the training images.
        std: what each channel is divided by.
        **common: the options of :class:`STL10ScaleSettings`.

    Raises:
        ValueError: if an argument is outside its range or contradicts another.
    """

    def __init__(
        self,
        data_dir: str = "data",
        download: bool = False,
        protocol: Protocol = "pool",
        val_size: int = 1_000,
        mean: Sequence[float] = stl10.MEAN,
        std: Sequence[float] = stl10.STD,
        **common: Any,
    ) -> None:
        data = DataSet(
            f"STL10Scale/{protocol}",
            FINEST_RESOLUTION,
            channels=stl10.CHANNELS,
            class_names=stl10.CLASS_NAMES,
            mean=mean,
            std=std,
            load=partial(stl10.read_stl10, data_dir),
            draw_parts=OFFICIAL.drawn_by(protocol, val_size),
            download=partial(stl10.download_stl10, data_dir) if download else None,
            resolutions=range(LOWEST_RESOLUTION, FINEST_RESOLUTION + 1),
        )
        super().__init__(data, STL10ScaleSettings(**common))
