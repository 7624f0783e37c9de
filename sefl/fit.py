"""Train a model: python -m sefl.fit --config FILE [--config FILE ...] [--key value ...]

Every run has a folder of its own, RUNS/NAME/VERSION, with its configuration, split, metrics and checkpoints.
With --ckpt_path a run goes on in its own folder, with the options given now; nothing is overwritten. With --ckpt_path
last, one that was stopped before its first checkpoint begins again in its folder. The run of a SLURM job that is queued
again goes on by itself.
"""

if __name__ == "__main__":
    import sys

    from sefl.command_line.first_look import exit_at_a_mistake

    exit_at_a_mistake("python -m sefl.fit", sys.argv[1:])

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import (
    LearningRateMonitor,
    ModelCheckpoint,
    ModelSummary,
    ProgressBar,
    RichProgressBar,
)
from pytorch_lightning.cli import SaveConfigCallback
from pytorch_lightning.utilities import rank_zero_only
from rich.console import Console
from rich.markup import escape

from sefl.command_line.options import ExperimentCLI, listed
from sefl.files.writing import write_text
from sefl.runs.checkpoints import (
    BestCheckpoint,
    LastCheckpoint,
    check_weights,
    require_files_of_their_own,
    with_checkpoint_io,
)
from sefl.runs.commands import command_line, record_command
from sefl.runs.folder import CHECKPOINT_NAMES, RunFolder, open_run_folder, searched_folders
from sefl.runs.loggers import run_loggers, wandb_finished
from sefl.runs.pretrained import write_network
from sefl.runs.run import Run
from sefl.runs.slurm import record_job, run_of_job
from sefl.training.epoch_rows import EpochRow
from sefl.training.finite import FiniteTraining
from sefl.training.network_summary import NetworkSummary
from sefl.training.processes import Process
from sefl.training.resource_monitor import ResourceMonitor
from sefl.training.resumption import ExactResumption
from sefl.training.signals import process_of_a_run
from sefl.training.summary import RunSummary

NOT_STORED = ("ckpt_path", "run_dir")
"""Options of one start, not of the experiment: the stored configuration starts a new run when used again."""


class RunRecord(SaveConfigCallback):
    """Stores, once the data are set up, what it takes to understand a run and to go on with it."""

    def __init__(self, *args: Any, folder: RunFolder, command: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.folder = folder
        self.command = command

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        stored = self.config.clone()
        for option in NOT_STORED:
            stored[option] = None
        text = self.parser.dump(stored, skip_none=False)
        write_text(self.folder.next_config(), text)
        record_command(self.folder.path, self.command)
        record_job(self.folder, self.command)
        save_split = getattr(trainer.datamodule, "save_split", None)  # type: ignore[attr-defined]
        if save_split is not None and not self.folder.split.exists():
            save_split(self.folder.split)
        for logger in trainer.loggers:
            logger.log_hyperparams(yaml.safe_load(text))


class FitCLI(ExperimentCLI):
    """The training command: adds to the configuration what every run has, and runs ``Trainer.fit``."""

    program = "python -m sefl.fit"
    begins_again = True

    def __init__(self, arguments: list[str], processes: Process | None = None) -> None:
        self.new_folder: RunFolder | None = None
        self.command = command_line(self.program, arguments)
        super().__init__(arguments, description=__doc__, processes=processes, save_config_callback=RunRecord)

    def before_instantiate_classes(self) -> None:
        config = self.config
        if begun := run_of_job(searched_folders(config.run_dir, config.runs, config.name), self.command):
            config.ckpt_path, config.run_dir = "last", str(begun.path)
        super().before_instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        if self.checkpoint is not None:
            check_weights(self.model, self.checkpoint, to_train=True)
        self.folder = RunFolder(self.processes.agree(self.choose_folder))
        self.save_config_kwargs = {"folder": self.folder, "command": self.command, "save_to_log_dir": False}
        given = self.config_init.trainer
        settings: dict[str, Any] = {"default_root_dir": self.folder.path}
        if given.logger is None or given.logger is True:
            settings["logger"] = run_loggers(self.folder, self.config.name, self.config_init.wandb)
        settings["callbacks"] = [
            *listed(given.callbacks),
            *default_callbacks(self.folder, listed(given.callbacks), given),
            ResourceMonitor(self.folder.resources),
            RunSummary(self.folder),
            EpochRow(),
            self.run_started,
            ExactResumption(),
        ]
        settings["plugins"] = with_checkpoint_io(listed(given.plugins))
        return super().instantiate_trainer(**settings, **kwargs)

    def choose_folder(self) -> Path:
        config = self.config
        folder = open_run_folder(config.run_dir, config.runs, config.name, self.resumed_folder)
        if not any(folder.path.iterdir()):
            self.new_folder = folder
        return folder.path

    def discard_failed_start(self) -> None:
        """Remove the new folder of a run that did not come to its training; after a signal, only if it cannot begin."""
        folder = self.new_folder
        if folder is None or self.run_started.started or (self.processes.signal and folder.configs):
            return
        if folder.holds_a_start_alone():
            shutil.rmtree(folder.path)
            self.new_folder = None

    def how_to_go_on(self) -> str:
        folder: RunFolder | None = getattr(self, "folder", None)
        if folder is None or not folder.configs:
            return "The run had not begun."
        # The best is written before the last: the first of all may be alone.
        name = next((name for name in CHECKPOINT_NAMES if folder.checkpoint(name).is_file()), "last")
        return f"To go on: {command_line(self.program, ['--ckpt_path', name, '--run_dir', str(folder.path)])}"

    def fit(self) -> None:
        announce(self.folder, self.checkpoint, self.resumed_folder, self.linked)
        ending = self.end_at_signal.queued_again()
        with ending, self.mistakes_reported(), wandb_finished(self.trainer.loggers):
            self.trainer.fit(self.model, datamodule=self.datamodule, ckpt_path=self.checkpoint)
        if self.trainer.is_global_zero:
            with self.mistakes_reported():
                store_network(self.folder)


def default_callbacks(folder: RunFolder, given: list[Callback], trainer: Any) -> list[Callback]:
    """What every run has, less what the configuration replaces or switches off."""

    def replaced(*kinds: type[Callback]) -> bool:
        return any(isinstance(callback, kinds) for callback in given)

    callbacks: list[Callback] = []
    if trainer.enable_progress_bar is not False and not replaced(ProgressBar):
        callbacks.append(RichProgressBar())
    if trainer.enable_model_summary is not False and not replaced(ModelSummary):
        callbacks.append(NetworkSummary(max_depth=2))
    if trainer.logger is not False and not replaced(LearningRateMonitor):
        callbacks.append(LearningRateMonitor())
    if not replaced(FiniteTraining):
        callbacks.append(FiniteTraining())
    if trainer.enable_checkpointing is not False:
        if not any(isinstance(callback, ModelCheckpoint) and callback.monitor for callback in given):
            callbacks.append(BestCheckpoint(folder))
        # In any case: without it a run cannot go on. After the best: its state has to include this epoch's best.
        callbacks.append(LastCheckpoint(folder))
        require_files_of_their_own([*callbacks, *given], folder)
    return callbacks


@rank_zero_only
def announce(
    folder: RunFolder, checkpoint: Path | None, resumed: RunFolder | None, linked: Mapping[str, Any]
) -> None:
    console = Console(soft_wrap=True)
    if linked:
        console.print(
            "Network, as the data are: " + ", ".join(f"{name} {value}" for name, value in linked.items())
        )
    if checkpoint:
        console.print(f"Resuming from [bold]{escape(str(checkpoint))}[/bold]")
    elif resumed:
        console.print("The run was stopped before its first checkpoint: it begins again.")
    console.print(f"Run folder: [bold]{escape(str(folder.path))}[/bold]")


def store_network(folder: RunFolder) -> None:
    """Write the network of a run for others to use, and say where, or why not."""
    console = Console(soft_wrap=True)
    try:
        written = write_network(Run(folder.path), folder.network)
    except ValueError as reason:
        console.print(f"Network: not written, as it cannot be opened again: {escape(str(reason))}")
        return
    if written is not None:
        console.print(f"[bold]Network[/bold]: {escape(str(written))}", highlight=False)
        command = command_line("python -m sefl.predict", ["IMAGE", "--model", str(folder.path)])
        console.print(f"[bold]Use it[/bold]: {escape(command)}", highlight=False)


def main(arguments: list[str] | None = None) -> None:
    """Train as the command line says."""
    with process_of_a_run() as processes:
        FitCLI(sys.argv[1:] if arguments is None else arguments, processes).fit()


if __name__ == "__main__":
    main()
