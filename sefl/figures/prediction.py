"""One image as a network sees it: at its resolutions and turned, with what the network says of each."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from sefl.figures.style import (
    FAINT,
    LABEL,
    OURS,
    SMALL,
    TEXT,
    TITLE,
    UNCLIPPED,
    colors_of,
    frame,
    new_figure,
    quiet,
)
from sefl.runs.prediction import Prediction, Probabilities, shown, some

COLUMNS = 6
"""Images beside each other."""
CLASSES = 5
"""Lines in a panel."""
LEAST = 0.02
"""A class that is nowhere more probable has no line."""
WIDTH, BESIDE = 9.6, 2.1
IMAGES, CHART = 1.65, 1.9
"""Sizes in inches: of the picture, of what stands at its left, and of its rows."""


def prediction_figure(
    prediction: Prediction,
    photograph: NDArray[Any],
    images: Mapping[int, Tensor],
    turned: Mapping[str, Tensor],
) -> Figure:
    """The photograph with the square that is looked at; that at some resolutions, with the answer below each; the
    probabilities over resolution; and the same of the turned image, if it was.

    Args:
        prediction: what the network says.
        photograph: the whole image, ``(h, w)`` or ``(h, w, 3)``, from 0 to 255.
        images: what the network saw at each resolution, ``(channels, r, r)`` from 0 to 1.
        turned: under each element, the same.
    """
    rows = [IMAGES, CHART, *([IMAGES * 0.8, CHART] if turned else [])]
    figure = new_figure(WIDTH, sum(rows) + 0.35)
    grid = figure.add_gridspec(len(rows), 2, width_ratios=[BESIDE, WIDTH - BESIDE], height_ratios=rows)
    _photograph(figure.add_subplot(grid[0, 0]), photograph)
    _said(figure.add_subplot(grid[1, 0]), "\n".join(fill(step, 34) for step in prediction.steps))
    leading = prediction.leading(CLASSES)
    answers = {at: prediction.answer(found) for at, found in prediction.by_resolution.items()}
    _images(
        figure, grid[0, 1], {f"{at} x {at}": (images[at], answers[at]) for at in some(list(images), COLUMNS)}
    )
    chart = figure.add_subplot(grid[1, 1])
    if len(prediction.by_resolution) > 1:
        _lines(
            chart,
            list(prediction.by_resolution),
            list(prediction.by_resolution.values()),
            prediction,
            leading,
        )
        chart.set_xlabel("resolution (pixels per side)")
        chart.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        _bars(chart, prediction)
    if turned:
        _said(figure.add_subplot(grid[2, 0]), f"turned by the elements\nof {prediction.group}")
        answers_turned = {label: prediction.answer(found) for label, found in prediction.by_element.items()}
        seen = {label: (turned[label], answers_turned[label]) for label in some(list(turned), COLUMNS)}
        _images(figure, grid[2, 1], seen)
        chart = figure.add_subplot(grid[3, 1])
        _lines(chart, range(len(turned)), list(prediction.by_element.values()), prediction, leading)
        step = -(-len(turned) // 16)
        chart.set_xticks(range(0, len(turned), step), list(turned)[::step])
        chart.set_xlabel(f"element of {prediction.group}")
    title = f"{prediction.image.name}: {prediction.answer(prediction.finest)}"
    figure.suptitle(title, fontsize=TITLE + 1, color=TEXT, x=0.01, ha="left")
    return figure


def _photograph(axes: Axes, pixels: NDArray[Any]) -> None:
    height, width = pixels.shape[:2]
    side = min(height, width)
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    if height != width:
        corner = ((width - side) / 2 - 0.5, (height - side) / 2 - 0.5)
        axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=OURS, linewidth=1.5, **UNCLIPPED))
    frame(axes)


def _said(axes: Axes, text: str) -> None:
    axes.axis("off")
    axes.text(
        0, 1, text, transform=axes.transAxes, va="top", fontsize=SMALL - 1, color=FAINT, linespacing=1.5
    )


def _images(figure: Figure, place: SubplotSpec, images: Mapping[str, tuple[Tensor, str]]) -> None:
    """Images with what each is above, and with the answer below."""
    # as many columns as in a full row: few images are not drawn larger
    cells = place.subgridspec(1, COLUMNS, wspace=0.08)
    for index, (label, (pixels, answer)) in enumerate(images.items()):
        axes = figure.add_subplot(cells[0, index])
        axes.imshow(pixels.permute(1, 2, 0), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(label, fontsize=SMALL, color=TEXT)
        axes.set_xlabel(answer, fontsize=SMALL, color=TEXT, labelpad=3)
        frame(axes)


def _lines(
    axes: Axes,
    at: Sequence[int],
    found: Sequence[Probabilities],
    prediction: Prediction,
    leading: Sequence[int],
) -> None:
    """The probabilities of the leading classes that are not nearly 0 throughout."""
    values = np.stack(found)
    style: dict[str, Any] = {"marker": "o", "markersize": 2.5, "linewidth": 1.6, **UNCLIPPED}
    for color, each in zip(colors_of(len(leading)), leading, strict=True):
        if values[:, each].max() < LEAST and each != leading[0]:
            continue
        axes.plot(at, values[:, each], color=color, label=prediction.class_names[each], **style)
    axes.set(ylim=(0, 1), ylabel="probability")
    quiet(axes)
    beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.03), "borderaxespad": 0}
    axes.legend(**beside, frameon=False, fontsize=SMALL)


def _bars(axes: Axes, prediction: Prediction) -> None:
    """The most probable classes of an image of one resolution."""
    order = np.argsort(-prediction.finest, kind="stable")[:CLASSES]
    names = [prediction.class_names[each] for each in order]
    bars = axes.barh(names, prediction.finest[order], color=[OURS, *["0.8"] * (len(order) - 1)], height=0.65)
    axes.bar_label(
        bars, [shown(p) for p in prediction.finest[order]], padding=4, fontsize=LABEL - 1, color=TEXT
    )
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="probability")
    quiet(axes, grid="x")
