"""Carries out a plan: trains what has not been trained, evaluates, and tells what came of each run."""

import os
import re
import signal
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

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
from sefl.sweep.jobs import Step, Steps, executor, hand_in, locked, python_module
from sefl.sweep.plan import Trial
from sefl.sweep.trials import FitParser, Planned, find_run
from sefl.training.processes import SIGNALLED

SWEEPS = "sweeps"
"""The folder, among the runs, of the output of sweeps."""

GRACE_SECONDS = 30.0
"""How long to wait for runs that were interrupted: each ends itself before."""

_ERROR = re.compile(r"(^|\s)(error|[\w.]*Error):")
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
        seconds: what it took, from its ``begin``.
        log: the file of its output.
        left: what is handed in.
        submitted: what submitit says of it.
        task: its line in the progress.
    """

    planned: Planned
    evaluate: str | None
    runs: Path
    folder: RunFolder | None = None
    outcome: str = ""
    detail: str = ""
    seconds: float = 0.0
    begin: float = 0.0
    log: Path = Path()
    left: Steps = field(init=False)
    submitted: Any = None
    task: TaskID = field(init=False)

    def __str__(self) -> str:
        return str(self.planned.trial)

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


class Sweep:
    """Experiments that are run, some at once.

    Args:
        trials: what to run.
        runs: the folder of all runs.
        jobs: how many at once; by default one on this computer, and as many as SLURM starts.
        evaluate: ``best`` or ``last``: the checkpoint to evaluate after training, if any.
        cluster: where they run: ``local``, ``slurm``, or ``debug`` in this process.
        submitit: options of submitit, as ``timeout_min=240``.

    Raises:
        ValueError: if an experiment or submitit has a mistake in its options, or ``jobs`` is not positive.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        runs: Path,
        jobs: int | None = None,
        evaluate: str | None = None,
        cluster: str = "local",
        submitit: Sequence[str] = (),
    ) -> None:
        if jobs is not None and jobs < 1:
            raise ValueError(f"jobs must be at least 1, got {jobs}")
        self.runs = runs
        self.parser = FitParser()
        self.cluster, self.submitit, self.limit = cluster, submitit, jobs
        with TemporaryDirectory() as folder:  # mistakes are found before anything is written
            executor(cluster, Path(folder), submitit, jobs)
        self.jobs = [Job(self.parser.plan(trial), evaluate, runs) for trial in trials]
        self._told: set[str] = set()

    def show_plan(self, console: Console) -> None:
        """Show the commands that are left, as they are typed."""
        for job in self.jobs:
            try:
                for module, arguments in job.steps(self._find(job)):
                    _say(console, command_line(f"python -m {module}", arguments))
            except UnreadableFile as error:
                _say(console, f"# {job}: {error}")

    def run(self, console: Console, command: str) -> bool:
        """Run everything, and show what came of it; whether anything failed or was interrupted.

        Raises:
            ValueError: if another sweep writes into the same folder, or SLURM takes no jobs.
            KeyboardInterrupt: if it was interrupted; the processes have ended.
        """
        with locked(self.runs / SWEEPS / ".lock"), terminated_as_interrupted():
            with locked(self._running):
                pass
            logs = make_next_version(self.runs / SWEEPS)
            record_command(logs, command)
            many = f"{len(self.jobs)} runs; their output is in [bold]{escape(str(logs))}[/bold]"
            console.print(many, soft_wrap=True)
            columns = (
                SpinnerColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.description}"),
            )
            silent = not console.is_terminal
            with Progress(*columns, console=console, transient=True, disable=silent) as progress:
                try:
                    self._run_all(progress, logs)
                finally:
                    if any(job.outcome for job in self.jobs):
                        console.print(self._summary())
                        for job in self._explained:
                            _say(console, f"{job}: {printable(job.detail)}")
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
        _say(console, f"Report: {command_line('python -m sefl.report', folders)}")
        return False

    @property
    def _running(self) -> Path:
        """The file that all runs hold a lock on."""
        return self.runs / SWEEPS / ".running"

    def _run_all(self, progress: Progress, logs: Path) -> None:
        waiting, running = deque(self.jobs), list[Job]()
        at_once = len(self.jobs) if self.cluster == "slurm" else self.limit or 1
        handing_in = executor(self.cluster, logs / "submitit", self.submitit, self.limit)
        total = progress.add_task("all runs", total=len(self.jobs))
        try:
            while waiting or running:
                taken = [waiting.popleft() for _ in range(min(len(waiting), at_once - len(running)))]
                begun = [job for job in taken if self._begin(job, progress, logs)]
                submitted = hand_in(handing_in, [job.left for job in begun])
                for job, handed_in in zip(begun, submitted, strict=True):
                    job.submitted = handed_in
                running += begun
                for job in running:
                    progress.update(job.task, description=escape(f"{job}: {job.epochs}"))
                    if job.submitted.done():
                        self._ended(job, progress)
                running = [job for job in running if not job.outcome]
                progress.update(total, completed=sum(bool(job.outcome) for job in self.jobs))
                time.sleep(_POLL_SECONDS)
        finally:
            if running:
                progress.console.print("Stopping the runs ...")
                self._stop(running)
            for job in self.jobs:
                if job.folder is not None and not _holds_anything(job.folder.path):
                    job.folder = None

    def _stop(self, running: Sequence[Job]) -> None:
        """Interrupt runs, as Ctrl-C does, and wait for their end."""
        for job in running:
            job.submitted.cancel(check=False)
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline:
            try:
                with locked(self._running):
                    return
            except ValueError:
                time.sleep(_POLL_SECONDS)

    def _begin(self, job: Job, progress: Progress, logs: Path) -> bool:
        """Make a job ready; not if there is nothing left to do, or a checkpoint of its run is damaged."""
        try:
            found = self._find(job)
            left = job.steps(found)
        except UnreadableFile as error:
            job.outcome = "failed"
            job.detail = f"{error} Where its run is moved away, it is trained anew."
            return False
        if not left:
            job.outcome, job.detail = "skipped", "finished before"
            return False
        if job.folder is None:
            job.folder = RunFolder(make_next_version(self.runs / job.planned.name))
            left = job.steps(found)  # now in this folder
        elif found is not None:
            job.detail = (
                "evaluated only" if found.finished else f"went on after {found.progress.epochs} epochs"
            )
        job.log = logs / job.log_name
        _say(progress.console, f"{job}: {job.folder.path}")
        job.task = progress.add_task(escape(str(job)), total=1)
        job.begin = time.monotonic()
        job.left = Steps(left, job.log, self._running, self._environment)
        return True

    @property
    def _environment(self) -> dict[str, str | None]:
        """Of runs on this computer: they share its processors, unless $OMP_NUM_THREADS says how, and see all GPUs."""
        if self.cluster == "slurm":
            return {}
        threads = str(max(1, (os.cpu_count() or 1) // (self.limit or 1)))
        shared = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads)} if self.limit else {}
        # submitit's local jobs see the GPUs that they ask for, which is none
        return shared | {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES")}

    def _ended(self, job: Job, progress: Progress) -> None:
        """Say what came of a job."""
        job.seconds = time.monotonic() - job.begin
        if job.submitted.exception():
            state, said = job.submitted.state, job.submitted.paths.stderr
            job.outcome, job.detail = "interrupted", f"{said}, state {state}: the same command goes on"
        elif by := interruption(status := max(job.submitted.results(), key=abs)):
            job.outcome, job.detail = "interrupted", f"{job.log}, by {by}: the same command goes on"
        elif status:
            job.outcome, job.detail = "failed", f"{job.log}, status {status}: {reason(job.log)}"
        else:
            job.outcome = "finished"
        progress.remove_task(job.task)
        _say(progress.console, f"{job}: {job.outcome}", _STYLES.get(job.outcome))

    def _find(self, job: Job) -> Run | None:
        found = find_run(job.planned, self.runs, self.parser, self._tell)
        job.folder = found.folder if found else None
        return found

    def _tell(self, note: str) -> None:
        """Say something on the standard error, once."""
        if note not in self._told:
            self._told.add(note)
            _say(Console(stderr=True), note)

    def _summary(self) -> Table:
        shown = Table("experiment", "outcome", "run", "minutes", "", box=SIMPLE_HEAD)
        for job in self.jobs:
            shown.add_row(
                escape(str(job)),
                job.outcome or "not finished",
                escape(str(job.folder.path)) if job.folder else "-",
                f"{job.seconds / 60:.1f}",
                "" if job.outcome in _EXPLAINED else escape(printable(job.detail)),
                style=_STYLES.get(job.outcome),
            )
        return shown


def _say(console: Console, text: str, style: str | None = None) -> None:
    """Print text as it is, in one line."""
    console.print(text, style=style, soft_wrap=True, highlight=False, markup=False)


def _holds_anything(folder: Path) -> bool:
    """Whether a run began in its folder; the folder of one that did not is removed."""
    if not folder.exists():
        return False
    if any(folder.iterdir()):
        return True
    folder.rmdir()
    return False


def interruption(status: int) -> str | None:
    """The signal from without that ended a process, which can go on; ``None`` if it ended by itself.

    >>> interruption(143), interruption(-9), interruption(1)
    ('SIGTERM', 'SIGKILL', None)
    """
    number = -status if status < 0 else status - SIGNALLED
    from_without = {signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1}
    return signal.Signals(number).name if number in from_without else None


def reason(log: Path) -> str:
    """Why a process failed: the last error in its output, or else the last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return next((line for line in reversed(lines) if _ERROR.search(line)), lines[-1])


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Take SIGINT and SIGTERM for Ctrl-C, also in the background, where a shell has SIGINT ignored."""

    ending = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.default_int_handler) for number in ending}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
