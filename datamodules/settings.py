"""The options that all data sets share; what each adds or has by default is beside it."""

from collections import Counter
from dataclasses import dataclass
from numbers import Integral
from typing import get_args

from datamodules.augmentation import Augmentation, CircularShift, RandomAffine
from datamodules.colour import RandomColour
from datamodules.crop_flip_cutout import Cutout, RandomCrop, RandomFlip, RandomTurn
from datamodules.data_set import FINEST, DataSet
from datamodules.resampling import Downsampling
from sefl.arguments import require_integer, require_one_of, require_positive, require_seed

# More loader processes than any machine is given.
MOST_WORKERS = 1_024


@dataclass
class LoadingSettings:
    """How samples are chosen and loaded.

    Args:
        batch_size: the most samples of a training batch, on each process; batches are of nearly equal size.
        eval_batch_size: the most samples of a validation or test batch, on each process.
        train_size: use only so many training samples, stratified over classes and resolutions; a smaller training set
            is part of every larger one. By default all.
        affine_augmentation: random affine and elastic deformation of training images at full resolution.
        split_file: a split that :meth:`ScaleDataModule.save_split` wrote, to use instead of drawing one.
        seed: the source of everything random.
        num_workers: loader processes. Where the processor trains too, 0 is best; for a GPU, as many as make batches
            faster than it trains on them (``python -m sefl.bench --only data``): 2 for thousands of images per second.

    Raises:
        ValueError: if an argument is outside its range.
    """

    batch_size: int = 128
    eval_batch_size: int = 500
    train_size: int | None = None
    affine_augmentation: RandomAffine | None = None
    split_file: str | None = None
    seed: int = 0
    num_workers: int = 0

    def __post_init__(self) -> None:
        self.batch_size = require_positive("batch_size", self.batch_size)
        self.eval_batch_size = require_positive("eval_batch_size", self.eval_batch_size)
        if self.train_size is not None:
            self.train_size = require_integer("train_size", self.train_size, 1)
        self.seed = require_seed("seed", self.seed)
        self.num_workers = require_integer("num_workers", self.num_workers, 0, MOST_WORKERS)


@dataclass
class ScaleSettings(LoadingSettings):
    """The options of a :class:`ScaleDataModule`, beside those of :class:`LoadingSettings`.

    Args:
        resolutions: the resolutions, each at most that of the images; by default those that the data set names.
        held_out_resolutions: resolutions that are left out of training and kept in validation and test; training images
            are dealt the others.
        downsampling: ``ideal`` (:func:`sefl.fourier.downsample`, at full resolution too, where it removes the Nyquist
            term), ``centered``, the same about the image's middle, with which flips and quarter turns commute, or
            ``bicubic`` with antialiasing, of signals cubic. The first two take the window for one period, the last its
            edges for constant beyond.
        consistency_size: predict so many test samples at every resolution, the first of the test part, for scale
            consistency, which takes a pass per resolution where a network has no cheaper way. By default all.
        shift_augmentation: random circular shifts of training images at full resolution.
        crop_augmentation: random crops of training images, padded with black, at full resolution.
        flip_augmentation: mirror images of training images.
        turn_augmentation: training images turned by multiples of 90 degrees.
        colour_augmentation: random brightness, contrast and saturation of training images of one or three channels.
        cutout_augmentation: black squares in training images at full resolution.
    """

    resolutions: list[int] | None = None
    held_out_resolutions: list[int] | None = None
    downsampling: Downsampling = "ideal"
    consistency_size: int | None = None
    shift_augmentation: CircularShift | None = None
    crop_augmentation: RandomCrop | None = None
    flip_augmentation: RandomFlip | None = None
    turn_augmentation: RandomTurn | None = None
    colour_augmentation: RandomColour | None = None
    cutout_augmentation: Cutout | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.consistency_size is not None:
            require_integer("consistency_size", self.consistency_size, 1)
        require_one_of("downsampling", self.downsampling, get_args(Downsampling))

    @property
    def augmentations(self) -> tuple[Augmentation, ...]:
        """What is done to training images, in this order."""
        order = ("crop", "flip", "turn", "affine", "shift", "colour", "cutout")
        of_each = (getattr(self, f"{name}_augmentation") for name in order)
        return tuple(augmentation for augmentation in of_each if augmentation is not None)

    def resolutions_of(self, data: DataSet) -> list[int]:
        """Those of a data set, from the lowest to the highest.

        Raises:
            ValueError: if a resolution, or an augmentation, is not for the data, or a resolution not for the others.
        """
        self._check_augmentations(data)
        given = list(data.resolutions or []) if self.resolutions is None else self.resolutions
        if not given:
            raise ValueError("resolutions must name at least one resolution, got []")
        for each in given:
            integer = isinstance(each, Integral) and not isinstance(each, bool)
            if not integer or not 1 <= each <= data.image_size:
                called = FINEST[data.dimensions][0].replace("_", " ")
                raise ValueError(
                    f"resolutions must be integers from 1 to the {called} of {data.image_size}, got {each!r}"
                )
        repeated = sorted(resolution for resolution, count in Counter(given).items() if count > 1)
        if repeated:
            raise ValueError(
                f"resolutions must differ from each other, got more than once: {_some(repeated)}"
            )
        held_out = set(self.held_out_resolutions or [])
        if held_out - set(given):
            raise ValueError(
                f"held_out_resolutions must be among the resolutions {_some(given)}, "
                f"got {_some(sorted(held_out - set(given)))}"
            )
        if held_out == set(given):
            raise ValueError(
                "held_out_resolutions must leave at least one resolution to train on, got all of them"
            )
        return sorted(map(int, given))

    def _check_augmentations(self, data: DataSet) -> None:
        for name in ("affine", "crop", "flip", "turn", "colour", "cutout"):
            augmentation = getattr(self, f"{name}_augmentation")
            if data.dimensions == 1 and augmentation is not None:
                raise ValueError(
                    f"{name}_augmentation is for images, got {augmentation}; signals have shift_augmentation"
                )
        if self.colour_augmentation is not None and data.channels not in (1, 3):
            raise ValueError(
                f"colour_augmentation is for images of 1 or 3 channels, got {data.channels}; set it to null"
            )


def _some(numbers: list[int]) -> str:
    """A list for a message, cut where nobody would read on."""
    shown = 12
    if len(numbers) <= shown:
        return str(numbers)
    return f"{str(numbers[:shown])[:-1]}, ... ({len(numbers)} in all)]"
