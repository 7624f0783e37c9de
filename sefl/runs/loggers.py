"""Lightning's loggers of a run: a CSV file that is there in any case, and Weights & Biases."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import wandb
from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from sefl.runs.folder import RunFolder
from sefl.runs.metrics_file import STEP, GrowingTable


class MetricsCSV(Logger):
    """Append what is logged to ``metrics.csv``, one row per step, one column per metric.

    Lightning's ``CSVLogger`` deletes the file that it finds; this one goes on writing it, so that a resumed
    run keeps its history. Steps between the checkpoint and the kill appear twice: the later row counts.

    Raises:
        ValueError: if the file is there and damaged.
    """

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self._path = folder.metrics
        self._table = GrowingTable(self._path)

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self._path.parent)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: ``config.yaml`` lies beside the file."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._table.add({STEP: step, **{name: float(value) for name, value in metrics.items()}})


@dataclass(frozen=True)
class WandbOptions:
    """Weights & Biases.

    Args:
        mode: 'auto' is $WANDB_MODE where set, else online where you are logged in, else offline
            ('wandb sync RUN_FOLDER/wandb/offline-run-*' uploads later).
        project: the project that runs are filed under.
        entity: the user or team that the project belongs to; by default yourself.
        tags: words to find the run by.
    """

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    project: str = "sefl"
    entity: str | None = None
    tags: list[str] | None = None


def wandb_mode(mode: str) -> str:
    """What ``auto`` means here. Asks no server: a machine without network must not wait for one."""
    if mode != "auto":
        return mode
    if "WANDB_MODE" in os.environ:
        return os.environ["WANDB_MODE"]
    return "online" if wandb.login(prompt=False) else "offline"


def run_loggers(folder: RunFolder, name: str, options: WandbOptions) -> list[Logger]:
    """The loggers of a run: CSV first (Lightning asks the first for the folder), then W&B unless disabled.

    A resumed run is the same W&B run. What it wrote offline lies in several folders then, of one identity, which
    ``wandb sync`` uploads in the order of their starts.
    """
    group, run_id = f"{name}/{folder.path.name}", stored_run_id(folder.path)
    return [MetricsCSV(folder), *wandb_loggers(folder.path, group, options, run_id=run_id)]


def stored_run_id(save_dir: Path) -> str | None:
    """The identity of the W&B run whose files lie in a folder, the first one's if there are several."""
    names = sorted(path.name.removeprefix("offline-") for path in (save_dir / "wandb").glob("*run-*"))
    found = (re.fullmatch(r"run-\d{8}_\d{6}-(.+)", name) for name in names)
    return next((match[1] for match in found if match), None)


def wandb_loggers(
    save_dir: Path, group: str, options: WandbOptions, job: str | None = None, run_id: str | None = None
) -> list[Logger]:
    """W&B unless disabled: a run in ``group``, of its name or, for a ``job`` beside the training, of both.

    With ``run_id`` the run of this identity is gone on with.
    """
    wandb.setup(wandb.Settings(silent=True))
    mode = wandb_mode(options.mode) if is_rank_zero() else "disabled"
    if mode == "disabled":
        return []
    name = f"{group}/{job}" if job else group
    filed: dict[str, Any] = {**asdict(options), "mode": mode, "group": group, "job_type": job, "id": run_id}
    settings = wandb.Settings(silent=mode == "offline", console="off")
    return [WandbLogger(name=name, save_dir=save_dir, settings=settings, **filed)]


@contextmanager
def wandb_finished(loggers: list[Logger]) -> Iterator[None]:
    """Close the W&B run whatever happens: the next one in this process would continue it."""
    failed = True
    try:
        yield
        failed = False
    finally:
        for logger in loggers:
            if isinstance(logger, WandbLogger) and is_rank_zero():
                logger.experiment.finish(exit_code=int(failed))


def is_rank_zero() -> bool:
    """Whether this process is the first of a distributed run, or the only one."""
    return bool(rank_zero_only.rank == 0)  # type: ignore[attr-defined]
