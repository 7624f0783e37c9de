"""What all pictures have in common: colours, sizes of text, quiet axes, a logarithmic scale of errors, spoken names."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from sefl.equivariance.table import EquivarianceRow, is_floor

OURS, ORDINARY = "#1f6fb4", "#d9480f"
"""Everywhere: what is equivariant, and what is not."""
TEXT, FAINT = "0.15", "0.55"
TITLE, LABEL, SMALL, TICKS = 11, 10, 9, 8.5
"""Sizes of text in points."""
DPI = 150
SIGNED = "RdBu_r"
"""Colours of what may be negative."""

# Squared relative rounding of float32; the scale reaches down to it at least, so that pictures of different
# epochs and models compare.
FLOAT32_ROUNDING = -14
DASHED, DOTTED = (0, (4, 2)), (0, (1, 1.5))
MARKERS = "osD^vPX"
# Markers on the edge are whole. The layout leaves such lines out: it would take them for as wide as their numbers.
UNCLIPPED: dict[str, Any] = {"clip_on": False, "in_layout": False}
SPOKEN = {
    "downsample": "downsampled to resolution",
    "rotate": "rotated by degrees",
    "shift": "shifted by pixels",
}


def new_figure(
    width: float, height: float, dpi: int = DPI, layout: Literal["constrained"] | None = "constrained"
) -> Figure:
    """A figure of this size in inches that pyplot knows nothing of."""
    figure = Figure(figsize=(width, height), dpi=dpi, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def quiet(axes: Axes, ticks: float = TICKS, grid: Literal["both", "x", "y"] = "both") -> None:
    """A faint grid, no box around what is plotted, and ticks of this size in points."""
    axes.grid(axis=grid, color="0.91", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(labelsize=ticks, length=2, color=FAINT, labelcolor=TEXT)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(fontsize=ticks + 0.5, color=TEXT)


def frame(axes: Axes) -> None:
    """An image without ticks in a faint frame."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("0.8")


def power_of_ten(error: float) -> str:
    """An error as a figure shows it.

    >>> power_of_ten(3.2e-13), power_of_ten(0.274), power_of_ten(0.0)
    ('$3\\\\times10^{-13}$', '0.27', '0')
    """
    if error == 0 or error >= 0.01:
        return f"{error:.2g}"
    mantissa, _, exponent = f"{error:.0e}".partition("e")
    return rf"${mantissa}\times10^{{{int(exponent)}}}$"


def exponents(values: Sequence[float], lowest: int = FLOAT32_ROUNDING) -> tuple[int, int]:
    """The decades that a scale covers: from the lowest, or below, to 1, or above."""
    positive = [math.log10(value) for value in values if 0 < value < math.inf]
    return min([lowest, *map(math.floor, positive)]), max([0, *map(math.ceil, positive)])


def clipped(values: Sequence[float], lowest: int, highest: int) -> NDArray[np.float64]:
    """Exact zeros go to the lower edge of a log axis, infinite errors to its upper one; NaN stays a gap."""
    return np.clip(np.array(values, dtype=np.float64), 10.0**lowest, 10.0**highest)


def spoken(transformation: str) -> str:
    """What a figure calls a transformation.

    >>> spoken("flip_vertical"), spoken("act_D4"), spoken("act_C8_floor")
    ('flip vertical', 'moved by D4', 'floor')
    """
    if is_floor(transformation):
        return "floor"
    if transformation.startswith("act_"):
        return f"moved by {transformation.removeprefix('act_')}"
    return SPOKEN.get(transformation, transformation.replace("_", " "))


def style_log_errors(axes: Axes, lowest: int, highest: int) -> None:
    """A logarithmic axis of errors over these decades, and a quiet grid."""
    axes.set_yscale("log")
    axes.set_ylim(10.0**lowest, 10.0 ** (highest + 0.3))
    axes.yaxis.set_major_locator(LogLocator(numticks=9))
    axes.yaxis.set_minor_locator(NullLocator())
    quiet(axes)


def finish_errors(figure: Figure, lines: str, rows: Sequence[EquivarianceRow], title: str) -> None:
    """Write around panels of errors what they are and what the lines are, with a legend beside the last panel."""
    note = ", dotted: floor, the error of interpolation alone" * any(
        is_floor(row.transformation) for row in rows
    )
    note += "; exact zeros are drawn at the lower edge" * any(0 in (row.mean, row.max) for row in rows)
    figure.supxlabel(lines + note, fontsize=8, color="0.35")
    figure.axes[0].set_ylabel("relative squared error", fontsize=9)
    figure.suptitle(title, fontsize=10.5, x=0.01, ha="left")
    beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0), "borderaxespad": 0}
    figure.axes[-1].legend(**beside, frameon=False, fontsize=8.5)


def colors_of(count: int) -> NDArray[np.float64]:
    """So many colours that can be told apart, ``(count, 4)``."""
    few = count <= 10
    return np.asarray(
        colormaps["tab10"](range(count)) if few else colormaps["turbo"](np.linspace(0.05, 0.95, count))
    )
