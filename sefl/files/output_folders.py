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
    reason = _unfit(name)
    if reason is None and len(os.fsencode(name)) > LONGEST_NAME:
        reason = f"has {len(os.fsencode(name))} bytes, {LONGEST_NAME} at most"
    if reason is None:
        if "\\" in name:
            reason = "has a backslash"
        elif wrong := [part for part in name.split("/") if part in ("", ".", "..")]:
            reason = f"has a part {wrong[0]!r}" if wrong[0] else "has an empty part"
    if reason is not None:
        shown = repr(name if len(name) <= LONGEST_NAME else f"{name[:20]}...")
        raise ValueError(
            f"{option} {shown}: must be a path below the folder of all runs, like a or a/b; it {reason}"
        )
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
    # Path makes . of an empty text, which nobody means to write into
    reason = _unfit(str(folder))
    if reason is None and (long := [part for part in path.parts if len(os.fsencode(part)) > LONGEST_PART]):
        reason = f"has a part of {len(os.fsencode(long[0]))} bytes, {LONGEST_PART} at most"
    if reason is None:
        reason = _not_writable(path)
    if reason is not None:
        shown = str(folder) if len(str(folder)) <= LONGEST_NAME else f"{str(folder)[:20]}..."
        raise ValueError(
            f"{option} {shown!r}: can't be made or written into; it {reason}. Name another folder."
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


def _not_writable(path: Path) -> str | None:
    """Why nothing can be written below a path, if so."""
    try:
        nearest = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
        if not nearest.is_dir():
            return "is a file" if nearest == path.absolute() else f"lies below {nearest}, a file"
        if not os.access(nearest, os.W_OK | os.X_OK):
            return (
                "is read-only" if nearest == path.absolute() else f"lies below {nearest}, which is read-only"
            )
    except OSError as error:
        return f"can't be looked at ({error.strerror})"
    return None
