"""Where saved networks are found: those that this package brings along, folders, and names on the Hub."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

with warnings.catch_warnings():  # tqdm's, in notebooks without widgets
    warnings.simplefilter("ignore")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

SHIPPED = Path(__file__).parents[1] / "weights"
"""The folder of the networks that come with this package, one folder each."""

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
"""What a saved network consists of."""

CLASS, TRAINED_ON = "class_path", "trained_on"
"""Keys of ``config.json`` beside the network's arguments."""

OF_THE_HUB = ("force_download", "token", "cache_dir", "local_files_only", "revision")
"""Options of :func:`huggingface_hub.snapshot_download`."""


def shipped() -> list[str]:
    """The names of the networks that come with this package.

    >>> all(name == name.lower() for name in shipped())
    True
    """
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{CONFIG}"))


def saved_folder(name: str | Path, of_the_hub: Mapping[str, Any]) -> Path:
    """The folder of a saved network, looked for among those shipped, on the disk and, as ``owner/name``, on the Hub.

    Raises:
        ValueError: if it is nowhere.
    """
    folder = Path(name)
    if str(name) in shipped() and not (folder / CONFIG).is_file():
        return SHIPPED / name
    if folder.is_dir():
        return folder
    on_hub = isinstance(name, str) and name.count("/") == 1 and not name.startswith((".", "/", "~"))
    if not on_hub:
        raise ValueError(
            f"{name}: there is no such folder, and none of this name among the networks that come with sefl: "
            f"{', '.join(shipped()) or 'none'}"
        )
    try:
        return Path(snapshot_download(str(name), allow_patterns=[CONFIG, WEIGHTS, CARD], **of_the_hub))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{name}: there is no such folder, and it does not come from the Hub ({reason}); "
            f"networks that come with sefl: {', '.join(shipped()) or 'none'}"
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """The ``config.json`` of a saved network.

    Raises:
        ValueError: if there is none, or it is damaged.
    """
    try:
        content = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{folder}: holds no saved network: {CONFIG} can't be read ({error}); "
            f"a network's save_pretrained writes it"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{folder}: {CONFIG} must be an object of arguments, got a {type(content).__name__}")
    return content
