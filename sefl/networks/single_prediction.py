"""What the baselines share: one prediction, at the resolution of the image, by blocks and a head."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sefl.arguments import require_number, require_positive
from sefl.networks.network import Dimensions, ScaleNetwork


class CellPooling(nn.Module):
    """The maximum of each of ``cells`` cells per axis, those of ``torch.nn.AdaptiveMaxPool2d``, which ONNX lacks.

    Cell ``i`` of ``n`` pixels reaches from ``floor(i n / cells)`` to ``ceil((i + 1) n / cells)``.

    Shapes: ``(batch, channels, h, w)`` to ``(batch, channels, cells, cells)``, of signals ``(batch, channels, length)``
    to ``(batch, channels, cells)``.
    """

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, features: Tensor) -> Tensor:
        for axis in range(2, features.dim()):
            size = features.shape[axis]
            bounds = [(i * size // self.cells, -(-(i + 1) * size // self.cells)) for i in range(self.cells)]
            cells = [features.narrow(axis, a, b - a).amax(axis, keepdim=True) for a, b in bounds]
            features = torch.cat(cells, axis)
        return features

    def extra_repr(self) -> str:
        return f"{self.cells}"


class SinglePredictionNetwork(ScaleNetwork):
    """Base of the networks that predict once, at the resolution of their input: a subclass gives ``classify``.

    ``forward`` maps images ``(batch, in_channels, r, r)`` to logits ``(batch, 1, classes)``.

    Attributes:
        takes_finer: whether ``classify`` takes images above ``max_resolution``, too.
    """

    blocks: nn.Sequential
    takes_finer: bool = True

    @abstractmethod
    def classify(self, images: Tensor) -> Tensor:
        """Logits ``(batch, classes)`` of images ``(batch, in_channels, r, r)``, which are checked already."""

    def forward(self, images: Tensor) -> Tensor:
        self._check_images(images)
        return self.classify(images).unsqueeze(1)

    def measured_layers(self) -> list[str]:
        return [*(f"blocks.{index}" for index in range(len(self.blocks))), "head"]


@dataclass(frozen=True)
class PooledHeadSettings:
    """A head that max-pools features to a fixed grid.

    Args:
        cells: cells per axis that the head max-pools features to.
        hidden: hidden units.
        dropout: dropout of the hidden units.
    """

    cells: int = 2
    hidden: int = 256
    dropout: float = 0.5


def pooled_perceptron(
    channels: int, classes: int, head: PooledHeadSettings, dimensions: Dimensions = 2
) -> nn.Sequential:
    """Max-pooling to ``cells x cells`` and one hidden layer: ``(batch, channels, r, r)`` to ``(batch, classes)``.

    With ``dimensions=1`` features of signals, ``(batch, channels, length)``, to ``cells``.

    Raises:
        ValueError: if there is no cell or no hidden unit, or ``dropout`` is not in [0, 1).
    """
    cells, hidden = require_positive("head.cells", head.cells), require_positive("head.hidden", head.hidden)
    return nn.Sequential(
        CellPooling(cells),
        nn.Flatten(),
        nn.Linear(channels * cells**dimensions, hidden),
        nn.ReLU(),
        nn.Dropout(require_number("head.dropout", head.dropout, least=0, below=1)),
        nn.Linear(hidden, classes),
    )
