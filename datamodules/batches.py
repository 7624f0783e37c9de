"""Batches of one resolution each, dealt to the processes of a run.

The sampler yields a :class:`BatchRequest` for a whole batch, the data set answers it with vectorised
operations. Batches come from one seeded global list that every process computes alike; process ``rank`` takes
its share.
"""

import itertools
import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from datamodules.augmentation import Augmentation
from datamodules.resampling import Downsampling, resample
from sefl.arguments import require_positive

Batch = tuple[Tensor, Tensor]

# Batch boundaries fall on multiples of this where they can, so that 1, 2, 4 or 8 processes with the same
# global batch size cut the same batches.
_GRANULE = 8

# Independent streams of random numbers of one seed and epoch.
_ORDER_STREAM, _AUGMENTATION_STREAM = 1, 2


@dataclass(frozen=True)
class BatchRequest:
    """One process' share of a batch.

    Attributes:
        resolution: the resolution that all its images get.
        samples: indices into the data set: ``(batch,)``, int64.
        entropy: seeds whatever is drawn for the global batch.
        global_size: samples of the global batch, over all processes.
        share: where ``samples`` stand in the global batch.
    """

    resolution: int
    samples: Tensor
    entropy: tuple[int, ...]
    global_size: int
    share: slice


class BatchSampler(DistributedSampler[BatchRequest]):
    """What training and evaluation samplers share: groups of samples of one resolution, a rank, a world size.

    Lightning leaves a loader alone whose sampler is a ``DistributedSampler`` and calls its ``set_epoch``; any
    other it would replace by one that knows nothing of resolutions.

    Args:
        samples: indices into the data set: ``(samples,)``.
        resolutions: the resolution of each: ``(samples,)``.
        batch_size: the most samples of a batch on one process.
        seed: the source of the order of the batches.
        rank, world_size: which process this is, of how many.

    Attributes:
        start: how many batches to skip at the start of an epoch; for resuming.
    """

    def __init__(
        self,
        samples: NDArray[np.int64],
        resolutions: NDArray[np.int64],
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(samples, num_replicas=world_size, rank=rank, seed=seed)  # type: ignore[arg-type]
        self.batch_size = require_positive("batch_size", batch_size)
        self.groups = {int(r): samples[resolutions == r] for r in np.unique(resolutions)}
        self.start = 0
        self.cut()

    @abstractmethod
    def cut(self) -> None:
        """Cut the groups into batches, as far as all epochs have the same."""

    @abstractmethod
    def requests(self) -> Iterator[BatchRequest]:
        """This process' batches of the epoch that ``set_epoch`` set."""

    def __iter__(self) -> Iterator[BatchRequest]:
        return itertools.islice(self.requests(), self.start, None)


class TrainingBatches(BatchSampler):
    """Shuffled batches, the same number on every process, at each step of the same resolution and size.

    Each epoch shuffles the samples of each resolution, cuts them into global batches of nearly equal size, at
    most ``batch_size * world_size``, and shuffles the batches of all resolutions; each process gets an equal
    share of each batch. Of a resolution whose samples the processes cannot share evenly, fewer than
    ``world_size`` are left out of the epoch, others in each epoch.

    The order depends on the seed and the epoch only. Processes of which the global batch size is the same see
    the same global batches whether they are 1, 2, 4 or 8, but for the samples left out.

    Raises:
        ValueError: if a resolution has fewer samples than there are processes.
    """

    def cut(self) -> None:
        self.bounds = {}
        for resolution, group in self.groups.items():
            if len(group) < self.num_replicas:
                raise ValueError(
                    f"train_size leaves {len(group)} training samples at resolution {resolution}, fewer than "
                    f"the {self.num_replicas} processes; use more samples, fewer resolutions or fewer processes"
                )
            self.bounds[resolution] = _batch_bounds(len(group), self.batch_size, self.num_replicas)

    def __len__(self) -> int:
        return sum(len(bounds) - 1 for bounds in self.bounds.values())

    def requests(self) -> Iterator[BatchRequest]:
        """The batches of the epoch, shuffled by the seed and the epoch."""
        generator = np.random.default_rng([self.seed, _ORDER_STREAM, self.epoch])
        batches = []
        for resolution, group in self.groups.items():
            shuffled = torch.from_numpy(generator.permutation(group))
            bounds = self.bounds[resolution]
            batches += [(resolution, shuffled[a:b]) for a, b in itertools.pairwise(bounds)]
        for number, chosen in enumerate(generator.permutation(len(batches))):
            resolution, samples = batches[chosen]
            share = slice(self.rank, len(samples), self.num_replicas)
            entropy = self.seed, _AUGMENTATION_STREAM, self.epoch, number
            yield BatchRequest(resolution, samples[share], entropy, len(samples), share)


class EvaluationBatches(BatchSampler):
    """Batches in a fixed order that hold every sample exactly once over all processes.

    Batches go to the processes in turn, so their numbers differ by one at most. The last of a resolution may
    be smaller; all are when that is what it takes for every process to have one.

    Attributes:
        total_steps: how many batches one process would have.

    Raises:
        ValueError: if there are fewer samples than processes.
    """

    def cut(self) -> None:
        samples = sum(map(len, self.groups.values()))
        if samples < self.num_replicas:
            raise ValueError(
                f"world_size must be at most the {samples} samples to evaluate, got {self.num_replicas}; "
                "use fewer processes"
            )
        self.full_size = min(self.batch_size, samples)
        self.batch_size = min(self.batch_size, samples // self.num_replicas)
        self.total_steps = 0
        batches = []
        for resolution, group in self.groups.items():
            for start in range(0, len(group), self.batch_size):
                chosen = torch.from_numpy(group[start : start + self.batch_size])
                request = BatchRequest(resolution, chosen, (), len(chosen), slice(None))
                places = torch.arange(start, start + len(chosen))
                steps = self.total_steps + places // self.full_size
                batches.append((request, (steps, places % self.full_size)))
            self.total_steps += math.ceil(len(group) / self.full_size)
        self.batches = batches[self.rank :: self.num_replicas]

    def __len__(self) -> int:
        return len(self.batches)

    def places(self, batch_idx: int) -> tuple[Tensor, Tensor]:
        """In which of one process' batches the samples of this one would stand, and where in it: ``(batch,)`` each."""
        return self.batches[batch_idx][1]

    def requests(self) -> Iterator[BatchRequest]:
        """The batches, from the lowest resolution to the highest, the same in each epoch."""
        return (request for request, _ in self.batches)


class Images(Protocol):
    """Images that a batch can be taken of: a tensor, or files that are read when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, samples: Tensor, /) -> Tensor:
        """The images of the given indices, ``(batch,)`` int64: ``(batch, channels, height, width)``.

        Signals are ``(batch, channels, length)``.
        """


@dataclass(eq=False)
class ResolutionImages(Dataset[Batch]):
    """Images at full resolution that answer a :class:`BatchRequest` with a batch at the resolution asked for.

    A batch is augmented at full resolution, resampled and normalised, all at once: ``(images, labels)`` with
    float32 images ``(batch, channels, resolution, resolution)`` and int64 labels ``(batch,)``. Images may be signals,
    ``(batch, channels, resolution)``.

    Args:
        images: ``(samples, channels, height, width)`` or ``(samples, channels, length)``, uint8 (scaled to ``[0, 1]``)
            or float32.
        labels: ``(samples,)``, int64.
        downsampling: ``ideal``, or ``bicubic`` with antialiasing; see :func:`datamodules.resampling.resample`.
        mean, std: normalisation of each channel.
        augmentations: what is done to the images at full resolution, in this order.
    """

    images: Images
    labels: Tensor
    downsampling: Downsampling
    mean: Sequence[float]
    std: Sequence[float]
    augmentations: Sequence[Augmentation] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, request: BatchRequest) -> Batch:
        images = self.images[request.samples]
        unit = 255.0 if images.dtype == torch.uint8 else 1.0
        if self.augmentations:
            generator = seeded_generator(*request.entropy)
            for augmentation in self.augmentations:
                images = augmentation.augment(images, request.global_size, request.share, generator)
        images = resample(images.float(), request.resolution, self.downsampling)
        shape = -1, *[1] * (images.dim() - 2)
        mean, std = (torch.tensor(of_channel).view(shape) for of_channel in (self.mean, self.std))
        return (images - unit * mean) / (unit * std), self.labels[request.samples]


class BatchLoader(DataLoader[Batch]):
    """A loader that resumes inside an epoch: it knows how many batches it gave and can skip as many.

    Lightning stores its state in checkpoints. The first epoch after :meth:`load_state_dict`, if it is the one
    that was interrupted, starts behind the batches that were given before.
    """

    sampler: BatchSampler
    _given = 0
    _resume_epoch: int | None = None
    _resume_at = 0

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        # A generator: the epoch is read when the first batch is asked for, after Lightning has set it.
        resumes = self._resume_epoch == self.sampler.epoch
        self._given = self.sampler.start = self._resume_at if resumes else 0
        self._resume_epoch = None
        for batch in super().__iter__():
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """The epoch and the number of batches given in it."""
        return {"epoch": self.sampler.epoch, "batches": self._given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue behind the batches that ``state`` says were given."""
        self._resume_epoch, self._resume_at = state["epoch"], state["batches"]


def make_loader(dataset: ResolutionImages, sampler: BatchSampler, num_workers: int) -> BatchLoader:
    """A loader of whole batches: ``len`` is the number of them on this process."""
    return BatchLoader(
        dataset,
        sampler=sampler,
        batch_size=None,
        num_workers=num_workers,
        collate_fn=tuple,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
        # Its own, or each pass over the data would advance the global generator.
        generator=torch.Generator().manual_seed(sampler.seed),
    )


def seeded_generator(*entropy: int) -> torch.Generator:
    """A generator whose stream is independent of that of any other ``entropy``."""
    state = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def _batch_bounds(count: int, batch_size: int, world_size: int) -> list[int]:
    """Where to cut ``count`` samples into global batches: nearly equal, each a multiple of ``world_size``."""
    largest = batch_size * world_size
    granule = math.gcd(largest, _GRANULE)
    if granule % world_size:
        granule = world_size
    batches = math.ceil(count / largest)
    bounds = [granule * math.ceil(k * count / batches / granule) for k in range(batches)]
    last = count - count % world_size
    return [bound for bound in bounds if bound < last] + [last]
