"""What a run takes: seconds per training epoch and peak memory, in RUN/resources.json."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from sefl.files.reading import reading
from sefl.files.writing import write_text


@dataclass
class Resources:
    """What a run took so far, over all its starts.

    Args:
        device: what it was trained on, in words; of the latest start, like the next three.
        processes: how many trained together.
        threads: processor threads of the first of them.
        parameters: trainable and frozen parameters of the model.
        epoch_seconds: wall seconds of each whole training epoch, by its number, without validation.
        peak_memory_bytes: the most that the first process had in memory.
        peak_gpu_memory_bytes: the most that its tensors took on the GPU; ``None`` without one.
    """

    device: str = ""
    processes: int = 1
    threads: int = 1
    parameters: int = 0
    epoch_seconds: dict[int, float] = field(default_factory=dict)
    peak_memory_bytes: int = 0
    peak_gpu_memory_bytes: int | None = None

    @property
    def seconds_per_epoch(self) -> float | None:
        """The median: the first epoch of a start is often slower."""
        return median(self.epoch_seconds.values()) if self.epoch_seconds else None

    @property
    def peak_bytes(self) -> int:
        """On the GPU where there is one."""
        return self.peak_memory_bytes if self.peak_gpu_memory_bytes is None else self.peak_gpu_memory_bytes

    @classmethod
    def load(cls, path: Path) -> "Resources":
        """Read what :meth:`save` wrote.

        Raises:
            DamagedFile: if it is damaged.
        """
        with reading(path, "; delete it to measure anew"):
            content = json.loads(path.read_text())
            seconds = {int(epoch): float(taken) for epoch, taken in content.pop("epoch_seconds").items()}
            loaded = cls(**content, epoch_seconds=seconds)
            numbers = (loaded.processes, loaded.threads, loaded.parameters, loaded.peak_bytes)
            if not isinstance(loaded.device, str) or not all(isinstance(number, int) for number in numbers):
                raise ValueError("a value is of another kind")
        return loaded

    def save(self, path: Path) -> None:
        write_text(path, json.dumps(asdict(self), indent=2) + "\n")
