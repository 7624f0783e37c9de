"""The one door for files that ``torch.save`` wrote: nothing in them is executed, and no damage goes unseen."""

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

ZIP = b"PK\x03\x04"
"""What ``torch.save`` begins its files with, but for the format of before PyTorch 1.6, which has no checksums."""
TORCHSCRIPT = "constants.pkl"


class UnreadableFile(ValueError):
    """A file that is damaged, is of another kind, or holds more than weights and plain values."""


def read_torch_file(file: Path, argument: str = "", mmap: bool = False) -> Any:
    """Read tensors and plain values; everything that is stored in them is checked against its checksum first.

    A file in the format of before PyTorch 1.6, which has no checksums, is read as it is.

    Args:
        file: where they are.
        argument: what named the file, such as ``"--ckpt_path"``, to begin messages with.
        mmap: leave tensors on the disk until they are used.

    Raises:
        UnreadableFile: if it cannot be read, is damaged, or is refused because it holds code or objects of classes. The
            message is one line and names the file.
    """
    called = f"{argument} {file}".strip()
    try:
        if file.is_dir():
            raise UnreadableFile(f"{called}: is a folder, not a file of weights.")
        with file.open("rb") as stream:
            begins = stream.read(len(ZIP))
    except OSError as error:
        raise UnreadableFile(f"{called}: cannot be read: {error.strerror}.") from error
    if not begins:
        raise UnreadableFile(f"{called}: is empty.")
    zipped = begins == ZIP
    if zipped:
        _check_sums(file, called)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old formats
        try:
            return torch.load(file, map_location="cpu", weights_only=True, mmap=mmap and zipped)
        except Exception as error:  # a damaged stream of the old format may raise anything
            message = str(error)
    # Without the cause: PyTorch's messages advise to switch weights_only off.
    if found := re.search(r"GLOBAL ([\w.]+)|<class '([\w.]+)'>", message):
        raise UnreadableFile(_refused(called, f"code or an object, {found[1] or found[2]}"))
    if zipped:
        raise UnreadableFile(_refused(called, "more than weights and plain values"))
    raise UnreadableFile(f"{called}: is no file of torch.save, or is damaged or cut off.")


def read_checkpoint(file: Path, argument: str = "", mmap: bool = False) -> dict[str, Any]:
    """Read a Lightning checkpoint as :func:`read_torch_file` does.

    Raises:
        UnreadableFile: as there, and if the file holds something else.
    """
    content = read_torch_file(file, argument, mmap)
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        return content
    held = ", ".join(map(str, list(content)[:4])) if isinstance(content, dict) else type(content).__name__
    raise UnreadableFile(f"{argument} {file}: is not a Lightning checkpoint: it holds {held}.".strip())


def _check_sums(file: Path, called: str) -> None:
    """Compare what a zip file holds with its checksums, which PyTorch itself does not.

    Raises:
        UnreadableFile: if they differ, the file is cut off, or it is a program (TorchScript).
    """
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            damaged = archive.testzip()
    except Exception as error:  # a damaged directory may lead to any error
        raise UnreadableFile(f"{called}: is damaged or cut off. Take another copy.") from error
    if damaged is not None:
        raise UnreadableFile(f"{called}: is damaged: {damaged!r} fails its checksum. Take another copy.")
    if any(name.rpartition("/")[2] == TORCHSCRIPT for name in names):
        raise UnreadableFile(_refused(called, "a TorchScript program"))


def _refused(called: str, held: str) -> str:
    return (
        f"{called}: refused: it holds {held}, and reading that could do anything. Only weights and plain values are "
        "taken; store them alone, by torch.save(network.state_dict(), FILE)."
    )
