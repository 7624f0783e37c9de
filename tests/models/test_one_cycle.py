"""The one-cycle schedule: its shape, its span over a whole training, and after resuming into a longer one."""

import math
from functools import partial
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
import torch
from flat_settings import classifier
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import ExponentialLR, MultiStepLR, OneCycleLR, ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

from models import OneCycle, ScaleClassifier
from models.schedules import scheduled

PEAK = 0.02
BATCHES = 5


def model(scheduler: Any = OneCycle) -> ScaleClassifier:
    return classifier(
        "FourierNetwork",
        widths=[2],
        kernel_size=3,
        base_resolution=6,
        max_resolution=8,
        head_hidden=4,
        optimizer=partial(torch.optim.AdamW, lr=PEAK),
        lr_scheduler=scheduler,
    )


def data() -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2 * BATCHES, 1, 8, 8, generator=generator)
    return DataLoader(TensorDataset(images, torch.arange(2 * BATCHES) % 10), batch_size=2)


class Rates(Callback):
    """The learning rate with which each step is taken."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    def on_before_optimizer_step(
        self, trainer: Trainer, module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self.taken.append(optimizer.param_groups[0]["lr"])


def trainer(folder: Path, rates: Rates, epochs: int, **settings: Any) -> Trainer:
    return Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[rates],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=folder,
        **settings,
    )


def expected(step: int, total: int, warmup: float = 0.15, start: float = 0.04, final: float = 1e-3) -> float:
    progress = step / total
    if progress < warmup:
        return PEAK * (start + (1 - start) * progress / warmup)
    descent = (progress - warmup) / (1 - warmup)
    return PEAK * (final + (1 - final) * (1 + math.cos(math.pi * descent)) / 2)


def rate(optimizer: torch.optim.Optimizer) -> float:
    return optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize("warmup", [0.0, 0.15, 0.5])
def test_linear_up_cosine_down(warmup: float) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=PEAK)
    schedule = OneCycle(optimizer, warmup=warmup)
    schedule.span(40)
    rates = []
    for _ in range(43):
        rates.append(rate(optimizer))
        optimizer.step()
        schedule.step()
    assert rates[:41] == pytest.approx([expected(step, 40, warmup) for step in range(41)])
    assert rates[0] == pytest.approx(PEAK * (0.04 if warmup else 1))
    assert max(rates) == pytest.approx(PEAK)
    assert rates.index(max(rates)) == round(warmup * 40)
    assert rates[40:] == pytest.approx([PEAK * 1e-3] * 3)  # and it stays there


@pytest.mark.parametrize(
    ("name", "value"), [("warmup", -0.1), ("warmup", 1.0), ("start", nan), ("final", inf)]
)
def test_a_number_out_of_range(name: str, value: float) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=PEAK)
    with pytest.raises(ValueError, match=f"{name} must be a finite number of at least 0.*, got {value}"):
        OneCycle(optimizer, **{name: value})


@pytest.mark.parametrize(
    ("optimizer", "schedule", "message"),
    [
        (partial(AdamW, lr=nan), None, "Invalid learning rate: nan"),
        (partial(AdamW, lr=torch.tensor(inf)), None, "optimizer: lr of AdamW must be finite, got inf"),
        (partial(AdamW, weight_decay=inf), None, "optimizer: weight_decay of AdamW must be finite, got inf"),
        (partial(AdamW, eps=inf), None, "optimizer: eps of AdamW must be finite, got inf"),
        (partial(SGD, lr=0.1, momentum=nan), None, "optimizer: momentum of SGD must be finite, got nan"),
        (partial(SGD, lr=-0.1), None, "Invalid learning rate: -0.1"),
        (
            SGD,
            partial(ExponentialLR, gamma=nan),
            "lr_scheduler: gamma of ExponentialLR must be finite, got nan",
        ),
        (
            SGD,
            partial(OneCycleLR, max_lr=inf, total_steps=9),
            "lr_scheduler: .* of OneCycleLR must be finite",
        ),
    ],
)
def test_numbers_of_optimisers_and_schedules_are_finite(optimizer: Any, schedule: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scheduled(model(None), optimizer, schedule)
    for usual in (partial(ReduceLROnPlateau, patience=2), partial(MultiStepLR, milestones=[2])):
        scheduled(model(None), AdamW, usual)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [({}, 3 * BATCHES), ({"accumulate_grad_batches": 2}, 9), ({"limit_train_batches": 4}, 12)],
)
def test_it_spans_the_steps_of_the_training(settings: dict[str, Any], steps: int, tmp_path: Path) -> None:
    rates = Rates()
    runner = trainer(tmp_path, rates, 3, **settings)
    runner.fit(model(), data())
    assert rates.taken == pytest.approx([expected(step, steps) for step in range(steps)])
    assert rate(runner.optimizers[0]) == pytest.approx(PEAK * 1e-3)


def test_arguments_reach_it(tmp_path: Path) -> None:
    rates = Rates()
    trainer(tmp_path, rates, 2).fit(model(partial(OneCycle, warmup=0.4, start=0.5, final=0.1)), data())
    assert rates.taken == pytest.approx([expected(step, 10, 0.4, 0.5, 0.1) for step in range(10)])


def test_another_schedule_steps_once_per_epoch(tmp_path: Path) -> None:
    rates = Rates()
    trainer(tmp_path, rates, 3).fit(model(partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)), data())
    assert rates.taken == pytest.approx([PEAK * 0.5**epoch for epoch in range(3) for _ in range(BATCHES)])


def test_no_schedule_keeps_the_rate(tmp_path: Path) -> None:
    rates = Rates()
    trainer(tmp_path, rates, 2).fit(model(None), data())
    assert rates.taken == pytest.approx([PEAK] * 2 * BATCHES)


class Interruption(Callback):
    """Ends the training before the epoch that its plan has left, and writes a checkpoint."""

    def __init__(self, after: int, checkpoint: Path) -> None:
        self.after = after
        self.checkpoint = checkpoint

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        trainer.should_stop = trainer.current_epoch + 1 == self.after

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        trainer.save_checkpoint(self.checkpoint)


@pytest.mark.parametrize("epochs", [4, 7])
def test_resuming_takes_the_place_on_the_new_span(epochs: int, tmp_path: Path) -> None:
    """Four epochs were planned and two run; the rest follows the plan of the training that resumes."""
    before, after = Rates(), Rates()
    stopped = trainer(tmp_path, before, 4)
    stopped.callbacks.append(Interruption(2, tmp_path / "stopped.ckpt"))
    stopped.fit(model(), data())
    resumed = trainer(tmp_path, after, epochs)
    resumed.fit(model(), data(), ckpt_path=tmp_path / "stopped.ckpt")
    planned, total = 4 * BATCHES, epochs * BATCHES
    assert before.taken == pytest.approx([expected(step, planned) for step in range(2 * BATCHES)])
    assert after.taken == pytest.approx([expected(step, total) for step in range(2 * BATCHES, total)])
    assert rate(resumed.optimizers[0]) == pytest.approx(PEAK * 1e-3)


def test_a_finished_training_resumed_with_more_epochs(tmp_path: Path) -> None:
    finished = trainer(tmp_path, Rates(), 1)
    finished.fit(model(), data())
    finished.save_checkpoint(tmp_path / "finished.ckpt")
    rates = Rates()
    trainer(tmp_path, rates, 4).fit(model(), data(), ckpt_path=tmp_path / "finished.ckpt")
    total = 4 * BATCHES
    assert rates.taken == pytest.approx([expected(step, total) for step in range(BATCHES, total)])
