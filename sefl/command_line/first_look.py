"""Mistakes on a command line that are seen before torch and Lightning are there, whose import takes seconds."""

import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sefl.arguments import require_seed
from sefl.command_line.packaged import completed, is_inline, meant
from sefl.command_line.typed import Typed
from sefl.files.output_folders import check_folder, check_name
from sefl.files.yaml_files import load_configuration, positions

USAGE_ERROR = 2
"""The exit status of a command that was called wrongly, as argparse has it."""
SECTIONS = (
    *("data", "model", "trainer", "seed_everything"),
    *("name", "runs", "run_dir", "seed", "ckpt_path", "wandb"),
)
"""What a configuration may hold, and a command line too."""
OF_COMMANDS = ("config", "help", "print_config", "trust")
"""What a command line may hold besides."""


def exit_at_a_mistake(program: str, arguments: Sequence[str], further: Sequence[str] = ()) -> None:
    """End the process with one line if there is a mistake that this sees; the command itself finds the others.

    Not where torchrun and its kind start the processes: these agree on who says it once they are connected.

    Args:
        program: as it is typed.
        arguments: of its command line.
        further: sections that this command knows besides.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1" or "SLURM_PROCID" in os.environ:
        return
    try:
        _look(arguments, (*SECTIONS, *further))
    except ValueError as mistake:
        sys.stderr.write(f"{program}: error: {mistake}\n")
        sys.exit(USAGE_ERROR)


def _look(arguments: Sequence[str], sections: Sequence[str]) -> None:
    typed = Typed(completed(arguments))
    names = [name for name, _ in typed.options]
    known = (*sections, *OF_COMMANDS)
    for name in names:
        if name.split(".")[0] not in known:
            raise ValueError(f"--{name}: there is no such option{_meant(name, known, '--')}")
    if any(name.endswith(("help", "print_config")) for name in names):
        return
    last: dict[str, Any] = {}
    for path in (Path(value) for value in typed.configs if not is_inline(value)):
        try:
            content = load_configuration(path)
        except ValueError as error:
            raise ValueError(f"--config {error}{'' if path.exists() else meant(str(path))}") from error
        for key in map(str, content):
            if key.split(".")[0] not in sections:
                place = next(one.place for one in positions(path) if one.key == key)
                raise ValueError(f"{path}, {place}: {key}: there is no such option{_meant(key, sections)}")
        last |= content
    last |= dict(typed.options)
    if not {"model", "config", "ckpt_path"} & {name.split(".")[0] for name in names}:
        raise ValueError("--model: needed, but not given; name a configuration with --config FILE")
    if isinstance(last.get("name"), str):
        check_name(last["name"])
    if "run_dir" in names:
        check_folder(last["run_dir"], "--run_dir")
    for option in ("seed", "seed_everything"):
        if option in names and re.fullmatch(r"-?\d+", last[option]):
            require_seed(f"--{option}", int(last[option]))


def _meant(name: str, known: Sequence[str], dashes: str = "") -> str:
    close = get_close_matches(name.split(".")[0], known, n=1)
    return f"; did you mean {dashes}{close[0]}?" if close else ""
