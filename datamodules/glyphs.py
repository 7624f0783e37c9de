"""Digits rendered offline from fonts that ship inside matplotlib: a small data set that needs no download."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from datamodules.augmentation import affine_coordinates, affine_matrices
from datamodules.data_set import DataSet
from datamodules.rendering import RenderedSettings
from datamodules.scale import ScaleDataModule
from sefl.arguments import require_integer

# By name, not by a search: another matplotlib must not change the data. Left out are fonts of symbols
# (cmex10, cmsy10, STIXSiz*, STIXNonUni*, *Display, LastResort), which have no digits.
FONTS = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
    *("cmb10", "cmmi10", "cmr10", "cmss10", "cmti10", "cmtt10"),
)
DIGITS = "0123456789"

# Pixels added to both sides of a stroke of a digit GLYPH_HEIGHT pixels high.
STROKES = (0, 1, 2, 3)
GLYPH_HEIGHT = 48
CANVAS = 72

# Below, digits can't be told apart; above, strokes are smooth and a batch of images takes gigabytes to draw.
SMALLEST, LARGEST = 8, 512

# Images are drawn so much finer and averaged.
SUPERSAMPLING = 2

_RENDER_STREAM = 20


class Glyphs(ScaleDataModule):
    """Digits in 22 fonts with random shape, contrast and clutter; see :class:`ScaleDataModule` for the rest.

    Font and stroke width are random, as are rotation, size, shear, position, contrast and background.
    Fragments of other digits stand at the edges, noise lies over all. Every part draws from the same fonts:
    what is measured is generalisation to new distortions and clutter, not to new fonts. Images follow from
    ``seed``, the sizes and ``image_size``.

    Args:
        image_size: pixels per side at full resolution, from 8 to 512.
        mean: what is taken from each pixel, on a scale from 0 to 1; by default that of the default images.
        std: what each pixel is divided by.
        **common: the options of :class:`RenderedSettings`.

    Raises:
        ValueError: if an argument is outside its range or contradicts another.
    """

    def __init__(self, image_size: int = 28, mean: float = 0.36, std: float = 0.26, **common: Any) -> None:
        settings = RenderedSettings(**common)
        require_integer("image_size", image_size, SMALLEST, LARGEST)
        settings.require_memory(f"image_size {image_size}", image_size**2, "use fewer or smaller images")

        def load() -> tuple[Tensor, Tensor]:
            draw = partial(render, base_glyphs(), image_size=image_size)
            return settings.render(draw, len(DIGITS), _RENDER_STREAM)

        name = f"Glyphs/{image_size}"
        super().__init__(
            DataSet(name, image_size, 1, DIGITS, [mean], [std], load, settings.draw_parts), settings
        )


def base_glyphs() -> Tensor:
    """Every digit in every font and stroke width, equally high and centred.

    Returns:
        ``(digits, variants, CANVAS, CANVAS)``, float32 from 0 to 1.

    Raises:
        FileNotFoundError: if a font is missing from matplotlib.
    """
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    variants = []
    for name in FONTS:
        path = folder / f"{name}.ttf"
        if not path.is_file():
            raise FileNotFoundError(
                f"font {path} is missing from matplotlib {matplotlib.__version__}; reinstall it"
            )
        variants.append(np.stack([_glyph(path, digit) for digit in DIGITS]))
    return torch.from_numpy(np.concatenate(variants, axis=1)).float() / 255


def render(glyphs: Tensor, labels: Tensor, generator: torch.Generator, image_size: int) -> Tensor:
    """Draw one image per label.

    Args:
        glyphs: what :func:`base_glyphs` returns.
        labels: ``(batch,)``, int64.
        generator: the source of everything random.
        image_size: pixels per side.

    Returns:
        ``(batch, 1, image_size, image_size)``, uint8.
    """
    batch = len(labels)
    digit = _place(glyphs, labels, image_size, generator, distance=(0.0, 0.12), scale=(0.55, 1.0))
    clutter = torch.zeros_like(digit)
    for _ in range(2):
        other = torch.randint(len(DIGITS), (batch,), generator=generator)
        fragment = _place(glyphs, other, image_size, generator, distance=(0.55, 0.8), scale=(0.5, 1.0))
        clutter = torch.maximum(clutter, fragment)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, 1, 1, 1, generator=generator)

    coarse = torch.rand(batch, 1, 3, 3, generator=generator)
    background = 0.35 * F.interpolate(
        coarse, size=(image_size, image_size), mode="bicubic", align_corners=True
    )
    ink, faint = uniform(0.45, 0.9), uniform(0.2, 0.7)
    image = background + (1 - background) * torch.maximum(ink * digit, faint * clutter)
    image += 0.08 * torch.randn(image.shape, generator=generator)
    return image.clamp(0, 1).mul(255).round().to(torch.uint8)


def _place(
    glyphs: Tensor,
    labels: Tensor,
    image_size: int,
    generator: torch.Generator,
    distance: tuple[float, float],
    scale: tuple[float, float],
) -> Tensor:
    """A random variant of each digit, randomly distorted, at a random distance from the centre."""
    batch = len(labels)
    variant = torch.randint(glyphs.shape[1], (batch,), generator=generator)
    uniform = torch.rand(batch, 6, generator=generator)
    radius = distance[0] + (distance[1] - distance[0]) * uniform[:, 0]
    angle = 2 * math.pi * uniform[:, 1]
    height = scale[0] + (scale[1] - scale[0]) * uniform[:, 2]
    matrices = affine_matrices(
        rotation=math.radians(25) * (2 * uniform[:, 3] - 1),
        # The digit fills GLYPH_HEIGHT of the canvas, and is to fill `height` of the image.
        log_scale=torch.log(height * CANVAS / GLYPH_HEIGHT),
        shear=math.radians(20) * (2 * uniform[:, 4] - 1),
        translation=radius.unsqueeze(1) * torch.stack([torch.cos(angle), torch.sin(angle)], dim=1),
    )
    # Digits differ in width, too.
    matrices[:, 0] *= (1.3 ** (2 * uniform[:, 5:] - 1)).expand(-1, 3)
    fine = SUPERSAMPLING * image_size
    grid = affine_coordinates(matrices, fine, fine).permute(0, 2, 3, 1)
    drawn = F.grid_sample(glyphs[labels, variant].unsqueeze(1), grid, mode="bilinear", align_corners=False)
    return F.avg_pool2d(drawn, SUPERSAMPLING)


def _glyph(path: Path, digit: str) -> NDArray[np.uint8]:
    """A digit of a font in every stroke width, ``(strokes, CANVAS, CANVAS)``, in the middle of the canvas."""
    _, top, _, bottom = ImageFont.truetype(str(path), CANVAS).getbbox(digit)
    font = ImageFont.truetype(str(path), round(CANVAS * GLYPH_HEIGHT / (bottom - top)))
    left, top, right, bottom = font.getbbox(digit)
    corner = ((CANVAS - left - right) / 2, (CANVAS - top - bottom) / 2)
    drawn = []
    for stroke in STROKES:
        canvas = Image.new("L", (CANVAS, CANVAS), 0)
        ImageDraw.Draw(canvas).text(corner, digit, fill=255, font=font, stroke_width=stroke)
        drawn.append(np.asarray(canvas))
    return np.stack(drawn)
