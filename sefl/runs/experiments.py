"""Runs that differ in their seed alone, as one experiment: means and spreads."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from statistics import fmean, stdev
from typing import Any

from sefl.metrics.functional import standard_error
from sefl.runs.layer_errors import mean_errors
from sefl.runs.run import Origin, Run

SEEDS = ("seed_everything", "seed", "split_file")
"""Options of any part of the configuration that only choose one of several equal draws."""

NOT_OF_THE_EXPERIMENT = (
    *("name", "runs", "run_dir", "ckpt_path", "wandb"),
    *("data.init_args.data_dir", "data.init_args.download", "data.init_args.num_workers"),
    *("trainer.enable_progress_bar", "trainer.enable_model_summary", "trainer.default_root_dir"),
)
SHOWN_DIFFERENCES = 3


@dataclass(frozen=True)
class Summary:
    """A measure over the runs of an experiment.

    Args:
        mean: the mean, or the value of the only run.
        spread: the standard deviation (of a sample, ``n - 1``); ``None`` for a single value.
        n: how many values.
    """

    mean: float
    spread: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Summary":
        if len(values) == 1:
            return cls(values[0], None, 1)
        finite = all(map(math.isfinite, values))
        return cls(fmean(values), stdev(values) if finite else math.nan, len(values))


@dataclass(frozen=True)
class Experiment:
    """Runs of one configuration.

    Args:
        label: the runs' name, with their versions where the name has several configurations.
        origin: what part of the data the numbers are of.
        runs: the runs, at least one.
    """

    label: str
    origin: Origin
    runs: tuple[Run, ...]

    @property
    def title(self) -> str:
        """The label, with the part of the data where that is not the test split."""
        return self.label if self.origin == "test" else f"{self.label} (validation)"

    @property
    def data(self) -> Mapping[str, Any]:
        """The configuration of the data that was measured on: ``class_path`` and ``init_args``."""
        run = self.runs[-1]
        if not run.other_data:
            return run.data
        options = {**(run.data.get("init_args") or {}), **run.other_data}
        return {"class_path": options.pop("class_path", run.data.get("class_path")), "init_args": options}

    @cached_property
    def summaries(self) -> dict[str, Summary]:
        """Every measure that any of the runs has."""
        values = [run.values for run in self.runs]
        names = dict.fromkeys(name for of_run in values for name in of_run)
        return {name: Summary.of([of_run[name] for of_run in values if name in of_run]) for name in names}

    @property
    def accuracy(self) -> float:
        """To order by: less than any where it was not measured, or is NaN."""
        summary = self.summaries.get("accuracy")
        return -math.inf if summary is None or math.isnan(summary.mean) else summary.mean

    @cached_property
    def accuracy_by_resolution(self) -> dict[int, Summary]:
        parts = ((*name.partition("accuracy_"), summary) for name, summary in self.summaries.items())
        found = ((int(at), summary) for before, _, at, summary in parts if not before and at.isdecimal())
        return dict(sorted(found))

    @cached_property
    def accuracy_spreads(self) -> dict[int, float]:
        """Of the accuracy at each resolution: the standard deviation over seeds, or a single run's standard error.

        Without the number of its samples there is none.
        """
        measured, samples = self.accuracy_by_resolution, self.runs[0].results.samples
        errors = {
            at: standard_error(each.mean, samples[at]) for at, each in measured.items() if at in samples
        }
        spreads = {at: each.spread for at, each in measured.items() if each.spread is not None}
        return {**errors, **spreads}

    @cached_property
    def errors_by_layer(self) -> dict[str, dict[str, list[float]]]:
        """By transformation and layer, in the network's order: each run's mean over parameters and samples."""
        errors: dict[str, dict[str, list[float]]] = {}
        for run in self.runs:
            means = mean_errors(run.results.layers, lambda error: (error.transformation, error.layer))
            for (transformation, layer), mean in means.items():
                errors.setdefault(transformation, {}).setdefault(layer, []).append(mean)
        return errors


def group_runs(runs: Iterable[Run]) -> tuple[list[Experiment], list[str]]:
    """One experiment for each name, configuration and origin, and a warning where a name has several."""
    experiments: list[Experiment] = []
    warnings: list[str] = []
    by_name = sorted(runs, key=lambda run: run.name)
    for name, group in groupby(by_name, key=lambda run: run.name):
        alike: list[list[Run]] = []
        for run in group:
            same = next((others for others in alike if _compared(others[0]) == _compared(run)), None)
            if same is None:
                alike.append(same := [])
            same.append(run)
        for others in alike[1:]:
            warnings.append(
                f"{name}: {alike[0][0].path} and {others[0].path} differ in more than their seed, "
                f"so they are separate rows: {_difference(alike[0][0], others[0])}"
            )
        for run in (run for same in alike for run in same if run.other_data):
            spelled = "; ".join(f"{name} {value}" for name, value in sorted(run.other_data.items()))
            warnings.append(f"{run.path} was evaluated on other data than it was trained on: {spelled}")
        for same in alike:
            versions = ", ".join(run.path.name for run in same)
            label = name if len(alike) == 1 else f"{name} ({versions})"
            for origin in ("test", "validation"):
                measured = tuple(run for run in same if run.results.origin == origin)
                if measured:
                    experiments.append(Experiment(label, origin, measured))
    return experiments, warnings


def _compared(run: Run) -> list[dict[str, Any]]:
    """The configurations of a run's starts without what may differ, and without repetitions.

    With the last one goes what the run was evaluated on, where that is other data than its own.
    """
    flat = [dict(_flat(config)) for config in run.configs]
    distinct = [config for config, _ in groupby(flat)]
    evaluated = {f"evaluated on {name}": value for name, value in run.other_data.items()}
    return [*distinct[:-1], {**distinct[-1], **evaluated}]


def _flat(value: Any, key: str = "") -> Iterable[tuple[str, Any]]:
    if key in NOT_OF_THE_EXPERIMENT or key.rpartition(".")[2] in SEEDS:
        return
    children = dict(enumerate(value)) if isinstance(value, list) else value
    if not isinstance(children, dict) or not children:
        yield key, value
        return
    for name, child in children.items():
        yield from _flat(child, f"{key}.{name}" if key else str(name))


def _difference(one: Run, other: Run) -> str:
    first, second = _compared(one), _compared(other)
    if len(first) != len(second) and first[-1] == second[-1]:
        return "one was resumed with other options"
    both = {
        key: [last.get(key, "absent") for last in (first[-1], second[-1])]
        for key in {**first[-1], **second[-1]}
    }
    differing = [f"{key} {mine} and {theirs}" for key, (mine, theirs) in both.items() if mine != theirs]
    if not differing:
        return "they began with other options"
    more = len(differing) - SHOWN_DIFFERENCES
    return "; ".join(differing[:SHOWN_DIFFERENCES]) + f"; and {more} more" * (more > 0)
