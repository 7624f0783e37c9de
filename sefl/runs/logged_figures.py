"""Figures of a Lightning trainer go to a file in the run's folder and to W&B where that is a logger; tables too."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from matplotlib.figure import Figure
from pytorch_lightning.loggers import WandbLogger

from sefl.files.writing import write_atomically


def figure_folder(trainer: pl.Trainer, name: str) -> Path:
    """The folder of this name in the run's; to be asked for on every process, as the run's is broadcast."""
    return Path(trainer.log_dir or trainer.default_root_dir) / name


def save_figure(figure: Figure, path: Path, trainer: pl.Trainer, name: str) -> None:
    """Write a figure to ``path``, replacing what was there, and log it as ``name``; on one process only."""
    write_atomically(path, lambda file: figure.savefig(file, format=path.suffix[1:]))
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(name, [str(path)], step=trainer.global_step)


def log_table(rows: Sequence[Mapping[str, Any]], trainer: pl.Trainer, name: str) -> None:
    """Log rows of the same columns as a table of W&B's, ``name``, where that is a logger; on one process only."""
    for logger in trainer.loggers:
        if rows and isinstance(logger, WandbLogger):
            logger.log_table(name, columns=list(rows[0]), data=[list(row.values()) for row in rows])
