"""What the baselines share: one prediction, at the resolution of the image, by blocks and a head."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from models.scale_classifier import ScaleClassifier
from sefl.arguments import require_number, require_positive, require_positives
from sefl.networks.fourier_blocks import Dimensions

_MAX_POOLS: dict[Dimensions, type[nn.Module]] = {1: nn.AdaptiveMaxPool1d, 2: nn.AdaptiveMaxPool2d}


class SinglePredictionClassifier(ScaleClassifier):
    """Base of the classifiers that predict once, at the resolution of their input: a subclass gives ``classify``.

    ``forward`` maps images ``(batch, in_channels, r, r)`` to logits ``(batch, 1, classes)``.

    Args:
        in_channels: channels of the images.
        classes: number of classes.
        base_resolution: coarsest resolution of an input.
        max_resolution: finest resolution of an input.
        optimizer: from parameters to an optimiser.
        lr_scheduler: from an optimiser to its schedule.

    Raises:
        ValueError: if an argument is out of its range, and in ``forward`` for images that are not square, have other
            than ``in_channels`` channels or a resolution outside the range.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 10,
        base_resolution: int = 8,
        max_resolution: int = 28,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(in_channels, classes, base_resolution, max_resolution, 0.0, optimizer, lr_scheduler)

    @abstractmethod
    def classify(self, images: Tensor) -> Tensor:
        """Logits ``(batch, classes)`` of images ``(batch, in_channels, r, r)``, which are checked already."""

    def forward(self, images: Tensor) -> Tensor:
        self._check_images(images)
        return self.classify(images).unsqueeze(1)


def block_shapes(in_channels: int, widths: Sequence[int], pools: Sequence[int]) -> list[tuple[int, int, int]]:
    """Input channels, output channels and pooling window of each of a chain of blocks.

    >>> block_shapes(3, [16, 32], [1, 2])
    [(3, 16, 1), (16, 32, 2)]

    Args:
        in_channels: channels of the images.
        widths: output channels of each block.
        pools: pooling window of each block, 1 for none.

    Raises:
        ValueError: if there is no block, or not one positive window for each.
    """
    if not widths:
        raise ValueError("widths must name the channels of at least one block, got []")
    if len(pools) != len(widths):
        raise ValueError(f"pools must have one entry per block, {len(widths)} as widths, got {pools}")
    widths, pools = require_positives("widths", widths), require_positives("pools", pools)
    return list(zip([in_channels, *widths[:-1]], widths, pools, strict=True))


def pooled_perceptron(
    channels: int, cells: int, hidden: int, classes: int, dropout: float, dimensions: Dimensions = 2
) -> nn.Sequential:
    """Max-pooling to ``cells x cells`` and one hidden layer: ``(batch, channels, r, r)`` to ``(batch, classes)``.

    With ``dimensions=1`` features of signals, ``(batch, channels, length)``, to ``cells``.

    Raises:
        ValueError: if there is no cell or no hidden unit, or ``dropout`` is not in [0, 1).
    """
    cells, hidden = require_positive("head_cells", cells), require_positive("head_hidden", hidden)
    return nn.Sequential(
        _MAX_POOLS[dimensions](cells),
        nn.Flatten(),
        nn.Linear(channels * cells**dimensions, hidden),
        nn.ReLU(),
        nn.Dropout(require_number("head_dropout", dropout, least=0, below=1)),
        nn.Linear(hidden, classes),
    )
