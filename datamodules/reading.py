"""What went wrong in reading somebody's files, in one message that names the file."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OUT_OF_REACH = (errno.EACCES, errno.EPERM, errno.EIO, errno.ELOOP, errno.ENOTDIR, errno.ENOENT, errno.EISDIR)


class UnsupportedError(Exception):
    """A file that is whole but that nobody can tell the right content of."""


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Name the file in whatever its decoder raises: on damaged files decoders raise almost anything.

    Raises:
        ValueError: if anything was raised.

    >>> with reading(Path("a.png"), "image"):
    ...     raise EOFError("no more bytes")
    Traceback (most recent call last):
    ...
    ValueError: a.png is damaged or no image (no more bytes); repair or remove it
    """
    try:
        yield
    except UnsupportedError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OUT_OF_REACH:
            raise ValueError(f"{path} can't be read: {error.strerror}") from error
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path} is damaged or no {kind} ({reason}); repair or remove it") from error


def require_folder(path: Path, content: str) -> None:
    """Refuse what is no folder that can be listed.

    Args:
        path: the folder.
        content: what it should hold, for the message.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is a file, or may not be read.
    """
    try:
        os.scandir(path).close()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist; give a folder with {content}") from error
    except NotADirectoryError as error:
        raise ValueError(f"{path} is a file or lies below one; give a folder with {content}") from error
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}; give a folder with {content}") from error


@contextmanager
def downloading(name: str, folder: str) -> Iterator[None]:
    """Say in one message that a data set could not be fetched, or not be written to the folder.

    Raises:
        ValueError: if so.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"download: {name} can't be fetched to data_dir {folder!r} ({error}); "
            "put its files there, or give a folder that can be written to"
        ) from error
