"""The labelled files of STL-10, as torchvision lays them out."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import STL10
from torchvision.datasets.utils import check_integrity

from datamodules.reading import downloading, reading

OFFICIAL_TRAIN_SIZE, OFFICIAL_TEST_SIZE = 5_000, 8_000
CHANNELS, IMAGE_SIZE = 3, 96
CLASS_NAMES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")

# Of the official training images.
MEAN, STD = (0.4467, 0.4398, 0.4066), (0.2603, 0.2566, 0.2713)

_SIZES = {"train": OFFICIAL_TRAIN_SIZE, "test": OFFICIAL_TEST_SIZE}


class LabelledSTL10(STL10):  # type: ignore[misc]  # torchvision has no types
    """torchvision's STL-10 without its 100,000 unlabelled images, whose file it demands to read the others."""

    train_list = STL10.train_list[:2]


class MappedImages:
    """The images of some files of STL-10, one after the other; not read but mapped to memory.

    Processes that map the same files share the memory. ``images[samples]``, with int64 ``samples`` of ``(batch,)``,
    is ``(batch, 3, 96, 96)``, uint8.

    Args:
        files: the files, of which each holds ``(images, 3, 96, 96)`` bytes, column after column.
    """

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        shape = (-1, CHANNELS, IMAGE_SIZE, IMAGE_SIZE)
        # Copy on write: nothing is written, but torch warns about memory that could not be.
        self._parts = [torch.from_numpy(np.memmap(file, np.uint8, "c").reshape(shape)) for file in files]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.files,)

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def __getitem__(self, samples: Tensor) -> Tensor:
        images = torch.empty(len(samples), CHANNELS, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)
        first = 0
        for part in self._parts:
            of_part = (samples >= first) & (samples < first + len(part))
            images[of_part] = part[samples[of_part] - first].transpose(-1, -2)
            first += len(part)
        return images


def download_stl10(data_dir: str) -> None:
    """Download STL-10 to ``data_dir``, if a labelled file of it is missing or damaged."""
    with downloading("STL-10", data_dir):
        LabelledSTL10(data_dir, split="test", download=True)


def read_stl10(data_dir: str) -> tuple[MappedImages, Tensor]:
    """The official training images followed by the test images: ``(13000, 3, 96, 96)`` and ``(13000,)``.

    Args:
        data_dir: the folder that has ``stl10_binary``; the unlabelled images need not be there.

    Returns:
        Images, uint8, and labels, int64 from 0 to 9.

    Raises:
        FileNotFoundError: if files are missing.
        ValueError: if they are truncated or damaged.
    """
    folder = Path(data_dir).absolute() / STL10.base_folder
    checksums = dict(LabelledSTL10.train_list + LabelledSTL10.test_list)
    missing = [name for name in checksums if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"data_dir {data_dir!r} has no labelled STL-10: {folder} lacks {', '.join(missing)}; set download: true "
            "(2.6 GB, of which the unlabelled images are not needed), or data_dir to the folder that has "
            f"{STL10.base_folder}"
        )
    for part, size in _SIZES.items():
        for name, expected in [(f"{part}_X.bin", size * CHANNELS * IMAGE_SIZE**2), (f"{part}_y.bin", size)]:
            found = (folder / name).stat().st_size
            if found != expected:
                raise ValueError(_damaged(folder / name, f"has {found} bytes, not {expected}"))
    for name, checksum in checksums.items():
        with reading(folder / name, "file of STL-10"):
            intact = check_integrity(folder / name, checksum)
        if not intact:
            raise ValueError(_damaged(folder / name, f"has another MD5 than {checksum}"))
    labels = np.concatenate([np.fromfile(folder / f"{part}_y.bin", np.uint8) for part in _SIZES])
    images = MappedImages([folder / f"{part}_X.bin" for part in _SIZES])
    return images, torch.from_numpy(labels.astype(np.int64) - 1)


def _damaged(file: Path, found: str) -> str:
    return f"{file} is damaged: it {found}; delete it and set download: true"
