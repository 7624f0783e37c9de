"""What tests share: a tiny experiment, a way to run commands as processes, and two gloo processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning  # noqa: F401  # first, as in the commands: see below
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import yaml
from side_by_side import SideBySide
from tiny_experiment import TINY

# typing takes Union[float, int] for the Union[int, float] that it made before. If matplotlib comes before Lightning,
# --trainer.limit_test_batches 1 is therefore 1.0, which is all.

# On tensors this small, threads that share busy cores only wait for each other: seven times slower.
torch.set_num_threads(1)

# Ignored, for all that is started here too, where the tests themselves were started in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)

AGAINST_ESCNN = (
    "groups/test_group_convolution.py",
    "groups/test_spatial_action.py",
    "groups/test_subgroup_sampling.py",
    "with_escnn",
)
"""Tests whose reference is escnn."""

collect_ignore = [] if find_spec("escnn") else list(AGAINST_ESCNN)

ROOT = Path(__file__).parents[1]
WORLD = 2


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
def side_by_side(tiny: Path) -> Iterator[Callable[..., SideBySide]]:
    """Begin :class:`SideBySide`, with its arguments; what still runs at the end is killed."""
    begun: list[SideBySide] = []

    def run(*arguments: Any) -> SideBySide:
        begun.append(SideBySide(*arguments))
        return begun[-1]

    yield run
    for one in begun:
        one.kill()


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
