"""Tables of a section: for the terminal, as Markdown, as CSV."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from sefl.report.markdown import plain, printable
from sefl.report.published import number
from sefl.report.sections import Section
from sefl.runs.experiments import Experiment, Summary
from sefl.runs.layer_errors import INTERPOLATED_FLOOR, spoken

ABSENT = "-"
EQUIVARIANCE = "equivariance/"
LEAST_DECIMAL = 1e-3
"""Errors below are shown by their power of ten."""

HEADINGS = {
    "accuracy": "accuracy",
    "shift_consistency": "shift consistency",
    "orbit_accuracy": "orbit accuracy",
    "orbit_accuracy_all": "all copies right",
    "loc_accuracy": "loc accuracy",
    "scale_consistency": "scale consistency",
    "orbit_error": "orbit error",
    EQUIVARIANCE: "equivariance error, {}",
    "parameters": "parameters",
}
"""What the table of results shows, in this order; the CSV file has everything."""

CSV_COLUMNS = ("section", "experiment", "from", "runs", "measure", "mean", "spread", "n")


@dataclass(frozen=True)
class Grid:
    """A table of text; the first column is named, the others are numbers."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str | None = None

    def rich(self) -> Table:
        caption = self.caption and Text(self.caption)
        table = Table(title=Text(printable(self.title)), caption=caption, box=SIMPLE_HEAD)
        for index, heading in enumerate(self.headings):
            justify: Literal["left", "right"] = "right" if index else "left"
            table.add_column(Text(printable(heading)), justify=justify, no_wrap=not index, overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        return table

    def markdown(self) -> str:
        rule = ["---", *["---:"] * (len(self.headings) - 1)]
        lines = [[plain(cell) for cell in line] for line in (self.headings, *self.rows)]
        return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def results(section: Section) -> Grid:
    """One row per experiment, then the published ones; a column for each measure that any of them has."""
    published = section.published.rows if section.published else {}
    measured = [experiment.summaries for experiment in section.experiments]
    measures = _ordered(name for row in [*measured, *published.values()] for name in row)
    rows = [
        (each.label, each.origin, str(len(each.runs)), *(_cell(name, each) for name in measures))
        for each in section.experiments
    ]
    for model, numbers in published.items():
        printed = (re.sub(r"^\.", "0.", numbers.get(name, ABSENT)) for name in measures)
        rows.append((model, "published", ABSENT, *printed))
    headings = ("experiment", "from", "seeds", *(_heading(name, measures) for name in measures))
    caption = None
    if section.published:
        protocol = "" if section.comparable else f" under another protocol ({section.published.title})"
        caption = f"published{protocol}: {section.published.source}"
    return Grid(section.title, headings, tuple(rows), caption)


def accuracies(section: Section) -> Grid | None:
    """Accuracy by resolution, a column for each experiment; ``None`` if none has any."""
    shown = [experiment for experiment in section.experiments if experiment.accuracy_by_resolution]
    if not shown:
        return None
    rows = tuple(
        (str(at), *(_summary("accuracy", each.accuracy_by_resolution.get(at)) for each in shown))
        for at in sorted({at for each in shown for at in each.accuracy_by_resolution})
    )
    headings = ("pixels per side", *(each.title for each in shown))
    return Grid(f"{section.title}: accuracy per resolution", headings, rows)


def costs(section: Section) -> Grid | None:
    """What training took and on what; ``None`` if no run recorded it."""
    rows = []
    for experiment in section.experiments:
        taken = [run.resources for run in experiment.runs if run.resources is not None]
        machines = dict.fromkeys(f"{of.device}, {of.processes} x {of.threads} threads" for of in taken)
        if taken:
            cells = (_cell(name, experiment) for name in ("epoch_seconds", "peak_memory"))
            rows.append((experiment.title, *cells, "; ".join(machines)))
    if not rows:
        return None
    headings = ("experiment", "time per epoch", "peak memory", "on")
    return Grid(f"{section.title}: training", headings, tuple(rows))


def grids(section: Section) -> list[Grid]:
    """All tables of a section."""
    made = (results(section), accuracies(section), costs(section))
    return [grid for grid in made if grid is not None]


def csv_text(all_sections: Sequence[Section]) -> str:
    """Every number of every section, one line each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for section in all_sections:
        for each in section.experiments:
            for name, summary in each.summaries.items():
                spread = "" if summary.spread is None else summary.spread
                ours = (section.title, each.label, each.origin, len(each.runs))
                writer.writerow((*ours, name, summary.mean, spread, summary.n))
        if section.published:
            for model, numbers in section.published.rows.items():
                for name, printed in numbers.items():
                    theirs = (section.published.title, model, "published", "")
                    writer.writerow((*theirs, name, number(printed), "", ""))
    return text.getvalue()


def _ordered(names: Iterable[str]) -> list[str]:
    found = list(dict.fromkeys(names))
    return [
        name
        for shown in HEADINGS
        for name in found
        if name == shown or (shown == EQUIVARIANCE and name.startswith(EQUIVARIANCE))
        if not name.endswith(INTERPOLATED_FLOOR)
    ]


def _heading(name: str, shown: Sequence[str]) -> str:
    kind, slash, transformation = name.partition("/")
    return HEADINGS[kind + slash].format(spoken(transformation, [other.partition("/")[2] for other in shown]))


def _cell(name: str, experiment: Experiment) -> str:
    summary = experiment.summaries.get(name)
    text = _summary(name, summary)
    if summary is not None and summary.n < len(experiment.runs):
        return f"{text} (of {summary.n})"
    return text


def _summary(name: str, summary: Summary | None) -> str:
    if summary is None:
        return ABSENT
    if summary.spread is None or (name == "parameters" and summary.spread == 0):
        return _formatted(name, summary.mean)
    return f"{_formatted(name, summary.mean)} ± {_formatted(name, summary.spread)}"


def _formatted(name: str, value: float) -> str:
    if name == "parameters":
        return f"{value:,.0f}"
    if name == "epoch_seconds":
        return f"{value:.1f} s"
    if name == "peak_memory":
        return f"{value / 2**20:,.0f} MiB"
    if "accuracy" in name or "consistency" in name:
        return f"{value:.4f}"
    if value == 0:
        return "0"
    return f"{value:.1e}" if abs(value) < LEAST_DECIMAL else f"{value:.3f}"
