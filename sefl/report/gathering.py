"""From the folders of runs to what is reported of them."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.text import Text

from sefl.files.reading import DamagedFile
from sefl.report.document import Document
from sefl.report.markdown import printable
from sefl.report.sections import sections
from sefl.report.tables import grids
from sefl.runs.experiments import group_runs
from sefl.runs.folder import make_next_version
from sefl.runs.run import NoResults, Run, find_runs, read_run

MANY = 5
"""Runs, from where on reading them takes seconds."""


def report(run_dirs: Sequence[Path], output: Path, trust: bool, command: str, console: Console) -> None:
    """Show the tables of runs and write the report.

    Args:
        run_dirs: run folders, or folders above them.
        output: the folder whose next number becomes the report's folder.
        trust: whether to make networks of whatever classes the runs name.
        command: what is running, for the report.
        console: where to show the tables.

    Raises:
        ValueError: if a folder does not exist or has no run.
    """
    document = _gathered(run_dirs, trust, command, console)
    for grid in (grid for section in document.sections for grid in grids(section)):
        console.print(grid.rich())
    for note in document.notes:
        console.print(Text.assemble(("note ", "bold yellow"), printable(note)), soft_wrap=True)
    folder = make_next_version(output)
    with console.status("Drawing figures") if console.is_terminal else nullcontext():
        document.write(folder)
    console.print(f"Written to [bold]{escape(str(folder))}[/bold]", soft_wrap=True)


def _gathered(run_dirs: Sequence[Path], trust: bool, command: str, console: Console) -> Document:
    """All runs. One that is damaged or has no results becomes a note; the others go on."""
    runs: list[Run] = []
    notes: list[str] = []
    paths = find_runs(run_dirs)
    silent = not console.is_terminal or len(paths) < MANY
    for path in track(paths, "Reading runs", console=console, transient=True, disable=silent):
        try:
            runs.append(run := read_run(path, trust))
            notes += run.damages
        except (NoResults, DamagedFile) as left_out:
            notes.append(f"left out: {left_out}")
    experiments, warnings = group_runs(runs)
    return Document(command, sections(experiments), [*warnings, *notes])
