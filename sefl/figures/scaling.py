"""Time over resolution, on logarithmic axes."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from sefl.figures.style import MARKERS, new_figure, quiet

Times = dict[str, dict[int, float]]
"""Seconds by size, of each of several contestants."""


def fitted_exponent(points: Mapping[int, float]) -> float:
    """The power of the size that times grow with: the slope of their logarithms, by least squares.

    >>> round(fitted_exponent({10: 1.0, 20: 8.0, 40: 64.0}), 6)
    3.0
    """
    return float(np.polyfit(np.log(list(points)), np.log(list(points.values())), 1)[0])


def times_over_resolution(panels: Mapping[str, Times]) -> Figure:
    """One panel for each kind of size, its name on the axis; the legend has the fitted exponents.

    Args:
        panels: seconds by size and label.
    """
    figure = new_figure(4.6 * len(panels), 3.8)
    for index, (name, curves) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(1, len(panels), index, xlabel=name, ylabel="seconds, forward + backward")
        for marker, (label, points) in zip(MARKERS, sorted(curves.items()), strict=False):
            grows = f" $\\propto n^{{{fitted_exponent(points):.1f}}}$" if len(points) > 1 else ""
            axes.plot(list(points), list(points.values()), marker=marker, markersize=4, label=label + grows)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        sizes = sorted({size for points in curves.values() for size in points})
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        quiet(axes)
        axes.legend(frameon=False, fontsize=8.5)
    return figure
