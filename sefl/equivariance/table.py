"""Rows of the table of equivariance errors, and what they come to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from sefl.equivariance.transformations import Parameter

FLOOR = "_floor"


@dataclass(frozen=True)
class EquivarianceRow:
    """Relative squared equivariance error of one layer under one transformation, over ``count`` samples."""

    layer: str
    transformation: str
    parameter: Parameter
    mean: float
    max: float
    count: int


@runtime_checkable
class MeasuresEquivariance(Protocol):
    """What has measured: ``results`` are the rows of the last time."""

    results: list[EquivarianceRow]


def floor_of(transformation: str) -> str:
    """The name under which the table has what a transformation's interpolation alone costs."""
    return transformation + FLOOR


def is_floor(transformation: str) -> bool:
    """Whether a name is that of a floor.

    >>> is_floor("rotate"), is_floor(floor_of("rotate"))
    (False, True)
    """
    return transformation.endswith(FLOOR)


def interpolated(rows: Iterable[EquivarianceRow], transformation: str) -> set[Parameter]:
    """The parameters under which the transformation has a floor."""
    return {row.parameter for row in rows if row.transformation == floor_of(transformation)}


def combined(rows: Iterable[EquivarianceRow]) -> tuple[float, float]:
    """Mean over all samples of these rows, and maximum. NaN in a row stays NaN.

    >>> coarse = EquivarianceRow("conv", "downsample", 8, mean=1.0, max=3.0, count=1)
    >>> combined([coarse, EquivarianceRow("conv", "downsample", 9, mean=2.0, max=2.0, count=3)])
    (1.75, 3.0)
    """
    rows = list(rows)
    means, largest, counts = (
        torch.tensor([getattr(row, name) for row in rows], dtype=torch.float64)
        for name in ("mean", "max", "count")
    )
    return (means @ counts / counts.sum()).item(), largest.amax().item()


def scalars(rows: Sequence[EquivarianceRow], prefix: str) -> dict[str, float]:
    """What goes to the loggers, by name.

    ``<prefix>/<layer>/<transformation>/<parameter>`` is the mean over samples; ``.../mean`` and ``.../max``
    of a layer and a transformation are over all parameters.

    >>> rows = [EquivarianceRow("a", "downsample", 14, mean=0.5, max=0.75, count=8)]
    >>> for name, value in scalars(rows, "equivariance").items():
    ...     f"{name} {value}"
    'equivariance/a/downsample/14 0.5'
    'equivariance/a/downsample/mean 0.5'
    'equivariance/a/downsample/max 0.75'
    """
    named: dict[str, float] = {}
    for layer, transformation in dict.fromkeys((row.layer, row.transformation) for row in rows):
        here = [row for row in rows if (row.layer, row.transformation) == (layer, transformation)]
        name = f"{prefix}/{layer}/{transformation}"
        named |= {f"{name}/{row.parameter}": row.mean for row in here}
        named[f"{name}/mean"], named[f"{name}/max"] = combined(here)
    return named
