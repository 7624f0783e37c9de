"""Gather runs into a report: python -m sefl.report RUN_DIR [RUN_DIR ...] [--output DIR]

A RUN_DIR is the folder of a run, RUNS/NAME/VERSION, or any folder above some. Runs that differ only in their
seed are one row: mean and standard deviation. Beside them stand the published numbers on the same data.
Tables are shown here and written, with figures and the commands that made each row, to DIR/N: report.md,
results.csv and pictures.
"""

import sys
from pathlib import Path

from rich.console import Console

from sefl.command_line.mistakes import OneLineParser
from sefl.files.output_folders import check_folder
from sefl.files.trust import HELP, OPTION
from sefl.runs.commands import command_line

PROGRAM = "python -m sefl.report"
DEFAULT_OUTPUT = "reports"
PIPED_WIDTH = 200


def main(arguments: list[str] | None = None) -> None:
    """Report as the command line says."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = OneLineParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("run_dirs", type=Path, nargs="+", metavar="RUN_DIR", help="Of a run, or of several.")
    output = "The report is written to OUTPUT/0, 1, ..."
    parser.add_argument("--output", type=str, default=DEFAULT_OUTPUT, help=output)
    parser.add_argument(OPTION, action="store_true", help=HELP)
    options = parser.parse_args(arguments)
    from sefl.report.gathering import report  # with torch and Lightning, after seconds

    try:
        check_folder(options.output, "--output")
        console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
        command = command_line(PROGRAM, arguments)
        report(options.run_dirs, Path(options.output), options.trust, command, console)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
