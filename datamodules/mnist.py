"""The files of MNIST, as torchvision lays them out."""

from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import MNIST
from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor
from torchvision.datasets.utils import calculate_md5

from datamodules.reading import UnsupportedError, downloading, reading

OFFICIAL_TRAIN_SIZE, OFFICIAL_TEST_SIZE = 60_000, 10_000
IMAGE_SIZE = 28
CLASS_NAMES = "0123456789"
SIZES = {"train": OFFICIAL_TRAIN_SIZE, "t10k": OFFICIAL_TEST_SIZE}

# MD5 of the files; torchvision knows those of their archives alone.
CHECKSUMS = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}

# Of the official training images.
MEAN, STD = 0.1307, 0.3081


def download_mnist(data_dir: str) -> None:
    """Download what is missing of MNIST to ``data_dir``."""
    with downloading("MNIST", data_dir):
        for train in (True, False):
            MNIST(data_dir, train=train, download=True)


def read_mnist(data_dir: str, checksums: bool = True) -> tuple[Tensor, Tensor]:
    """The official training images followed by the test images: ``(70000, 1, 28, 28)`` and ``(70000,)``.

    Args:
        data_dir: the folder that has ``MNIST/raw``.
        checksums: whether the files must be MNIST's own, not others of its format.

    Returns:
        Images, uint8, and labels, int64.

    Raises:
        FileNotFoundError: if the files are missing.
        ValueError: if they are damaged, exchanged, or others than MNIST's.
    """
    folder = Path(data_dir).absolute() / "MNIST" / "raw"
    missing = [name for name in CHECKSUMS if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"data_dir {data_dir!r} has no MNIST: {folder} lacks {', '.join(missing)}; "
            "set download: true, or data_dir to the folder that has MNIST/raw"
        )
    if checksums:
        for name, checksum in CHECKSUMS.items():
            _require_checksum(folder / name, checksum)
    images, labels = [], []
    for part, size in SIZES.items():
        images.append(_read(folder / f"{part}-images-idx3-ubyte", (size, IMAGE_SIZE, IMAGE_SIZE)))
        labels.append(_read(folder / f"{part}-labels-idx1-ubyte", (size,)))
    return torch.cat(images).unsqueeze(1), torch.cat(labels).long()


def _require_checksum(file: Path, checksum: str) -> None:
    with reading(file, "file of MNIST"):
        found = calculate_md5(file)
    if found == checksum:
        return
    called = next((name for name, other in CHECKSUMS.items() if other == found), None)
    problem = f"is MNIST's {called}" if called else f"has another MD5, {found}, than MNIST's, {checksum}"
    raise ValueError(
        f"{file} {problem}; delete {file.parent} and set download: true, "
        "or checksums: false for other images in MNIST's format"
    )


def _read(file: Path, shape: tuple[int, ...]) -> Tensor:
    try:
        with reading(file, "file of MNIST's format"):
            content: Tensor = read_sn3_pascalvincent_tensor(str(file))
            if content.dtype != torch.uint8 or tuple(content.shape) != shape:
                raise UnsupportedError(
                    f"holds {tuple(content.shape)} of {content.dtype}, not {shape} of uint8"
                )
    except ValueError as error:
        raise ValueError(f"{error}; delete {file.parent} and set download: true") from error
    return content
