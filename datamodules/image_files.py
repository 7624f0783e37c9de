"""Image files, decoded when they are asked for."""

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

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
