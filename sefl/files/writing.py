"""Files written whole or not at all, and what becomes of a run where the disk is full, over its quota or read-only."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

REASONS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
MEGABYTE = 1e6


class TrainingStopped(RuntimeError):
    """Why training cannot go on; a command reports it in one line."""


class WriteFailed(OSError):
    """A file could not be written; the message is one line which says why and how much is free."""


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Name the file in an error of the system while it is written.

    Raises:
        WriteFailed: instead of an OSError, or of what it led to: PyTorch's writer hides it behind one of its own.
    """
    try:
        yield
    except Exception as error:
        cause = system_error(error)
        if cause is None or isinstance(cause, WriteFailed):
            raise
        raise WriteFailed(cause.errno, _message(str(file), cause, file.parent), str(file)) from error


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Fill a file so that a kill at any moment leaves the old content or the new, never a part.

    The partial file lies beside the target: a rename is atomic within one file system only. Where writing fails, it is
    removed.

    Raises:
        WriteFailed: if the disk does not take it.
    """
    partial = path.with_name(f".{path.name}.partial")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Write a text as :func:`write_atomically` does."""
    write_atomically(path, lambda file: file.write(text.encode()))


@contextmanager
def failed_writes_stop(how_to_go_on: Callable[[], str]) -> Iterator[None]:
    """End what needs to write with one message, whichever file it was.

    Args:
        how_to_go_on: what the message ends with.

    Raises:
        TrainingStopped: if the disk, or a quota, does not take more.
    """
    try:
        yield
    except Exception as error:
        cause = system_error(error)
        known = isinstance(cause, WriteFailed)
        if cause is None or (cause.errno not in REASONS and not known):
            raise
        file = cause.filename or "A file"
        said = cause.strerror if known else f"{file} cannot be written: {cause.strerror}. Make room."
        raise TrainingStopped(f"{said} {how_to_go_on()}".strip()) from error


def system_error(error: BaseException | None) -> OSError | None:
    """The first error of the system among an error and those that led to it."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def _message(what: str, error: OSError, folder: Path) -> str:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / MEGABYTE
    return f"{what} cannot be written: {error.strerror}; {free:,.1f} MB are free there. Make room."
