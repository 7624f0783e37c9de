"""The features of one image while its resolution grows, of an ordinary network and of its equivariant twin."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.image import AxesImage
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from sefl.demo.sizes import KERNEL
from sefl.equivariance.feature_maps import FeatureMap, feature_maps
from sefl.figures.style import (
    FAINT,
    ORDINARY,
    OURS,
    SIGNED,
    SMALL,
    TEXT,
    TITLE,
    frame,
    new_figure,
    power_of_ten,
)
from sefl.fourier import (
    ScaleEquivariantNonlinearity2d,
    SpectralConv2d,
    downsample,
    to_coefficients,
    to_grid,
    upsample,
)

DIGIT, VARIANT = 2, 60
"""Which of the rendered digits is shown, and in which font and stroke."""

WIDTHS = (8, 8)
TAPER = 2.5
"""Standard deviation in taps of the Gaussian that random kernels are multiplied by, so that they end smoothly."""

OVERSAMPLING = 2.0
SHOWN = 128
"""Pixels per side on which features are interpolated."""

DPI = 100
FRAME, FIRST, LAST = 110, 700, 2200
"""How long frames are shown, in milliseconds."""

GREYS, FEATURE_COLORS, TEXT_COLORS = 40, 64, 8
NOTE = "the same random kernels; error: against the downsampled features of the finest image"

WHOLE_NETWORK = ""
"""The name of a network among its own modules."""


class Equivariant(nn.Module):
    """Spectral convolutions and scale-equivariant non-linearities, from pixels to pixels of the same resolution."""

    def __init__(self, coarsest: int, finest: int, generator: torch.Generator) -> None:
        super().__init__()
        convolutions = [
            SpectralConv2d(inputs, outputs, KERNEL, finest, bias=False)
            for inputs, outputs in zip((1, *WIDTHS), WIDTHS, strict=False)
        ]
        self.weights = [convolution.weight for convolution in convolutions]
        for weight in self.weights:
            draw_smooth_kernels(weight.data, generator)
        self.convolutions = nn.ModuleList(convolutions)
        self.nonlinearities = nn.ModuleList(
            ScaleEquivariantNonlinearity2d(
                F.relu, coarsest, finest, channels=width, oversampling=OVERSAMPLING
            )
            for width in WIDTHS
        )

    def forward(self, images: Tensor) -> Tensor:
        coefficients = to_coefficients(images)
        for convolution, nonlinearity in zip(self.convolutions, self.nonlinearities, strict=True):
            coefficients = nonlinearity(convolution(coefficients))
        return to_grid(coefficients, images.shape[-1])


class Ordinary(nn.Module):
    """The same kernels as taps on the pixels of whatever resolution comes, instance norm and ReLU.

    Args:
        weights: as in spectral convolutions, ``(kernel, kernel, inputs, outputs)`` each.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, images: Tensor) -> Tensor:
        for weight in self.weights:
            images = F.relu(F.instance_norm(circular_convolution(images, weight)))
        return images


def circular_convolution(images: Tensor, weight: Tensor) -> Tensor:
    """The taps ``(kernel, kernel, inputs, outputs)`` of a spectral convolution on pixels, wrapped around."""
    # conv2d correlates.
    taps = weight.permute(3, 2, 0, 1).flip(2, 3)
    margin = len(weight) // 2
    return F.conv2d(F.pad(images, [margin] * 4, mode="circular"), taps)


def draw_smooth_kernels(weight: Tensor, generator: torch.Generator) -> None:
    """Fill ``(kernel, kernel, inputs, outputs)`` with normal numbers that fade out towards the edge of the kernel."""
    weight.normal_(generator=generator)
    distance = torch.arange(len(weight)) - len(weight) // 2
    window = torch.exp(-(distance.square() / (2 * TAPER**2)))
    weight *= (window[:, None] * window)[:, :, None, None]


def rendered_digit(resolution: int) -> Tensor:
    """One of the digits of ``datamodules.Glyphs``: ``(1, 1, resolution, resolution)``, from 0 to about 1."""
    glyphs: Tensor = resolve_name("datamodules.glyphs:base_glyphs")()
    return downsample(glyphs[None, None, DIGIT, VARIANT], resolution)


def animate(path: Path, seed: int, coarsest: int, finest: int) -> Iterator[None]:
    """Write the GIF, one frame for each resolution; yields after each frame is drawn, for progress.

    Args:
        path: the file.
        seed: of the kernels.
        coarsest: pixels per side of the first frame, at least :data:`sefl.demo.sizes.LEAST_RESOLUTION`.
        finest: of the last one, above ``coarsest``, from :data:`KERNEL` to :data:`MOST_RESOLUTION`.
    """
    image = rendered_digit(finest)
    resolutions = range(coarsest, finest + 1)
    equivariant = Equivariant(coarsest, finest, torch.Generator().manual_seed(seed))
    ours = feature_maps(equivariant, image, WHOLE_NETWORK, resolutions)
    ordinary = feature_maps(Ordinary(equivariant.weights), image, WHOLE_NETWORK, resolutions)
    stage = Stage(ordinary[finest], ours[finest])
    frames = []
    for resolution in resolutions:
        pixels = downsample(image, resolution)
        frames.append(stage.picture(pixels, ordinary[resolution], ours[resolution]))
        yield
    palette = palette_image()
    first, *others = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    durations = [FIRST, *[FRAME] * (len(frames) - 2), LAST]
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0)


def palette_image() -> Image.Image:
    """One palette for all frames, in which still parts do not flicker: greys, colours of features, and of texts."""
    greys = np.linspace(0, 1, GREYS)[:, None] * np.ones(3)
    features = colormaps[SIGNED](np.linspace(0, 1, FEATURE_COLORS))[:, :3]
    fading = np.linspace(0, 1, TEXT_COLORS, endpoint=False)[:, None]
    texts = [to_rgb(color) + fading * (1 - np.array(to_rgb(color))) for color in (ORDINARY, OURS)]
    colors = np.concatenate([greys, features, *texts])
    image = Image.new("P", (1, 1))
    image.putpalette((255 * colors).round().astype(np.uint8).tobytes())
    return image


class Stage:
    """The figure that every frame is drawn into.

    Args:
        ordinary: features of the ordinary network at the finest resolution, which choose the channel, the one that
            varies most over space, and with that the colours.
        ours: features of the equivariant one.
    """

    def __init__(self, ordinary: FeatureMap, ours: FeatureMap) -> None:
        figure = new_figure(6.0, 2.75, DPI, layout=None)
        self.canvas = FigureCanvasAgg(figure)
        panels = figure.subplots(1, 3)
        figure.subplots_adjust(left=0.015, right=0.985, top=0.88, bottom=0.2, wspace=0.06)
        self.channel = int(ordinary.features[0].var((1, 2)).argmax())
        self.image = panels[0].imshow([[0.0]], cmap="gray", vmin=0, vmax=1, extent=(0, 1, 0, 1))
        self.features = [
            self._features(panels[1], ordinary, "ordinary network", ORDINARY),
            self._features(panels[2], ours, "equivariant network", OURS),
        ]
        self.resolution = panels[0].set_title("", fontsize=TITLE, color=TEXT)
        self.errors = [
            axes.text(
                0.5, -0.05, "", transform=axes.transAxes, ha="center", va="top", fontsize=TITLE, color=color
            )
            for axes, color in zip(panels[1:], (ORDINARY, OURS), strict=True)
        ]
        for axes in panels:
            frame(axes)
        figure.text(0.985, 0.02, NOTE, ha="right", fontsize=SMALL, color=FAINT)

    def _features(self, axes: Axes, finest: FeatureMap, title: str, color: str) -> AxesImage:
        axes.set_title(title, fontsize=TITLE, color=color)
        limit = float(finest.features[0, self.channel].abs().max())
        return axes.imshow([[0.0]], cmap=SIGNED, vmin=-limit, vmax=limit, extent=(0, 1, 0, 1))

    def picture(self, image: Tensor, ordinary: FeatureMap, ours: FeatureMap) -> Image.Image:
        """The frame of one resolution, that of the image."""
        self.image.set_data(image[0, 0])
        self.resolution.set_text(f"image, {image.shape[-1]} x {image.shape[-1]}")
        for artist, text, shown in zip(self.features, self.errors, (ordinary, ours), strict=True):
            artist.set_data(upsample(shown.features[0, self.channel], (SHOWN, SHOWN)))
            text.set_text(f"error {power_of_ten(float(shown.error[0]))}")
        self.canvas.draw()
        return Image.fromarray(np.asarray(self.canvas.buffer_rgba())).convert("RGB")
