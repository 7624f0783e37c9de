"""Where a run's numbers go: a CSV file that is there in any case, and Weights & Biases."""

import csv
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import wandb
from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from sefl.run_folder import RunFolder, is_rank_zero, write_atomically


class MetricsCSV(Logger):
    """Append every logged row to ``metrics.csv``, one column per metric.

    Lightning's ``CSVLogger`` deletes the file that it finds; this one goes on writing it, so that a resumed
    run keeps its history. Steps between the checkpoint and the kill appear twice: the later row counts.
    """

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self._path = folder.metrics
        self._columns: list[str] = []

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
        row = {"step": step, **{name: float(value) for name, value in metrics.items()}}
        if row.keys() <= set(self._columns):
            with self._path.open("a") as file:
                file.write(csv_lines(self._columns, [row]))
            return
        rows = [*read_rows(self._path), row] if self._path.exists() else [row]
        self._columns = list(dict.fromkeys(name for columns in [*rows, self._columns] for name in columns))
        text = ",".join(self._columns) + "\n" + csv_lines(self._columns, rows)
        write_atomically(self._path, lambda file: file.write(text.encode()))


def csv_lines(columns: list[str], rows: list[dict[str, Any]]) -> str:
    lines = io.StringIO()
    csv.DictWriter(lines, columns, lineterminator="\n").writerows(rows)
    return lines.getvalue()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV file, without a last line that a kill cut off."""
    lines = path.read_text().splitlines(keepends=True)
    return list(csv.DictReader(line for line in lines if line.endswith("\n")))


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

    A resumed run is a further W&B run in the same group, as an offline run cannot be continued.
    """
    return [MetricsCSV(folder), *wandb_loggers(folder.path, f"{name}/{folder.path.name}", options)]


def wandb_loggers(save_dir: Path, group: str, options: WandbOptions, job: str | None = None) -> list[Logger]:
    """W&B unless disabled: a run in ``group``, of its name or, for a ``job`` beside the training, of both."""
    wandb.setup(wandb.Settings(silent=True))
    mode = wandb_mode(options.mode) if is_rank_zero() else "disabled"
    if mode == "disabled":
        return []
    return [
        WandbLogger(
            name=f"{group}/{job}" if job else group,
            group=group,
            job_type=job,
            save_dir=save_dir,
            project=options.project,
            entity=options.entity,
            tags=options.tags,
            mode=mode,
            settings=wandb.Settings(silent=mode == "offline", console="off"),
        )
    ]


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
