"""Accuracy over the angle of a rotation, as a figure."""

from collections.abc import Mapping
from typing import Any, TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from sefl.figures.style import new_figure, quiet
from sefl.groups.orbit import OrbitElement
from sefl.metrics.orbit import LOCAL_ROTATION

Value = TypeVar("Value")


def accuracy_over_angle(of_elements: Mapping[OrbitElement, float]) -> Figure:
    """Test accuracy over the angle by which the images were turned; dashed: of mirrored images.

    Args:
        of_elements: the accuracy under each orbit element.
    """
    figure = new_figure(6.6, 3.8)
    axes = figure.add_subplot(ylabel="test accuracy")
    curves = around_the_circle(of_elements)
    for mirrored, points in curves.items():
        line, label = ("--", "mirrored images") if mirrored else ("-", "images")
        style: dict[str, Any] = {"color": "C0", "marker": "o", "markersize": 3, "linewidth": 1.3}
        axes.plot(list(points), list(points.values()), linestyle=line, label=label, **style)
    style_angles(axes)
    quiet(axes)
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize=8.5)
    return figure


def around_the_circle(of_elements: Mapping[OrbitElement, Value]) -> dict[bool, dict[float, Value]]:
    """Values by angle, from -180 to 180 degrees with the half turn at both ends; of rotations, then of mirrored ones.

    >>> around_the_circle({OrbitElement(0.0): "e", OrbitElement(180.0): "half", OrbitElement(270.0): "right"})
    {False: {-180.0: 'half', -90.0: 'right', 0.0: 'e', 180.0: 'half'}}
    """
    curves: dict[bool, dict[float, Value]] = {}
    for element, value in of_elements.items():
        points = curves.setdefault(element.mirrored, {})
        points[element.angle - 360 if element.angle > 180 else element.angle] = value
        if element.angle == 180:
            points[-180.0] = value
    return {mirrored: dict(sorted(points.items())) for mirrored, points in sorted(curves.items())}


def style_angles(axes: Axes) -> None:
    """An x axis of angles around the circle, on which the rotations that count for ``loc`` are shaded."""
    axes.axvspan(-LOCAL_ROTATION, LOCAL_ROTATION, color="0.95", linewidth=0)
    axes.text(0, 0.02, "loc", transform=axes.get_xaxis_transform(), ha="center", fontsize=8.5, color="0.45")
    axes.set_xlabel("rotation of the test images (degrees, counter-clockwise)")
    axes.set_xlim(-184, 184)
    axes.xaxis.set_major_locator(MultipleLocator(45))
