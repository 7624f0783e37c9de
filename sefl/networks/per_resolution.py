"""One small CNN for each resolution, sharing nothing: the baseline that gives up on learning across scales."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from models.conv_classifier import conv_blocks
from models.single_prediction import SinglePredictionClassifier, pooled_perceptron


class ByResolution(nn.Module):
    """A module of its own for each resolution of the images: ``(features, resolution)`` to that module's output."""

    def __init__(self, resolutions: range, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.modules_by_resolution = nn.ModuleDict({str(resolution): make() for resolution in resolutions})

    def forward(self, features: Tensor, resolution: int) -> Tensor:
        outcome: Tensor = self.modules_by_resolution[str(resolution)](features)
        return outcome


class PerResolutionClassifier(SinglePredictionClassifier):
    """The network of :class:`models.ConvClassifier` once for each resolution (NeurIPS 2023, per-resolution CNN).

    Images of resolution ``r`` are classified by the network of ``r``, which they alone train. A resolution that is
    held out of training keeps the network that it was initialised with, and predicts by chance.

    A batch, of one resolution, leaves the networks of all others without gradients. On several processes, which wait
    for the gradients of all parameters, they have gradients of zero until the optimiser steps.

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
        logits: Tensor = self.head(self.features(images, resolution), resolution)
        if self.training and _several_processes():
            # The sum of no elements of any parameter: zero whatever they are, and so are its gradients.
            logits = logits + torch.cat([parameter.flatten()[:0] for parameter in self.parameters()]).sum()
        return logits

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Leave to the optimiser what one process would: weight decay and momentum act on gradients of zero too."""
        if not _several_processes():
            return
        networks = (part.modules_by_resolution.values() for part in (self.features, self.head))
        for of_resolution in zip(*networks, strict=True):
            trained = [
                parameter
                for module in of_resolution
                for parameter in module.parameters()
                if parameter.grad is not None
            ]
            # Gradients are those of all processes, which decide alike.
            if get_total_norm([parameter.grad for parameter in trained]) == 0:
                for parameter in trained:
                    parameter.grad = None

    def measured_layers(self) -> list[str]:
        return ["features", "head"]


def _several_processes() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
