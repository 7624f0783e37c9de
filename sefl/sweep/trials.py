"""Which run of an experiment there is already, and how far it came."""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, Namespace

from sefl.command_line.options import name_run, use_seed
from sefl.files.output_folders import check_name
from sefl.files.torch_files import UnreadableFile, read_checkpoint
from sefl.files.trust import Reading, UntrustedCode
from sefl.fit import NOT_STORED, FitCLI
from sefl.runs.experiments import NOT_OF_THE_EXPERIMENT
from sefl.runs.folder import RunFolder, versions
from sefl.runs.records import NOT_AS_WRITTEN, DamagedRun, read_config
from sefl.sweep.plan import Trial

EPOCHS_BY_DEFAULT = 1000
"""What Lightning's Trainer takes ``max_epochs: null`` for, without ``max_steps``."""

_NOT_COMPARED = (*NOT_OF_THE_EXPERIMENT, *NOT_STORED, "seed", "config")


@dataclass(frozen=True)
class Planned:
    """An experiment whose options have been found to be right.

    Args:
        trial: the one.
        name: what its runs are called.
        config: its whole configuration, as a run stores it.
    """

    trial: Trial
    name: str
    config: dict[str, Any]


@dataclass(frozen=True)
class StoredRun:
    """A run of an experiment.

    Args:
        folder: where.
        finished: whether it was trained to its end.
        epochs: how many were trained.
    """

    folder: RunFolder
    finished: bool
    epochs: int

    def evaluated(self, checkpoint: str) -> bool:
        """Whether the checkpoint, ``last`` or ``best``, was evaluated as it is now.

        Raises:
            UnreadableFile: if it is damaged.
        """
        file = self.folder.checkpoint(checkpoint)
        epoch = read_checkpoint(file, mmap=True)["epoch"] if file.is_file() else None
        results = [version / "evaluation.json" for version in versions(self.folder.evaluation)]
        return any(_is_of(result, file.name, epoch) for result in results)


class FitParser(FitCLI):
    """The options of ``python -m sefl.fit``: finds mistakes in them, and makes nothing of them."""

    def __init__(self) -> None:
        super().__init__([])
        self.parser.exit_on_error = False

    def parse_arguments(self, parser: Any, args: Any) -> None:
        self.config = Namespace(seed_everything=False)

    def before_instantiate_classes(self) -> None:
        """Nothing: there is nothing to prepare for."""

    def instantiate_classes(self) -> None:
        """Nothing."""

    def plan(self, trial: Trial) -> Planned:
        """Look at the options of a trial.

        Raises:
            ValueError: if there is a mistake in them.
        """
        try:
            config = self.parser.parse_args(trial.arguments)
            use_seed(config)
            stored = self._stored(config)
            name_run(config)
            name = check_name(f"{config.name}/{trial.variant}".removesuffix("/"))
        except (ArgumentError, ValueError) as error:
            raise ValueError(f"{' '.join(trial.arguments)}: {error}") from error
        return Planned(trial, name, stored)

    def same(self, stored: Mapping[str, Any], planned: Mapping[str, Any], file: Path) -> bool:
        """Whether the configuration stored in a file is of the same experiment and seed.

        Options that there were not yet when it was stored count with their defaults. What names other code of the
        user's than the plan does, whose modules are imported by now, is another experiment.
        """
        try:
            with Reading(file).imports():
                complete = self._stored(self.parser.parse_object(dict(stored)))
        except (ArgumentError, UntrustedCode):
            return False
        return _compared(complete) == _compared(planned)

    def _stored(self, config: Namespace) -> dict[str, Any]:
        content: dict[str, Any] = yaml.safe_load(self.parser.dump(config, skip_none=False))
        return content


def _is_of(result: Path, checkpoint: str, epoch: int | None) -> bool:
    """Whether an evaluation is of a checkpoint of this name and epoch; one that can't be read counts as not made."""
    try:
        content = json.loads(result.read_text())
        return Path(content["checkpoint"]).name == checkpoint and content["epoch"] == epoch
    except NOT_AS_WRITTEN:
        return False


def find_run(
    planned: Planned, runs: Path, parser: FitParser, tell: Callable[[str], object]
) -> StoredRun | None:
    """The newest finished run of an experiment and its seed, or else the newest that can go on.

    Looked for among the runs of its name, and of its configuration's name without a variant. A run whose configuration
    is damaged is none of them, and ``tell`` is called with a sentence about it.

    Raises:
        UnreadableFile: if a checkpoint of one is damaged.
    """
    names = dict.fromkeys([planned.name, planned.name.removesuffix(f"/{planned.trial.variant}")])
    found = [
        run
        for name in names
        for path in reversed(versions(runs / name))
        if (run := _read(RunFolder(path), planned, parser, tell)) is not None
    ]
    return next((run for run in found if run.finished), found[0] if found else None)


def _read(
    folder: RunFolder, planned: Planned, parser: FitParser, tell: Callable[[str], object]
) -> StoredRun | None:
    """A run, if it is one of the experiment and has a checkpoint."""
    if not folder.configs or not folder.checkpoint("last").is_file():
        return None
    for file in folder.configs:
        try:
            stored = read_config(file)
        except DamagedRun as damage:
            tell(f"left aside: {damage}")
            return None
        folder.leave_split_out((stored.get("data") or {}).get("init_args") or {})
        if not parser.same(stored, planned.config, file):
            return None
    last = folder.checkpoint("last")
    checkpoint = read_checkpoint(last, mmap=True)
    try:
        epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        return StoredRun(folder, _finished(checkpoint, epochs, planned.config["trainer"]), epochs)
    except (KeyError, TypeError, AttributeError) as error:
        raise UnreadableFile(f"{last}: is no checkpoint of a training.") from error


def _finished(checkpoint: Mapping[str, Any], trained: int, trainer: Mapping[str, Any]) -> bool:
    """Whether so many epochs are all, or all steps were made, or the training was stopped early."""
    epochs, steps = trainer["max_epochs"], trainer["max_steps"]
    if epochs is None:
        epochs = EPOCHS_BY_DEFAULT if steps == -1 else -1
    stopped_early = any(
        state.get("stopped_epoch")
        for name, state in checkpoint["callbacks"].items()
        if "EarlyStopping" in name
    )
    return stopped_early or 0 <= epochs <= trained or 0 <= steps <= checkpoint["global_step"]


def _compared(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without what may differ between runs of one experiment and seed."""
    pruned = deepcopy(dict(config))
    for key in _NOT_COMPARED:
        *parents, last = key.split(".")
        node: Any = pruned
        for parent in parents:
            node = node.get(parent, {})
        node.pop(last, None)
    return pruned
