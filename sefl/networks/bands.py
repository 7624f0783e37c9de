"""What the networks with one prediction per band share: which band is whose, and a head for all of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sefl.arguments import require_number, require_positive, require_positives
from sefl.fourier import BandPooling1d, BandPooling2d, GridBatchNorm, band
from sefl.networks.network import Dimensions, ScaleNetwork
from sefl.tensors.output_types import Bands

# What a band's log weight grows by is at first, beside ``growth``, softplus of this: 0.05.
INITIAL_GROWTH = -3.0
BAND_POOLINGS: dict[Dimensions, type[BandPooling1d | BandPooling2d]] = {1: BandPooling1d, 2: BandPooling2d}
_GRID_LAYERS: dict[Dimensions, tuple[type[nn.Module], type[nn.Module]]] = {
    1: (nn.Conv1d, nn.MaxPool1d),
    2: (nn.Conv2d, nn.MaxPool2d),
}


class BandConvolution(nn.Module):
    """A convolution with three taps per axis on the map of every band by itself, batch norm, ReLU, max-pooling by two.

    The norm's statistics are those of the coarsest band, which images of all resolutions have: as in
    :class:`sefl.fourier.SpectralBatchNorm`, a band does not depend on how many finer ones a training batch has.

    Shapes: ``(batch, bands, channels, *cells)`` to ``(batch, bands, width, *(cells // 2))``.
    """

    def __init__(self, channels: int, width: int, dimensions: Dimensions) -> None:
        super().__init__()
        convolution, pool = _GRID_LAYERS[dimensions]
        self.convolution = convolution(channels, width, 3, padding=1, bias=False)
        self.norm = GridBatchNorm(width)
        self.pool = pool(2)

    def forward(self, maps: Tensor) -> Tensor:
        shape = maps.shape[:2]
        convolved = self.convolution(maps.flatten(0, 1))
        coarsest = convolved.unflatten(0, shape)[:, 0]
        pooled: Tensor = self.pool(self.norm(convolved, coarsest).relu()).unflatten(0, shape)
        return pooled


@dataclass(frozen=True)
class BandHeadSettings:
    """The head of a network with one prediction per band, see :class:`BandHead`.

    Args:
        cells: cells per axis that the head pools features to.
        pool: ``"max"`` or ``"mean"`` over each cell.
        widths: output channels of convolutions in front, on the cells of every band by itself, each with batch norm,
            ReLU and max-pooling by two; published: none.
        hidden: hidden units, per band.
        dropout: dropout of the hidden units.
        growth: least growth, from a band to the next, of the log of what the logits are multiplied by: the more it is,
            the more surely the loss falls with resolution; ``None``, as published, lets the factors fall.
    """

    cells: int = 2
    pool: Literal["max", "mean"] = "max"
    widths: Sequence[int] = ()
    hidden: int = 256
    dropout: float = 0.5
    growth: float | None = 0.1


class BandHead(nn.Module):
    """One network on the pooled features of every band: ``(batch, bands, channels * cells^dimensions)`` to logits.

    Layer norm, linear, dropout, layer norm, ReLU, linear, as published; shared by the bands, but for one learned
    weight per band.

    With ``growth`` the log weight grows by at least so much from a band to the next: each finer look at an image is
    more certain than the last, and its loss falls with resolution by construction wherever the bands agree and are
    right; what is predicted does not depend on it.

    With ``widths`` there are convolutions in front (:class:`BandConvolution`), on the cells of every band by itself.
    No layer before the head can move what a high frequency says to a low one (NeurIPS 2023, claim 1); here the details
    that a band adds become features in their places. Nothing of a finer band enters in any of it.

    Args:
        channels: channels of the features.
        classes: number of classes.
        bands: number of bands.
        settings: the features' cells, and what is made of them.
        dimensions: 2 for images, 1 for signals.

    Raises:
        ValueError: if ``growth`` is negative or not finite, ``dropout`` not in [0, 1), a width not positive, or there
            are fewer cells than convolutions pool.
    """

    output_type = Bands()

    def __init__(
        self, channels: int, classes: int, bands: int, settings: BandHeadSettings, dimensions: Dimensions = 2
    ) -> None:
        super().__init__()
        self.growth = settings.growth
        if settings.growth is not None:
            self.growth = require_number("head.growth", settings.growth, least=0)
        widths = require_positives("head.widths", settings.widths)
        cells, hidden = (
            require_positive("head.cells", settings.cells),
            require_positive("head.hidden", settings.hidden),
        )
        if cells >> len(widths) < 1:
            raise ValueError(
                f"head.cells must be at least {2 ** len(widths)} for {len(widths)} head.widths, got {cells}"
            )
        self.map_shape = (channels, *[cells] * dimensions)
        self.blocks = nn.Sequential()
        for width in widths:
            self.blocks.append(BandConvolution(channels, width, dimensions))
            channels, cells = width, cells // 2
        features = channels * cells**dimensions
        self.perceptron = nn.Sequential(
            nn.LayerNorm(features),
            nn.Linear(features, hidden),
            nn.Dropout(require_number("head.dropout", settings.dropout, least=0, below=1)),
            nn.LayerNorm(hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )
        self.log_weight = nn.Parameter(torch.zeros(bands, 1))

    def reset_parameters(self) -> None:
        """The weights of the bands alone; each of the layers has its own."""
        nn.init.zeros_(self.log_weight)

    def weights(self) -> Tensor:
        """What the perceptron's logits are multiplied by: ``(bands, 1)``, positive."""
        if self.growth is None:
            return self.log_weight.exp()
        growth = self.growth + F.softplus(self.log_weight[1:] + INITIAL_GROWTH)
        return torch.cat([self.log_weight[:1], growth]).cumsum(0).exp()

    def forward(self, features: Tensor) -> Tensor:
        if self.blocks:
            features = self.blocks(features.unflatten(2, self.map_shape)).flatten(2)
        logits: Tensor = self.perceptron(features) * self.weights()[: features.shape[1]]
        return logits


class BandNetwork(ScaleNetwork):
    """Base of the networks that predict for every band at once, so that one pass holds every coarser resolution.

    ``forward`` maps images ``(batch, in_channels, r, r)`` to logits ``(batch, bands, classes)``, from the band of
    ``base_resolution`` up to that of ``r``. A subclass whose layers pool says by how much (``reduction``), and one that
    approximates (``exact_predictions``) predicts for each resolution in a pass of its own.
    """

    blocks: nn.Sequential
    reduction = 1
    exact_predictions = True

    def predict_all_resolutions(
        self,
        images: Tensor,
        resolutions: Sequence[int] | None = None,
        progress: Callable[[Sequence[int]], Iterator[int]] = iter,
    ) -> Tensor:
        if not self.exact_predictions:  # the bands of a fine image are not quite those of a coarser one
            return super().predict_all_resolutions(images, resolutions, progress)
        indices = [self.band_index(r) for r in self._resolutions(images, resolutions)]
        logits: Tensor = self(images)[:, indices]
        return logits

    def band_index(self, resolution: int) -> int:
        """Which entry of ``forward``'s bands is the prediction at this resolution."""
        return band(ceil(resolution / self.reduction)) - band(ceil(self.base_resolution / self.reduction))

    def band_pooling(self, settings: BandHeadSettings) -> nn.Module:
        """Features of the head's cells, of every band."""
        base, finest = (ceil(r / self.reduction) for r in (self.base_resolution, self.max_resolution))
        return BAND_POOLINGS[self.dimensions](base, finest, settings.cells, pool=settings.pool)

    def measured_layers(self) -> list[str]:
        projection = [] if getattr(self, "projection", None) is None else ["projection"]
        return [*projection, *(f"blocks.{index}" for index in range(len(self.blocks))), "head"]
