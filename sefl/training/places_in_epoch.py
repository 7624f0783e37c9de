"""Where images stand in an epoch, so that callbacks measure the same ones on any number of processes."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from pytorch_lightning.trainer.states import RunningStage
from torch import Tensor
from torch.utils.data import BatchSampler, DistributedSampler


@dataclass(frozen=True)
class Places:
    """Where the images of a batch would stand if one process had the whole epoch.

    Attributes:
        steps: in which of its batches: ``(batch,)``, int64.
        positions: where in that batch: ``(batch,)``, int64.
        total: how many batches it would have, ``None`` if nobody knows.
    """

    steps: Tensor
    positions: Tensor
    total: int | None


@runtime_checkable
class KnowsPlaces(Protocol):
    """A sampler of whole batches that says where their images stand, as :class:`Places` has it."""

    total_steps: int

    def places(self, batch_idx: int) -> tuple[Tensor, Tensor]:
        """``(steps, positions)`` of this process' batch of that number."""


def chosen_images(
    trainer: pl.Trainer,
    batch_idx: int,
    dataloader_idx: int,
    count: int,
    samples_per_step: int | None = None,
    every_n_steps: int = 1,
) -> Tensor:
    """Which images of an evaluation batch to measure: the same ones on any number of processes.

    They are those that one process would take: the first ``samples_per_step`` (by default all) of every n-th batch,
    within ``limit_val_batches`` or ``limit_test_batches``, none twice. That holds for samplers that say the places of
    their batches, as those of this project do, and for torch's ``DistributedSampler``, which Lightning puts into
    loaders; where another one deals, each process counts its own batches. Nothing is chosen that one process would
    leave out; what several leave out in addition, by a limit that is a fraction or by ``drop_last``, nobody can choose.

    Args:
        count: how many images the batch has.

    Returns:
        their indices in the batch, int64.
    """
    if trainer.state.stage is RunningStage.TESTING:
        loaders, limit = trainer.test_dataloaders, trainer.limit_test_batches
    else:
        loaders, limit = trainer.val_dataloaders, trainer.limit_val_batches
    at = places_of(torch.utils._pytree.tree_leaves(loaders)[dataloader_idx], batch_idx, count)
    chosen = at.steps % every_n_steps == 0
    if samples_per_step is not None:
        chosen &= at.positions < samples_per_step
    if at.total is not None:
        chosen &= at.steps < (int(limit * at.total) if isinstance(limit, float) else min(limit, at.total))
    return chosen.nonzero()[:, 0]


def places_of(loader: Any, batch_idx: int, count: int) -> Places:
    """The places of this process' batch of the number ``batch_idx``, which has ``count`` images."""
    positions = torch.arange(count)
    own = Places(torch.full((count,), batch_idx), positions, None)
    sampler, batches = getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)
    if isinstance(sampler, KnowsPlaces):
        return Places(*sampler.places(batch_idx), sampler.total_steps)
    if type(batches) is BatchSampler:
        sampler = batches.sampler
    if not isinstance(sampler, DistributedSampler):
        return own
    rank, world_size, samples = sampler.rank, sampler.num_replicas, len(sampler.dataset)  # type: ignore[arg-type]
    if batches is None:  # Each sample is a batch.
        return Places(own.steps * world_size + rank, positions, samples)
    if type(batches) is not BatchSampler:
        return own
    size = batches.batch_size
    places = (batch_idx * size + positions) * world_size + rank
    # Behind the last sample the first ones come again, so that all processes have as many.
    steps = torch.where(places < samples, places // size, torch.iinfo(torch.int64).max)
    return Places(steps, places % size, samples // size if batches.drop_last else -(-samples // size))


def require_whole_model(trainer: pl.Trainer, callback: pl.Callback) -> None:
    """Refuse strategies whose passes through the model are taken by all processes together, or wait for ever.

    A callback that runs the model takes a pass on each process for the images that it chose there.

    Raises:
        ValueError: if the strategy spreads the weights over several processes.
    """
    strategy = trainer.strategy
    sharded = isinstance(strategy, FSDPStrategy | ModelParallelStrategy) or (
        isinstance(strategy, DeepSpeedStrategy) and strategy.zero_stage_3
    )
    if sharded and trainer.world_size > 1:
        name = type(callback).__name__
        raise ValueError(
            f"callbacks: {name} runs the model on images of its own, which {type(strategy).__name__} cannot do on "
            f"{trainer.world_size} processes, as each holds a part of the weights; leave {name} out and evaluate the "
            "checkpoint with it on one device, or use the strategy ddp"
        )
