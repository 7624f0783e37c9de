"""What a sweep hands to submitit, which runs it in processes of this computer or as jobs of SLURM. Needs no torch."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from submitit import AutoExecutor, Job
from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.helpers import DelayedSubmission

from sefl.files.output_folders import make_folder
from sefl.runs.commands import command_line

CLUSTERS = ("local", "slurm", "debug")
TIMEOUTS = 1000
"""How often a job of SLURM may run out of time, to go on in the next."""

_YEAR = 365 * 24 * 60
"""Minutes of a local job: submitit would end it after two."""

Step = tuple[str, list[str]]
"""A module to run, and its arguments."""


def python_module(module: str) -> list[str]:
    """The command that runs a module with this Python."""
    return [sys.executable, "-m", module]


@dataclass
class Steps:
    """What is left to do for one experiment, one module after another: what submitit calls, in a process of its own.

    Args:
        steps: in their order.
        log: the file that their output is added to, each after its command.
        lock: a file that they hold a lock on while they live, should they outlive the sweep.
        environment: variables that they get besides; ``None`` takes one away.
        running: the process of the step that is running.
    """

    steps: Sequence[Step]
    log: Path
    lock: Path
    environment: Mapping[str, str | None]
    running: int = 0

    def __call__(self) -> int:
        """The exit status of the first step that failed, or 0."""
        variables = {**os.environ, **self.environment}
        with self.lock.open("w") as lock, self.log.open("ab") as output:
            with suppress(OSError):  # not every file system of a cluster has locks
                fcntl.flock(lock, fcntl.LOCK_SH)
            for module, arguments in self.steps:
                output.write(f"{command_line(f'python -m {module}', arguments)}\n".encode())
                output.flush()
                process = subprocess.Popen(
                    [*python_module(module), *arguments],
                    env={name: value for name, value in variables.items() if value is not None},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=[lock.fileno()],
                )
                self.running = process.pid
                try:
                    self._wait()
                except KeyboardInterrupt:
                    process.send_signal(signal.SIGINT)
                    process.wait()
                    raise
                if status := process.wait():
                    return status
        return 0

    def checkpoint(self) -> DelayedSubmission:
        """What to do when the job, which is out of time, begins again: the same, as a training goes on by itself."""
        os.kill(self.running, signal.SIGUSR1)
        self._wait()
        return DelayedSubmission(self)

    def _wait(self) -> None:
        """Also in a signal handler, which may come while it is called: ``Popen.wait`` would wait for itself there."""
        os.waitid(os.P_PID, self.running, os.WEXITED | os.WNOWAIT)


def executor(cluster: str, folder: Path, options: Sequence[str], jobs: int | None) -> AutoExecutor:
    """What hands jobs in.

    Args:
        cluster: one of ``CLUSTERS``.
        folder: of submitit's files.
        options: of ``AutoExecutor.update_parameters``, as ``KEY=VALUE``.
        jobs: how many jobs of an array SLURM may run at once.

    Raises:
        ValueError: if there is no such cluster or option, or it has another type.
    """
    wrong = next((option for option in options if "=" not in option), None)
    if wrong is not None:
        raise ValueError(f"--submitit {wrong}: must be KEY=VALUE, as timeout_min=240")
    given = {key: yaml.safe_load(value) for key, _, value in (option.partition("=") for option in options)}
    if cluster == "slurm" and not {"timeout_min", "slurm_time"} & given.keys():
        raise ValueError(
            "--submitit: SLURM needs timeout_min=MINUTES; what takes longer goes on in a further job"
        )
    usual: dict[str, Any] = {"name": "sefl", "timeout_min": _YEAR, "tasks_per_node": 1}
    try:
        made = AutoExecutor(folder, cluster=cluster, slurm_max_num_timeout=TIMEOUTS)
        made.update_parameters(**usual | {"slurm_array_parallelism": jobs} | given)
    except (AssertionError, NameError, RuntimeError, TypeError, ValueError) as error:
        option = "--submitit" if options and not isinstance(error, RuntimeError) else f"--cluster {cluster}"
        raise ValueError(f"{option}: {'; '.join(str(error).splitlines())}") from error
    return made


def hand_in(executor: AutoExecutor, steps: Sequence[Steps]) -> list[Job[int]]:
    """Hand all in at once, as an array where that is SLURM.

    Raises:
        ValueError: if it refuses them.
    """
    try:
        return executor.submit_array(steps) if steps else []
    except (FailedJobError, FailedSubmissionError) as error:
        said = [line for line in str(error).splitlines() if line.strip()]
        raise ValueError(f"--submitit: {said[-1]}") from error


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold a lock on a file.

    Raises:
        ValueError: if another process holds it, or its folder can't be made.
    """
    make_folder(file.parent)
    with file.open("a") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"--runs {file.parent.parent}: another sweep writes there, or runs that it left behind; "
                "wait for them, stop them, or name another folder"
            ) from error
        yield
