"""Carries out a plan: trains what has not been trained, evaluates, and tells what came of each run."""

import subprocess
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from sefl.files.torch_files import UnreadableFile
from sefl.files.trust import OPTION
from sefl.report.markdown import printable
from sefl.runs.commands import command_line, record_command
from sefl.runs.folder import DEFAULT_RUNS, RunFolder, make_next_version
from sefl.runs.run import Run
from sefl.sweep.plan import Trial
from sefl.sweep.processes import (
    interruption,
    locked,
    python_module,
    reason,
    start,
    stop,
    terminated_as_interrupted,
)
from sefl.sweep.trials import FitParser, Planned, find_run

SWEEPS = "sweeps"
"""The folder, among the runs, of the output of sweeps."""

Step = tuple[str, list[str]]
"""A module to run, and its arguments."""

_POLL_SECONDS = 0.2
_STYLES = {"failed": "bold red", "interrupted": "red", "skipped": "dim"}
_EXPLAINED = ("failed", "interrupted")
"""Outcomes whose detail is a message, too long for a column."""


@dataclass
class Job:
    """One experiment on its way.

    Args:
        planned: the experiment.
        evaluate: the checkpoint to evaluate, if any.
        runs: the folder of all runs.
        folder: its run's, once there is one.
        outcome: what came of it: ``finished``, ``skipped``, ``interrupted`` or ``failed``.
        detail: more about that.
        seconds: what it took, now.
    """

    planned: Planned
    evaluate: str | None
    runs: Path
    folder: RunFolder | None = None
    outcome: str = ""
    detail: str = ""
    seconds: float = 0.0

    @property
    def log_name(self) -> str:
        seed = self.planned.trial.seed
        return self.planned.name.replace("/", "_") + ("" if seed is None else f"_seed={seed}") + ".log"

    def steps(self, found: Run | None) -> list[Step]:
        """What is left to do after what was found."""
        left: list[Step] = []
        if found is None or not found.finished:
            go_on = [] if found is None else ["--ckpt_path", "last"]
            arguments = [*self.planned.trial.arguments, "--name", self.planned.name]
            left.append(("sefl.fit", [*arguments, *self._run_dir, *go_on]))
        if self.evaluate and (left or found is None or not found.evaluated(self.evaluate)):
            of_run = self._run_dir if self.folder else ["--name", self.planned.name, *self._run_dir]
            # Its configuration is the plan's, whose classes the user has named.
            left.append(("sefl.evaluate", [*of_run, "--ckpt_path", self.evaluate, OPTION]))
        return left

    @property
    def _run_dir(self) -> list[str]:
        if self.folder:
            return ["--run_dir", str(self.folder.path)]
        return [] if self.runs == Path(DEFAULT_RUNS) else ["--runs", str(self.runs)]

    @property
    def epochs(self) -> str:
        """How many epochs have been trained, of how many."""
        run = Run(self.folder.path) if self.folder else None
        taken = run.resources if run else None
        done = max(taken.epoch_seconds, default=-1) + 1 if taken else "?" if run and run.damages else 0
        return f"epoch {done} of {self.planned.config['trainer']['max_epochs']}"


@dataclass
class Running:
    """A job's process, and what comes after it."""

    job: Job
    process: subprocess.Popen[bytes]
    left: deque[Step]
    log: Path
    task: TaskID
    begin: float = field(default_factory=time.monotonic)


class Sweep:
    """Experiments that are run, some at once.

    Args:
        trials: what to run.
        runs: the folder of all runs.
        jobs: how many at once.
        evaluate: ``best`` or ``last``: the checkpoint to evaluate after training, if any.

    Raises:
        ValueError: if an experiment has a mistake in its options, or ``jobs`` is not positive.
    """

    def __init__(
        self, trials: Sequence[Trial], runs: Path, jobs: int = 1, evaluate: str | None = None
    ) -> None:
        if jobs < 1:
            raise ValueError(f"jobs must be at least 1, got {jobs}")
        self.runs = runs
        self._told: set[str] = set()
        self.concurrent = jobs
        self.jobs = [Job(self.parser.plan(trial), evaluate, runs) for trial in trials]

    @cached_property
    def parser(self) -> FitParser:
        return FitParser()

    def show_plan(self, console: Console) -> None:
        """Show the commands that are left, as they are typed."""
        for job in self.jobs:
            try:
                steps = job.steps(self._find(job))
            except UnreadableFile as error:
                console.print(
                    f"# {job.planned.trial}: {error}", soft_wrap=True, highlight=False, markup=False
                )
                continue
            for module, arguments in steps:
                command = command_line(f"python -m {module}", arguments)
                console.print(command, soft_wrap=True, highlight=False, markup=False)

    def run(self, console: Console, command: str) -> bool:
        """Run everything, and show what came of it; whether anything failed or was interrupted.

        Raises:
            ValueError: if another sweep writes into the same folder.
            KeyboardInterrupt: if it was interrupted; the processes have ended.
        """
        with locked(self.runs / SWEEPS / ".lock") as lock, terminated_as_interrupted():
            logs = make_next_version(self.runs / SWEEPS)
            record_command(logs, command)
            console.print(
                f"{len(self.jobs)} runs; their output is in [bold]{escape(str(logs))}[/bold]", soft_wrap=True
            )
            columns = (
                SpinnerColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.description}"),
            )
            with Progress(
                *columns, console=console, transient=True, disable=not console.is_terminal
            ) as progress:
                try:
                    self._run_all(progress, logs, lock)
                finally:
                    if any(job.outcome for job in self.jobs):
                        console.print(self._summary())
                        for job in self._explained:
                            message = f"{job.planned.trial}: {printable(job.detail)}"
                            console.print(message, soft_wrap=True, highlight=False, markup=False)
        return bool(self._explained)

    @property
    def _explained(self) -> list[Job]:
        return [job for job in self.jobs if job.outcome in _EXPLAINED]

    def report(self, console: Console, make: bool) -> bool:
        """Make the report of the runs, or say how to; whether that failed."""
        folders = [str(job.folder.path) for job in self.jobs if job.folder and job.folder.configs]
        if not folders:
            return False
        if make:
            command = [*python_module("sefl.report"), *folders, OPTION]
            return subprocess.run(command, check=False).returncode != 0
        spelled = command_line("python -m sefl.report", folders)
        console.print(f"Report: {spelled}", soft_wrap=True, highlight=False, markup=False)
        return False

    def _run_all(self, progress: Progress, logs: Path, lock: int) -> None:
        waiting, running = deque(self.jobs), list[Running]()
        total = progress.add_task("all runs", total=len(self.jobs))
        try:
            while waiting or running:
                while waiting and len(running) < self.concurrent:
                    running += self._begin(waiting.popleft(), progress, logs, lock)
                for one in running:
                    progress.update(
                        one.task, description=escape(f"{one.job.planned.trial}: {one.job.epochs}")
                    )
                    if one.process.poll() is not None:
                        self._step_ended(one, progress, lock)
                running = [one for one in running if not one.job.outcome]
                progress.update(total, completed=sum(bool(job.outcome) for job in self.jobs))
                time.sleep(_POLL_SECONDS)
        finally:
            if running:
                progress.console.print("Stopping the runs ...")
            stop(one.process for one in running)

    def _begin(self, job: Job, progress: Progress, logs: Path, lock: int) -> Iterator[Running]:
        """Start a job, unless there is nothing left to do, or a checkpoint of its run is damaged."""
        try:
            found = self._find(job)
            steps = job.steps(found)
        except UnreadableFile as error:
            job.outcome = "failed"
            job.detail = f"{error} Where its run is moved away, it is trained anew."
            return
        if not steps:
            job.outcome, job.detail = "skipped", "finished before"
            return
        if job.folder is None:
            job.folder = RunFolder(make_next_version(self.runs / job.planned.name))
        elif found is not None:
            job.detail = (
                "evaluated only" if found.finished else f"went on after {found.progress.epochs} epochs"
            )
        first, *left = job.steps(found)
        log = logs / job.log_name
        progress.console.print(
            f"{job.planned.trial}: {job.folder.path}", soft_wrap=True, highlight=False, markup=False
        )
        task = progress.add_task(escape(str(job.planned.trial)), total=1 + len(left))
        yield Running(job, start(*first, log, self.concurrent, lock), deque(left), log, task)

    def _step_ended(self, one: Running, progress: Progress, lock: int) -> None:
        """Go on with what comes next for a job, if this went well."""
        job, status = one.job, one.process.returncode
        job.seconds = time.monotonic() - one.begin
        progress.advance(one.task)
        if one.left and not status:
            one.process = start(*one.left.popleft(), one.log, self.concurrent, lock)
            return
        job.outcome = "failed" if status else "finished"
        if by := interruption(status):
            job.outcome = "interrupted"
            job.detail = f"{one.log}, by {by}: the same command goes on"
        elif status:
            job.detail = f"{one.log}, status {status}: {reason(one.log)}"
        if job.folder is not None and not _holds_anything(job.folder.path):
            job.folder = None
        progress.remove_task(one.task)
        style = _STYLES.get(job.outcome, "")
        progress.console.print(
            f"{job.planned.trial}: {job.outcome}",
            style=style,
            soft_wrap=True,
            highlight=False,
            markup=False,
        )

    def _find(self, job: Job) -> Run | None:
        found = find_run(job.planned, self.runs, self.parser, self._tell)
        job.folder = found.folder if found else None
        return found

    def _tell(self, note: str) -> None:
        """Say something on the standard error, once."""
        if note not in self._told:
            self._told.add(note)
            Console(stderr=True).print(note, soft_wrap=True, highlight=False, markup=False)

    def _summary(self) -> Table:
        shown = Table("experiment", "outcome", "run", "minutes", "", box=SIMPLE_HEAD)
        for job in self.jobs:
            shown.add_row(
                escape(str(job.planned.trial)),
                job.outcome or "not finished",
                escape(str(job.folder.path)) if job.folder else "-",
                f"{job.seconds / 60:.1f}",
                "" if job.outcome in _EXPLAINED else escape(printable(job.detail)),
                style=_STYLES.get(job.outcome),
            )
        return shown


def _holds_anything(folder: Path) -> bool:
    """Whether a run began in its folder; the folder of one that did not is removed."""
    if not folder.exists():
        return False
    if any(folder.iterdir()):
        return True
    folder.rmdir()
    return False
