"""The processes of a sweep: each in a group of its own, with its output in a file, stopped together."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from sefl.files.output_folders import make_folder
from sefl.runs.commands import command_line
from sefl.training.processes import SIGNALLED

GRACE_SECONDS = 20.0
"""What an interrupted run gets to close its files; after that it is killed, with all that it started."""

_ERROR = re.compile(r"(^|\s)(error|[\w.]*Error):")
_POLL_SECONDS = 0.1


def python_module(module: str) -> list[str]:
    """The command that runs a module with this Python."""
    return [sys.executable, "-m", module]


def start(module: str, arguments: Sequence[str], log: Path, jobs: int, lock: int) -> subprocess.Popen[bytes]:
    """Start ``python -m module`` away from the terminal.

    Args:
        module: what to run.
        arguments: its options.
        log: the file that its output is added to, after its command.
        jobs: how many run at once: they share the processor, unless $OMP_NUM_THREADS says how.
        lock: an open file that it keeps open while it lives.
    """
    shared = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))} if jobs > 1 else {}
    with log.open("ab") as output:
        output.write(f"{command_line(f'python -m {module}', arguments)}\n".encode())
        output.flush()
        return subprocess.Popen(
            [*python_module(module), *arguments],
            env={**shared, **os.environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[lock],
        )


def interruption(status: int) -> str | None:
    """The signal from without that ended a process, which can go on; ``None`` if it ended by itself.

    >>> interruption(143), interruption(-9), interruption(1)
    ('SIGTERM', 'SIGKILL', None)
    """
    number = -status if status < 0 else status - SIGNALLED
    from_without = {signal.SIGINT, signal.SIGTERM, signal.SIGKILL}
    return signal.Signals(number).name if number in from_without else None


def stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Interrupt processes, as Ctrl-C does, and wait; kill what is left after a while or at a further Ctrl-C."""
    alive = [process for process in processes if process.poll() is None]
    for process in alive:
        process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + GRACE_SECONDS
    try:
        while any(process.poll() is None for process in alive) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    finally:
        for process in alive:
            with suppress(ProcessLookupError):  # there is no group any more if all of it have ended
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def reason(log: Path) -> str:
    """Why a process failed: the last error in its output, or else the last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return next((line for line in reversed(lines) if _ERROR.search(line)), lines[-1])


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Take SIGINT and SIGTERM for Ctrl-C, also in the background, where a shell has SIGINT ignored."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def locked(file: Path) -> Iterator[int]:
    """Hold a lock on a file; the processes that are given it hold it too, should they outlive this one.

    Raises:
        ValueError: if another process holds it, or its folder can't be made.
    """
    make_folder(file.parent)
    with file.open("w") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"--runs {file.parent.parent}: another sweep writes there, or runs that it left behind; "
                "wait for them, stop them, or name another folder"
            ) from error
        yield opened.fileno()
