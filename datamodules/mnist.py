"""The files of MNIST, as torchvision lays them out."""

from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import MNIST

OFFICIAL_TRAIN_SIZE, OFFICIAL_TEST_SIZE = 60_000, 10_000
IMAGE_SIZE = 28

# Of the official training images.
MEAN, STD = 0.1307, 0.3081


def download_mnist(data_dir: str) -> None:
    """Download what is missing of MNIST to ``data_dir``."""
    for train in (True, False):
        MNIST(data_dir, train=train, download=True)


def read_mnist(data_dir: str) -> tuple[Tensor, Tensor]:
    """The official training images followed by the test images: ``(70000, 1, 28, 28)`` and ``(70000,)``.

    Args:
        data_dir: the folder that has ``MNIST/raw``.

    Returns:
        Images, uint8, and labels, int64.

    Raises:
        FileNotFoundError: if the files are missing.
        ValueError: if they are damaged.
    """
    folder = Path(data_dir).absolute() / "MNIST" / "raw"
    files = [Path(url).stem for url, _ in MNIST.resources]
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"data_dir {data_dir!r} has no MNIST: {folder} lacks {', '.join(missing)}; "
            "set download: true, or data_dir to the folder that has MNIST/raw"
        )
    try:
        parts = [MNIST(data_dir, train=train) for train in (True, False)]
    except (AssertionError, KeyError, OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{_damaged(data_dir, folder)} ({error})") from error
    images = torch.cat([part.data for part in parts]).unsqueeze(1)
    labels = torch.cat([part.targets for part in parts])
    total = OFFICIAL_TRAIN_SIZE + OFFICIAL_TEST_SIZE
    if images.shape != (total, 1, IMAGE_SIZE, IMAGE_SIZE) or labels.shape != (total,):
        raise ValueError(_damaged(data_dir, folder))
    return images, labels


def _damaged(data_dir: str, folder: Path) -> str:
    return f"data_dir {data_dir!r} has a damaged MNIST; delete {folder} and set download: true"
