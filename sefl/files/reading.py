"""Files of this project that are read again: what else somebody or a full disk has made of one is said in one line."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOT_AS_WRITTEN = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError),
    csv.Error,
)
"""What is raised about a file with anything else in it than what was written into it."""


class DamagedFile(ValueError):
    """A file is damaged or missing; the message names it and says what is wrong."""


@contextmanager
def reading(path: Path, advice: str = "") -> Iterator[None]:
    """Name the file in whatever is raised while what was written into it is read.

    Args:
        path: the file.
        advice: what the message ends with.

    Raises:
        DamagedFile: instead.
    """
    try:
        yield
    except DamagedFile:
        raise
    except NOT_AS_WRITTEN as error:
        if isinstance(error, OSError):
            said = error.strerror or type(error).__name__
        else:
            said = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DamagedFile(f"{path} is damaged ({said}){advice}") from error
