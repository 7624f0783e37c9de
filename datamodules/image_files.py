"""Images in folders, one folder for each class, as torchvision lays them out; decoded when they are asked for."""

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS, has_file_allowed_extension

_MODES = {1: "L", 3: "RGB"}


class ImageFiles:
    """Image files that are read when they are asked for.

    The shorter side of each image is resized to ``image_size`` (bicubic, antialiased) and the middle of the longer one
    kept. ``images[samples]``, with int64 ``samples`` of ``(batch,)``, is ``(batch, channels, image_size, image_size)``,
    uint8.

    Args:
        files: the files.
        channels: 1 for grey, 3 for colours; whatever the files have is converted.
        image_size: pixels per side.
    """

    def __init__(self, files: list[Path], channels: int, image_size: int) -> None:
        # One array, not a list: worker processes share it as long as nobody counts references to its items.
        self.files = np.array([os.fsencode(file) for file in files])
        self.channels = channels
        self.image_size = image_size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, samples: Tensor) -> Tensor:
        decoded = [self.decode(Path(os.fsdecode(self.files[sample]))) for sample in samples.tolist()]
        return torch.stack(decoded)

    def decode(self, file: Path) -> Tensor:
        """The image of a file: ``(channels, image_size, image_size)``, uint8.

        Raises:
            ValueError: if the file is damaged.
        """
        size, mode = (self.image_size, self.image_size), _MODES[self.channels]
        try:
            with Image.open(file) as image:
                # A JPEG can be decoded at a fraction of its size, which takes a fraction of the time.
                image.draft(mode, (2 * self.image_size, 2 * self.image_size))
                square = ImageOps.fit(image.convert(mode), size, Image.Resampling.BICUBIC)
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise ValueError(f"{file} is damaged or no image ({error}); repair or remove it") from error
        pixels = np.array(square).reshape(*size, self.channels)
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def class_names(folder: Path) -> list[str]:
    """The names of the class folders in ``folder``, sorted; hidden ones do not count.

    Raises:
        FileNotFoundError: if there is none.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist; give a folder with one subfolder for each class")
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not _is_hidden(entry.name))
    if not names:
        raise FileNotFoundError(f"{folder} has no class folders; give one with one subfolder for each class")
    return names


def find_images(folder: Path, classes: list[str]) -> tuple[list[Path], list[int]]:
    """The image files in the class folders of ``folder``, at any depth, sorted, and the class of each.

    Args:
        folder: what has the class folders.
        classes: the names of the folders that it must have, in the order of the labels.

    Raises:
        FileNotFoundError: if a class has no image.
        ValueError: if ``folder`` has other classes or a class folder a file that is no image; hidden files do not
            count.
    """
    found = class_names(folder)
    if found != classes:
        raise ValueError(
            f"{folder} must have the {len(classes)} classes of the training images, got {len(found)}: "
            f"{', '.join(sorted(set(classes) - set(found))) or 'none'} missing, "
            f"{', '.join(sorted(set(found) - set(classes))) or 'none'} unknown"
        )
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        of_class = sorted(
            Path(parent) / file
            for parent, _, names in os.walk(folder / name, followlinks=True)
            for file in names
            if not _is_hidden(file)
        )
        if not of_class:
            raise FileNotFoundError(f"{folder / name} has no images; add some or remove the class")
        for file in of_class:
            if not has_file_allowed_extension(file.name, IMG_EXTENSIONS):
                raise ValueError(
                    f"{file} is no image by its name; remove it, or call it {', '.join(IMG_EXTENSIONS)} if it is"
                )
            if file.stat().st_size == 0:
                raise ValueError(f"{file} is empty; repair or remove it")
        files += of_class
        labels += [label] * len(of_class)
    return files, labels


def _is_hidden(name: str) -> bool:
    return name.startswith(".")
