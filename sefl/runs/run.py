"""A run as its folder tells: what was run, by which command, how far it came, and what came of it.

The one place where a run's files are read back, for reports, sweeps and evaluations.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from sefl.files.reading import DamagedFile, reading
from sefl.files.torch_files import UnreadableFile, read_checkpoint
from sefl.files.yaml_files import load_configuration
from sefl.runs.commands import command_line, recorded_commands
from sefl.runs.evaluation import Evaluation
from sefl.runs.folder import CHECKPOINT_NAMES, MONITOR, RunFolder, versions
from sefl.runs.layer_errors import LayerError, layer_errors, mean_errors
from sefl.runs.metrics_file import iterate_rows
from sefl.runs.resources import Resources

Origin = Literal["test", "validation"]
Kept = TypeVar("Kept")

WITHOUT_EFFECT = (
    *("data_dir", "root", "download", "num_workers", "seed", "split_file", "memory_limit"),
    *("batch_size", "eval_batch_size", "train_size", "held_out_resolutions"),
)
"""Options of the data that change no test image, or only choose one of several equal draws."""
AUGMENTATION = "_augmentation"

EPOCHS_BY_DEFAULT = 1000
"""What Lightning's Trainer takes ``max_epochs: null`` for, without ``max_steps``."""

FIT, EVALUATE = "python -m sefl.fit", "python -m sefl.evaluate"


@dataclass(frozen=True)
class Results:
    """What was measured of a run.

    Args:
        origin: on which part of the data.
        folder: the evaluation's folder, or the run's.
        epoch: of the weights that were measured, counted from 0.
        values: by measure: ``accuracy``, ``accuracy_28``, ``orbit/...``, ``equivariance/downsample``, ``parameters``
            and whatever else was logged.
        layers: the equivariance error of every layer, in the network's order.
        commands: what measured it, beside training.
        data: the configuration of the data that an evaluation measured it on, if it recorded that.
        samples: how many test samples there were at each resolution; empty if an evaluation did not record that.
    """

    origin: Origin
    folder: Path
    epoch: int
    values: Mapping[str, float]
    layers: tuple[LayerError, ...]
    commands: tuple[str, ...] = ()
    data: Mapping[str, Any] | None = None
    samples: Mapping[int, int] = field(default_factory=dict)


class Progress(NamedTuple):
    """How far a training came: epochs and steps that were made, and whether a callback ended it."""

    epochs: int
    steps: int
    stopped_early: bool


class NoResults(Exception):
    """A run has nothing to report yet: neither evaluated nor validated."""


@dataclass(frozen=True)
class Run:
    """One run, each part of which is read when it is first asked for.

    A damaged file without which nothing can be told raises :class:`~sefl.files.reading.DamagedFile`; what is lost with
    any other is left out, and a sentence about it added to ``damages``.

    Args:
        path: its folder, as it was given.
        trusted: whether whatever classes its configuration names may run.
    """

    path: Path
    trusted: bool = False
    damages: list[str] = field(default_factory=list, compare=False)

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.path)

    @cached_property
    def configs(self) -> tuple[dict[str, Any], ...]:
        """The stored configurations, of the first start and of each resumption."""
        if not self.folder.configs:
            raise DamagedFile(f"{self.path} has no config.yaml")
        return tuple(map(_configuration, self.folder.configs))

    @property
    def config(self) -> dict[str, Any]:
        """The newest configuration."""
        return self.configs[-1]

    @property
    def data(self) -> dict[str, Any]:
        """What the newest configuration says of the data: ``class_path`` and ``init_args``."""
        return self.config.get("data") or {}

    @property
    def name(self) -> str:
        """What runs that differ in their seed alone have in common."""
        path = self.path.absolute()
        if not path.name.isdecimal():
            return path.name
        stored = Path(self.config.get("name") or path.parent.name)
        return str(stored) if path.parent.parts[-len(stored.parts) :] == stored.parts else path.parent.name

    @cached_property
    def commands(self) -> tuple[str, ...]:
        """What started and measured it, oldest first; of a run that did not record it, commands that do the same."""
        recorded = self._kept(lambda: recorded_commands(self.path), "its commands are of its configuration")
        if not recorded:
            first, *resumed = self.folder.configs
            go_on = ["--ckpt_path", "last", "--run_dir", str(self.path)]
            starts = [["--config", str(first)], *(["--config", str(config), *go_on] for config in resumed)]
            recorded = [command_line(FIT, arguments) for arguments in starts]
        return (*recorded, *self.results.commands)

    @cached_property
    def resources(self) -> Resources | None:
        """What training took, if that was recorded."""
        file = self.folder.resources
        return self._kept(lambda: Resources.load(file) if file.exists() else None, "time and memory are lost")

    @property
    def checkpoint(self) -> Path | None:
        """Its best checkpoint, else its last, if it has one."""
        files = map(self.folder.checkpoint, reversed(CHECKPOINT_NAMES))
        return next((file for file in files if file.is_file()), None)

    @cached_property
    def progress(self) -> Progress:
        """How far its last checkpoint is.

        Raises:
            UnreadableFile: if it is damaged, or of no training.
        """
        last = self.folder.checkpoint("last")
        content = read_checkpoint(last, mmap=True)
        try:
            epochs = content["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
            stopping = [state for name, state in content["callbacks"].items() if "EarlyStopping" in name]
            stopped = any(state.get("stopped_epoch") for state in stopping)
            return Progress(int(epochs), int(content["global_step"]), stopped)
        except (KeyError, TypeError, AttributeError) as error:
            raise UnreadableFile(f"{last}: is no checkpoint of a training.") from error

    @property
    def finished(self) -> bool:
        """Whether all epochs or steps of its configuration were made, or the training was stopped early."""
        trainer = self.config.get("trainer") or {}
        epochs, steps = trainer.get("max_epochs"), trainer.get("max_steps", -1)
        if epochs is None:
            epochs = EPOCHS_BY_DEFAULT if steps == -1 else -1
        made = self.progress
        return made.stopped_early or 0 <= epochs <= made.epochs or 0 <= steps <= made.steps

    @property
    def evaluations(self) -> list[Path]:
        """The folders of its evaluations, oldest first."""
        return [version for version in versions(self.folder.evaluation) if Evaluation.file(version).exists()]

    def evaluated(self, name: str) -> bool:
        """Whether its checkpoint, ``last`` or ``best``, was evaluated as it is now.

        Raises:
            UnreadableFile: if it is damaged.
        """
        file = self.folder.checkpoint(name)
        epoch = read_checkpoint(file, mmap=True)["epoch"] if file.is_file() else None
        for folder in self.evaluations:
            with suppress(DamagedFile):
                made = Evaluation.read(folder)
                if Path(made.checkpoint or "").name == file.name and made.epoch == epoch:
                    return True
        return False

    @cached_property
    def results(self) -> Results:
        """What its newest evaluation measured, else its best validation.

        Raises:
            NoResults: if there are neither.
        """
        return self._tested(self.evaluations[-1]) if self.evaluations else self._validated()

    @property
    def values(self) -> dict[str, float]:
        """All numbers: the results, with ``parameters``, ``epoch_seconds`` and ``peak_memory`` where known."""
        if self.resources is None:
            return dict(self.results.values)
        taken = {"parameters": self.resources.parameters, "peak_memory": self.resources.peak_bytes}
        seconds = self.resources.seconds_per_epoch
        return {**taken, **({} if seconds is None else {"epoch_seconds": seconds}), **self.results.values}

    @property
    def other_data(self) -> dict[str, Any]:
        """The options of the data that an evaluation had otherwise than the run, less those of training alone.

        Options that only one of the two recorded are those of another version of the datamodule, and do not count.
        """
        if self.results.data is None:
            return {}
        trained, tested = (
            {"class_path": data.get("class_path"), **(data.get("init_args") or {})}
            for data in (self.data, self.results.data)
        )
        return {
            name: tested[name]
            for name in trained.keys() & tested.keys()
            if trained[name] != tested[name]
            and name not in WITHOUT_EFFECT
            and not name.endswith(AUGMENTATION)
        }

    def _kept(self, read: Callable[[], Kept], lost: str) -> Kept | None:
        """What can be read; or nothing, and a sentence among the damages."""
        try:
            return read()
        except DamagedFile as error:
            self.damages.append(f"{error}: {lost}")
            return None

    def _tested(self, folder: Path) -> Results:
        evaluation = Evaluation.read(folder)
        with reading(Evaluation.file(folder), "; evaluate the run again"):
            _require_class_with_options(evaluation.data or {})
            values = {name.removeprefix("test/"): value for name, value in evaluation.metrics.items()}
            if evaluation.parameters is not None:
                values["parameters"] = evaluation.parameters
            if evaluation.checkpoint is None or evaluation.epoch is None:
                raise ValueError("it is of no checkpoint")
            epoch = int(evaluation.epoch)
            checkpoint = self.folder.checkpoints / Path(evaluation.checkpoint).name
            layers = layer_errors(evaluation.equivariance)
            values |= _by_transformation(layers)
        recorded = self._kept(lambda: recorded_commands(folder), "its command is of its checkpoint")
        commands = recorded or [command_line(EVALUATE, ["--ckpt_path", str(checkpoint)])]
        data, samples = evaluation.data, evaluation.samples_by_resolution
        return Results("test", folder, epoch, values, layers, tuple(commands), data, samples)

    def _validated(self) -> Results:
        """The epoch that ``best.ckpt`` is of. Where an epoch appears twice, the later row counts."""
        table = self.folder.metrics

        def rows() -> Iterator[tuple[int, dict[str, str]]]:
            for row in iterate_rows(table, having=MONITOR) if table.exists() else ():
                yield int(float(row["epoch"])), row

        with reading(table):
            accuracies = {epoch: float(row[MONITOR]) for epoch, row in rows()}
            if not accuracies:
                raise NoResults(f"{self.path} has been neither evaluated nor validated")
            # NaN is more than nothing, and less than any accuracy.
            best = max(accuracies, key=lambda epoch: (not math.isnan(accuracies[epoch]), accuracies[epoch]))
            values: dict[str, float] = {}
            for epoch, row in rows():
                if epoch == best:
                    logged = {
                        name: float(value) for name, value in row.items() if name.startswith("val/") and value
                    }
                    values = {name.removeprefix("val/"): value for name, value in logged.items()}
        layers = self._kept(lambda: self._layers_of_epoch(best), "its equivariance errors are lost") or ()
        return Results("validation", self.path, best, values | _by_transformation(layers), layers)

    def _layers_of_epoch(self, epoch: int) -> tuple[LayerError, ...]:
        """Of each layer, transformation and parameter the latest row."""
        latest: dict[tuple[str, ...], dict[str, str]] = {}
        table = self.folder.errors
        with reading(table):
            for row in iterate_rows(table) if table.exists() else ():
                if int(row["epoch"]) == epoch:
                    latest[row["layer"], row["transformation"], row["parameter"]] = row
            layers = layer_errors(latest.values())
            _by_transformation(layers)
        return layers


def find_runs(folders: Iterable[Path]) -> list[Path]:
    """The run folders that are given or lie below, each once: by folder, then by version.

    Raises:
        ValueError: if a folder does not exist or has no run.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"{folder}: there is no such folder; give run folders or folders above them")
        below = (
            (path.parent, int(path.name) if path.name.isdecimal() else 0, path)
            for path in _runs_below(folder)
        )
        runs = [path for *_, path in sorted(below)]
        if not runs:
            raise ValueError(f"{folder}: there is no run in it; python -m sefl.fit makes runs/NAME/VERSION")
        for run in runs:
            found.setdefault(run.resolve(), run)
    return list(found.values())


def read_run(path: Path, trusted: bool = False) -> Run:
    """A run of which all that is reported has been read, so that its ``damages`` are known.

    Raises:
        NoResults: if it was neither evaluated nor validated.
        DamagedFile: if a file is damaged, or the stored configuration is missing.
    """
    run = Run(path, trusted)
    _ = run.configs, run.results, run.commands, run.resources
    return run


def _runs_below(folder: Path) -> Iterator[Path]:
    for parent, children, _ in os.walk(folder):
        if RunFolder(Path(parent)).holds_a_run():
            children.clear()
            yield Path(parent)
        children[:] = [child for child in children if not child.startswith(".")]


def _configuration(path: Path) -> dict[str, Any]:
    """A stored configuration, whose name, data and model are of the kinds that they are written in.

    Raises:
        DamagedFile: if they are not, or the file can't be read.
    """
    try:
        content = load_configuration(path)
    except ValueError as error:
        raise DamagedFile(
            f"{path} is damaged ({str(error).removeprefix(str(path)).lstrip(':, ')})"
        ) from error
    with reading(path):
        if not isinstance(content.get("name") or "", str):
            raise ValueError("its name is no text")
        for part in ("data", "model"):
            _require_class_with_options(content.get(part) or {})
    return content


def _require_class_with_options(part: Any) -> None:
    whole = isinstance(part, dict) and isinstance(part.get("class_path") or "", str)
    if not whole or not isinstance(part.get("init_args") or {}, dict):
        raise ValueError("its data or model are no configuration's")


def _by_transformation(layers: Iterable[LayerError]) -> dict[str, float]:
    """The mean over all layers, parameters and samples, as the callback logs it."""
    means = mean_errors(layers, lambda error: error.transformation)
    return {f"equivariance/{name}": mean for name, mean in means.items()}
