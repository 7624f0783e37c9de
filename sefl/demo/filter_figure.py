"""A filter of a spectral convolution: local in space, and in frequency what every coarser resolution has a part of."""

import math

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from sefl.figures.style import LABEL, SIGNED, SMALL, TEXT, TITLE, frame, new_figure, quiet
from sefl.fourier import SpectralConv2d, band, to_coefficients, to_grid

FINEST = 31
KERNEL = 7
ANGLE, WIDTH = math.radians(30), 1.3
"""Of the edges that the filter finds, and of the Gaussian in it, in pixels."""

RESOLUTIONS = (9, 15, 23)


def filter_figure() -> Figure:
    """The taps in space, the absolute transfer function, and the squares of it that coarser resolutions use."""
    response = impulse_response(edge_filter())
    figure = new_figure(5.4, 2.95, layout=None)
    space, frequency = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.02, right=0.98, top=0.89, bottom=0.21, wspace=0.16)
    _draw_space(space, response)
    _draw_frequency(frequency, response)
    return figure


def edge_filter() -> SpectralConv2d:
    """A convolution whose taps are the derivative of a Gaussian across an edge."""
    convolution = SpectralConv2d(1, 1, KERNEL, FINEST, bias=False)
    offset = torch.arange(KERNEL) - KERNEL // 2
    across = offset[:, None] * math.cos(ANGLE) + offset * math.sin(ANGLE)
    distance = offset[:, None].square() + offset.square()
    convolution.weight.data[:, :, 0, 0] = across * torch.exp(-distance / (2 * WIDTH**2))
    return convolution


def impulse_response(convolution: SpectralConv2d) -> Tensor:
    """What the layer makes of a single bright pixel in the middle: ``(FINEST, FINEST)``."""
    pixel = torch.zeros(1, 1, FINEST, FINEST)
    pixel[..., FINEST // 2, FINEST // 2] = 1
    with torch.no_grad():
        return to_grid(convolution(to_coefficients(pixel)), FINEST)[0, 0]


def _draw_space(axes: Axes, response: Tensor) -> None:
    limit = float(response.abs().max())
    axes.imshow(response, cmap=SIGNED, vmin=-limit, vmax=limit)
    corner = FINEST // 2 - KERNEL // 2 - 0.5
    axes.add_patch(Rectangle((corner, corner), KERNEL, KERNEL, fill=False, color=TEXT, linewidth=1))
    below = FINEST // 2 + KERNEL // 2 + 1.5
    note = f"{KERNEL} x {KERNEL} taps, exactly 0 elsewhere"
    axes.text(FINEST // 2, below, note, fontsize=SMALL, color=TEXT, ha="center", va="top")
    frame(axes)
    axes.set_title("in space", fontsize=TITLE, color=TEXT)
    axes.set_xlabel(f"{FINEST} x {FINEST} pixels", fontsize=LABEL, color=TEXT, labelpad=5)


def _draw_frequency(axes: Axes, response: Tensor) -> None:
    transfer = torch.fft.fftshift(torch.fft.fft2(response).abs())
    highest = band(FINEST)
    # Downwards, as rows of pixels, so that directions in both panels agree.
    extent = (-highest - 0.5, highest + 0.5, highest + 0.5, -highest - 0.5)
    axes.imshow(transfer, cmap="magma", extent=extent)
    for resolution in RESOLUTIONS:
        edge = band(resolution) + 0.5
        axes.add_patch(
            Rectangle((-edge, -edge), 2 * edge, 2 * edge, fill=False, color="white", linewidth=1.1)
        )
        axes.text(
            edge - 0.3, 0.3 - edge, str(resolution), fontsize=SMALL, color="white", ha="right", va="top"
        )
    quiet(axes, SMALL)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set(xticks=[-highest, 0, highest], yticks=[-highest, 0, highest])
    axes.set_title("in frequency", fontsize=TITLE, color=TEXT)
    sizes = f"{', '.join(map(str, RESOLUTIONS[:-1]))} or {RESOLUTIONS[-1]}"
    axes.set_xlabel(f"squares: what images of\n{sizes} pixels have of it", fontsize=LABEL, color=TEXT)
