"""The experiments of a sweep: every combination of configurations, values of options and seeds."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from sefl.arguments import require_seed
from sefl.command_line.packaged import meant, packaged
from sefl.files.yaml_files import load_yaml

Grid = dict[str, list[Any]]
"""The values of each parameter. ``config`` and ``seed`` are the configuration file and the seed."""

CONFIG, SEED = "config", "seed"
COMMAND = ["${env}", "python", "-m", "sefl.fit", "${args}"]
"""What a W&B agent runs: the parameters become the options ``--parameter=value``."""

OF_THE_SWEEP = ("--name", "--runs", "--run_dir", "--ckpt_path", "--seed", "--seed_everything", "--data.seed")
"""Options of single runs that a sweep sets itself."""

_UNSAFE_IN_PATHS = re.compile(r"[^A-Za-z0-9_.+-]+")


@dataclass(frozen=True)
class Trial:
    """One run to be made.

    Args:
        config: the configuration file.
        variant: what tells it from others of the same file in the sweep: part of the name of its runs; or empty.
        seed: of everything random, or the configuration's own.
        options: further options of ``python -m sefl.fit``.
    """

    config: str
    variant: str = ""
    seed: int | None = None
    options: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        """Of ``python -m sefl.fit``, less those that say where the run is stored."""
        seed = [] if self.seed is None else ["--seed", str(self.seed)]
        return ["--config", self.config, *self.options, *seed]

    def __str__(self) -> str:
        words = [self.config, self.variant, "" if self.seed is None else f"seed {self.seed}"]
        return " ".join(word for word in words if word)


def trials(grid: Mapping[str, Sequence[Any]], options: Sequence[str] = ()) -> list[Trial]:
    """All combinations, seeds last: what is compared is there early, and its spread later.

    Args:
        grid: the values of each parameter; ``config`` is needed.
        options: of every run, after its own.

    Raises:
        ValueError: if there is no configuration, one does not exist, a parameter has no or a repeated value, two
            variants would have the same name, or an option is one that the sweep sets.
    """
    _check(grid, options)
    varied = {name: values for name, values in grid.items() if name not in (CONFIG, SEED)}
    planned: list[Trial] = []
    variants: dict[str, dict[str, Any]] = {}
    for seed in grid.get(SEED, [None]):
        for config, *values in product(grid[CONFIG], *varied.values()):
            chosen = dict(zip(varied, values, strict=True))
            variant = _variant({name: value for name, value in chosen.items() if len(varied[name]) > 1})
            if variants.setdefault(variant, chosen) != chosen:
                both = f"{variants[variant]} and {chosen}"
                raise ValueError(f"the values {both} would give runs of one name, {variant}")
            own = tuple(f"--{name}={_text(value)}" for name, value in chosen.items())
            planned.append(Trial(config, variant, seed, (*own, *options)))
    return planned


def read_sweep_file(path: Path) -> Grid:
    """The grid of a W&B sweep file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no grid, or its command is not that of ``python -m sefl.fit``.
    """
    path = path if path.is_file() else packaged(str(path)) or path
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such sweep file")
    content = load_yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get("parameters"), dict):
        raise ValueError(
            f"{path}: must have parameters, each with value or values, as W&B's sweep files have"
        )
    if content.get("method") != "grid":
        raise ValueError(
            f"{path}: method must be grid, got {content.get('method')!r}; other searches need W&B: wandb sweep {path}"
        )
    if content.get("command") != COMMAND:
        raise ValueError(f"{path}: command must be {COMMAND}, got {content.get('command')!r}; use parameters")
    return {name: list(_values(path, name, given)) for name, given in content["parameters"].items()}


def _values(path: Path, name: str, given: Any) -> Iterator[Any]:
    keys = set(given) if isinstance(given, dict) else set()
    if keys == {"value"}:
        yield given["value"]
    elif keys == {"values"} and isinstance(given["values"], list):
        yield from given["values"]
    else:
        raise ValueError(
            f"{path}: parameter {name} must have either value or a list of values, got {given!r}"
        )


def _check(grid: Mapping[str, Sequence[Any]], options: Sequence[str]) -> None:
    if not grid.get(CONFIG):
        raise ValueError(
            "no configuration: give --configs FILE [FILE ...], or a sweep file with a parameter config"
        )
    for name, values in grid.items():
        repeated = [value for number, value in enumerate(values) if value in values[:number]]
        if not values or repeated:
            raise ValueError(f"{name}: must have one value at least and each once, got {list(values)}")
    for config in grid[CONFIG]:
        if not Path(config).is_file() and packaged(config) is None:
            raise ValueError(f"config {config}: there is no such file{meant(config)}")
    for seed in grid.get(SEED, []):
        require_seed("seed", seed)
    for option in [*options, *(f"--{name}" for name in grid if name != SEED)]:
        if option.partition("=")[0] in OF_THE_SWEEP:
            raise ValueError(
                f"{option}: is set by the sweep (seeds by --seeds, folders by --runs); leave it out"
            )


def _variant(chosen: Mapping[str, Any]) -> str:
    """The name of a combination, as part of a path.

    >>> _variant({"data.train_size": 1000, "model.widths": [8, 16]})
    'train_size=1000,widths=8-16'
    """
    last = [name.rpartition(".")[2] for name in chosen]
    short = last if len(set(last)) == len(last) else list(chosen)
    return ",".join(
        f"{name}={_UNSAFE_IN_PATHS.sub('-', _text(value)).strip('-')}"
        for name, value in zip(short, chosen.values(), strict=True)
    )


def _text(value: Any) -> str:
    """A value as an option of the command line."""
    return value if isinstance(value, str) else json.dumps(value)
