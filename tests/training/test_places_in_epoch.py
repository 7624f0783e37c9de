"""Callbacks measure the same images on one, two and three processes, and refuse strategies that they cannot measure."""

import json
from collections import Counter
from dataclasses import astuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from networks_for_monitoring import Classifier, control, trainer
from pytorch_lightning.strategies import DDPStrategy, DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from pytorch_lightning.trainer.states import RunningStage
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from callbacks import EquivarianceMonitor, OrbitEvaluation, ReconstructionFigure
from datamodules.batches import EvaluationBatches, ResolutionImages, make_loader
from sefl.equivariance import CircularShift, IdealDownsampling
from sefl.training.places_in_epoch import chosen_images

# Of 23, 12 and 7 samples at three resolutions; neither they nor their batches can be shared evenly.
RESOLUTIONS = np.array([9] * 23 + [11] * 12 + [13] * 7)
PLAIN = 25
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*isinstance.treespec", "ignore:.*DistributedSampler"
)


def several_resolutions(rank: int, world_size: int, batch_size: int) -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(len(RESOLUTIONS), 2, 13, 13, generator=generator)
    dataset = ResolutionImages(images, torch.arange(len(images)) % 2, "ideal", [0.0, 0.0], [1.0, 1.0])
    samples = np.arange(len(images))
    return make_loader(
        dataset, EvaluationBatches(samples, RESOLUTIONS, batch_size, 0, rank, world_size), num_workers=0
    )


def plain(batch_size: int | None, drop_last: bool = False, sampler: Any = None) -> DataLoader:
    images = torch.randn(PLAIN, 2, 10, 10, generator=torch.Generator().manual_seed(1))
    dataset = TensorDataset(images, torch.arange(PLAIN) % 2)
    return DataLoader(dataset, batch_size, drop_last=drop_last, sampler=sampler)


def measured(loader: DataLoader, numbers: list[Any], limit: int | float, testing: bool = False) -> Counter:
    """The samples that one process chooses; ``numbers`` are those of its batches."""
    run = SimpleNamespace(state=SimpleNamespace(stage=RunningStage.TESTING if testing else None))
    run.test_dataloaders = run.val_dataloaders = [loader]
    run.limit_test_batches = run.limit_val_batches = limit
    seen = numbers[: int(limit * len(numbers)) if isinstance(limit, float) else limit]
    found: Counter = Counter()
    for number, samples in enumerate(seen):
        found.update(samples[i] for i in chosen_images(run, number, 0, len(samples), 3, 2).tolist())
    return found


@pytest.mark.parametrize("limit", [1.0, 4, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 7])
def test_the_samples_are_those_of_one_process(batch_size: int, limit: int | float) -> None:
    for kind in ("resolutions", "plain", "drop_last"):
        chosen = []
        for world_size in (1, 2, 3):
            together: Counter = Counter()
            for rank in range(world_size):
                if kind == "resolutions":
                    loader = several_resolutions(rank, world_size, batch_size)
                    numbers = [request.samples.tolist() for request in loader.sampler]
                else:
                    loader = plain(batch_size, kind == "drop_last")
                    if world_size > 1:
                        sampler = DistributedSampler(
                            loader.dataset, num_replicas=world_size, rank=rank, shuffle=False
                        )
                        loader = plain(batch_size, kind == "drop_last", sampler)
                    numbers = list(loader.batch_sampler)
                together += measured(loader, numbers, limit, testing=rank == 1)
            chosen.append(together)
        if kind == "drop_last":  # Several processes may leave out more.
            assert chosen[1] <= chosen[0] >= chosen[2]
        else:
            assert chosen[1] == chosen[2] == chosen[0]
        assert set(chosen[0].values()) == {1}
    assert sum(chosen[0].values()) < PLAIN, "not all"


class ManyLoaders(Classifier):
    """Validates on loaders of two kinds, one of which Lightning shards; writes what the callbacks found."""

    def __init__(self, folder: Path, monitor: EquivarianceMonitor) -> None:
        super().__init__(control().network)
        self.folder, self.monitor = folder, monitor

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.double())

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        pass

    def test_step(self, batch: Any, batch_idx: int) -> None:
        pass

    def val_dataloader(self) -> list[DataLoader]:
        return [several_resolutions(self.trainer.global_rank, self.trainer.world_size, 4), plain(4)]

    def test_dataloader(self) -> DataLoader:
        return plain(4)

    def _found(self, stage: str) -> None:
        rows = [*map(astuple, self.monitor.results), *map(astuple, self.monitor.agreement)]
        metrics = {name: value.item() for name, value in self.trainer.callback_metrics.items()}
        path = self.folder / f"{stage}-{self.trainer.world_size}-{self.trainer.global_rank}.json"
        path.write_text(json.dumps({"rows": rows, "metrics": metrics}))

    def on_validation_end(self) -> None:
        self._found("validate")

    def on_test_end(self) -> None:
        self._found("test")


def test_one_two_and_three_processes_give_the_same_numbers(tmp_path: Path) -> None:
    for devices in (1, 2, 3):
        monitor = EquivarianceMonitor(
            transformations=[IdealDownsampling([7]), CircularShift([1])],
            samples_per_step=3,
            every_n_steps=2,
            figures=False,
        )
        settings = {"devices": devices, "strategy": "auto" if devices == 1 else "ddp_fork"}
        limits = {"limit_val_batches": 5, "limit_test_batches": 3}
        model = ManyLoaders(tmp_path, monitor).double()
        run = trainer(tmp_path, monitor, OrbitEvaluation(3), **settings, **limits)
        run.validate(model, verbose=False)
        run.test(model, verbose=False)
    for stage, count in (("validate", 3 + 3 + 3 + 3 * 3), ("test", 6)):
        one, *others = [
            json.loads((tmp_path / f"{stage}-{world_size}-{rank}.json").read_text())
            for world_size in (1, 2, 3)
            for rank in range(world_size)
        ]
        assert {row[5] for row in one["rows"] if row[0].startswith("network")} == {count}
        for other in others:
            assert other["metrics"] == pytest.approx(one["metrics"], rel=1e-6)
            for row, expected in zip(other["rows"], one["rows"], strict=True):
                assert [item for item in row if not isinstance(item, float)] == [
                    item for item in expected if not isinstance(item, float)
                ]
                assert [item for item in row if isinstance(item, float)] == pytest.approx(
                    [item for item in expected if isinstance(item, float)], rel=1e-12
                )


def of_stage(stage: int) -> DeepSpeedStrategy:
    """DeepSpeed's own constructor wants the package."""
    strategy = DeepSpeedStrategy.__new__(DeepSpeedStrategy)
    strategy.config = {"zero_optimization": {"stage": stage}}
    return strategy


@pytest.mark.parametrize(
    "callback",
    [EquivarianceMonitor(), OrbitEvaluation(4), ReconstructionFigure()],
    ids=lambda c: type(c).__name__,
)
def test_strategies_that_spread_the_weights_are_refused_before_training(callback: pl.Callback) -> None:
    for strategy in (FSDPStrategy(), ModelParallelStrategy(), of_stage(3)):
        with pytest.raises(
            ValueError, match=f"{type(callback).__name__} runs the model .* {type(strategy).__name__}"
        ):
            callback.setup(SimpleNamespace(strategy=strategy, world_size=2), None, "fit")
        callback.setup(SimpleNamespace(strategy=strategy, world_size=1), None, "fit")
    for strategy in (DDPStrategy(), of_stage(2)):
        callback.setup(SimpleNamespace(strategy=strategy, world_size=2), None, "fit")
