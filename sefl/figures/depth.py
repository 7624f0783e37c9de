"""How the equivariance error grows with depth: of one run by transformation, or of several runs side by side."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sefl.equivariance.table import EquivarianceRow, combined, floor_of, interpolated, is_floor
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

MARKERS = "osD^vPX"
WIDEST, NARROWEST = 3.0, 1.3  # of lines: the first are wider, so that they are seen under those that coincide
LEGEND = "line: mean, band: up to the maximum over samples"


def propagation(rows: Sequence[EquivarianceRow], title: str) -> Figure:
    """Error of each layer over depth: a line per transformation, over all its parameters, or those that interpolate.

    The line is the mean over samples, the band reaches up to the maximum, dots are what interpolation alone costs.
    Exact zeros are drawn at the lower edge, infinite errors at the upper one; a layer that was not measured is a gap.

    Args:
        rows: of one epoch, the layers in their order.
        title: over the figure.
    """
    layers = _layers(rows)
    shown = _series(rows)
    lowest, highest = _decades(rows)
    figure = new_figure(_width(len(layers)) + 1.8, 4.4)
    axes = figure.subplots()
    for (label, (of_series, floor)), style in zip(shown.items(), _styles(len(shown)), strict=True):
        _draw(axes, _over_depth(of_series, layers), _over_depth(floor, layers), style, label, lowest, highest)
    _style(axes, layers, lowest, highest)
    _finish(figure, [axes], rows, title)
    return figure


def propagation_of_runs(runs: Mapping[str, Sequence[EquivarianceRow]], title: str) -> Figure:
    """Error of each layer over depth of several runs, by what to call them: a panel per line of one run's figure.

    Lines, bands and dots are those of :func:`propagation`. Layers of different runs are the same where they have the
    same name.

    Args:
        runs: such as ``{"anti-aliased": rows, "naive": rows}``, the rows of one epoch each.
        title: over the figure.
    """
    everything = [row for rows in runs.values() for row in rows]
    layers = _layers(everything)
    shown = {run: _series(rows) for run, rows in runs.items()}
    panels = list(dict.fromkeys(label for series in shown.values() for label in series))
    lowest, highest = _decades(everything)
    figure = new_figure(_width(len(layers)) * len(panels) + 1.8, 4.4)
    all_axes = list(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0])
    for axes, panel in zip(all_axes, panels, strict=True):
        for (run, series), style in zip(shown.items(), _styles(len(runs)), strict=True):
            of_series, floor = series.get(panel, ([], []))
            _draw(
                axes, _over_depth(of_series, layers), _over_depth(floor, layers), style, run, lowest, highest
            )
        _style(axes, layers, lowest, highest)
        axes.set_title(panel, fontsize=9)
    _finish(figure, all_axes, everything, title)
    return figure


Series = tuple[list[EquivarianceRow], list[EquivarianceRow]]
Values = tuple[list[float], list[float]]
Style = dict[str, Any]


def _series(rows: Sequence[EquivarianceRow]) -> dict[str, Series]:
    """The lines to draw, by label: the rows of a transformation and its floor.

    Parameters that interpolate are a line of their own: only these have a floor.
    """
    series: dict[str, Series] = {}
    for name in dict.fromkeys(row.transformation for row in rows if not is_floor(row.transformation)):
        here = [row for row in rows if row.transformation == name]
        between = interpolated(rows, name)
        label = spoken(name).removesuffix(" by degrees").removesuffix(" by pixels")
        exact = [row for row in here if row.parameter not in between]
        if exact:
            series[f"{label}, pixels to pixels" if between else label] = exact, []
        if between:
            floor = [row for row in rows if row.transformation == floor_of(name)]
            series[f"{label}, interpolated"] = [row for row in here if row.parameter in between], floor
    return series


def _over_depth(rows: Sequence[EquivarianceRow], layers: list[str]) -> Values:
    """Mean and maximum of each layer, NaN where it was not measured."""
    by_layer = [[row for row in rows if row.layer == layer] for layer in layers]
    values = [combined(of_layer) if of_layer else (math.nan, math.nan) for of_layer in by_layer]
    return [mean for mean, _ in values], [largest for _, largest in values]


def _draw(
    axes: Axes,
    errors: Values,
    floor: Values,
    style: Style,
    label: str,
    lowest: int,
    highest: int,
) -> None:
    mean, largest, alone = (clipped(values, lowest, highest) for values in (*errors, floor[0]))
    depth = np.arange(len(mean))
    color = style["color"]
    axes.fill_between(depth, mean, largest, color=color, alpha=0.15, linewidth=0)
    axes.plot(depth, mean, **style, **UNCLIPPED, label=label)
    axes.plot(depth, alone, color=color, marker=".", markersize=3, linewidth=1.1, linestyle=DOTTED)


def _style(axes: Axes, layers: list[str], lowest: int, highest: int) -> None:
    style_log_errors(axes, lowest, highest)
    common = _common_prefix(layers)
    axes.set_xticks(
        range(len(layers)),
        [layer.removeprefix(common) for layer in layers],
        rotation=40,
        ha="right",
        rotation_mode="anchor",
        fontsize=8.5,
    )
    axes.set_xlabel(f"layer of {common.removesuffix('.')}" if common else "layer", fontsize=9)
    axes.margins(x=0.03)


def _finish(figure: Figure, all_axes: list[Axes], rows: Sequence[EquivarianceRow], title: str) -> None:
    with_floor = any(is_floor(row.transformation) for row in rows)
    exact = any(row.mean == 0 for row in rows)
    figure.supxlabel(
        LEGEND + FLOOR_NOTE * with_floor + "; exact zeros are drawn at the lower edge" * exact,
        fontsize=8,
        color="0.35",
    )
    all_axes[0].set_ylabel("relative squared error", fontsize=9)
    figure.suptitle(title, fontsize=10.5, x=0.01, ha="left")
    all_axes[-1].legend(
        loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0, frameon=False, fontsize=8.5
    )


def _layers(rows: Sequence[EquivarianceRow]) -> list[str]:
    return list(dict.fromkeys(row.layer for row in rows))


def _decades(rows: Sequence[EquivarianceRow]) -> tuple[int, int]:
    return exponents([value for row in rows for value in (row.mean, row.max)])


def _colors(count: int) -> NDArray[np.float64]:
    if count <= 10:
        return np.asarray(colormaps["tab10"](range(count)))
    return np.asarray(colormaps["turbo"](np.linspace(0.05, 0.95, count)))


def _styles(count: int) -> list[Style]:
    widths = np.linspace(WIDEST, NARROWEST, max(count, 2))[-count:]
    return [
        {"color": color, "marker": marker, "markersize": 3 + width, "linewidth": width}
        for color, marker, width in zip(_colors(count), cycle(MARKERS), widths.tolist(), strict=False)
    ]


def _width(layers: int) -> float:
    return max(4.2, 1.2 + 0.5 * layers)


def _common_prefix(layers: list[str]) -> str:
    """The modules that contain all layers, with a dot behind.

    >>> _common_prefix(["network.blocks.0", "network.blocks.1"]), _common_prefix(["stem", "head"])
    ('network.blocks.', '')
    """
    containers = [layer.split(".")[:-1] for layer in layers]
    shared = 0
    while all(len(path) > shared and path[shared] == containers[0][shared] for path in containers):
        shared += 1
    return "".join(f"{name}." for name in containers[0][:shared])
