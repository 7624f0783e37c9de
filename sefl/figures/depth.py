"""How the equivariance error grows with depth: of one run by transformation, or of several runs side by side."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle, takewhile

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sefl.equivariance.table import EquivarianceRow, combined, floor_of, interpolated, is_floor
from sefl.figures.style import (
    DOTTED,
    MARKERS,
    UNCLIPPED,
    clipped,
    colors_of,
    exponents,
    finish_errors,
    new_figure,
    spoken,
    style_log_errors,
)

WIDEST, NARROWEST = 3.0, 1.3  # of lines: the first are wider, so that they are seen under those that coincide

Series = tuple[list[EquivarianceRow], list[EquivarianceRow]]
"""The rows of a line, and those of its floor."""


def propagation(rows: Sequence[EquivarianceRow], title: str) -> Figure:
    """Error of each layer over depth: a line per transformation, over all its parameters, or those that interpolate.

    The line is the mean over samples, the band reaches up to the maximum, dots are what interpolation alone costs.
    Exact zeros are drawn at the lower edge, infinite errors at the upper one; a layer that was not measured is a gap.

    Args:
        rows: of one epoch, the layers in their order.
        title: over the figure.
    """
    return _drawn({"": _series(rows)}, rows, title)


def propagation_of_runs(runs: Mapping[str, Sequence[EquivarianceRow]], title: str) -> Figure:
    """Error of each layer over depth of several runs, by what to call them: a panel per line of one run's figure.

    Lines, bands and dots are those of :func:`propagation`. Layers of different runs are the same where they have the
    same name.

    Args:
        runs: such as ``{"anti-aliased": rows, "naive": rows}``, the rows of one epoch each.
        title: over the figure.
    """
    shown = {run: _series(rows) for run, rows in runs.items()}
    names = dict.fromkeys(name for series in shown.values() for name in series)
    panels = {name: {run: series.get(name, ([], [])) for run, series in shown.items()} for name in names}
    return _drawn(panels, [row for rows in runs.values() for row in rows], title)


def _series(rows: Sequence[EquivarianceRow]) -> dict[str, Series]:
    """The lines to draw, by label.

    Parameters that interpolate are a line of their own: only these have a floor.
    """
    series: dict[str, Series] = {}
    for name in dict.fromkeys(row.transformation for row in rows if not is_floor(row.transformation)):
        here = [row for row in rows if row.transformation == name]
        between = interpolated(rows, name)
        label = spoken(name).removesuffix(" by degrees").removesuffix(" by pixels")
        if exact := [row for row in here if row.parameter not in between]:
            series[f"{label}, pixels to pixels" if between else label] = exact, []
        if between:
            floor = [row for row in rows if row.transformation == floor_of(name)]
            series[f"{label}, interpolated"] = [row for row in here if row.parameter in between], floor
    return series


def _drawn(panels: Mapping[str, Mapping[str, Series]], rows: Sequence[EquivarianceRow], title: str) -> Figure:
    layers = list(dict.fromkeys(row.layer for row in rows))
    edges = exponents([value for row in rows for value in (row.mean, row.max)])
    figure = new_figure(max(4.2, 1.2 + 0.5 * len(layers)) * len(panels) + 1.8, 4.4)
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    depth = np.arange(len(layers))
    for axes, (name, lines) in zip(all_axes, panels.items(), strict=True):
        widths = np.linspace(WIDEST, NARROWEST, max(len(lines), 2))[-len(lines) :].tolist()
        looks = zip(lines.items(), colors_of(len(lines)), cycle(MARKERS), widths, strict=False)
        for (label, (of_line, of_floor)), color, marker, width in looks:
            values = (*_over_depth(of_line, layers), _over_depth(of_floor, layers)[0])
            mean, largest, floor = (clipped(each, *edges) for each in values)
            axes.fill_between(depth, mean, largest, color=color, alpha=0.15, linewidth=0)
            style = {"color": color, "marker": marker, "markersize": 3 + width, "linewidth": width}
            axes.plot(depth, mean, **style, **UNCLIPPED, label=label)
            axes.plot(depth, floor, color=color, marker=".", markersize=3, linewidth=1.1, linestyle=DOTTED)
        style_log_errors(axes, *edges)
        _name_layers(axes, layers)
        axes.set_title(name, fontsize=9)
    finish_errors(figure, "line: mean, band: up to the maximum over samples", rows, title)
    return figure


def _over_depth(rows: Sequence[EquivarianceRow], layers: list[str]) -> tuple[list[float], list[float]]:
    """Mean and maximum of each layer, NaN where it was not measured."""
    by_layer = [[row for row in rows if row.layer == layer] for layer in layers]
    values = [combined(of_layer) if of_layer else (math.nan, math.nan) for of_layer in by_layer]
    return [mean for mean, _ in values], [largest for _, largest in values]


def _name_layers(axes: Axes, layers: list[str]) -> None:
    common = _common_prefix(layers)
    names = [layer.removeprefix(common) for layer in layers]
    axes.set_xticks(range(len(layers)), names, rotation=40, ha="right", rotation_mode="anchor", fontsize=8.5)
    axes.set_xlabel(f"layer of {common.removesuffix('.')}" if common else "layer", fontsize=9)
    axes.margins(x=0.03)


def _common_prefix(layers: list[str]) -> str:
    """The modules that contain all layers, with a dot behind.

    >>> _common_prefix(["network.blocks.0", "network.blocks.1"]), _common_prefix(["stem", "head"])
    ('network.blocks.', '')
    """
    containers = zip(*(layer.split(".")[:-1] for layer in layers), strict=False)
    shared = takewhile(lambda names: len(set(names)) == 1, containers)
    return "".join(f"{names[0]}." for names in shared)
