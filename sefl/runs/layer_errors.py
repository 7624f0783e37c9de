"""Equivariance errors of layers as runs store them, and what reports call the transformations."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

FLOOR = "_floor"
"""Ends the name under which evaluations have the error of a transformation's interpolation alone."""
INTERPOLATED, INTERPOLATED_FLOOR = ", interpolated", ", interpolation alone"
"""Ends the names under which reports have a transformation's parameters that interpolate, and their floor."""
ACTION = "act_"
"""Begins the names of the actions of groups."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class LayerError:
    """The equivariance error of one layer under one transformation with one parameter, a mean over samples."""

    layer: str
    transformation: str
    mean: float
    count: int


def layer_errors(rows: Iterable[Mapping[str, Any]]) -> tuple[LayerError, ...]:
    """One row per layer, transformation and parameter; what interpolates has a name of its own, as its floor has."""
    named = [(str(row["transformation"]), str(row["parameter"]), row) for row in rows]
    with_floor = {
        (name.removesuffix(FLOOR), parameter) for name, parameter, _ in named if name.endswith(FLOOR)
    }

    def spelled(name: str, parameter: str) -> str:
        if name.endswith(FLOOR):
            return name.removesuffix(FLOOR) + INTERPOLATED_FLOOR
        return name + INTERPOLATED * ((name, parameter) in with_floor)

    return tuple(
        LayerError(str(row["layer"]), spelled(name, parameter), float(row["mean"]), int(row["count"]))
        for name, parameter, row in named
    )


def mean_errors(errors: Iterable[LayerError], key: Callable[[LayerError], Key]) -> dict[Key, float]:
    """The mean over samples of the errors that have a key in common, by key, in their order."""
    sums: dict[Key, tuple[float, int]] = {}
    for error in errors:
        total, count = sums.get(key(error), (0.0, 0))
        sums[key(error)] = total + error.mean * error.count, count + error.count
    return {name: total / count for name, (total, count) in sums.items()}


def spoken(transformation: str, measured: Iterable[str]) -> str:
    """What a report calls a transformation; what does not interpolate says so beside ``measured`` ones that do.

    >>> spoken("act_C8", ["act_C8", "act_C8, interpolated"]), spoken("flip_vertical", [])
    ('moved by C8, pixels to pixels', 'flip vertical')
    """
    exact = ", pixels to pixels" * (transformation + INTERPOLATED in measured)
    if transformation.startswith(ACTION):
        transformation = f"moved by {transformation.removeprefix(ACTION)}"
    return transformation.replace("_", " ") + exact
