"""Where commands write: the names that runs may have, and folders that can be made. Needs no torch."""

import os
import unicodedata
from pathlib import Path

LONGEST_NAME = 200
"""Bytes of a run's name: a sweep's log is called after the whole of it, and file systems take 255."""
LONGEST_PART = 255


def check_name(name: str, option: str = "--name") -> str:
    """Refuse a name whose folder would not lie below that of all runs, or is not one to type.

    Args:
        name: what runs are called: ``RUNS/NAME/VERSION``.
        option: where it was given, for the message.

    Raises:
        ValueError: if it is empty or too long, starts or ends with ``/``, has a part that is empty, ``.`` or ``..``, or
            a backslash or control character.

    >>> check_name("mnist_scale/fourier")
    'mnist_scale/fourier'
    >>> check_name("../x")
    Traceback (most recent call last):
    ...
    ValueError: --name '../x': must be a path below the folder of all runs, like a or a/b; it has a part '..'
    """
    wrong = [part for part in name.split("/") if part in ("", ".", "..")]
    if reason := (
        _unfit(name)
        or _too_long(name, LONGEST_NAME)
        or "has a backslash" * ("\\" in name)
        or (f"has a part {wrong[0]!r}" if wrong and wrong[0] else "has an empty part" * len(wrong[:1]))
    ):
        must = "must be a path below the folder of all runs, like a or a/b"
        raise ValueError(f"{option} {_shown(name)}: {must}; it {reason}")
    return name


def check_folder(folder: str | Path, option: str) -> None:
    """Refuse a folder that can't be made or written into, before anything is computed for it.

    Args:
        folder: that exists, or is to be made.
        option: where it was given, for the message.

    Raises:
        ValueError: if it can't.
    """
    path = Path(folder)
    # of the text, as Path makes . of an empty one, which nobody means to write into
    reason = _unfit(str(folder)) or next(
        filter(None, (_too_long(part, LONGEST_PART) for part in path.parts)), None
    )
    if reason := reason or _not_writable(path):
        shown = _shown(str(folder))
        raise ValueError(
            f"{option} {shown}: can't be made or written into; it {reason}. Name another folder."
        )


def make_folder(path: Path) -> None:
    """Make a folder and those above it; none of it is an error where it is there.

    Raises:
        ValueError: if it can't be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise folder_error(path, error) from error


def folder_error(path: Path, error: OSError) -> ValueError:
    """What to raise where a folder was not made."""
    return ValueError(f"{path}: the folder can't be made ({error.strerror}). Name another one.")


def _unfit(text: str) -> str | None:
    """Why no path has this text, if so."""
    if not text.strip():
        return "is empty"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        return "has a control character"
    return None


def _too_long(text: str, most: int) -> str | None:
    size = len(os.fsencode(text))
    return f"has {size} bytes, {most} at most" if size > most else None


def _shown(text: str) -> str:
    return repr(text if len(text) <= LONGEST_NAME else f"{text[:20]}...")


def _not_writable(path: Path) -> str | None:
    """Why nothing can be written below a path, if so."""
    try:
        nearest = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
        itself = nearest == path.absolute()
        if not nearest.is_dir():
            return "is a file" if itself else f"lies below {nearest}, a file"
        if not os.access(nearest, os.W_OK | os.X_OK):
            return "is read-only" if itself else f"lies below {nearest}, which is read-only"
    except OSError as error:
        return f"can't be looked at ({error.strerror})"
    return None
