"""One small CNN for each resolution, sharing nothing: the baseline that gives up on learning across scales."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from models.conv_classifier import conv_blocks
from models.single_prediction import SinglePredictionClassifier, pooled_perceptron


class ByResolution(nn.Module):
    """A module of its own for each resolution of the images: ``(features, resolution)`` to that module's output."""

    def __init__(self, resolutions: range, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.modules_by_resolution = nn.ModuleDict({str(resolution): make() for resolution in resolutions})

    def forward(self, features: Tensor, resolution: int) -> Tensor:
        return self.modules_by_resolution[str(resolution)](features)


class PerResolutionClassifier(SinglePredictionClassifier):
    """The network of :class:`models.ConvClassifier` once for each resolution (NeurIPS 2023, per-resolution CNN).

    Images of resolution ``r`` are classified by the network of ``r``, which they alone train. A resolution that is
    held out of training keeps the network that it was initialised with, and predicts by chance.

    A batch, of one resolution, leaves the parameters of all others without gradients: several processes need
    ``--trainer.strategy ddp_find_unused_parameters_true``.

    Args:
        in_channels: channels of the images.
        classes: number of classes.
        widths: output channels of each block.
        kernel_size: taps per axis, odd.
        pools: max-pooling window of each block, 1 for none; by default 2 after the second block.
        head_cells: cells per axis that the head max-pools features to.
        head_hidden: hidden units of the head.
        head_dropout: dropout of the hidden units.
        **common: the other arguments of :class:`SinglePredictionClassifier`; every integer from ``base_resolution`` to
            ``max_resolution`` has a network.

    Raises:
        ValueError: if an argument is out of its range, and in ``forward`` for images that do not fit.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 10,
        widths: list[int] | None = None,
        kernel_size: int = 5,
        pools: list[int] | None = None,
        head_cells: int = 2,
        head_hidden: int = 64,
        head_dropout: float = 0.5,
        **common: Any,
    ) -> None:
        super().__init__(in_channels, classes, **common)
        widths = [16, 32, 32] if widths is None else widths
        resolutions = range(self.base_resolution, self.max_resolution + 1)
        self.features = ByResolution(
            resolutions, lambda: conv_blocks(in_channels, widths, kernel_size, pools)
        )
        self.head = ByResolution(
            resolutions,
            lambda: pooled_perceptron(widths[-1], head_cells, head_hidden, classes, head_dropout),
        )

    def classify(self, images: Tensor) -> Tensor:
        resolution = images.shape[-1]
        return self.head(self.features(images, resolution), resolution)

    def measured_layers(self) -> list[str]:
        return ["features", "head"]
