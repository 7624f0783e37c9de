"""One small CNN for each resolution, sharing nothing: the baseline that gives up on learning across scales."""

from collections.abc import Callable

import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from models.conv_classifier import conv_blocks, pooled_perceptron
from models.scale_classifier import ScaleClassifier


class ByResolution(nn.Module):
    """A module of its own for each resolution of the images: ``(features, resolution)`` to that module's output."""

    def __init__(self, resolutions: range, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.modules_by_resolution = nn.ModuleDict({str(resolution): make() for resolution in resolutions})

    def forward(self, features: Tensor, resolution: int) -> Tensor:
        return self.modules_by_resolution[str(resolution)](features)


class PerResolutionClassifier(ScaleClassifier):
    """The network of :class:`models.ConvClassifier` once for each resolution (NeurIPS 2023, per-resolution CNN).

    ``forward`` maps images ``(batch, in_channels, r, r)`` to logits ``(batch, 1, classes)`` by the network of ``r``,
    which is trained by the images of that resolution alone. A resolution that is held out of training keeps the
    network that it was initialised with, and predicts by chance.

    A batch, of one resolution, leaves the parameters of all others without gradients: several processes need
    ``--trainer.strategy ddp_find_unused_parameters_true``.

    Args:
        in_channels: channels of the images.
        classes: number of classes.
        widths: output channels of each block.
        kernel_size: taps per axis, odd.
        pools: max-pooling window of each block, 1 for none; by default 2 after the second block.
        base_resolution: coarsest resolution of an input.
        max_resolution: finest resolution of an input; every integer between the two has a network.
        head_cells: cells per axis that the head max-pools features to.
        head_hidden: hidden units of the head.
        head_dropout: dropout of the hidden units.
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
        widths: list[int] | None = None,
        kernel_size: int = 5,
        pools: list[int] | None = None,
        base_resolution: int = 8,
        max_resolution: int = 28,
        head_cells: int = 2,
        head_hidden: int = 64,
        head_dropout: float = 0.5,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(in_channels, classes, base_resolution, max_resolution, 0.0, optimizer, lr_scheduler)
        widths = [16, 32, 32] if widths is None else widths
        pools = [2 if index == 1 else 1 for index in range(len(widths))] if pools is None else pools
        resolutions = range(base_resolution, max_resolution + 1)
        self.features = ByResolution(
            resolutions, lambda: conv_blocks(in_channels, widths, kernel_size, pools)
        )
        self.head = ByResolution(
            resolutions,
            lambda: pooled_perceptron(widths[-1], head_cells, head_hidden, classes, head_dropout),
        )

    def forward(self, images: Tensor) -> Tensor:
        self._check_images(images)
        resolution = images.shape[-1]
        return self.head(self.features(images, resolution), resolution).unsqueeze(1)

    def measured_layers(self) -> list[str]:
        return ["features", "head"]
