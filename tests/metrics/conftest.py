"""Two gloo processes, as torchmetrics uses to compare with one."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

WORLD = 2


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
