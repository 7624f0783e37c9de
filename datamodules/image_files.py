"""Image files, decoded when they are asked for."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from datamodules.reading import UnsupportedError, reading

WHITE = 255

_MODES = {1: "L", 3: "RGB"}

# What is converted to colours without loss of range; `LAB` and others go through RGB on their way to grey.
_CONVERTIBLE = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
_OF_16_BITS = ("I;16", "I;16B", "I;16L", "I;16N")

# PNG and PGM of 16 bits were once decoded as 32, with the values of 16.
_OF_16_BITS_IN_32 = ("PNG", "PPM")

# Of a camera's file of several pictures the first is the photograph, the others previews or depth maps of it.
_PHOTOGRAPH_AND_MORE = "MPO"

_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_ORIENTATION, _LAST_UPRIGHT = 274, 4


class ImageFiles:
    """Image files that are read when they are asked for.

    An image is turned as its EXIF orientation says, and laid over a grey ``background`` where it is transparent. Its
    shorter side is resized to ``image_size`` (bicubic, antialiased) and the middle of the longer one kept. Grey of 16
    bits is scaled to 8. ``images[samples]``, with int64 ``samples`` of ``(batch,)``, is
    ``(batch, channels, image_size, image_size)``, uint8.

    Args:
        files: the files.
        channels: 1 for grey, 3 for colours; whatever the files have is converted.
        image_size: pixels per side.
        background: what is behind transparent pixels, from 0 (black) to 255 (white).
    """

    def __init__(self, files: list[Path], channels: int, image_size: int, background: int = WHITE) -> None:
        # One array, not a list: worker processes share it as long as nobody counts references to its items.
        self.files = np.array([os.fsencode(file) for file in files])
        self.channels = channels
        self.image_size = image_size
        self.background = background

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, samples: Tensor) -> Tensor:
        decoded = [self.decode(Path(os.fsdecode(self.files[sample]))) for sample in samples.tolist()]
        return torch.stack(decoded)

    def decode(self, file: Path) -> Tensor:
        """The image of a file: ``(channels, image_size, image_size)``, uint8.

        Raises:
            ValueError: if the file is damaged, cannot be read, has several frames or too many pixels, or values whose
                range it does not state: floating point and 32 bits.
        """
        size, mode = (self.image_size, self.image_size), _MODES[self.channels]
        with reading(file, "image"), Image.open(file) as image:
            _require_one_frame(image)
            # A JPEG can be decoded at a fraction of its size, which takes a fraction of the time.
            image.draft(mode, (2 * self.image_size, 2 * self.image_size))
            opaque = on_background(in_8_bits(image), self.background)
            ImageOps.exif_transpose(opaque, in_place=True)
            square = ImageOps.fit(opaque.convert(mode), size, Image.Resampling.BICUBIC)
        pixels = np.array(square).reshape(*size, self.channels)
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy())

    def upright(self, file: Path, longest: int) -> Image.Image:
        """The whole image of a file, turned and opaque, in its own colours, its longer side at most ``longest`` pixels.

        Raises:
            ValueError: as :meth:`decode`.
        """
        with reading(file, "image"), Image.open(file) as image:
            _require_one_frame(image)
            opaque = on_background(in_8_bits(image), self.background)
            ImageOps.exif_transpose(opaque, in_place=True)
            opaque.thumbnail((longest, longest))
        return opaque

    def steps(self, file: Path) -> list[str]:
        """What :meth:`decode` does to a file, in words, beginning with what it is.

        Raises:
            ValueError: if the file cannot be read.
        """
        with reading(file, "image"), Image.open(file) as image:
            turned = image.getexif().get(_ORIENTATION, 1)
            width, height = image.size if turned <= _LAST_UPRIGHT else image.size[::-1]
            said = [f"{image.format}, {image.width} x {image.height}, mode {image.mode}"]
            if turned != 1:
                said.append(f"turned as EXIF says (orientation {turned})")
            if image.mode.startswith("I"):
                said.append("16 bits scaled to 8")
            if image.has_transparency_data:
                said.append(f"laid over grey {self.background} where transparent")
            grey = _is_grey(image)
            if grey != (self.channels == 1):
                said.append("grey repeated as three colours" if grey else "colours made grey")
        side = min(width, height)
        if width != height:
            said.append(f"middle {side} x {side} cut out")
        if side != self.image_size:
            said.append(f"resized to {self.image_size} x {self.image_size}")
        return said


def sizes_and_channels(files: Iterable[Path]) -> tuple[int, int]:
    """The middle one of the shorter sides of image files, and 1 if all of them are grey, else 3, by their headers.

    Raises:
        ValueError: if one is damaged or no image.
    """
    sides, grey = [], True
    for file in files:
        with reading(file, "image"), Image.open(file) as image:
            sides.append(min(image.size))
            grey &= _is_grey(image)
    return sorted(sides)[len(sides) // 2], 1 if grey else 3


def _is_grey(image: Image.Image) -> bool:
    return image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")


def in_8_bits(image: Image.Image) -> Image.Image:
    """An image of 8 bits per channel: grey of 16 bits is scaled, others stay as they are.

    Raises:
        UnsupportedError: if the range of the values is not known.
    """
    if image.mode in _CONVERTIBLE:
        return image
    known = image.mode in _OF_16_BITS or (image.mode == "I" and image.format in _OF_16_BITS_IN_32)
    if not known or image.has_transparency_data:
        transparent = " with transparency" if image.has_transparency_data else ""
        raise UnsupportedError(
            f"mode {image.mode} of {image.format}{transparent} has no known range of values; "
            "write it with 8 bits per channel"
        )
    tags = getattr(image, "tag_v2", {})
    bits = int(np.ravel(tags.get(_BITS_PER_SAMPLE, 16))[0])
    levels = np.array(image).astype(np.float64) * (255 / (2**bits - 1))
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        levels = 255 - levels
    grey = Image.fromarray(levels.round().clip(0, 255).astype(np.uint8))
    grey.info.update(image.info)  # where the orientation is
    return grey


def on_background(image: Image.Image, background: int) -> Image.Image:
    """An image of 8 bits per channel over a grey ground where it is transparent, in colours; others as RGB or grey."""
    if image.mode in ("1", "L", "RGB") and not image.has_transparency_data:
        return image.convert("L") if image.mode == "1" else image
    if not image.has_transparency_data:
        return image.convert("RGB")
    above = image.convert("RGBA")
    ground = Image.new("RGBA", above.size, (background, background, background, 255))
    opaque = Image.alpha_composite(ground, above).convert("RGB")
    opaque.info.update(image.info)  # where the orientation is
    opaque.info.pop("transparency", None)
    return opaque


def _require_one_frame(image: Image.Image) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != _PHOTOGRAPH_AND_MORE:
        raise UnsupportedError(f"{image.format} of {frames} frames; write one file for each, or keep one")
