"""The accuracy of one evaluation over resolution."""

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sefl.figures.style import DASHED, new_figure, quiet
from sefl.metrics.functional import standard_error
from sefl.runs.evaluation import Evaluation


def accuracies(evaluation: Evaluation) -> Figure:
    """Accuracy over resolution, with bars of one standard error, and the accuracy over all as a line.

    Without bars where the number of samples is not known.
    """
    figure = new_figure(6.6, 3.8)
    axes = figure.add_subplot(xlabel="resolution (pixels per side)", ylabel="test accuracy")
    measured = evaluation.accuracy_by_resolution
    samples = evaluation.samples_by_resolution
    bars = [standard_error(p, samples[at]) for at, p in measured.items()] if samples else None
    if bars:
        axes.set_title("bars: one standard error", fontsize=8.5, color="0.35")
    style: dict[str, Any] = {"marker": "o", "markersize": 4, "linewidth": 1.3, "elinewidth": 1}
    axes.errorbar(list(measured), list(measured.values()), bars, **style)
    if (mean := evaluation.metrics.get("test/accuracy")) is not None:
        axes.axhline(mean, color="0.5", linewidth=0.9, linestyle=DASHED, zorder=0, label="all resolutions")
        axes.legend(frameon=False, fontsize=8.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    quiet(axes)
    return figure
