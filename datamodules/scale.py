"""The datamodule that gives each image of a data set one of several resolutions."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule
from torch import Tensor

from datamodules.augmentation import Augmentation, CircularShift, RandomAffine
from datamodules.batches import (
    BatchLoader,
    EvaluationBatches,
    Images,
    ResolutionImages,
    TrainingBatches,
    make_loader,
)
from datamodules.colour import RandomColour
from datamodules.content import check_images, check_labels
from datamodules.crop_flip_cutout import Cutout, RandomCrop, RandomFlip
from datamodules.resampling import Downsampling
from datamodules.split import PARTS, Parts, Split, deal_resolutions, fingerprint, stratified_order
from sefl.arguments import require_integer, require_number, require_one_of, require_positive, require_seed

# The lowest resolution of the published MNIST-scale experiment (NeurIPS 2023).
LOWEST_RESOLUTION = 8

# Pixels per side: an image of so many takes a GiB in each channel as float32.
LARGEST = 16_384

# More loader processes than any machine is given.
MOST_WORKERS = 1_024

# One independent stream of random numbers for each thing that is drawn once.
_PARTS_STREAM, _DEALING_STREAM, _SUBSET_STREAM = 10, 11, 12


class ScaleDataModule(LightningDataModule):
    """Images that each have one of several resolutions, in batches of one resolution.

    A batch is ``(images, labels)``: float32 ``(batch, channels, r, r)``, with ``r`` the resolution of the
    batch, and int64 ``(batch,)``. A sample keeps its resolution throughout the run; resolutions are dealt
    evenly over classes. Training images are cropped, flipped, deformed, shifted, coloured and cut out of, in this
    order and each if asked for, at full resolution; validation and test images never.

    Split, resolutions, order and augmentation follow from ``seed`` alone, whatever the number of processes
    and of workers. In training all processes get the same number of batches, at each step of the same
    resolution and size; of a resolution whose samples cannot be shared evenly, fewer than one per process are
    left out of an epoch. Validation and test see every sample exactly once, over all processes.

    A subclass gives the images (:meth:`load_images`) and the parts (:meth:`draw_parts`).

    Args:
        image_size: the finest resolution that there may be: pixels per side of the images at full resolution.
        channels: channels of the images.
        num_classes: classes of the labels.
        dataset: the name of the data set and protocol, checked when a stored split is loaded.
        mean, std: normalisation of each channel, on a scale from 0 to 1.
        resolutions: the resolutions, each at most ``image_size``; by default every one from 8 on.
        held_out_resolutions: resolutions that are left out of training and kept in validation and test;
            training images are dealt the others.
        downsampling: ``ideal`` (:func:`sefl.fourier.downsample`, at full resolution too, where it removes the
            Nyquist term) or ``bicubic`` with antialiasing.
        batch_size: the most samples of a training batch, on each process; batches are of nearly equal size.
        eval_batch_size: the most samples of a validation or test batch, on each process.
        train_size: use only so many training samples, stratified over classes and resolutions; a smaller
            training set is part of every larger one. By default all.
        consistency_size: predict so many test samples at every resolution, the first of the test part, for scale
            consistency, which takes a pass per resolution where a network has no cheaper way. By default all.
        shift_augmentation: random circular shifts of training images at full resolution.
        affine_augmentation: random affine and elastic deformation of training images at full resolution.
        crop_augmentation: random crops of training images, padded with black, at full resolution.
        flip_augmentation: mirror images of training images.
        colour_augmentation: random brightness, contrast and saturation of training images of one or three channels.
        cutout_augmentation: black squares in training images at full resolution.
        split_file: a split that :meth:`save_split` wrote, to use instead of drawing one.
        seed: the source of everything random.
        num_workers: loader processes. Where the processor trains too, 0 is best; for a GPU, as many as make batches
            faster than it trains on them (``python -m sefl.bench --only data``): 2 for thousands of images per second.

    Raises:
        ValueError: if an argument is outside its range or contradicts another.
    """

    # What errors call the finest resolution, and the largest that there may be.
    full_resolution: ClassVar[str] = "image size"
    largest_resolution: ClassVar[int] = LARGEST
    # Axes along which an image has pixels.
    dimensions: ClassVar[int] = 2

    def __init__(
        self,
        image_size: int,
        channels: int,
        num_classes: int,
        dataset: str,
        mean: list[float],
        std: list[float],
        resolutions: list[int] | None = None,
        held_out_resolutions: list[int] | None = None,
        downsampling: Downsampling = "ideal",
        batch_size: int = 128,
        eval_batch_size: int = 500,
        train_size: int | None = None,
        consistency_size: int | None = None,
        shift_augmentation: CircularShift | None = None,
        affine_augmentation: RandomAffine | None = None,
        crop_augmentation: RandomCrop | None = None,
        flip_augmentation: RandomFlip | None = None,
        colour_augmentation: RandomColour | None = None,
        cutout_augmentation: Cutout | None = None,
        split_file: str | None = None,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        image_size = require_integer(
            self.full_resolution.replace(" ", "_"), image_size, 1, self.largest_resolution
        )
        if resolutions is None:
            resolutions = list(range(min(LOWEST_RESOLUTION, image_size), image_size + 1))
        held_out_resolutions = held_out_resolutions or []
        _check_resolutions(resolutions, held_out_resolutions, image_size, self.full_resolution)
        for name, size in [("train_size", train_size), ("consistency_size", consistency_size)]:
            if size is not None:
                require_integer(name, size, 1)
        require_one_of("downsampling", downsampling, get_args(Downsampling))

        self.image_size = image_size
        self.channels = require_positive("channels", channels)
        self.num_classes = require_integer("num_classes", num_classes, 2)
        self.dataset = dataset
        self.mean = _numbers_of_channels("mean", mean, channels)
        self.std = _numbers_of_channels("std", std, channels, above=0)
        self.resolutions = sorted(int(resolution) for resolution in resolutions)
        self.train_resolutions = [r for r in self.resolutions if r not in held_out_resolutions]
        self.downsampling: Downsampling = downsampling
        self.batch_size = require_positive("batch_size", batch_size)
        self.eval_batch_size = require_positive("eval_batch_size", eval_batch_size)
        self.train_size = train_size
        self.consistency_size = consistency_size
        self.shift_augmentation = shift_augmentation
        self.affine_augmentation = affine_augmentation
        self.crop_augmentation = crop_augmentation
        self.flip_augmentation = flip_augmentation
        if colour_augmentation is not None and channels not in (1, 3):
            raise ValueError(
                f"colour_augmentation is for images of 1 or 3 channels, got {channels}; set it to null"
            )
        self.colour_augmentation = colour_augmentation
        self.cutout_augmentation = cutout_augmentation
        self.split_file = split_file
        self.seed = require_seed("seed", seed)
        self.num_workers = require_integer("num_workers", num_workers, 0, MOST_WORKERS)
        self._split: Split | None = None
        self._images: Images | None = None
        self._labels: Tensor | None = None

    @abstractmethod
    def load_images(self) -> tuple[Images, Tensor]:
        """Images, ``(samples, channels, height, width)`` uint8, and labels, ``(samples,)`` int64."""

    @abstractmethod
    def draw_parts(self, labels: NDArray[np.int64], generator: np.random.Generator) -> Parts:
        """The indices of the training, validation and test samples, of the labels of all images."""

    @property
    def class_names(self) -> list[str]:
        """What each label is called: the names of :attr:`classes` where the data have names, else its number."""
        names = getattr(self, "classes", None) or range(self.num_classes)
        return [str(name) for name in names]

    @property
    def split(self) -> Split:
        """The samples of each part and their resolutions; ``train`` before ``train_size`` cuts it.

        Raises:
            RuntimeError: before :meth:`setup`.
        """
        if self._split is None:
            raise RuntimeError("the split is drawn by setup(); call it first")
        return self._split

    def setup(self, stage: str | None = None) -> None:
        """Read the images and draw the split, or load ``split_file``; once, whatever the stage.

        Raises:
            FileNotFoundError: if the data or ``split_file`` is missing.
            ValueError: if the data is damaged or lacks a class, if ``split_file`` is damaged or of another data set
                or other resolutions, or if there are fewer samples than ``train_size`` or ``consistency_size``.
        """
        if self._split is not None:
            return
        labels = self._read_labels()
        if self.split_file is None:
            self._split = self._draw_split(labels)
        else:
            self.load_split(self.split_file)
        for name, size, part, samples in [
            ("train_size", self.train_size, "training", self.split.train),
            ("consistency_size", self.consistency_size, "test", self.split.test),
        ]:
            if size is not None and size > len(samples):
                raise ValueError(f"{name} must be at most the {len(samples)} {part} samples, got {size}")

    def save_split(self, path: str | Path) -> None:
        """Write the split to ``path``, a NumPy archive (``.npz``) for ``split_file``; on one process only."""
        self.split.save(Path(path))

    def load_split(self, path: str | Path) -> None:
        """Use the split that :meth:`save_split` wrote to ``path``.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is damaged or of another data set or other resolutions.
        """
        labels = self._read_labels()
        split = Split.load(Path(path))
        mismatch = f"split_file {path} does not fit: "
        if split.dataset != self.dataset:
            raise ValueError(f"{mismatch}it splits {split.dataset!r}, the data set is {self.dataset!r}")
        expected = fingerprint(labels)
        if split.fingerprint != expected:
            raise ValueError(
                f"{mismatch}it splits {split.fingerprint[0]} samples with label checksum "
                f"{split.fingerprint[1]}, the data set has {expected[0]} with {expected[1]}; "
                "set the same sizes and seed, or leave split_file out"
            )
        for part in PARTS:
            allowed = self.train_resolutions if part == "train" else self.resolutions
            unexpected = sorted(set(split.resolutions(part).tolist()) - set(allowed))
            if unexpected:
                raise ValueError(
                    f"{mismatch}its {part} samples have the resolutions {unexpected}, not in {allowed}; "
                    "set the same resolutions and held_out_resolutions, or leave split_file out"
                )
        self._split = split

    def train_dataloader(self) -> BatchLoader:
        """Augmented training batches, shuffled in each epoch.

        Raises:
            ValueError: if a resolution has fewer samples than there are processes, or the trainer is set to overfit
                batches, for which it would replace the sampler.
        """
        overfit_batches = getattr(self.trainer, "overfit_batches", 0)
        if overfit_batches:
            raise ValueError(
                f"--trainer.overfit_batches: must be 0, got {overfit_batches}: it would break up "
                "the batches of one resolution; set --data.train_size to overfit a few samples"
            )
        sampler = TrainingBatches(
            self.split.train[: self.train_size],
            self.split.train_resolutions[: self.train_size],
            self.batch_size,
            self.seed,
            *self._process(),
        )
        return make_loader(self._prepared_images(self.augmentations), sampler, self.num_workers)

    def val_dataloader(self) -> BatchLoader:
        """The validation samples, each at its own resolution."""
        return self._evaluation_loader(self.split.val, self.split.val_resolutions)

    def test_dataloader(self) -> list[BatchLoader]:
        """The test samples twice: each at its own resolution, then ``consistency_size`` of them at the finest."""
        return [
            self._evaluation_loader(self.split.test, self.split.test_resolutions),
            self.finest_dataloader("test", self.consistency_size),
        ]

    def predict_dataloader(self) -> BatchLoader:
        """The test samples, each at its own resolution, in the order of ``test_dataloader()[0]``."""
        return self.test_dataloader()[0]

    def finest_dataloader(self, part: Literal["val", "test"], size: int | None = None) -> BatchLoader:
        """The first ``size`` samples of a part, by default all, at the finest resolution."""
        samples = self.split.samples(part)[:size]
        return self._evaluation_loader(samples, np.full(len(samples), max(self.resolutions)))

    def _evaluation_loader(self, samples: NDArray[np.int64], resolutions: NDArray[np.int64]) -> BatchLoader:
        sampler = EvaluationBatches(samples, resolutions, self.eval_batch_size, self.seed, *self._process())
        return make_loader(self._prepared_images(), sampler, self.num_workers)

    @property
    def augmentations(self) -> tuple[Augmentation, ...]:
        """What is done to training images, in this order."""
        possible: tuple[Augmentation | None, ...] = (
            self.crop_augmentation,
            self.flip_augmentation,
            self.affine_augmentation,
            self.shift_augmentation,
            self.colour_augmentation,
            self.cutout_augmentation,
        )
        return tuple(augmentation for augmentation in possible if augmentation is not None)

    def _prepared_images(self, augmentations: tuple[Augmentation, ...] = ()) -> ResolutionImages:
        assert self._images is not None
        assert self._labels is not None
        return ResolutionImages(
            self._images, self._labels, self.downsampling, self.mean, self.std, augmentations
        )

    def _process(self) -> tuple[int, int]:
        """The rank of this process and the number of processes."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _read_labels(self) -> NDArray[np.int64]:
        """The labels, ``(samples,)``; reads them, and the images, if that was not done before."""
        if self._labels is None:
            images, labels = self.load_images()
            check_labels(labels, len(images), self.num_classes, self.dataset)
            if isinstance(images, Tensor):
                check_images(images, self.channels, self.dimensions, self.dataset)
            self._images, self._labels = images, labels.long()
        return self._labels.numpy()

    def _draw_split(self, labels: NDArray[np.int64]) -> Split:
        train, val, test = self.draw_parts(labels, np.random.default_rng([self.seed, _PARTS_STREAM]))
        for part, samples in zip(PARTS, (train, val, test), strict=True):
            if len(samples) == 0:
                raise ValueError(f"{part}_size must leave at least one sample to the {part} part, got 0")
        generator = np.random.default_rng([self.seed, _DEALING_STREAM])
        train_resolutions = deal_resolutions(labels[train], self.train_resolutions, generator)
        strata = labels[train] * (max(self.resolutions) + 1) + train_resolutions
        order = stratified_order(
            np.unique(strata, return_inverse=True)[1], np.random.default_rng([self.seed, _SUBSET_STREAM])
        )
        return Split(
            train=train[order],
            val=val,
            test=test,
            train_resolutions=train_resolutions[order],
            val_resolutions=deal_resolutions(labels[val], self.resolutions, generator),
            test_resolutions=deal_resolutions(labels[test], self.resolutions, generator),
            seed=self.seed,
            dataset=self.dataset,
            fingerprint=fingerprint(labels),
        )


def _check_resolutions(resolutions: list[int], held_out: list[int], image_size: int, called: str) -> None:
    if not resolutions:
        raise ValueError("resolutions must name at least one resolution, got []")
    for resolution in resolutions:
        if (
            not isinstance(resolution, Integral)
            or isinstance(resolution, bool)
            or not 1 <= resolution <= image_size
        ):
            raise ValueError(
                f"resolutions must be integers from 1 to the {called} of {image_size}, got {resolution!r}"
            )
    repeated = sorted(resolution for resolution, count in Counter(resolutions).items() if count > 1)
    if repeated:
        raise ValueError(f"resolutions must differ from each other, got more than once: {_some(repeated)}")
    unknown = sorted(set(held_out) - set(resolutions))
    if unknown:
        raise ValueError(
            f"held_out_resolutions must be among the resolutions {_some(resolutions)}, got {_some(unknown)}"
        )
    if len(set(held_out)) == len(resolutions):
        raise ValueError(
            "held_out_resolutions must leave at least one resolution to train on, got all of them"
        )


def _some(numbers: list[int]) -> str:
    """A list for a message, cut where nobody would read on."""
    shown = 12
    return (
        str(numbers)
        if len(numbers) <= shown
        else f"{str(numbers[:shown])[:-1]}, ... ({len(numbers)} in all)]"
    )


def _numbers_of_channels(
    name: str, values: Sequence[float], channels: int, above: float | None = None
) -> list[float]:
    if len(values) != channels:
        raise ValueError(f"{name} must have one number for each of {channels} channels, got {values}")
    return [require_number(name, value, above=above) for value in values]
