"""A picture of how often predictions stay the same: a panel of each transformation, over its parameters."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sefl.equivariance.agreement import MEAN, PAIRS, AgreementRow
from sefl.figures.style import DASHED, UNCLIPPED, new_figure, quiet, spoken
from sefl.metrics.functional import standard_error

MOST_LABELS = 12


def agreements(rows: Sequence[AgreementRow], title: str) -> Figure | None:
    """Fraction of images whose predicted class stays, a dot for each parameter, and the mean as a line.

    Bars are one standard error of a fraction of so many samples, ``sqrt(p (1 - p) / count)``. ``None`` without rows.
    """
    panels: dict[str, list[AgreementRow]] = {}
    for row in rows:
        panels.setdefault(row.transformation, []).append(row)
    if not panels:
        return None
    widths = [max(1.6, 0.32 * len(_of_parameters(here))) for here in panels.values()]
    figure = new_figure(max(4.5, 1.0 + 1.1 * sum(widths)), 3.2)
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False, width_ratios=widths)[0]
    for axes, (name, here) in zip(all_axes, panels.items(), strict=True):
        _draw(axes, name, here)
    all_axes[0].set_ylim(min(0.9, *(row.agreement for row in rows)) - 0.05, 1.01)
    all_axes[0].set_ylabel("fraction whose prediction stays", fontsize=9)
    figure.suptitle(title, fontsize=10.5, x=0.01, ha="left")
    return figure


def _of_parameters(rows: Sequence[AgreementRow]) -> list[AgreementRow]:
    return [row for row in rows if row.parameter not in (MEAN, PAIRS)]


def _draw(axes: Axes, transformation: str, rows: Sequence[AgreementRow]) -> None:
    shown = _of_parameters(rows)
    values = [row.agreement for row in shown]
    errors = [standard_error(p, row.count) for p, row in zip(values, shown, strict=True)]
    axes.errorbar(range(len(shown)), values, errors, fmt="o", markersize=4, linewidth=1, **UNCLIPPED)
    mean = next(row.agreement for row in rows if row.parameter == MEAN)
    axes.axhline(mean, color="0.5", linewidth=0.9, linestyle=DASHED, zorder=0)
    axes.set_title(f"mean {mean:.3f}", fontsize=8.5, color="0.35")
    step = math.ceil(len(shown) / MOST_LABELS)
    labels = [str(row.parameter) for row in shown[::step]]
    crowded = max(map(len, labels)) > 4 and len(labels) > 1
    axes.set_xticks(range(0, len(shown), step), labels, rotation=90 if crowded else 0, fontsize=8)
    axes.set_xlim(-0.6, len(shown) - 0.4)
    axes.set_xlabel(spoken(transformation), fontsize=9)
    quiet(axes, 8, grid="y")
