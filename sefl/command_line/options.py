"""What python -m sefl.fit and python -m sefl.evaluate share: their options and how they report mistakes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import Any, ClassVar, Self

import pytorch_lightning
import yaml
from jsonargparse import ActionConfigFile, Namespace
from lightning_fabric.plugins.environments import SLURMEnvironment
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from sefl.arguments import require_seed
from sefl.command_line.agreement import check_fit, link_network
from sefl.command_line.harmless_messages import leave_out_harmless_messages
from sefl.command_line.mistakes import OneLineParser, refuse_nulls
from sefl.command_line.own_classes import asked_for, import_own_packages, of_some_model
from sefl.command_line.packaged import completed
from sefl.command_line.typed import Typed
from sefl.files.output_folders import check_folder, check_name
from sefl.files.trust import HELP, OPTION, Reading
from sefl.files.writing import TrainingStopped, failed_writes_stop
from sefl.runs.folder import (
    DEFAULT_RUNS,
    RunFolder,
    find_checkpoint,
    folder_of,
    name_of_merged,
    stopped_before_its_first_checkpoint,
)
from sefl.runs.loggers import WandbOptions, is_rank_zero
from sefl.runs.run import Run
from sefl.tensors.allocations import sizes_checked
from sefl.training.precision import warn_of_emulation
from sefl.training.processes import FirstProcess, Process, devices_of_launcher, require_all_processes
from sefl.training.signals import EndAtSignal

DEFAULT_SEED = 42
STOPPED = 1
"""The exit status of a training that cannot go on."""

CONFIGURATION_ERRORS = (ValueError, FileNotFoundError, MisconfigurationException, MemoryError)
"""What constructors and setup hooks raise about their arguments. Anything else is a defect: a traceback."""


CKPT_PATH_HELP = (
    "A checkpoint file, or 'last' or 'best': that of the run in --run_dir, else of the newest run called NAME. "
    "Without --config, the configuration stored with its run is used."
)


class RunStarted(Callback):
    """Notes that setting up is over: an error from here on is not one of configuration."""

    def __init__(self) -> None:
        self.started = False

    def on_sanity_check_start(self, *args: Any, **options: Any) -> None:
        self.started = True

    on_train_start = on_test_start = on_sanity_check_start


class ExperimentParser(OneLineParser, LightningArgumentParser):
    """Lightning's parser, with messages of one line."""


class ExperimentCLI(LightningCLI):
    """LightningCLI for one command: no subcommand, runs that have a folder, one message per mistake.

    With a subcommand, Lightning merges a checkpoint's hyper-parameters over the command line's
    (``LightningCLI._parse_ckpt_path``); without one it does not. Here the order is: the configuration
    stored with the checkpoint's run if no ``--config`` is given, then the configuration files, then the
    other options; the last one wins.
    """

    program: ClassVar[str]
    overriding_stored: ClassVar[tuple[str, ...]] = ()
    """Options put between a run's stored configuration and the command line's."""
    begins_again: ClassVar[bool] = False
    """Whether ``--ckpt_path last`` of a run that was stopped before its first checkpoint begins the run again."""

    only_evaluates: ClassVar[bool] = False

    def __init__(
        self, arguments: list[str], description: str | None, processes: Process | None, **options: Any
    ) -> None:
        leave_out_harmless_messages(self.only_evaluates)
        self.run_started = RunStarted()
        self.processes = processes or FirstProcess()
        self.processes.clean_up = self.discard_failed_start
        self.processes.going_on = self.how_to_go_on
        self.checkpoint: Path | None = None
        self.resumed_folder: RunFolder | None = None
        self.given: Namespace = Namespace()
        self.linked: dict[str, Any] = {}
        usage = f"{self.program} --config FILE [--config FILE ...] [--key value ...]"
        super().__init__(
            args=completed(arguments),
            run=False,
            seed_everything_default=DEFAULT_SEED,
            auto_configure_optimizers=False,
            parser_kwargs={"prog": self.program, "usage": usage, "description": description},
            **options,
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Itself: averaged weights copy the model, whose optimiser, as jsonargparse made it, refers to this."""
        return self

    def init_parser(self, **options: Any) -> LightningArgumentParser:
        header = [f"pytorch_lightning=={pytorch_lightning.__version__}"]
        parser = ExperimentParser(dump_header=header, **options)
        parser.add_argument(
            "-c", "--config", action=ActionConfigFile, help="A configuration file; the last wins."
        )
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--runs", type=str, default=DEFAULT_RUNS, help="The folder of all runs: RUNS/NAME/VERSION."
        )
        for option, kind, said in (
            ("--name", str, "What the runs are called. By default after the --config files."),
            ("--run_dir", str, "The folder of this run, instead."),
            ("--seed", int, "Both --seed_everything and --data.seed, whatever these say."),
            ("--ckpt_path", str, CKPT_PATH_HELP),
        ):
            parser.add_argument(option, type=kind | None, help=said)
        parser.add_argument(OPTION, action="store_true", help=HELP)
        parser.add_class_arguments(WandbOptions, "wandb")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        assert isinstance(args, list)
        with self.mistakes_reported():
            stored = stored_config(args, self.begins_again)
        if stored is None:
            with self.mistakes_reported():
                import_own_packages()
            if (classes := asked_for(args)) is not None:
                print(classes, end="")  # noqa: T201
                parser.exit()
            self.config = parser.parse_args(of_some_model(args))
            self.given = parser.parse_args(of_some_model(args), defaults=False)
        else:
            # Not as the stored configuration has it: what is read does not say whether to trust it.
            reading = Reading(stored, OPTION in args, args)
            with self.mistakes_reported(), reading.imports():
                given = ["--config", str(stored), *self.overriding_stored, *args]
                self.config = parser.parse_args(given)
                self.given = parser.parse_args(given, defaults=False)
                reading.check(self.config)
        self.config.pop(OPTION.removeprefix("--"))
        with self.mistakes_reported():
            refuse_nulls(self.config, parser)
            use_seed(self.config)
            name_run(self.config)

    def before_instantiate_classes(self) -> None:
        config = self.config
        with self.mistakes_reported():
            if config.ckpt_path is not None:
                of_run = (config.run_dir, config.runs, config.name)
                self.checkpoint, self.resumed_folder = find_resumed(
                    config.ckpt_path, *of_run, self.begins_again
                )
                self.use_stored_split()
            if config.run_dir is not None:
                check_folder(config.run_dir, "--run_dir")
            elif self.checkpoint is None and self.resumed_folder is None:
                check_folder(config.runs, "--runs")

    def use_stored_split(self) -> None:
        """Keep to the split that the checkpoint was trained on, unless another or other data are given.

        Raises:
            FileNotFoundError: the split of a checkpoint's run is gone.
        """
        folder = self.resumed_folder
        if folder is None:
            return
        data = self.config.get("data")
        trained_on = Run(folder.path).data.get("class_path")
        if not data or data.class_path != trained_on or folder.use_split(data.init_args):
            return
        if self.checkpoint is not None:
            raise FileNotFoundError(
                f"--ckpt_path {self.config.ckpt_path}: {folder.split} is gone, which says what the checkpoint was "
                "trained on. Put it back, or name another of the same data and seed with --data.split_file: a new run "
                "of the same configuration writes the same one."
            )

    def instantiate_classes(self) -> None:
        with self.mistakes_reported(), sizes_checked():
            self.linked = link_network(self.config, self.given)
            super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        check_fit(self.model, self.datamodule)
        self.end_at_signal = EndAtSignal(self.processes)
        kwargs["callbacks"] = [*kwargs["callbacks"], self.end_at_signal]
        plugins = listed(kwargs.get("plugins") or self.config_init.trainer.plugins)
        if not SLURMEnvironment.detect():  # nor that of a stored configuration which goes on elsewhere
            plugins = [plugin for plugin in plugins if not isinstance(plugin, SLURMEnvironment)]
        kwargs["plugins"] = plugins or None
        kwargs |= devices_of_launcher(self.config_init.trainer.devices)
        trainer = super().instantiate_trainer(**kwargs)
        require_all_processes(trainer)
        warn_of_emulation(trainer)
        self.processes.trainer_made(trainer)
        return trainer

    @contextmanager
    def mistakes_reported(self) -> Iterator[None]:
        """Turn an error of configuration, exit status 2, or a stopped training, 1, into one message of rank 0 for all.

        ``JSONARGPARSE_DEBUG=1`` in the environment keeps the traceback.
        """
        try:
            with failed_writes_stop(self.how_to_go_on):
                yield
        except TrainingStopped as stopped:
            if not is_rank_zero():
                sys.exit(STOPPED)
            self.parser.exit(STOPPED, f"{self.program}: {stopped}\n")
        except CONFIGURATION_ERRORS as wrapped:
            error = without_wrapping(wrapped)
            if self.run_started.started or not isinstance(error, CONFIGURATION_ERRORS):
                raise
            self.parser.error(str(error), error)

    def discard_failed_start(self) -> None:
        """Remove what was made for a run that does not start."""

    def how_to_go_on(self) -> str:
        """What to say of a run that was stopped."""
        return ""


def name_run(config: Any) -> None:
    """Name the runs of a parsed configuration after its files, in place, unless it names them.

    Raises:
        ValueError: it is no name that runs may have.
    """
    if config.name is None:
        config.name = name_of_merged([str(path) for path in config.config or [] if path is not None])
    check_name(config.name)


def use_seed(config: Any) -> None:
    """Spread ``seed`` over the seeds that a parsed configuration has, in place.

    Raises:
        ValueError: the data have no seed, or a seed is not one of NumPy's.
    """
    for option in ("seed", "seed_everything"):
        if (seed := config.get(option)) is not None and not isinstance(seed, bool):
            require_seed(f"--{option}", seed)
    if config.seed is None:
        return
    data = config.get("data")
    if not data or "seed" not in data.init_args:
        raise ValueError(
            f"--seed {config.seed}: the data have no option --data.seed. Use --seed_everything alone."
        )
    config.seed_everything = data.init_args.seed = config.seed
    config.seed = None


def listed(value: Any) -> list[Any]:
    """A list of whatever a Trainer argument takes: nothing, one thing or several."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def without_wrapping(error: BaseException) -> BaseException:
    """What a constructor raised, without the errors that jsonargparse raises from it about its type hints."""
    while error.__cause__ is not None:
        *_, (frame, _) = walk_tb(error.__traceback__)
        if not frame.f_globals["__name__"].startswith("jsonargparse"):
            break
        error = error.__cause__
    return error


def find_resumed(
    ckpt_path: str, run_dir: str | None, runs: str, name: str | None, begins_again: bool
) -> tuple[Path | None, RunFolder | None]:
    """The checkpoint that ``--ckpt_path`` means and its run's folder; no checkpoint of a run to begin again.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: ``last`` or ``best`` of an unknown run.
    """
    if (
        begins_again
        and ckpt_path == "last"
        and (stopped := stopped_before_its_first_checkpoint(run_dir, runs, name))
    ):
        return None, stopped
    checkpoint = find_checkpoint(ckpt_path, run_dir, runs, name)
    return checkpoint, folder_of(checkpoint)


def stored_config(arguments: list[str], begins_again: bool = False) -> Path | None:
    """The newest configuration stored with the checkpoint's run, if there is no ``--config``.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: no configuration lies beside it, or a given one is empty.
    """
    typed = Typed(arguments)
    ckpt_path, name = typed.last("ckpt_path"), typed.last("name")
    if name is not None:
        check_name(name)
    for config in typed.configs:
        if Path(config).is_file() and yaml.safe_load(Path(config).read_text()) is None:
            raise ValueError(f"--config {config}: is empty. It has to name a model and data.")
    if typed.configs or not ckpt_path:
        return None
    runs = typed.last("runs") or DEFAULT_RUNS
    _, folder = find_resumed(ckpt_path, typed.last("run_dir"), runs, name, begins_again)
    if folder is None:
        raise ValueError(
            f"--ckpt_path {ckpt_path}: has no config.yaml in the folder above it. "
            "Name the configuration with --config."
        )
    return folder.configs[-1]
