"""The command lines that made a folder, in its command.txt: one line for each start."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from sefl.files.reading import reading
from sefl.files.writing import write_atomically

FILE = "command.txt"


def command_line(program: str, arguments: Sequence[str]) -> str:
    """What to type into a shell.

    >>> command_line("python -m sefl.fit", ["--config", "my file.yaml"])
    "python -m sefl.fit --config 'my file.yaml'"
    """
    return f"{program} {shlex.join(arguments)}".replace("\n", " ")


def record_command(folder: Path, command: str) -> None:
    """Add a line to the folder's file, whatever it holds."""
    path = folder / FILE
    before = path.read_bytes() if path.is_file() else b""
    write_atomically(path, lambda file: file.write(before + f"{command}\n".encode()))


def recorded_commands(folder: Path) -> list[str]:
    """The lines of the folder's file, oldest first; none if it has no file.

    Raises:
        DamagedFile: if the file is damaged.
    """
    path = folder / FILE
    with reading(path):
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if "\0" in text:
            raise ValueError("it holds binary zeros")
    return text.splitlines()
