"""Peak memory of a piece of work: on a CPU in a fresh process, on CUDA by the allocator's own count.

``resource.getrusage`` is of no use on Linux: a child inherits the peak of the process that started it.
"""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from sefl.bench.work import Work

RUNS = 2
"""The second run finds gradients and the state of the optimiser in place."""

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): sets the peak resident size to the current one


def peak_bytes(work: Work, device: torch.device, threads: int) -> int:
    """The most memory that the work takes while it runs, beyond what it holds once built.

    Raises:
        concurrent.futures.process.BrokenProcessPool: if the process dies, as it does for lack of memory.
    """
    if device.type == "cuda":
        return _peak_allocated(work, device)
    context = multiprocessing.get_context("forkserver")
    # Imported once, into a server that never computes: every measurement starts as a copy of it.
    context.set_forkserver_preload(["sefl.bench.memory", "sefl.fourier", "models"])
    with ProcessPoolExecutor(1, mp_context=context) as fresh_process:
        return fresh_process.submit(_peak_resident, work, threads).result()


def _peak_allocated(work: Work, device: torch.device) -> int:
    action = work.build(device)
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    for _ in range(RUNS):
        action()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _peak_resident(work: Work, threads: int) -> int:
    torch.set_num_threads(threads)
    action = work.build(torch.device("cpu"))
    if _RESET.exists():
        _RESET.write_text(_RESET_PEAK)
    before, _ = _resident()
    for _ in range(RUNS):
        action()
    _, peak = _resident()
    return peak - before


def _resident() -> tuple[int, int]:
    """The current and the peak resident size of this process in bytes."""
    if _STATUS.exists():
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        current, peak = (int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
        return current, peak
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return peak, peak
