"""Figures of a section: accuracy over resolution and over angle, equivariance error over depth."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sefl.figures.orbit import around_the_circle, style_angles
from sefl.figures.style import (
    DOTTED,
    FLOAT32_ROUNDING,
    MARKERS,
    clipped,
    exponents,
    new_figure,
    quiet,
    style_log_errors,
)
from sefl.groups.orbit import OrbitElement
from sefl.runs.experiments import Experiment
from sefl.runs.layer_errors import INTERPOLATED, INTERPOLATED_FLOOR, spoken

ORBIT = "orbit/"

COLORS = colormaps["tab10"](range(10))
MOST_LINES = len(COLORS)
BAND = 0.18
MOST_TICKS = 14
CROWDED = 45
"""Characters of layers' names that fit beside each other under a panel."""


def most_accurate(experiments: Sequence[Experiment]) -> Sequence[Experiment]:
    """As many as a figure can tell apart by colour, in their order: the most accurate ones."""
    by_accuracy = sorted(range(len(experiments)), key=lambda index: experiments[index].accuracy, reverse=True)
    return [experiments[index] for index in sorted(by_accuracy[:MOST_LINES])]


def accuracy_over_resolution(experiments: Sequence[Experiment]) -> Figure | None:
    """One line per experiment, with a band of one standard deviation over seeds; ``None`` without a line.

    Of an experiment with one seed the band is the standard error of its samples.
    """
    if not any(experiment.accuracy_by_resolution for experiment in experiments):
        return None
    figure, (axes,) = _figure(6.8, 4.0, 1)
    for index, experiment in enumerate(experiments):
        found = experiment.accuracy_by_resolution
        if not found:
            continue
        mean = np.array([summary.mean for summary in found.values()])
        spread = np.array([experiment.accuracy_spreads.get(resolution, 0.0) for resolution in found])
        _line(axes, index, list(found), mean, mean - spread, mean + spread, experiment.title)
    axes.set(xlabel="resolution (pixels per side)", ylabel="accuracy")
    resolutions = sorted({at for each in experiments for at in each.accuracy_by_resolution})
    axes.set_xticks(resolutions[:: math.ceil(len(resolutions) / MOST_TICKS)])
    notes = ["band: standard deviation over seeds"] * _has_seeds(experiments)
    if any(len(each.runs) == 1 and each.accuracy_spreads for each in experiments):
        notes.append("band of a single run: standard error of its samples")
    _finish(figure, [axes], "; ".join(notes))
    return figure


def accuracy_over_angle(experiments: Sequence[Experiment]) -> Figure | None:
    """Accuracy over the rotation of the test images, dashed for mirrored ones; ``None`` without a line."""
    orbits = [_orbit(experiment) for experiment in experiments]
    if not any(orbits):
        return None
    figure, (axes,) = _figure(6.8, 4.0, 1)
    for index, (experiment, orbit) in enumerate(zip(experiments, orbits, strict=True)):
        for mirrored, points in orbit.items():
            mean, spread = (np.array(values) for values in zip(*points.values(), strict=True))
            label = None if mirrored and False in orbit else experiment.title
            _line(axes, index, list(points), mean, mean - spread, mean + spread, label, dashed=mirrored)
    if any(True in orbit for orbit in orbits):
        axes.plot([], [], color="0.4", linestyle="--", label="of mirrored images")
    axes.set_ylabel("accuracy")
    style_angles(axes)
    _finish(figure, [axes], "band: standard deviation over seeds" * _has_seeds(experiments))
    return figure


def error_over_depth(experiments: Sequence[Experiment]) -> Figure | None:
    """The mean equivariance error of each layer, a panel with its own scale per transformation; ``None`` without any.

    The band reaches from the lowest to the highest seed; dots are what interpolation alone costs. Exact zeros, which a
    log axis cannot show, are drawn at its lower edge, and a note says so.
    """
    measured = dict.fromkeys(name for each in experiments for name in each.errors_by_layer)
    transformations = [name for name in measured if not name.endswith(INTERPOLATED_FLOOR)]
    if not transformations:
        return None
    longest = max(len(layer) for each in experiments for of in each.errors_by_layer.values() for layer in of)
    figure, panels = _figure(2.2 + 4.6 * len(transformations), 4.2 + 0.03 * longest, len(transformations))
    zeros = False
    for axes, transformation in zip(panels, transformations, strict=True):
        names = {transformation, _floor_name(transformation)}
        drawn = [each.errors_by_layer.get(name, {}) for each in experiments for name in names]
        values = [error for layers in drawn for errors in layers.values() for error in errors]
        zeros |= 0.0 in values
        lowest, highest = exponents(values, FLOAT32_ROUNDING if 0.0 in values else -1)
        shared = _shared_layers([each.errors_by_layer.get(transformation, {}) for each in experiments])
        for index, experiment in enumerate(experiments):
            layers = experiment.errors_by_layer.get(transformation)
            if not layers:
                continue
            runs = [clipped(errors, lowest, highest) for errors in layers.values()]
            mean, low, high = (
                np.array([f(of_layer) for of_layer in runs]) for f in (np.mean, np.min, np.max)
            )
            at = _depths(layers, shared)
            _line(axes, index, at, mean, low, high, experiment.title)
            if transformation.endswith(INTERPOLATED):
                alone = experiment.errors_by_layer[_floor_name(transformation)]
                floor = [float(np.mean(errors)) for errors in alone.values()]
                color = COLORS[index % len(COLORS)]
                axes.plot(_depths(alone, shared), floor, color=color, linestyle=DOTTED, linewidth=1.2)
        if shared is not None:
            axes.set_xticks(range(1, len(shared) + 1), shared)
            if sum(map(len, shared)) > CROWDED:
                for label in axes.get_xticklabels():
                    label.set(rotation=40, ha="right", rotation_mode="anchor")
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_xlabel("measured layer, from the input on")
        axes.set_title(spoken(transformation, measured), fontsize=10, loc="left")
        style_log_errors(axes, lowest, highest)
    panels[0].set_ylabel("relative squared error")
    notes = ["band: lowest to highest seed"] * _has_seeds(experiments)
    notes += ["dotted: the error of interpolation alone"] * (len(transformations) < len(measured))
    notes += ["exact zeros are drawn at the lower edge"] * zeros
    _finish(figure, panels, "; ".join(notes))
    return figure


def _figure(width: float, height: float, panels: int) -> tuple[Figure, list[Axes]]:
    figure = new_figure(width, height)
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def _line(
    axes: Axes,
    index: int,
    at: Sequence[float],
    mean: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    label: str | None,
    dashed: bool = False,
) -> None:
    """The line of the experiment with this index: its colour and marker are the same in every figure."""
    color = COLORS[index % len(COLORS)]
    style: dict[str, Any] = {"marker": MARKERS[index % len(MARKERS)], "markersize": 3.5, "linewidth": 1.4}
    axes.plot(at, mean, color=color, linestyle="--" if dashed else "-", label=label, clip_on=False, **style)
    if (low < high).any():
        axes.fill_between(at, low, high, color=color, alpha=BAND, linewidth=0)


def _floor_name(transformation: str) -> str:
    """Under which name experiments have the floor of what interpolates."""
    interpolates = transformation.endswith(INTERPOLATED)
    return transformation.removesuffix(INTERPOLATED) + INTERPOLATED_FLOOR * interpolates


def _shared_layers(networks: Sequence[Iterable[str]]) -> list[str] | None:
    """The layers of the deepest network, if it has those of all others; ``None`` if their names say nothing."""
    named = [list(layers) for layers in networks]
    deepest = max(named, key=len)
    return deepest if all(set(layers) <= set(deepest) for layers in named) else None


def _depths(layers: Iterable[str], shared: Sequence[str] | None) -> list[int]:
    """At which depth to draw each layer of a network: that of its name where names are shared, else its own number."""
    if shared is None:
        return list(range(1, len(list(layers)) + 1))
    return [shared.index(layer) + 1 for layer in layers]


def _finish(figure: Figure, panels: Sequence[Axes], note: str) -> None:
    for axes in panels:
        quiet(axes)
    named = [zip(*axes.get_legend_handles_labels(), strict=True) for axes in panels]
    entries = {label: line for of_panel in named for line, label in of_panel}
    columns = max(1, min(len(entries), int(figure.get_figwidth() * 12 / (6 + max(map(len, entries))))))
    style: dict[str, Any] = {"loc": "outside lower left", "alignment": "left", "frameon": False}
    sizes: dict[str, Any] = {"fontsize": 8.5, "title_fontsize": 8}
    figure.legend(entries.values(), entries.keys(), ncols=columns, title=note, **style, **sizes)


def _has_seeds(experiments: Sequence[Experiment]) -> bool:
    return any(len(experiment.runs) > 1 for experiment in experiments)


def _orbit(experiment: Experiment) -> dict[bool, dict[float, tuple[float, float]]]:
    """Mean and spread of the accuracy by angle in ``[-180, 180]``, of rotations and of mirrored ones."""
    found = {name: summary for name, summary in experiment.summaries.items() if name.startswith(ORBIT)}
    elements = {name: OrbitElement.of_name(name.removeprefix(ORBIT)) for name in found}
    return around_the_circle(
        {elements[name]: (each.mean, each.spread or 0.0) for name, each in found.items()}
    )
