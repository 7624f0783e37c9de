"""Accuracy over the angle of a rotation, as a figure."""

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from sefl.orbit import OrbitElement

LOC_LIMIT = 60  # degrees: rotations below count for "loc" accuracy


def accuracy_over_angle(curves: Mapping[str, Mapping[OrbitElement, float]]) -> Figure:
    """Test accuracy over the angle by which the images were turned, one line per network; dashed: mirrored.

    Args:
        curves: accuracy of each orbit element, by the name of the network.
    """
    figure = Figure(figsize=(6.6, 3.8), dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="rotation (degrees, counter-clockwise)", ylabel="test accuracy")
    axes.axvspan(-LOC_LIMIT, LOC_LIMIT, color="0.95", linewidth=0)
    colors = colormaps["tab10"](np.arange(len(curves)) % 10)
    for (name, of_elements), color in zip(curves.items(), colors, strict=True):
        for mirrored in (False, True):
            points = {
                _signed(element.angle): value
                for element, value in of_elements.items()
                if element.mirrored == mirrored
            }
            if not points:
                continue
            if 180 in points:  # both ends of the circle
                points[-180.0] = points[180.0]
            angles = sorted(points)
            axes.plot(
                angles,
                [points[angle] for angle in angles],
                color=color,
                marker="o",
                markersize=3,
                linewidth=1.3,
                linestyle="--" if mirrored else "-",
                label=f"{name}, mirrored" if mirrored else name,
            )
    axes.xaxis.set_major_locator(MultipleLocator(45))
    axes.set_xlim(-184, 184)
    axes.set_ylim(top=1.005)
    axes.grid(color="0.88", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.text(0, 0.02, "loc", transform=axes.get_xaxis_transform(), ha="center", fontsize=8, color="0.45")
    axes.legend(frameon=False, fontsize=8.5)
    return figure


def _signed(angle: float) -> float:
    """The same rotation in ``(-180, 180]``."""
    return angle - 360 if angle > 180 else angle
