"""What a training tells at its end: accuracy, equivariance error, where everything is and what to do next."""

import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from rich.console import Console
from rich.table import Table

from sefl.equivariance.table import MeasuresEquivariance
from sefl.runs.commands import command_line
from sefl.runs.folder import MONITOR, RunFolder, folder_of
from sefl.runs.layer_errors import layer_errors, mean_errors, spoken

CAPTION = "Equivariance errors are relative and squared: mean over samples and parameters, latest validation."
PIPED_WIDTH = 120


class RunSummary(Callback):
    """Shows, when a training has ended, also early, what was measured, the files and the next commands; rank 0 only.

    What was not measured or written is left out. The accuracies are those of the whole run, also where it was resumed.

    Args:
        folder: the run's.
        console: where to show it; the standard output by default.
    """

    def __init__(self, folder: RunFolder, console: Console | None = None) -> None:
        self.folder = folder
        self.console = console
        self.best: tuple[float, int] | None = None
        """The highest validation accuracy, and the first epoch that had it, counted from 0."""
        self.last: tuple[float, int] | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        accuracy = trainer.callback_metrics.get(MONITOR)
        if accuracy is None or trainer.sanity_checking:
            return
        self.last = accuracy.item(), trainer.current_epoch
        if self.best is None or self.last[0] > self.best[0]:
            self.best = self.last

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "last": self.last}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.last = state_dict["best"], state_dict["last"]

    # Where the training ended without an error; the progress bar has been closed by then.
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and trainer.is_global_zero:
            console = self.console or Console()
            if not console.is_terminal:
                console.width = PIPED_WIDTH
            self.show(trainer, console)

    def show(self, trainer: Trainer, console: Console) -> None:
        """Show the table of measures, then the files and the commands, a line each that can be copied."""
        measures = self.measures(trainer)
        if measures.row_count:
            console.print(measures)
        for name, text in self.lines(trainer).items():
            console.print(f"[bold]{name}[/bold]: ", end="")
            console.print(text, soft_wrap=True, highlight=False, markup=False)

    def measures(self, trainer: Trainer) -> Table:
        """Validation accuracy, and by transformation the equivariance error of the worst and of the last layer."""
        table = Table("measure", "value", "of", title="This run")
        for which, measured in (("best", self.best), ("last", self.last)):
            if measured is not None:
                table.add_row(f"validation accuracy, {which}", f"{measured[0]:.4f}", f"epoch {measured[1]}")
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        for monitor in (each for each in callbacks if isinstance(each, MeasuresEquivariance)):
            errors = layer_errors(asdict(row) for row in monitor.results)
            transformations = dict.fromkeys(error.transformation for error in errors)
            for name in transformations:
                # The worst layer and the last one, which may be the same; a NaN is the worst there is.
                means = mean_errors(
                    (each for each in errors if each.transformation == name), lambda each: each.layer
                )
                worst = max(means, key=lambda layer: (math.isnan(means[layer]), means[layer]))
                *_, last = (error.layer for error in errors if error.transformation == name)
                subject, of = (
                    f"equivariance error, {spoken(name, transformations)}",
                    f"the worst of {len(means)}",
                )
                table.add_row(subject, f"{means[worst]:.1e}", f"{worst}, {of}")
                if last != worst:
                    table.add_row("", f"{means[last]:.1e}", f"{last}, the last")
                table.caption = CAPTION
        return table

    def lines(self, trainer: Trainer) -> dict[str, str]:
        """The best checkpoint, or the last one without a best; figures; the commands that go on from here."""
        lines: dict[str, str] = {}
        which, checkpoint = self.checkpoint(trainer)
        if checkpoint is not None:
            lines[f"{which} checkpoint"] = _shown(checkpoint)
        figures = sorted({path.parent for path in self.folder.path.glob("*/*.png")})
        if figures:
            lines["Figures"] = ", ".join(map(_shown, figures))
        if checkpoint is not None and self.folder.configs:
            arguments = ["--ckpt_path", _shown(checkpoint)]
            if folder_of(checkpoint) is None:
                arguments = ["--config", _shown(self.folder.configs[-1]), *arguments]
            lines["Evaluate it"] = command_line("python -m sefl.evaluate", arguments)
        if self.folder.metrics.is_file() and self.last is not None:
            lines["Report"] = command_line("python -m sefl.report", [_shown(self.folder.path)])
        return lines

    def checkpoint(self, trainer: Trainer) -> tuple[str, Path | None]:
        """The file with the best of what a checkpoint callback monitors, else the latest."""
        files: dict[str, list[str]] = {"Best": [], "Last": []}
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint):
                files["Best" if callback.monitor else "Last"].append(callback.best_model_path)
        found = (
            (which, Path(path)) for which, paths in files.items() for path in paths if os.path.isfile(path)
        )
        return next(found, ("", None))


def _shown(path: Path) -> str:
    """As short as it can be typed here."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
