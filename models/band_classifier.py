"""What the classifiers with one prediction per band share: which band is whose, and a head for all of them."""

from collections.abc import Sequence
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.scale_classifier import ScaleClassifier
from sefl.fourier import band

# Before training the weight of a band exceeds that of the next coarser one by a factor exp(softplus(this)), 1.08.
INITIAL_GROWTH = -2.5


class BandHead(nn.Module):
    """One perceptron on the pooled features of every band: ``(batch, bands, features)`` to logits.

    Layer norm, linear, dropout, layer norm, ReLU, linear, as published; shared by the bands, but for one learned
    weight per band. With ``sharpen`` that weight can only grow from coarse to fine, so that each finer look at an image
    is more certain than the last: its loss falls with resolution by construction wherever the bands agree and are
    right, and no band has to learn it. Nothing of a finer band enters either way.
    """

    # Read by callbacks.EquivarianceMonitor: axis 1 runs over bands, downsampling keeps the leading ones.
    output_signal = "bands"

    def __init__(
        self, features: int, hidden: int, classes: int, dropout: float, bands: int, sharpen: bool
    ) -> None:
        super().__init__()
        self.sharpen = sharpen
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
        return self.perceptron(features) * self.weights()[: features.shape[1]]


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
