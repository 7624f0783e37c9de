"""Gather runs into a report: python -m sefl.report RUN_DIR [RUN_DIR ...] [--output DIR]

A RUN_DIR is the folder of a run, RUNS/NAME/VERSION, or any folder above some. Runs that differ only in their
seed are one row: mean and standard deviation. Beside them stand the published numbers on the same data.
Tables are shown here and written, with figures and the commands that made each row, to DIR/N: report.md,
results.csv and pictures.
"""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.text import Text

from sefl.command_line.mistakes import OneLineParser
from sefl.files.output_folders import check_folder
from sefl.files.trust import HELP, OPTION
from sefl.report.document import Document
from sefl.report.markdown import printable
from sefl.report.sections import sections
from sefl.report.tables import grids
from sefl.runs.commands import command_line
from sefl.runs.experiments import group_runs
from sefl.runs.folder import make_next_version
from sefl.runs.records import DamagedRun, NoResults, Run, find_runs, read_run

PROGRAM = "python -m sefl.report"
DEFAULT_OUTPUT = Path("reports")
PIPED_WIDTH = 200
MANY = 5
"""Runs, from where on reading them takes seconds."""


@dataclass(frozen=True)
class Report:
    """What to report.

    Args:
        run_dirs: run folders, or folders above them.
        output: the folder whose next number becomes the report's folder.
        trust: whether to make networks of whatever classes the runs name.
    """

    run_dirs: Sequence[Path]
    output: Path
    trust: bool = False

    def gather(self, command: str, console: Console) -> Document:
        """Read all runs. One that is damaged or has no results becomes a note; the others go on.

        Raises:
            ValueError: if a folder does not exist or has no run.
        """
        runs: list[Run] = []
        notes: list[str] = []
        paths = find_runs(self.run_dirs)
        silent = not console.is_terminal or len(paths) < MANY
        for path in track(paths, "Reading runs", console=console, transient=True, disable=silent):
            try:
                runs.append(run := read_run(path, self.trust))
                notes += run.damages
            except (NoResults, DamagedRun) as left_out:
                notes.append(f"left out: {left_out}")
        experiments, warnings = group_runs(runs)
        return Document(command, sections(experiments), [*warnings, *notes])

    def run(self, command: str, console: Console) -> None:
        """Show the tables and write the report.

        Raises:
            ValueError: if a folder does not exist or has no run.
        """
        document = self.gather(command, console)
        for section in document.sections:
            for grid in grids(section):
                console.print(grid.rich())
        for note in document.notes:
            console.print(Text.assemble(("note ", "bold yellow"), printable(note)), soft_wrap=True)
        folder = make_next_version(self.output)
        with console.status("Drawing figures") if console.is_terminal else nullcontext():
            document.write(folder)
        console.print(f"Written to [bold]{escape(str(folder))}[/bold]", soft_wrap=True)


def main(arguments: list[str] | None = None) -> None:
    """Report as the command line says."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = OneLineParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("run_dirs", type=Path, nargs="+", metavar="RUN_DIR", help="Of a run, or of several.")
    parser.add_argument(
        "--output", type=str, default=str(DEFAULT_OUTPUT), help="The report is written to OUTPUT/0, 1, ..."
    )
    parser.add_argument(OPTION, action="store_true", help=HELP)
    options = parser.parse_args(arguments)
    try:
        check_folder(options.output, "--output")
        report = Report(options.run_dirs, Path(options.output), options.trust)
        report.run(
            command_line(PROGRAM, arguments), Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
        )
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
