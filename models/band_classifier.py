"""What the classifiers with one prediction per band share: which band is whose, and a head for all of them."""

from collections.abc import Sequence
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.scale_classifier import Dimensions, ScaleClassifier
from sefl.fourier import GridBatchNorm, band

# Before training the weight of a band exceeds that of the next coarser one by a factor exp(softplus(this)), 1.08.
INITIAL_GROWTH = -2.5
_PIXEL_LAYERS: dict[Dimensions, tuple[type[nn.Module], type[nn.Module]]] = {
    1: (nn.Conv1d, nn.MaxPool1d),
    2: (nn.Conv2d, nn.MaxPool2d),
}


class BandHead(nn.Module):
    """One network on the pooled features of every band: ``(batch, bands, channels * cells^dimensions)`` to logits.

    Layer norm, linear, dropout, layer norm, ReLU, linear, as published; shared by the bands, but for one learned
    weight per band. With ``sharpen`` that weight can only grow from coarse to fine, so that each finer look at an image
    is more certain than the last: its loss falls with resolution by construction wherever the bands agree and are
    right, and no band has to learn it. ``widths`` puts ordinary blocks in front, each a convolution with three taps per
    axis, batch norm, ReLU and max-pooling by two, on the cells of every band by itself: as far as a frequency is from
    being moved below its own by the layers (NeurIPS 2023, claim 1), here the details that a band adds are seen in their
    places. Nothing of a finer band enters in any of it.

    Args:
        channels: channels of the features.
        cells: cells per axis of the features.
        hidden: hidden units.
        classes: number of classes.
        dropout: dropout of the hidden units.
        bands: number of bands.
        sharpen: let the weights of the bands only grow.
        widths: output channels of the blocks in front.
        dimensions: 2 for images, 1 for signals.

    Raises:
        ValueError: if a width is not positive, or there are fewer cells than blocks can pool.
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
        sharpen: bool,
        widths: Sequence[int] = (),
        dimensions: Dimensions = 2,
    ) -> None:
        super().__init__()
        self.sharpen = sharpen
        if widths and min(widths) < 1:
            raise ValueError(f"head_widths must be positive, got {list(widths)}")
        if cells >> len(widths) < 1:
            raise ValueError(
                f"head_cells must be at least {2 ** len(widths)} for {len(widths)} head_widths, got {cells}"
            )
        self.feature_shape = (channels, *[cells] * dimensions)
        convolution, pool = _PIXEL_LAYERS[dimensions]
        blocks: list[nn.Module] = []
        for width in widths:
            blocks += [
                convolution(channels, width, 3, padding=1, bias=False),
                GridBatchNorm(width),
                nn.ReLU(),
                pool(2),
            ]
            channels, cells = width, cells // 2
        self.blocks = nn.Sequential(*blocks)
        features = channels * cells**dimensions
        self.perceptron = nn.Sequential(
            nn.LayerNorm(features),
            nn.Linear(features, hidden),
            nn.Dropout(dropout),
            nn.LayerNorm(hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )
        self.log_weight = nn.Parameter(torch.zeros(bands, 1))

    def weights(self) -> Tensor:
        """What the perceptron's logits are multiplied by: ``(bands, 1)``, positive."""
        if not self.sharpen:
            return self.log_weight.exp()
        growth = F.softplus(self.log_weight[1:] + INITIAL_GROWTH)
        return torch.cat([self.log_weight[:1], growth]).cumsum(0).exp()

    def forward(self, features: Tensor) -> Tensor:
        batch, bands = features.shape[:2]
        if self.blocks:
            maps = features.reshape(batch * bands, *self.feature_shape)
            features = self.blocks(maps).view(batch, bands, -1)
        return self.perceptron(features) * self.weights()[:bands]


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
        return self(images)[:, indices]

    def band_index(self, resolution: int) -> int:
        """Which entry of ``forward``'s bands is the prediction at this resolution."""
        return band(ceil(resolution / self.reduction)) - band(ceil(self.base_resolution / self.reduction))
