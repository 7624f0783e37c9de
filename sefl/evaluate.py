"""Evaluate a checkpoint: python -m sefl.evaluate --ckpt_path CKPT [--config FILE ...] [--key value ...]

A model whose own arguments load weights is evaluated without a checkpoint too (RUNS/NAME/pretrained).

Over the run's test split: accuracy, accuracy per resolution, scale consistency and the equivariance error of
every layer, and what the configuration's callbacks measure, as tables on the terminal, as evaluation.json and plots in
RUN/evaluation/N, and in W&B, in the group of the run.
"""

if __name__ == "__main__":
    import sys

    from sefl.command_line.first_look import exit_at_a_mistake

    exit_at_a_mistake("python -m sefl.evaluate", sys.argv[1:], further=["monitor"])

import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import Checkpoint, LearningRateMonitor, ProgressBar, RichProgressBar
from pytorch_lightning.cli import LightningArgumentParser
from rich.console import Console
from rich.markup import escape

from sefl.command_line.options import ExperimentCLI, listed
from sefl.figures.evaluation import accuracies
from sefl.files.torch_files import read_checkpoint
from sefl.runs.checkpoints import check_weights, with_checkpoint_io
from sefl.runs.commands import command_line, record_command
from sefl.runs.evaluation import Evaluation
from sefl.runs.folder import RunFolder, make_next_version
from sefl.runs.logged_figures import log_table, save_figure
from sefl.runs.loggers import wandb_finished, wandb_loggers
from sefl.runs.pretrained import write_network
from sefl.runs.run import Run
from sefl.training.processes import Process
from sefl.training.resource_monitor import count_parameters
from sefl.training.signals import process_of_a_run

TRAINING_ONLY = (Checkpoint, LearningRateMonitor, ProgressBar)
DEFAULT_MONITOR = "callbacks.EquivarianceMonitor"
PRETRAINED = "pretrained"


class EvaluateCLI(ExperimentCLI):
    """The evaluation command: ``Trainer.test``, logged to W&B alone, without checkpoints: the run stays as it is."""

    program = "python -m sefl.evaluate"
    only_evaluates = True
    # The machine that trained need not be the one that evaluates.
    overriding_stored = (
        *("--trainer.accelerator", "auto", "--trainer.devices", "auto"),
        *("--trainer.strategy", "auto", "--trainer.num_nodes", "1"),
    )

    def __init__(self, arguments: list[str], processes: Process | None = None) -> None:
        self.command = command_line(self.program, arguments)
        super().__init__(arguments, description=__doc__, processes=processes, save_config_callback=None)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        super().add_arguments_to_parser(parser)
        measuring = "What measures equivariance, unless the configuration's callbacks do; null: nothing."
        parser.add_subclass_arguments(Callback, "monitor", help=measuring)
        parser.set_defaults({"monitor": {"class_path": DEFAULT_MONITOR}})

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        run = self.evaluated_run()
        self.output = self.processes.agree(lambda: make_next_version(run.evaluation))
        given = listed(self.config_init.trainer.callbacks)
        measuring = [callback for callback in given if not isinstance(callback, TRAINING_ONLY)]
        monitors = [callback for callback in measuring if hasattr(callback, "results")]
        if not monitors and self.config_init.monitor is not None:
            monitors = [self.config_init.monitor]
            measuring += monitors
        self.monitors = monitors
        group = f"{self.config.name}/{run.path.name}"
        progress = [] if self.config.trainer.enable_progress_bar is False else [RichProgressBar()]
        return super().instantiate_trainer(
            default_root_dir=self.output,
            logger=wandb_loggers(self.output, group, self.config_init.wandb, "evaluation"),
            enable_checkpointing=False,
            callbacks=[*measuring, *progress, self.run_started],
            plugins=with_checkpoint_io(listed(self.config_init.trainer.plugins)),
            **kwargs,
        )

    def evaluated_run(self) -> RunFolder:
        """The run whose checkpoint is evaluated, or a folder beside the runs for a model that came with weights.

        Raises:
            ValueError: if there is nothing to evaluate, or the checkpoint is of another model.
        """
        if self.checkpoint is not None:
            check_weights(self.model, self.checkpoint)
            return self.resumed_folder or RunFolder(self.checkpoint.parent)
        if not getattr(self.model, "pretrained", False):
            raise ValueError(
                "--ckpt_path: is needed. Give the checkpoint file to evaluate; only a model whose own arguments load "
                "weights does without, as sefl.networks.TorchvisionNetwork with state_dict."
            )
        return RunFolder(Path(self.config.run_dir or Path(self.config.runs) / self.config.name / PRETRAINED))

    def discard_failed_start(self) -> None:
        output: Path | None = getattr(self, "output", None)
        if output is not None and output.exists() and not any(output.iterdir()):
            output.rmdir()

    def evaluate(self) -> None:
        with self.mistakes_reported(), wandb_finished(self.trainer.loggers):
            of_run = {"datamodule": self.datamodule, "ckpt_path": self.checkpoint}
            self.trainer.test(self.model, **of_run, verbose=False)
            if self.trainer.is_global_zero:
                self.report()

    def tested_samples(self) -> dict[int, int]:
        """Of each resolution how many; none if the data has no resolutions, or not all of it was tested."""
        resolutions = getattr(getattr(self.datamodule, "split", None), "test_resolutions", None)
        limit = self.trainer.limit_test_batches
        if resolutions is None or isinstance(limit, int) or limit < 1:
            return {}
        return dict(sorted(Counter(resolutions.tolist()).items()))

    def report(self) -> None:
        """Write and show what was measured."""
        state = {} if self.checkpoint is None else read_checkpoint(self.checkpoint, mmap=True)
        evaluation = Evaluation(
            checkpoint=None if self.checkpoint is None else str(self.checkpoint),
            epoch=state.get("epoch"),
            step=state.get("global_step"),
            parameters=count_parameters(self.model),
            metrics={name: float(value) for name, value in self.trainer.callback_metrics.items()},
            equivariance=[asdict(row) for monitor in self.monitors for row in monitor.results],
            data=yaml.safe_load(self.parser.dump(self.config, skip_none=False)).get("data"),
            samples_by_resolution=self.tested_samples(),
        )
        record_command(self.output, self.command)
        evaluation.write(self.output)
        if evaluation.accuracy_by_resolution:
            figure = accuracies(evaluation)
            save_figure(figure, self.output / "accuracy.png", self.trainer, "test/accuracy_by_resolution")
        log_table(evaluation.equivariance, self.trainer, "equivariance_test/errors")
        console = Console()
        for table in evaluation.tables():
            console.print(table)
        console.print(f"Written to [bold]{escape(str(self.output))}[/bold]", soft_wrap=True)
        self.store_network()

    def store_network(self) -> None:
        """Write the network beside what was measured, with a card that says it, if its run's best was evaluated."""
        folder = self.resumed_folder
        if folder is not None and folder.network.is_dir() and Run(folder.path).checkpoint == self.checkpoint:
            write_network(Run(folder.path), RunFolder(self.output).network)


def main(arguments: list[str] | None = None) -> None:
    """Evaluate as the command line says."""
    with process_of_a_run() as processes:
        EvaluateCLI(sys.argv[1:] if arguments is None else arguments, processes).evaluate()


if __name__ == "__main__":
    main()
