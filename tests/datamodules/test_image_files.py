"""Images of every mode, as grey and as colours: right to the rounding of a level, or refused with file and mode."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.image_files import ImageFiles

SIDE = 8
BLUE, GREY_OF_BLUE = (0, 0, 255), 29
# 127 of 255, of 16 bits.
HALF = 127 * 257


def of_16_bits(level: int = HALF) -> Image.Image:
    return Image.fromarray(np.full((SIDE, SIDE), level, np.uint16))


def plain(mode: str, colour: int | tuple[int, ...]) -> Image.Image:
    return Image.new(mode, (SIDE, SIDE), colour)


def palette(transparent: bool) -> Image.Image:
    """Every pixel is blue; with transparency no pixel can be seen."""
    image = plain("P", 3)
    image.putpalette([*[9] * 9, *BLUE, 7, 7, 7])
    if transparent:
        image.info["transparency"] = 3
    return image


def read(file: Path, channels: int, background: int = 255) -> list[float]:
    (decoded,) = ImageFiles([file], channels, SIDE, background)[torch.tensor([0])]
    assert decoded.dtype == torch.uint8
    return decoded.float().mean(dim=(1, 2)).tolist()


@pytest.mark.parametrize(
    ("image", "suffix", "grey", "colours"),
    [
        (plain("1", 1), "png", 255, (255,) * 3),
        (plain("L", 127), "png", 127, (127,) * 3),
        (of_16_bits(), "png", 127, (127,) * 3),
        (of_16_bits(), "tif", 127, (127,) * 3),
        (of_16_bits(), "pgm", 127, (127,) * 3),
        (of_16_bits(257), "tif", 1, (1,) * 3),
        (plain("RGB", BLUE), "png", GREY_OF_BLUE, BLUE),
        (plain("RGB", BLUE), "webp", GREY_OF_BLUE, BLUE),
        (palette(transparent=False), "png", GREY_OF_BLUE, BLUE),
        (plain("CMYK", (255, 255, 0, 0)), "tif", GREY_OF_BLUE, BLUE),
        # Black ink, half covering and on transparent ground.
        (plain("LA", (0, 128)), "png", 127, (127,) * 3),
        (plain("LA", (0, 0)), "png", 255, (255,) * 3),
        (plain("RGBA", (0, 0, 0, 0)), "png", 255, (255,) * 3),
        (plain("RGBA", (0, 0, 0, 0)), "tif", 255, (255,) * 3),
        (plain("RGBA", (0, 0, 0, 128)), "png", 127, (127,) * 3),
        (plain("RGBA", (*BLUE, 255)), "webp", GREY_OF_BLUE, BLUE),
        (palette(transparent=True), "png", 255, (255,) * 3),
    ],
)
def test_every_mode_is_read_as_it_looks(tmp_path: Path, image, suffix: str, grey: int, colours) -> None:
    file = tmp_path / f"image.{suffix}"
    image.save(file, **({"lossless": True} if suffix == "webp" else {}))
    assert read(file, 1) == pytest.approx([grey], abs=1)
    assert read(file, 3) == pytest.approx(list(colours), abs=1)


def test_transparent_pixels_show_the_background(tmp_path: Path) -> None:
    for number, transparent in enumerate((plain("RGBA", (9, 9, 9, 0)), palette(transparent=True))):
        file = tmp_path / f"{number}.png"
        transparent.save(file)
        assert read(file, 3, background=0) == [0, 0, 0]
        assert read(file, 1, background=100) == [100]
    for colour in ("L", "RGB"):  # one transparent colour, without an alpha channel
        image = plain(colour, 0)
        image.save(tmp_path / "colour.png", transparency=0 if colour == "L" else (0, 0, 0))
        assert read(tmp_path / "colour.png", 1) == [255]


def test_grey_of_16_bits_that_is_white_at_zero_is_inverted(tmp_path: Path) -> None:
    file = tmp_path / "negative.tif"
    of_16_bits(40 * 257).save(file)
    photometric = struct.pack("<HHLL", 262, 3, 1, 1)
    content = file.read_bytes()
    assert content.count(photometric) == 1
    file.write_bytes(content.replace(photometric, struct.pack("<HHLL", 262, 3, 1, 0)))
    assert read(file, 1) == pytest.approx([215], abs=1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16"])
def test_photographs_are_turned_as_their_orientation_says(tmp_path: Path, mode: str) -> None:
    levels = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
    image = Image.fromarray(levels.astype(np.uint16) * 257 if mode == "I;16" else levels)
    image = image if mode == "I;16" else image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    (decoded,) = ImageFiles([tmp_path / "turned.png"], 1, SIDE)[torch.tensor([0])]
    assert decoded[0].tolist() == np.rot90(levels, -1).tolist()


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (lambda file: plain("F", 0).save(file), "a.tif", r"mode F of TIFF has no known range of values"),
        (lambda file: plain("I", 9).save(file), "a.tif", r"mode I of TIFF has no known range of values"),
        (
            lambda file: plain("L", 9).save(file, save_all=True, append_images=[plain("L", 8)]),
            "a.tif",
            r"TIFF of 2 frames; write one file for each, or keep one",
        ),
        (lambda file: file.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40)), "a.png", "is damaged or no image"),
        (lambda file: file.mkdir(), "a.png", "can't be read: Is a directory"),
        (lambda file: None, "a.png", "can't be read: No such file"),
    ],
)
def test_what_cannot_be_shown_rightly_is_refused_by_name(
    tmp_path: Path, make, name: str, message: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name}.*{message}"):
        read(tmp_path / name, 3)


def test_what_is_done_to_an_image_is_said(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("a.jpg", "b.png", "c.png", "d.png")}
    turned = Image.new("RGB", (20, 30))
    turned.getexif()[274] = 8
    turned.save(files["a.jpg"], exif=turned.getexif())
    Image.new("RGBA", (16, 16)).save(files["b.png"])
    Image.new("L", (8, 8)).save(files["c.png"])
    Image.fromarray(np.zeros((16, 16), np.uint16)).save(files["d.png"])
    read = ImageFiles([], 1, 16, 0)
    assert read.steps(files["a.jpg"]) == [
        "JPEG, 20 x 30, mode RGB",
        "turned as EXIF says (orientation 8)",
        "colours made grey",
        "middle 20 x 20 cut out",
        "resized to 16 x 16",
    ]
    assert read.upright(files["a.jpg"], 15).size == (15, 10)
    assert read.steps(files["b.png"])[1:] == ["laid over grey 0 where transparent", "colours made grey"]
    assert read.steps(files["d.png"])[1:] == ["16 bits scaled to 8"]
    assert ImageFiles([], 3, 8).steps(files["c.png"])[1:] == ["grey repeated as three colours"]
