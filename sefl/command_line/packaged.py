"""The configurations that come with this package: found by their names wherever a command is run. Needs no torch."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from sefl.command_line.typed import Typed

CONFIGS = Path(__file__).parents[1] / "configs"
"""Their folder; in a checkout a link to that of its root."""
OWN_DATA = {"WavFolder": "own_data/signals", "Waveforms": "own_data/signals"}
OWN_IMAGES = "own_data/images"
"""What data are trained on where nothing names a model, by their class, and of any other class."""


def packaged_names() -> list[str]:
    """What configurations are called: their paths below the folder, without the suffix."""
    return sorted(str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.rglob("*.yaml"))


def packaged(config: str) -> Path | None:
    """The file of a name such as ``quickstart``, also as ``configs/quickstart.yaml``; none if there is no such."""
    name = config.removeprefix("./").removeprefix("configs/").removesuffix(".yaml")
    return CONFIGS / f"{name}.yaml" if name in packaged_names() else None


def is_inline(config: str) -> bool:
    """Whether it is a configuration itself, in braces or lines, not a file."""
    return bool(re.search(r"\{|\n|: ", config))


def meant(config: str) -> str:
    """What to add to the message about a file that there is not."""
    close = get_close_matches(config.removeprefix("configs/").removesuffix(".yaml"), packaged_names(), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def completed(arguments: Sequence[str]) -> list[str]:
    """A command line with the files of the configurations that it names, and with a model if it names data alone.

    >>> completed(["--name", "a", "--config=quickstart"])[2].endswith("configs/quickstart.yaml")
    True
    >>> completed(["--data", "datamodules.ImageFolderScale"])[0]
    '--config'
    """
    found = [_file_of(option, value) for option, value in zip(["", *arguments], arguments, strict=False)]
    options = dict(Typed(arguments).options)
    named = {name.split(".")[0] for name in options}
    asks = any(name.endswith(("help", "print_config")) for name in options)
    if "data" in named and not asks and not named & {"model", "config", "ckpt_path"}:
        of_class = options.get("data", options.get("data.class_path", "")).rpartition(".")[2]
        found = ["--config", str(CONFIGS / f"{OWN_DATA.get(of_class, OWN_IMAGES)}.yaml"), *found]
    return found


def _file_of(before: str, argument: str) -> str:
    """An argument, with the file if it names a configuration that is none here."""
    start, config = (
        ("--config=", argument.removeprefix("--config="))
        if argument.startswith("--config=")
        else ("", argument)
    )
    if not start and before not in ("-c", "--config"):
        return argument
    if is_inline(config) or Path(config).is_file():
        return argument
    file = packaged(config)
    return argument if file is None else f"{start}{file}"
