"""What tests share: a tiny experiment, a way to run commands as processes, and two gloo processes."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import yaml

# On tensors this small, threads that share busy cores only wait for each other: seven times slower.
torch.set_num_threads(1)

AGAINST_ESCNN = (
    "groups/test_group_convolution.py",
    "groups/test_spatial_action.py",
    "groups/test_subgroup_sampling.py",
)
"""Tests whose reference is escnn."""

collect_ignore = [] if find_spec("escnn") else list(AGAINST_ESCNN)

ROOT = Path(__file__).parents[1]
WORLD = 2

TINY = {
    "data": {
        "class_path": "datamodules.Glyphs",
        "init_args": {
            "image_size": 12,
            "resolutions": [8, 11, 12],
            "train_samples": 120,
            "val_samples": 43,
            "test_samples": 41,
            "batch_size": 10,
            "eval_batch_size": 7,
        },
    },
    "model": {
        "class_path": "models.FourierClassifier",
        "init_args": {
            "widths": [4],
            "kernel_size": 3,
            "base_resolution": 8,
            "max_resolution": 12,
            "head_hidden": 8,
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}},
            "lr_scheduler": {"class_path": "models.OneCycle"},
        },
    },
    "trainer": {
        "accelerator": "cpu",
        "max_epochs": 2,
        "log_every_n_steps": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "callbacks": [{"class_path": "callbacks.EquivarianceMonitor", "init_args": {"figures": False}}],
    },
    "wandb": {"mode": "disabled"},
}


def pytest_report_header() -> str | None:
    return f"escnn is not installed: left out are {', '.join(collect_ignore)}" if collect_ignore else None


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of an experiment of seconds, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command as a user does: ``start("sefl.fit", "--config", ...)``; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start_module(module: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start_module
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def on_two_processes(tmp_path: Path) -> Callable[[Callable[[int], Any]], list[Any]]:
    """``on_two_processes(f)`` is ``[f(0), f(1)]``, each rank in its own process of one gloo group."""

    def run(function: Callable[[int], Any]) -> list[Any]:
        # Forking spares the import of torch, most of the time of so small a test.
        mp.start_processes(_worker, (function, tmp_path), nprocs=WORLD, start_method="fork")
        return [torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(WORLD)]

    return run


def _worker(rank: int, function: Callable[[int], Any], folder: Path) -> None:
    torch.set_num_threads(1)
    rendezvous = f"file://{folder}/rendezvous"
    timeout = timedelta(seconds=60)
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=WORLD, timeout=timeout)
    torch.save(function(rank), folder / f"{rank}.pt")
    dist.destroy_process_group()
