"""What the classifiers with one prediction per band share: which band is whose, and a head for all of them."""

from collections.abc import Sequence
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.scale_classifier import ScaleClassifier
from sefl.arguments import require_number, require_positive, require_positives
from sefl.fourier import GridBatchNorm, band
from sefl.networks.fourier_blocks import Dimensions

# What a band's log weight grows by is at first, beside ``growth``, softplus of this: 0.05.
INITIAL_GROWTH = -3.0
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
        cells: cells per axis of the features.
        hidden: hidden units.
        classes: number of classes.
        dropout: dropout of the hidden units.
        bands: number of bands.
        growth: least growth of the log weight of a band, not negative; ``None`` for weights that may also fall.
        widths: output channels of the convolutions in front.
        dimensions: 2 for images, 1 for signals.

    Raises:
        ValueError: if ``growth`` is negative or not finite, ``dropout`` not in [0, 1), a width not positive, or there
            are fewer cells than convolutions pool.
    """

    # Read by callbacks.EquivarianceMonitor: axis 1 runs over bands, downsampling keeps the leading ones.
    output_signal = "bands"

    def __init__(
        self,
        channels: int,
        cells: int,
        hidden: int,
        classes: int,
        dropout: float,
        bands: int,
        growth: float | None,
        widths: Sequence[int] = (),
        dimensions: Dimensions = 2,
    ) -> None:
        super().__init__()
        if growth is not None:
            growth = require_number("head_growth", growth, least=0)
        widths = require_positives("head_widths", widths)
        cells, hidden = require_positive("head_cells", cells), require_positive("head_hidden", hidden)
        if cells >> len(widths) < 1:
            raise ValueError(
                f"head_cells must be at least {2 ** len(widths)} for {len(widths)} head_widths, got {cells}"
            )
        self.growth = growth
        self.map_shape = (channels, *[cells] * dimensions)
        self.blocks = nn.Sequential()
        for width in widths:
            self.blocks.append(BandConvolution(channels, width, dimensions))
            channels, cells = width, cells // 2
        features = channels * cells**dimensions
        self.perceptron = nn.Sequential(
            nn.LayerNorm(features),
            nn.Linear(features, hidden),
            nn.Dropout(require_number("head_dropout", dropout, least=0, below=1)),
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


class BandClassifier(ScaleClassifier):
    """Base of the classifiers that predict for every band at once, so that one pass holds every coarser resolution.

    ``forward`` maps images ``(batch, in_channels, r, r)`` to logits ``(batch, bands, classes)``, from the band of
    ``base_resolution`` up to that of ``r``. A subclass whose layers pool says by how much (``reduction``), and one that
    approximates (``exact_predictions``) predicts for each resolution in a pass of its own.
    """

    reduction = 1
    exact_predictions = True

    def predict_all_resolutions(self, images: Tensor, resolutions: Sequence[int] | None = None) -> Tensor:
        if not self.exact_predictions:  # the bands of a fine image are not quite those of a coarser one
            return super().predict_all_resolutions(images, resolutions)
        indices = [self.band_index(r) for r in self._resolutions(images, resolutions)]
        logits: Tensor = self(images)[:, indices]
        return logits

    def band_index(self, resolution: int) -> int:
        """Which entry of ``forward``'s bands is the prediction at this resolution."""
        return band(ceil(resolution / self.reduction)) - band(ceil(self.base_resolution / self.reduction))
