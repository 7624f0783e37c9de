"""One small CNN for each resolution, sharing nothing: the baseline that gives up on learning across scales."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.utils import get_total_norm

from sefl.networks.conv import ConvTrunk, conv_blocks
from sefl.networks.single_prediction import PooledHeadSettings, SinglePredictionNetwork, pooled_perceptron


class ByResolution(nn.Module):
    """A module of its own for each resolution of the images: ``(features, resolution)`` to that module's output."""

    def __init__(self, resolutions: range, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.modules_by_resolution = nn.ModuleDict({str(resolution): make() for resolution in resolutions})

    def forward(self, features: Tensor, resolution: int) -> Tensor:
        outcome: Tensor = self.modules_by_resolution[str(resolution)](features)
        return outcome


class PerResolutionNetwork(SinglePredictionNetwork):
    """A :class:`ConvNetwork` of its own for each resolution (NeurIPS 2023, per-resolution CNN). For images alone.

    Images of resolution ``r`` are classified by the network of ``r``, which they alone train. A resolution that is
    held out of training keeps the network that it was initialised with, and predicts by chance.

    A batch, of one resolution, leaves the networks of all others without gradients. On several processes, which wait
    for the gradients of all parameters, they have gradients of zero until the optimiser steps.

    Args:
        trunk: the blocks of each.
        head: what is made of their features.
        **common: the arguments of :class:`ScaleNetwork`; every integer from ``base_resolution`` to ``max_resolution``
            has a network.

    Raises:
        TypeError, ValueError: as :class:`ScaleNetwork`.
    """

    takes_finer = False

    def __init__(
        self,
        trunk: ConvTrunk = ConvTrunk(widths=(16, 32, 32)),
        head: PooledHeadSettings = PooledHeadSettings(hidden=64),
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self._require_images()
        resolutions = range(self.base_resolution, self.max_resolution + 1)
        self.features = ByResolution(resolutions, lambda: conv_blocks(self.in_channels, trunk))
        self.head = ByResolution(resolutions, lambda: pooled_perceptron(trunk.widths[-1], self.classes, head))

    def classify(self, images: Tensor) -> Tensor:
        resolution = images.shape[-1]
        logits: Tensor = self.head(self.features(images, resolution), resolution)
        if self.training and _several_processes():
            # The sum of no elements of any parameter: zero whatever they are, and so are its gradients.
            logits = logits + torch.cat([parameter.flatten()[:0] for parameter in self.parameters()]).sum()
        return logits

    def before_optimizer_step(self) -> None:
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
