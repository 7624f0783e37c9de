"""Pictures of equivariance errors: a heat map of layers x transformations, curves over the resolution."""

import math
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter
from numpy.typing import NDArray

from sefl.equivariance.table import EquivarianceRow, floor_of, interpolated, is_floor
from sefl.equivariance.transformations import Parameter, parameter_order
from sefl.figures.style import (
    DASHED,
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

COLORS = "viridis"
MISSING = "#e8e8e8"


def heat_map(rows: Sequence[EquivarianceRow], title: str) -> Figure:
    """Mean error of each layer (rows) under each transformation and parameter (columns), log colours.

    Every cell is annotated with its log10; exact zeros say "0" and take the lowest colour, NaN is grey and
    says so, what was not measured is grey and blank. The floor of a transformation follows it.
    """
    layers = list(dict.fromkeys(row.layer for row in rows))
    found = dict.fromkeys(row.transformation for row in rows)
    transformations = [
        name for each in found if not is_floor(each) for name in (each, floor_of(each)) if name in found
    ]
    measured_under = {
        name: {row.parameter for row in rows if row.transformation == name} for name in transformations
    }
    columns = [(name, at) for name, of in measured_under.items() for at in sorted(of, key=parameter_order)]
    values = np.full((len(layers), len(columns)), np.nan)
    measured = np.zeros(values.shape, dtype=bool)
    for row in rows:
        cell = layers.index(row.layer), columns.index((row.transformation, row.parameter))
        values[cell], measured[cell] = row.mean, True
    lowest, highest = exponents([row.mean for row in rows])
    with np.errstate(divide="ignore"):
        shown = np.clip(np.log10(values), lowest, highest)

    width = 1.6 + 0.085 * max(map(len, layers)) + 0.46 * len(columns)
    figure = new_figure(max(width, 5.0), 1.5 + 0.36 * len(layers))
    axes = figure.subplots()
    norm = Normalize(lowest, highest)
    image = axes.imshow(shown, cmap=colormaps[COLORS].with_extremes(bad=MISSING), norm=norm, aspect="auto")
    centred: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7.5, "in_layout": False}
    for i, j in np.argwhere(measured):
        value, color = float(values[i, j]), "w" if norm(float(shown[i, j])) < 0.6 else "k"
        text = f"{math.log10(value):.1f}" if 0 < value < math.inf else f"{value:g}"
        axes.text(j, i, text, color=color, **centred)

    axes.set_yticks(range(len(layers)), layers, fontsize=9)
    _label_columns(axes, columns)
    axes.set_xticks(np.arange(1, len(columns)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(layers)) - 0.5, minor=True)
    axes.grid(which="minor", color="w", linewidth=1)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=10.5, loc="left", pad=10)
    bar = figure.colorbar(image, ax=axes, pad=0.015, aspect=30, fraction=0.035)
    bar.set_label("mean relative squared error\n(in the cells: log10)", fontsize=8.5)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=0)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda exponent, _: rf"$10^{{{exponent:.0f}}}$"))
    return figure


def curves(rows: Sequence[EquivarianceRow], title: str) -> Figure | None:
    """Mean (solid) and maximum (dashed) error of each layer over a numeric parameter, and its floor (dotted).

    One panel per transformation that has at least two numeric parameters; ``None`` if there is none. Exact
    zeros, which a log axis cannot show, are drawn at its lower edge, and a note says so; infinite errors at
    its upper edge. Where some parameters interpolate and others do not, the latter are markers without a line.
    """
    numeric = [row for row in rows if not isinstance(row.parameter, str)]
    panels: dict[str, list[EquivarianceRow]] = {}
    for row in numeric:
        if not is_floor(row.transformation):
            panels.setdefault(row.transformation, []).append(row)
    panels = {name: here for name, here in panels.items() if len({row.parameter for row in here}) > 1}
    if not panels:
        return None
    floors = {name: [row for row in numeric if row.transformation == floor_of(name)] for name in panels}
    plotted = [row for here in (*panels.values(), *floors.values()) for row in here]
    layers = list(dict.fromkeys(row.layer for row in plotted))
    edges = exponents([value for row in plotted for value in (row.mean, row.max)])

    def points(some: list[EquivarianceRow], value: str) -> tuple[list[float], NDArray[np.float64]]:
        ordered = sorted(some, key=lambda row: float(row.parameter))
        errors = clipped([getattr(row, value) for row in ordered], *edges)
        return [float(row.parameter) for row in ordered], errors

    figure = new_figure(2.2 + 5.2 * len(panels), max(4.0, 1.2 + 0.24 * len(layers)))
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (name, here) in zip(all_axes, panels.items(), strict=True):
        between = interpolated(rows, name)
        for layer, color, marker in zip(layers, colors_of(len(layers)), cycle(MARKERS), strict=False):
            of_layer, floor = ([row for row in some if row.layer == layer] for some in (here, floors[name]))
            # Lines join the parameters that interpolate, where some do, and pass by those that are exact.
            joined = [row for row in of_layer if row.parameter in between] if between else of_layer
            apart = [row for row in of_layer if row not in joined]
            style = {"color": color, "marker": marker, "markersize": 3.5, **UNCLIPPED}
            axes.plot(*points(joined, "mean"), linewidth=1.4, label=layer, **style)
            axes.plot(*points(apart, "mean"), linewidth=0.0, **style)
            axes.plot(*points(joined, "max"), color=color, linestyle=DASHED, linewidth=0.8)
            dots: dict[str, Any] = {"marker": ".", "markersize": 3, "linestyle": DOTTED, "linewidth": 1.0}
            axes.plot(*points(floor, "mean"), color=color, **dots)
        style_log_errors(axes, *edges)
        at = sorted({float(row.parameter) for row in here})
        axes.xaxis.set_major_locator(FixedLocator(at[:: math.ceil(len(at) / 12)]))
        axes.set_xlabel(spoken(name), fontsize=9)
    finish_errors(figure, "solid: mean, dashed: maximum over samples", plotted, title)
    return figure


def _label_columns(axes: Axes, columns: Sequence[tuple[str, Parameter]]) -> None:
    """Parameters under the columns, and under these the transformation they belong to, over its columns."""
    names = [name for name, _ in columns]
    groups = list(dict.fromkeys(names))
    widths = {name: names.count(name) for name in groups}
    ticks = [
        ""
        if name.endswith(f"_{parameter}")
        else parameter
        if isinstance(parameter, str)
        else f"{parameter:g}"
        for name, parameter in columns
    ]
    crowded = max(map(len, ticks)) > 4
    axes.set_xticks(range(len(columns)), ticks, fontsize=7.5 if crowded else 9, rotation=90 if crowded else 0)
    below = axes.secondary_xaxis("bottom")
    centers = [names.index(name) + (widths[name] - 1) / 2 for name in groups]
    labels = [spoken(name) if widths[name] > 6 else spoken(name).replace(" ", "\n") for name in groups]
    below.set_xticks(centers, labels, fontsize=9)
    below.tick_params(length=0, pad=20)
    below.spines[:].set_visible(False)
    for name in groups[1:]:
        axes.axvline(names.index(name) - 0.5, color="w", linewidth=5)
