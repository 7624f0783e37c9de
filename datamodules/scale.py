"""The datamodule that gives each image of a data set one of several resolutions."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule
from torch import Tensor

from datamodules.augmentation import Augmentation
from datamodules.batches import (
    BatchLoader,
    BatchSampler,
    EvaluationBatches,
    Images,
    ResolutionImages,
    TrainingBatches,
    make_loader,
)
from datamodules.data_set import DataSet
from datamodules.settings import ScaleSettings
from datamodules.split import PARTS, Split, deal_resolutions, fingerprint, stratified_order

# One independent stream of random numbers for each thing that is drawn once.
_PARTS_STREAM, _DEALING_STREAM, _SUBSET_STREAM = 10, 11, 12


class ScaleDataModule(LightningDataModule):
    """Images, or signals, that each have one of several resolutions, in batches of one resolution.

    A batch is ``(images, labels)``: float32 ``(batch, channels, r, r)``, with ``r`` the resolution of the batch, and
    int64 ``(batch,)``. The resolution of a signal is its length, the number of samples that show one window of time,
    and a batch of them ``(batch, channels, r)``. A sample keeps its resolution throughout the run; resolutions are
    dealt evenly over classes. Training images are cropped, flipped, turned, deformed, shifted, coloured and cut out of,
    in this order and each if asked for, at full resolution; validation and test images never.

    Split, resolutions, order and augmentation follow from ``seed`` alone, whatever the number of processes
    and of workers. In training all processes get the same number of batches, at each step of the same
    resolution and size; of a resolution whose samples cannot be shared evenly, fewer than one per process are
    left out of an epoch. Validation and test see every sample exactly once, over all processes.

    A subclass says what the data set is, and takes the settings as options:

        class Noise(ScaleDataModule):
            def __init__(self, samples: int = 1_000, **common: Any) -> None:
                super().__init__(DataSet("Noise", image_size=28, ...), ScaleSettings(**common))

    Args:
        data: the data set.
        settings: how it is split, augmented and loaded.

    Raises:
        ValueError: if the settings are not for the data set.
    """

    def __init__(self, data: DataSet, settings: ScaleSettings) -> None:
        super().__init__()
        self.data, self.settings = data, settings
        self.dataset, self.dimensions = data.name, data.dimensions
        self.image_size, self.channels = data.image_size, data.channels
        self.class_names, self.num_classes = list(data.class_names), len(data.class_names)
        self.mean, self.std = data.mean, data.std
        self.resolutions = settings.resolutions_of(data)
        held_out = settings.held_out_resolutions or []
        self.train_resolutions = [r for r in self.resolutions if r not in held_out]
        self._split: Split | None = None

    def prepare_data(self) -> None:
        """Download what is missing, if asked for; on one process per machine."""
        if self.data.download is not None:
            self.data.download()

    def load_images(self) -> tuple[Images, Tensor]:
        """Images, ``(samples, channels, image_size, image_size)``, and labels, ``(samples,)`` int64.

        Raises:
            FileNotFoundError: if files are missing.
            ValueError: if they are damaged, or hold something else.
        """
        return self.data.load()

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
        labels = self._content[1].numpy()
        settings = self.settings
        if settings.split_file is None:
            self._split = self._draw_split(labels)
        else:
            self.load_split(settings.split_file)
        for name, size, part, samples in [
            ("train_size", settings.train_size, "training", self.split.train),
            ("consistency_size", settings.consistency_size, "test", self.split.test),
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
        labels = self._content[1].numpy()
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
        settings, kept = self.settings, slice(self.settings.train_size)
        samples, resolutions = self.split.train[kept], self.split.train_resolutions[kept]
        return self._loader(
            TrainingBatches, samples, resolutions, settings.batch_size, settings.augmentations
        )

    def val_dataloader(self) -> BatchLoader:
        """The validation samples, each at its own resolution."""
        return self._evaluation_loader(self.split.val, self.split.val_resolutions)

    def test_dataloader(self) -> list[BatchLoader]:
        """The test samples twice: each at its own resolution, then ``consistency_size`` of them at the finest."""
        return [
            self._evaluation_loader(self.split.test, self.split.test_resolutions),
            self.finest_dataloader("test", self.settings.consistency_size),
        ]

    def predict_dataloader(self) -> BatchLoader:
        """The test samples, each at its own resolution, in the order of ``test_dataloader()[0]``."""
        return self.test_dataloader()[0]

    def finest_dataloader(self, part: Literal["val", "test"], size: int | None = None) -> BatchLoader:
        """The first ``size`` samples of a part, by default all, at the finest resolution."""
        samples = self.split.samples(part)[:size]
        return self._evaluation_loader(samples, np.full(len(samples), max(self.resolutions)))

    def _evaluation_loader(self, samples: NDArray[np.int64], resolutions: NDArray[np.int64]) -> BatchLoader:
        return self._loader(EvaluationBatches, samples, resolutions, self.settings.eval_batch_size)

    def _loader(
        self,
        kind: type[BatchSampler],
        samples: NDArray[np.int64],
        resolutions: NDArray[np.int64],
        batch_size: int,
        augmentations: Sequence[Augmentation] = (),
    ) -> BatchLoader:
        sampler = kind(samples, resolutions, batch_size, self.settings.seed, *self._process())
        return make_loader(self._prepared_images(augmentations), sampler, self.settings.num_workers)

    def _prepared_images(self, augmentations: Sequence[Augmentation]) -> ResolutionImages:
        downsampling = self.settings.downsampling
        return ResolutionImages(*self._content, downsampling, self.mean, self.std, augmentations)

    def _process(self) -> tuple[int, int]:
        """The rank of this process and the number of processes."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    @cached_property
    def _content(self) -> tuple[Images, Tensor]:
        """The images and their labels, read once."""
        images, labels = self.load_images()
        self.data.check(images, labels)
        return images, labels.long()

    def _draw_split(self, labels: NDArray[np.int64]) -> Split:
        seed = self.settings.seed
        train, val, test = self.data.draw_parts(labels, np.random.default_rng([seed, _PARTS_STREAM]))
        for part, samples in zip(PARTS, (train, val, test), strict=True):
            if len(samples) == 0:
                raise ValueError(f"{part}_size must leave at least one sample to the {part} part, got 0")
        generator = np.random.default_rng([seed, _DEALING_STREAM])
        train_resolutions = deal_resolutions(labels[train], self.train_resolutions, generator)
        strata = labels[train] * (max(self.resolutions) + 1) + train_resolutions
        order = stratified_order(
            np.unique(strata, return_inverse=True)[1], np.random.default_rng([seed, _SUBSET_STREAM])
        )
        return Split(
            train=train[order],
            val=val,
            test=test,
            train_resolutions=train_resolutions[order],
            val_resolutions=deal_resolutions(labels[val], self.resolutions, generator),
            test_resolutions=deal_resolutions(labels[test], self.resolutions, generator),
            seed=seed,
            dataset=self.dataset,
            fingerprint=fingerprint(labels),
        )
