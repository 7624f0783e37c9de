"""The equivariance error of the scale-equivariant non-linearity beside that of a plain one, at every resolution."""

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from torch import Tensor, nn

from sefl.equivariance.feature_maps import feature_maps
from sefl.figures.style import FAINT, LABEL, ORDINARY, OURS, SMALL, new_figure, quiet
from sefl.fourier import ScaleEquivariantNonlinearity2d, to_coefficients

FINEST = 33
RESOLUTIONS = range(8, FINEST)
IMAGES, CHANNELS = 4, 4
LOWEST, HIGHEST = 1e-16, 10.0


class OnCoefficients(nn.Module):
    """The scale-equivariant ReLU on the coefficients of images."""

    def __init__(self) -> None:
        super().__init__()
        self.activation = ScaleEquivariantNonlinearity2d(torch.relu, min(RESOLUTIONS), FINEST)

    def forward(self, images: Tensor) -> Tensor:
        coefficients: Tensor = self.activation(to_coefficients(images))
        return coefficients


class OnPixels(nn.Module):
    """ReLU on the pixels of images."""

    def __init__(self) -> None:
        super().__init__()
        self.activation = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        activated: Tensor = self.activation(images)
        return activated


def nonlinearity_figure(seed: int) -> Figure:
    """Both errors over resolution, of random images.

    Args:
        seed: of the images.
    """
    images = torch.randn(IMAGES, CHANNELS, FINEST, FINEST, generator=torch.Generator().manual_seed(seed))
    figure = new_figure(5.4, 3.2, layout=None)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.135, right=0.97, top=0.96, bottom=0.16)
    _draw(axes, errors(OnPixels(), images), ORDINARY, "plain ReLU")
    _draw(axes, errors(OnCoefficients(), images), OURS, "scale-equivariant ReLU: float32 rounding")
    axes.set_yscale("log")
    axes.set(ylim=(LOWEST, HIGHEST), xlim=(min(RESOLUTIONS) - 0.7, FINEST - 0.3))
    axes.set(xticks=range(min(RESOLUTIONS), FINEST, 4), xlabel="resolution (pixels per side)")
    axes.yaxis.set_major_locator(LogLocator(numticks=6))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("equivariance error")
    quiet(axes, SMALL)
    for marker, parity in ((FAINT, "odd"), ("white", "even")):
        axes.plot([], [], "o", color=FAINT, markerfacecolor=marker, markersize=5, label=parity)
    axes.legend(
        frameon=False, fontsize=SMALL, loc="center right", title="resolutions", title_fontsize=SMALL, ncols=2
    )
    return figure


def errors(network: nn.Module, images: Tensor) -> list[float]:
    """The mean equivariance error at each of :data:`RESOLUTIONS`."""
    maps = feature_maps(network, images, "activation", RESOLUTIONS)
    return [float(shown.error.mean()) for shown in maps.values()]


def _draw(axes: Axes, values: Sequence[float], color: str, name: str) -> None:
    axes.plot(RESOLUTIONS, values, color=color, linewidth=1.2, zorder=1)
    for resolution, value in zip(RESOLUTIONS, values, strict=True):
        inside = color if resolution % 2 else "white"
        axes.plot(resolution, value, "o", color=color, markerfacecolor=inside, markersize=4.5, zorder=2)
    middle = values[len(values) // 2]
    above = middle < 1e-6
    axes.annotate(
        name,
        (RESOLUTIONS[len(values) // 2], middle),
        xytext=(0, 12 if above else -12),
        textcoords="offset points",
        ha="center",
        va="bottom" if above else "top",
        fontsize=LABEL,
        color=color,
    )
