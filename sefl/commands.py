"""The command lines that made a folder, in its command.txt: one line for each start."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from sefl.run_folder import write_atomically

FILE = "command.txt"


def command_line(program: str, arguments: Sequence[str]) -> str:
    """What to type into a shell.

    >>> command_line("python -m sefl.fit", ["--config", "my file.yaml"])
    "python -m sefl.fit --config 'my file.yaml'"
    """
    return f"{program} {shlex.join(arguments)}".replace("\n", " ")


def record_command(folder: Path, command: str) -> None:
    """Add a line to the folder's file."""
    text = "".join(f"{line}\n" for line in [*recorded_commands(folder), command])
    write_atomically(folder / FILE, lambda file: file.write(text.encode()))


def recorded_commands(folder: Path) -> list[str]:
    """The lines of the folder's file, oldest first; none if it has no file."""
    file = folder / FILE
    return file.read_text().splitlines() if file.is_file() else []
