"""Pictures of equivariance errors: a heat map of layers x transformations, curves over the resolution."""

import math
from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from sefl.equivariance.table import EquivarianceRow, floor_of, interpolated, is_floor
from sefl.equivariance.transformations import Parameter, parameter_order
from sefl.figures.depth import propagation, propagation_of_runs
from sefl.figures.style import (
    DOTTED,
    FLOOR_NOTE,
    UNCLIPPED,
    clipped,
    exponents,
    new_figure,
    spoken,
    style_log_errors,
)

__all__ = ["curves", "heat_map", "propagation", "propagation_of_runs"]

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
    columns = [
        (name, parameter)
        for name in transformations
        for parameter in sorted(
            {row.parameter for row in rows if row.transformation == name}, key=parameter_order
        )
    ]
    values = np.full((len(layers), len(columns)), np.nan)
    measured = np.zeros(values.shape, dtype=bool)
    for row in rows:
        cell = layers.index(row.layer), columns.index((row.transformation, row.parameter))
        values[cell], measured[cell] = row.mean, True
    lowest, highest = exponents([row.mean for row in rows])
    with np.errstate(divide="ignore"):
        shown = np.clip(np.log10(values), lowest, highest)

    longest_name = max(map(len, layers))
    width = 1.6 + 0.085 * longest_name + 0.46 * len(columns)
    figure = new_figure(max(width, 5.0), 1.5 + 0.36 * len(layers))
    axes = figure.subplots()
    norm = Normalize(lowest, highest)
    colormap = colormaps[COLORS].with_extremes(bad=MISSING)
    image = axes.imshow(shown, cmap=colormap, norm=norm, aspect="auto")
    for (i, j), exponent in np.ndenumerate(shown):
        color = "w" if norm(float(exponent)) < 0.6 else "k"
        if measured[i, j]:
            axes.text(
                j,
                i,
                _annotation(float(values[i, j])),
                ha="center",
                va="center",
                fontsize=7.5,
                color=color,
                in_layout=False,
            )

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
    lowest, highest = exponents([value for row in plotted for value in (row.mean, row.max)])
    figure = new_figure(2.2 + 5.2 * len(panels), max(4.0, 1.2 + 0.24 * len(layers)))
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    colors = list(colormaps["tab10"](range(10)))
    if len(layers) > len(colors):
        colors = list(colormaps["turbo"](np.linspace(0.05, 0.95, len(layers))))
    for axes, (name, here) in zip(all_axes, panels.items(), strict=True):
        at = sorted({float(row.parameter) for row in here})
        between = interpolated(rows, name)
        for layer, color, marker in zip(layers, colors, cycle("osD^vPX"), strict=False):
            of_layer = sorted((row for row in here if row.layer == layer), key=_number)
            style = {"color": color, "marker": marker, "markersize": 3.5, **UNCLIPPED}
            # Lines join the parameters that interpolate, where some do, and pass by those that are exact.
            joined = [row for row in of_layer if row.parameter in between] if between else of_layer
            apart = [row for row in of_layer if row not in joined]
            for shown, linewidth, label in ((joined, 1.4, layer), (apart, 0.0, None)):
                means = clipped([row.mean for row in shown], lowest, highest)
                axes.plot([_number(row) for row in shown], means, linewidth=linewidth, label=label, **style)
            largest = clipped([row.max for row in joined], lowest, highest)
            axes.plot(
                [_number(row) for row in joined], largest, color=color, linestyle=(0, (4, 2)), linewidth=0.8
            )
            floor = sorted((row for row in floors[name] if row.layer == layer), key=_number)
            alone = clipped([row.mean for row in floor], lowest, highest)
            axes.plot(
                [_number(row) for row in floor],
                alone,
                color=color,
                linestyle=DOTTED,
                linewidth=1.0,
                marker=".",
                markersize=3,
            )
        _style_curves(axes, name, at, lowest, highest)
    exact = any(row.mean == 0 or row.max == 0 for row in plotted)
    all_axes[0].set_ylabel("relative squared error", fontsize=9)
    figure.supxlabel(
        "solid: mean, dashed: maximum over samples"
        + FLOOR_NOTE * any(floors.values())
        + "; exact zeros are drawn at the lower edge" * exact,
        fontsize=8,
        color="0.35",
    )
    figure.suptitle(title, fontsize=10.5, x=0.01, ha="left")
    all_axes[-1].legend(
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        borderaxespad=0,
        frameon=False,
        fontsize=8.5,
        title_fontsize=9,
    )
    return figure


def _annotation(value: float) -> str:
    return f"{math.log10(value):.1f}" if 0 < value < math.inf else f"{value:g}"


def _label_columns(axes: Axes, columns: Sequence[tuple[str, Parameter]]) -> None:
    """Parameters under the columns, and under these the transformation they belong to, over its columns."""
    names = [name for name, _ in columns]
    groups = list(dict.fromkeys(names))
    widths = {name: names.count(name) for name in groups}
    ticks = ["" if name.endswith(f"_{parameter}") else _short(parameter) for name, parameter in columns]
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


def _number(row: EquivarianceRow) -> float:
    return float(row.parameter)


def _short(parameter: Parameter) -> str:
    return parameter if isinstance(parameter, str) else f"{parameter:g}"


def _style_curves(axes: Axes, name: str, parameters: list[float], lowest: int, highest: int) -> None:
    style_log_errors(axes, lowest, highest)
    step = math.ceil(len(parameters) / 12)
    axes.xaxis.set_major_locator(FixedLocator(parameters[::step]))
    axes.set_xlabel(spoken(name), fontsize=9)
