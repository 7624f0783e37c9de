"""Which run of an experiment there is already, and how far it came."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, Namespace

from sefl.command_line.agreement import link_network
from sefl.command_line.options import CONFIGURATION_ERRORS, name_run, use_seed
from sefl.command_line.packaged import completed
from sefl.files.output_folders import check_name
from sefl.files.reading import DamagedFile
from sefl.files.trust import Reading, UntrustedCode
from sefl.fit import NOT_STORED, FitCLI
from sefl.runs.experiments import NOT_OF_THE_EXPERIMENT
from sefl.runs.folder import versions
from sefl.runs.run import Run
from sefl.sweep.plan import Trial

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
            arguments = completed(trial.arguments)
            config = self.parser.parse_args(arguments)
            use_seed(config)
            link_network(config, self.parser.parse_args(arguments, defaults=False))
            stored = self._stored(config)
            name_run(config)
            name = check_name(f"{config.name}/{trial.variant}".removesuffix("/"))
        except (ArgumentError, *CONFIGURATION_ERRORS) as error:
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


def find_run(planned: Planned, runs: Path, parser: FitParser, tell: Callable[[str], object]) -> Run | None:
    """The newest finished run of an experiment and its seed, or else the newest that can go on.

    Looked for among the runs of its name, and of its configuration's name without a variant. A run whose configuration
    is damaged is none of them, and ``tell`` is called with a sentence about it.

    Raises:
        UnreadableFile: if a checkpoint of one is damaged.
    """

    def is_of_experiment(run: Run) -> bool:
        if not run.folder.configs or not run.folder.checkpoint("last").is_file():
            return False
        try:
            stored = list(zip(run.configs, run.folder.configs, strict=True))
        except DamagedFile as damage:
            tell(f"left aside: {damage}")
            return False
        for config, file in stored:
            run.folder.leave_split_out((config.get("data") or {}).get("init_args") or {})
            if not parser.same(config, planned.config, file):
                return False
        return True

    names = dict.fromkeys([planned.name, planned.name.removesuffix(f"/{planned.trial.variant}")])
    stored = (Run(path) for name in names for path in reversed(versions(runs / name)))
    found = [run for run in stored if is_of_experiment(run)]
    return next((run for run in found if run.finished), found[0] if found else None)


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
