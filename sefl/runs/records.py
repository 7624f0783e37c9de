"""Finished runs, as their folders tell: what was run, by which command, and what came of it."""

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from sefl.files.yaml_files import load_configuration
from sefl.runs.commands import command_line, recorded_commands
from sefl.runs.folder import MONITOR, RunFolder, versions
from sefl.runs.metrics_file import DamagedTable, iterate_rows
from sefl.runs.resources import FILE as RESOURCES
from sefl.runs.resources import Resources

Origin = Literal["test", "validation"]

FLOOR = "_floor"
"""Ends the name under which evaluations have the error of a transformation's interpolation alone."""
INTERPOLATED, INTERPOLATED_FLOOR = ", interpolated", ", interpolation alone"
"""Ends the names under which reports have a transformation's parameters that interpolate, and their floor."""

ACTION = "act_"
"""Begins the names of the actions of groups."""

WITHOUT_EFFECT = (
    *("data_dir", "root", "download", "num_workers", "seed", "split_file", "memory_limit"),
    *("batch_size", "eval_batch_size", "train_size", "held_out_resolutions"),
)
"""Options of the data that change no test image, or only choose one of several equal draws."""
AUGMENTATION = "_augmentation"

NOT_AS_WRITTEN = (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What is raised about a file with anything else in it than what was written into it."""

FIT, EVALUATE = "python -m sefl.fit", "python -m sefl.evaluate"


@dataclass(frozen=True)
class LayerError:
    """The equivariance error of one layer under one transformation with one parameter."""

    layer: str
    transformation: str
    mean: float
    count: int


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


@dataclass(frozen=True)
class Run:
    """One run.

    Args:
        path: its folder, as it was given.
        name: what runs that differ in their seed alone have in common.
        configs: the stored configurations, of the first start and of each resumption.
        commands: what started it, oldest first.
        resources: what training took, if that was recorded.
        results: what was measured.
        trusted: whether whatever classes its configuration names may run.
        damages: what of it was lost with a file that is damaged, a sentence each.
    """

    path: Path
    name: str
    configs: tuple[dict[str, Any], ...]
    commands: tuple[str, ...]
    resources: Resources | None
    results: Results
    trusted: bool = False
    damages: tuple[str, ...] = ()

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
        trained, tested = (_options(data) for data in (self.configs[-1].get("data") or {}, self.results.data))
        return {
            name: tested[name]
            for name in trained.keys() & tested.keys()
            if trained[name] != tested[name]
            and name not in WITHOUT_EFFECT
            and not name.endswith(AUGMENTATION)
        }


class NoResults(Exception):
    """A run has nothing to report yet: neither evaluated nor validated."""


class DamagedRun(Exception):
    """A file of a run is damaged or missing; the message names it."""


def find_runs(folders: Iterable[Path]) -> list[Path]:
    """The run folders that are given or lie below, each once: by folder, then by version.

    Raises:
        ValueError: if a folder does not exist or has no run.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"{folder}: there is no such folder; give run folders or folders above them")
        runs = sorted(_runs_below(folder), key=_by_version)
        if not runs:
            raise ValueError(f"{folder}: there is no run in it; python -m sefl.fit makes runs/NAME/VERSION")
        for run in runs:
            found.setdefault(run.resolve(), run)
    return list(found.values())


def read_run(path: Path, trusted: bool = False) -> Run:
    """Read a run with the results of its newest evaluation, else those of its best validation.

    Raises:
        NoResults: if there are neither.
        DamagedRun: if a file is damaged, or the stored configuration is missing.
    """
    folder = RunFolder(path)
    configs = tuple(read_config(file) for file in folder.configs)
    if not configs:
        raise DamagedRun(f"{path} has no config.yaml")
    evaluated = [version for version in versions(folder.evaluation) if (version / "evaluation.json").exists()]
    damages: list[str] = []
    results = _evaluation(folder, evaluated[-1], damages) if evaluated else _validation(folder, damages)
    trained = _kept(lambda: recorded_commands(path), damages, "its commands are of its configuration")
    resources = _kept(lambda: _resources(path / RESOURCES), damages, "time and memory are lost")
    return Run(
        path=path,
        name=_name(path, configs[-1]),
        configs=configs,
        commands=(*(trained or _stand_ins(folder)), *results.commands),
        resources=resources,
        results=results,
        trusted=trusted,
        damages=tuple(damages),
    )


Kept = TypeVar("Kept")


def _kept(read: Callable[[], Kept], damages: list[str], lost: str) -> Kept | None:
    """What can be read; or nothing, and a sentence among the damages."""
    try:
        return read()
    except (ValueError, OSError) as error:
        damages.append(f"{error}: {lost}")
        return None


def spoken(transformation: str, measured: Iterable[str]) -> str:
    """What a report calls a transformation; what does not interpolate says so beside ``measured`` ones that do.

    >>> spoken("act_C8", ["act_C8", "act_C8, interpolated"]), spoken("flip_vertical", [])
    ('moved by C8, pixels to pixels', 'flip vertical')
    """
    exact = ", pixels to pixels" * (transformation + INTERPOLATED in measured)
    if transformation.startswith(ACTION):
        transformation = f"moved by {transformation.removeprefix(ACTION)}"
    return transformation.replace("_", " ") + exact


def _options(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"class_path": data.get("class_path"), **(data.get("init_args") or {})}


def _runs_below(folder: Path) -> Iterator[Path]:
    for parent, children, _ in os.walk(folder):
        if RunFolder(Path(parent)).holds_a_run():
            children.clear()
            yield Path(parent)
        children[:] = [child for child in children if not child.startswith(".")]


def _by_version(path: Path) -> tuple[Path, int, str]:
    return path.parent, int(path.name) if path.name.isdecimal() else 0, path.name


def _name(path: Path, config: Mapping[str, Any]) -> str:
    path = path.absolute()
    if not path.name.isdecimal():
        return path.name
    stored = Path(config.get("name") or path.parent.name)
    return str(stored) if path.parent.parts[-len(stored.parts) :] == stored.parts else path.parent.name


def read_config(path: Path) -> dict[str, Any]:
    """A stored configuration, whose name, data and model are of the kinds that they are written in.

    Raises:
        DamagedRun: if they are not, or the file can't be read.
    """
    try:
        content = load_configuration(path)
    except ValueError as error:
        raise DamagedRun(f"{path} is damaged ({str(error).removeprefix(str(path)).lstrip(':, ')})") from error
    parts = [content.get(part) or {} for part in ("data", "model")]
    if not isinstance(content.get("name") or "", str) or not all(map(_is_class_with_options, parts)):
        raise DamagedRun(f"{path} is damaged (its name, data or model are no configuration's)")
    return content


def _is_class_with_options(part: Any) -> bool:
    return (
        isinstance(part, dict)
        and isinstance(part.get("class_path") or "", str)
        and isinstance(part.get("init_args") or {}, dict)
    )


def _stand_ins(folder: RunFolder) -> list[str]:
    """Commands that do what a run did which did not record them."""
    first, *resumed = folder.configs
    go_on = ["--ckpt_path", "last", "--run_dir", str(folder.path)]
    starts = [["--config", str(first)], *(["--config", str(config), *go_on] for config in resumed)]
    return [command_line(FIT, arguments) for arguments in starts]


def _evaluation(run: RunFolder, folder: Path, damages: list[str]) -> Results:
    path = folder / "evaluation.json"
    try:
        content = json.loads(path.read_text())
        if not _is_class_with_options(content.get("data") or {}):
            raise ValueError("its data are no configuration's")
        values = {name.removeprefix("test/"): float(value) for name, value in content["metrics"].items()}
        if "parameters" in content:
            values["parameters"] = float(content["parameters"])
        layers = layer_errors(content["equivariance"])
        checkpoint = run.checkpoints / Path(content["checkpoint"]).name
        recorded = _kept(lambda: recorded_commands(folder), damages, "its command is of its checkpoint")
        commands = recorded or [command_line(EVALUATE, ["--ckpt_path", str(checkpoint)])]
        return Results(
            origin="test",
            folder=folder,
            epoch=int(content["epoch"]),
            values=values | _by_transformation(layers),
            layers=layers,
            commands=tuple(commands),
            data=content.get("data"),
            samples={int(r): int(n) for r, n in content.get("samples_by_resolution", {}).items()},
        )
    except NOT_AS_WRITTEN as error:
        raise DamagedRun(f"{path} is damaged ({_said(error)}); evaluate the run again") from error


def _validation(folder: RunFolder, damages: list[str]) -> Results:
    """The epoch that ``best.ckpt`` is of. Where an epoch appears twice, the later row counts."""
    try:
        accuracies = dict(_validated(folder.metrics)) if folder.metrics.exists() else {}
        if not accuracies:
            raise NoResults(f"{folder.path} has been neither evaluated nor validated")
        # NaN is more than nothing, and less than any accuracy.
        epoch = max(accuracies, key=lambda epoch: (not math.isnan(accuracies[epoch]), accuracies[epoch]))
        values = {}
        for row in iterate_rows(folder.metrics, having=MONITOR):
            if int(float(row["epoch"])) == epoch:
                values = {
                    name.removeprefix("val/"): float(value)
                    for name, value in row.items()
                    if name.startswith("val/") and value
                }
    except NOT_AS_WRITTEN as error:
        raise DamagedRun(_of_file(folder.metrics, error)) from error
    table = folder.path / "equivariance" / "fit.csv"
    layers = _kept(lambda: _layers_of_epoch(table, epoch), damages, "its equivariance errors are lost") or ()
    return Results("validation", folder.path, epoch, values | _by_transformation(layers), layers)


def _layers_of_epoch(table: Path, epoch: int) -> tuple[LayerError, ...]:
    """Of each layer, transformation and parameter the latest row."""
    latest: dict[tuple[str, ...], dict[str, str]] = {}
    try:
        for row in iterate_rows(table) if table.exists() else ():
            if int(row["epoch"]) == epoch:
                latest[tuple(row[key] for key in ("layer", "transformation", "parameter"))] = row
        layers = layer_errors(latest.values())
        _by_transformation(layers)
    except NOT_AS_WRITTEN as error:
        raise ValueError(_of_file(table, error)) from error
    return layers


def _validated(metrics: Path) -> Iterator[tuple[int, float]]:
    """The epoch and accuracy of every validation."""
    for row in iterate_rows(metrics, having=MONITOR):
        yield int(float(row["epoch"])), float(row[MONITOR])


def _of_file(path: Path, error: Exception) -> str:
    return str(error) if isinstance(error, DamagedTable) else f"{path} is damaged ({_said(error)})"


def _resources(path: Path) -> Resources | None:
    return Resources.load(path) if path.exists() else None


def layer_errors(rows: Iterable[Mapping[str, Any]]) -> tuple[LayerError, ...]:
    """One row per layer, transformation and parameter; what interpolates has a name of its own, as its floor has."""
    rows = list(rows)
    with_floor = {
        (str(row["transformation"]).removesuffix(FLOOR), str(row["parameter"]))
        for row in rows
        if str(row["transformation"]).endswith(FLOOR)
    }

    def name(row: Mapping[str, Any]) -> str:
        transformation = str(row["transformation"])
        if transformation.endswith(FLOOR):
            return transformation.removesuffix(FLOOR) + INTERPOLATED_FLOOR
        return transformation + INTERPOLATED * ((transformation, str(row["parameter"])) in with_floor)

    return tuple(
        LayerError(str(row["layer"]), name(row), float(row["mean"]), int(row["count"])) for row in rows
    )


def _by_transformation(layers: Iterable[LayerError]) -> dict[str, float]:
    """The mean over all layers, parameters and samples, as the callback logs it."""
    sums: dict[str, tuple[float, int]] = {}
    for row in layers:
        total, count = sums.get(row.transformation, (0.0, 0))
        sums[row.transformation] = (total + row.mean * row.count, count + row.count)
    return {f"equivariance/{name}": total / count for name, (total, count) in sums.items()}


def _said(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"no {error}" if isinstance(error, KeyError) else str(error)
