"""The report as a folder: report.md with its tables, figures and commands, results.csv and the pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from sefl.figures.accuracy import (
    accuracy_over_angle,
    accuracy_over_resolution,
    error_over_depth,
    most_accurate,
)
from sefl.figures.features import NotDrawn, features_of_networks
from sefl.files.writing import write_text
from sefl.report.markdown import code, code_block, plain
from sefl.report.sections import Section
from sefl.report.tables import csv_text, grids
from sefl.runs.experiments import Experiment

FIGURES: Mapping[str, Callable[[Sequence[Experiment]], Figure | None]] = {
    "Accuracy over resolution": accuracy_over_resolution,
    "Accuracy over angle": accuracy_over_angle,
    "Equivariance error per layer": error_over_depth,
    "Features of one image": features_of_networks,
}

LEGEND = """\
± is the standard deviation over seeds. *test*: the newest evaluation (`python -m sefl.evaluate`) of the run;
*validation*: the best validated epoch of a run that was not evaluated, which flatters it. Equivariance error:
`||T f(x) - f(T x)||² / ||T f(x)||²`, mean over all measured layers; orbit error: the same of the logits over
transformed copies. Orbit accuracy: mean over the transformed copies of the test images; loc: over rotations below
60 degrees. Time per epoch: median, without validation; peak memory: of the first process, or of its tensors on the
GPU. Published numbers are as printed, on the hardware and by the code of their authors.
"""


@dataclass(frozen=True)
class Document:
    """Everything that is reported.

    Args:
        command: what wrote it.
        sections: the experiments, by data set and protocol.
        notes: warnings, runs without results, damaged runs: one sentence each.
    """

    command: str
    sections: Sequence[Section]
    notes: Sequence[str]

    def write(self, folder: Path) -> None:
        """Write all files; report.md, which refers to the others, last."""
        text = [f"# Report\n\nWritten by {code(self.command)}.\n\n{LEGEND}"]
        if self.notes:
            text.append("## Notes\n\n" + "\n".join(f"- {plain(note)}" for note in self.notes) + "\n")
        for count, section in enumerate(self.sections, 1):
            figures = _figures(section, folder, f"{count}-{section.slug}")
            text += [f"## {plain(section.title)}\n", *_tables(section), *figures, _origins(section)]
        write_text(folder / "results.csv", csv_text(self.sections))
        write_text(folder / "report.md", "\n".join(text))


def _tables(section: Section) -> list[str]:
    text = []
    for grid in grids(section):
        _, _, subject = grid.title.removeprefix(section.title).partition(": ")
        heading = f"### {subject.capitalize()}\n\n" if subject else ""
        text.append(f"{heading}{grid.markdown()}\n" + (f"\n{plain(grid.caption)}\n" if grid.caption else ""))
    return text


def _figures(section: Section, folder: Path, beginning: str) -> list[str]:
    text = []
    for title, draw in FIGURES.items():
        lines = draw is not features_of_networks
        experiments = most_accurate(section.experiments) if lines else section.experiments
        try:
            figure = draw(experiments)
        except NotDrawn as reason:
            text.append(f"{title}: not drawn, {plain(str(reason))}.\n")
            continue
        if figure is not None:
            name = f"{beginning}-{title.lower().replace(' ', '-')}.png"
            figure.savefig(folder / name)
            text.append(f"![{title}]({name})\n")
            if (drawn := len(experiments)) < (many := len(section.experiments)):
                text.append(f"Drawn are the {drawn} most accurate of {many} experiments.\n")
    return text


def _origins(section: Section) -> str:
    lines = ["### Commands\n"]
    for experiment in section.experiments:
        for run in experiment.runs:
            results = run.results
            measured = f"{results.origin} of epoch {results.epoch} ({code(str(results.folder))})"
            lines.append(f"**{plain(experiment.title)}**: {code(str(run.path))}, {measured}\n")
            lines.append(code_block("bash", list(run.commands)) + "\n")
    return "\n".join(lines)
