"""Run many experiments: python -m sefl.sweep [SWEEP_FILE] [--configs FILE ...] [--seeds N ...] [-- --key value ...]

Every combination of configuration, seed and values of options is a run of python -m sefl.fit in a process of its own.
SWEEP_FILE, a grid in W&B's format, lists them (configs/sweeps); the same file makes a W&B sweep: wandb sweep
SWEEP_FILE. What comes after -- are options of every run. With --cluster slurm they are an array of SLURM's.

A run that was finished before, of the same configuration and seed, is skipped, one that was interrupted goes on, and
one that fails does not stop the others. Ctrl-C stops all; the same command goes on later. The output of each run is in
RUNS/sweeps/N.
"""

import sys
from pathlib import Path

from rich.console import Console

from sefl.command_line.mistakes import OneLineParser
from sefl.files.output_folders import check_folder
from sefl.files.own_packages import find_ours_first
from sefl.runs.commands import command_line
from sefl.runs.folder import DEFAULT_RUNS
from sefl.sweep.jobs import CLUSTERS

PROGRAM = "python -m sefl.sweep"
PIPED_WIDTH = 200
INTERRUPTED = 130
"""The exit status of a command that was interrupted: 128 and the number of the signal, as shells have it."""


def parser() -> OneLineParser:
    """The command line, up to ``--``."""
    made = OneLineParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [SWEEP_FILE] [--configs FILE ...] [--seeds N ...] [options] [-- --key value ...]",
        description=__doc__,
    )
    made.add_argument(
        "sweep_file", type=Path, nargs="?", metavar="SWEEP_FILE", help="A grid in W&B's format."
    )
    configs = "Configuration files, instead of those of the sweep file."
    made.add_argument("--configs", type=str, nargs="+", help=configs)
    seeds = "--seed of the runs, instead of those of the sweep file. By default the configurations' own."
    made.add_argument("--seeds", type=int, nargs="+", help=seeds)
    jobs = "How many runs at once. By default one on this computer, and as many as SLURM starts."
    made.add_argument("--jobs", type=int, help=jobs)
    cluster = (
        "Where the runs are: on this computer, as jobs of SLURM, or, for debug, one by one in this process."
    )
    made.add_argument("--cluster", choices=CLUSTERS, default="local", help=cluster)
    submitit = "Of submitit, which hands the runs in: timeout_min=240 gpus_per_node=1 slurm_partition=gpu ..."
    made.add_argument("--submitit", nargs="+", default=[], metavar="KEY=VALUE", help=submitit)
    evaluated = "The checkpoint to evaluate after a run."
    made.add_argument("--evaluate", choices=["best", "last", "none"], default="none", help=evaluated)
    made.add_argument("--runs", type=str, default=DEFAULT_RUNS, help="The folder of all runs.")
    made.add_argument("--report", action="store_true", help="At the end, report with python -m sefl.report.")
    made.add_argument("--dry_run", action="store_true", help="Only show what would be run.")
    return made


def main(arguments: list[str] | None = None) -> None:
    """Run the sweep that the command line says; exits with 1 if a run failed."""
    find_ours_first()
    arguments = sys.argv[1:] if arguments is None else arguments
    end = arguments.index("--") if "--" in arguments else len(arguments)
    command = parser()
    given = command.parse_args(arguments[:end])
    # with torch and Lightning, after seconds
    from sefl.sweep.plan import CONFIG, SEED, read_sweep_file, trials
    from sefl.sweep.runner import Sweep

    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
    try:
        check_folder(given.runs, "--runs")
        grid = {} if given.sweep_file is None else read_sweep_file(given.sweep_file)
        grid |= {name: values for name, values in ((CONFIG, given.configs), (SEED, given.seeds)) if values}
        evaluate = None if given.evaluate == "none" else given.evaluate
        where = (given.cluster, given.submitit)
        sweep = Sweep(trials(grid, arguments[end + 1 :]), Path(given.runs), given.jobs, evaluate, *where)
        if given.dry_run:
            sweep.show_plan(console)
            return
        failed = sweep.run(console, command_line(PROGRAM, arguments))
    except (ValueError, FileNotFoundError) as error:
        command.error(str(error))
    except KeyboardInterrupt:
        console.print("Interrupted; the same command goes on.")
        sys.exit(INTERRUPTED)
    failed |= sweep.report(console, make=given.report)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
