"""Measures what a training takes: seconds per epoch and peak memory."""

import sys
import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from sefl.runs.resources import Resources

_STATUS = Path("/proc/self/status")


class ResourceMonitor(Callback):
    """Measures a training run and writes the file after every epoch, so that a killed run has it too.

    A resumed run adds to what it took before; an epoch that is trained again counts once. Of an epoch that
    ends early, by ``max_steps`` say, or that is resumed in the middle, no time is noted.

    Args:
        file: where to write.

    Raises:
        ValueError: when the Trainer starts, if the file is there and damaged.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.resources = Resources()
        self._started = 0.0
        self._validating = 0.0
        self._batches = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.file.exists():
            self.resources = Resources.load(self.file)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        resources, device = self.resources, pl_module.device
        on_gpu = device.type == "cuda"
        name = torch.cuda.get_device_name(device) if on_gpu else torch.backends.cpu.get_cpu_capability()
        resources.device = f"{device.type} ({name})"
        resources.processes = trainer.world_size
        resources.threads = torch.get_num_threads()
        resources.parameters = count_parameters(pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._batches = 0
        self._validating = 0.0
        self._started = _now(pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches += 1

    # Validation runs within the epoch; what it takes depends on how often one validates.
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validating -= _now(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validating += _now(pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        resources, device = self.resources, pl_module.device
        if self._batches == trainer.num_training_batches:
            taken = _now(pl_module) - self._started - self._validating
            resources.epoch_seconds[trainer.current_epoch] = round(taken, 3)
        resources.peak_memory_bytes = max(resources.peak_memory_bytes, peak_resident_bytes())
        if device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(device)
            resources.peak_gpu_memory_bytes = max(resources.peak_gpu_memory_bytes or 0, peak)
        if trainer.is_global_zero:
            resources.save(self.file)


def count_parameters(model: torch.nn.Module) -> int:
    """How many numbers a model learns or holds fixed as parameters; buffers do not count."""
    return sum(parameter.numel() for parameter in model.parameters())


def peak_resident_bytes() -> int:
    """The most memory that this process has had.

    By ``resource.getrusage`` only where there is no ``/proc``: on Linux a process inherits that number from
    the one that started it.
    """
    if _STATUS.exists():
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _now(module: LightningModule) -> float:
    if module.device.type == "cuda":
        torch.cuda.synchronize(module.device)
    return time.perf_counter()
