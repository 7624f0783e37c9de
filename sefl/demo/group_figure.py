"""A signal on a group, sampled on a subgroup: what comes back with the anti-aliasing filter and without."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sefl.figures.style import (
    LABEL,
    ORDINARY,
    OURS,
    SMALL,
    TEXT,
    TITLE,
    new_figure,
    power_of_ten,
    quiet,
)
from sefl.groups import Bandlimit, bandlimit, finite_group

GROUP, SUBGROUP = "C12", "C6"
ROUGH, ROUGH_FREQUENCY = 0.55, 5
"""A part of the signal, at a frequency that samples on the subgroup take for the first."""

CURVE_POINTS = 20
DASHED = (0, (4, 2))

Signal = NDArray[np.float64]


def group_figure() -> Figure:
    """The signal, its smooth part, the samples, and what they give back at the discarded elements."""
    limit = bandlimit(finite_group(GROUP), SUBGROUP)
    values = signal()
    smooth = limit.projector @ values
    figure = new_figure(5.4, 3.3, layout=None)
    panels = figure.subplots(1, 2, sharey=True)
    figure.subplots_adjust(left=0.02, right=0.98, top=0.89, bottom=0.33, wspace=0.06)
    for axes, filtered, color, title in (
        (panels[0], values, ORDINARY, "sampled as it is"),
        (panels[1], smooth, OURS, "filtered, then sampled"),
    ):
        axes.set_title(title, fontsize=TITLE, color=color)
        _draw(axes, limit, values, filtered, color)
    handles, labels = panels[1].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="lower center", ncols=2, frameon=False, fontsize=SMALL, labelcolor=TEXT
    )
    return figure


def signal() -> Signal:
    """Something smooth and something rough on the group: ``(12,)``."""
    angle = 2 * np.pi * np.arange(len(finite_group(GROUP))) / len(finite_group(GROUP))
    smooth = np.cos(angle - 1.0) + 0.4 * np.cos(2 * angle + 0.5)
    both: Signal = smooth + ROUGH * np.cos(ROUGH_FREQUENCY * angle + 0.3)
    return both


def reconstruction(limit: Bandlimit, values: Signal) -> Signal:
    """The smooth signal on the group that agrees with ``values`` on the subgroup."""
    return limit.reconstruction @ limit.restriction @ values


def _draw(axes: Axes, limit: Bandlimit, values: Signal, sampled: Signal, color: str) -> None:
    """Samples of ``sampled`` and their reconstruction, before the signal and its smooth part."""
    elements, kept = np.arange(len(values)), limit.subgroup.elements
    smooth = limit.projector @ values
    back = reconstruction(limit, sampled)
    axes.plot(elements, values, "o", color="0.75", markersize=5.5, label=f"signal on {GROUP}")
    axes.plot(*_curve(smooth), color=TEXT, linewidth=1.1, linestyle=DASHED, label="its smooth part", zorder=4)
    axes.plot(*_curve(back), color=color, linewidth=2.0, zorder=3)
    axes.plot(kept, sampled[kept], "o", color=color, markersize=7, label=f"samples on {SUBGROUP}", zorder=5)
    lost = np.setdiff1d(elements, kept)
    axes.plot(
        *(lost, back[lost], "o"),
        color=color,
        markerfacecolor="white",
        markersize=6,
        markeredgewidth=1.5,
        label="reconstructed from them",
        zorder=5,
    )
    error = float(np.square(back - smooth).sum() / np.square(smooth).sum())
    axes.text(
        0.03, 0.05, f"error {power_of_ten(error)}", transform=axes.transAxes, fontsize=LABEL, color=color
    )
    quiet(axes, SMALL)
    axes.spines["left"].set_visible(False)
    names = ["e", *(rf"$r^{{{element}}}$" for element in elements[2::2])]
    axes.set(yticks=[], xticks=elements[::2], xticklabels=names, xlabel="group element")


def _curve(values: Signal) -> tuple[Signal, Signal]:
    """A signal without its highest frequency on the circle that the elements lie on, once around."""
    points = CURVE_POINTS * len(values)
    curve = np.fft.irfft(np.fft.rfft(values), points) * CURVE_POINTS
    return np.arange(points + 1) / CURVE_POINTS, np.append(curve, curve[0])
