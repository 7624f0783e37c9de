"""What the demonstrations' pictures have in common: colours, sizes that can be read at half the width, quiet axes."""

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

OURS, ORDINARY = "#1f6fb4", "#d9480f"
"""Everywhere: what is equivariant, and what is not."""

TEXT, FAINT = "0.15", "0.55"
TITLE, LABEL, SMALL = 11, 10, 9
"""Sizes of text in points."""

DPI = 150
SIGNED = "RdBu_r"
"""Colours of what may be negative."""


def new_figure(width: float, height: float, dpi: int = DPI) -> tuple[Figure, FigureCanvasAgg]:
    """A figure of this size in inches that pyplot knows nothing of, and its canvas."""
    figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
    return figure, FigureCanvasAgg(figure)


def quiet(axes: Axes) -> None:
    """A faint grid and no box around what is plotted."""
    axes.grid(color="0.92", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(labelsize=SMALL, length=2.5, color=FAINT, labelcolor=TEXT)
    axes.xaxis.label.set(fontsize=LABEL, color=TEXT)
    axes.yaxis.label.set(fontsize=LABEL, color=TEXT)


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
