"""Scale-equivariant steerable network (Sosnovik, Szmaja & Smeulders, ICLR 2020), a peer that is so approximately."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from sefl.arguments import require_integer, require_number
from sefl.networks.fixed_resolution import Resize, Resizing
from sefl.networks.network import block_shapes
from sefl.networks.single_prediction import PooledHeadSettings, SinglePredictionNetwork, pooled_perceptron
from sefl.tensors.constants import constant

REACH = 2.5  # standard deviations of the Gaussian envelope that a filter's taps cover


def hermite_basis(scales: Sequence[float], order: int) -> NDArray[np.float64]:
    """The same Hermite-Gauss functions at every scale: a basis of filters that can be rescaled without resampling.

        psi_{n, m, s}(x, y) = A_{n, m} / s^2 He_n(x / s) He_m(y / s) exp(-(x^2 + y^2) / (2 s^2)),    n + m <= order,

    at integer ``x`` and ``y`` up to 2.5 ``s``, ``A`` such that the squares of the smallest scale's taps sum to 1. With
    ``1 / s^2`` the response to an image twice as large, at scale ``2 s``, is that to the image at scale ``s``.

    Returns:
        ``(functions, scales, size, size)``, float64, ``size`` odd.
    """
    margin = floor(REACH * max(scales))
    scale = np.array(scales)[:, None]
    x = np.arange(-margin, margin + 1) / scale
    envelope = np.exp(-(x**2) / 2) / scale * (np.abs(x) <= REACH)
    polynomials = [np.ones_like(x), x]
    for n in range(1, order):
        polynomials.append(x * polynomials[n] - n * polynomials[n - 1])
    axes = [envelope * polynomial for polynomial in polynomials[: order + 1]]
    functions = [
        axes[n][:, :, None] * axes[m][:, None, :] for n in range(order + 1) for m in range(order + 1 - n)
    ]
    basis = np.stack(functions)
    smallest = int(scale.argmin())
    normalised: NDArray[np.float64] = (
        basis / np.sqrt((basis[:, smallest] ** 2).sum((-2, -1)))[:, None, None, None]
    )
    return normalised


class ScaleConv2d(nn.Module):
    """Convolution with one kernel at several scales, a combination of :func:`hermite_basis`.

    From images it lifts: ``(batch, in_channels, 1, r, r)`` to ``(batch, out_channels, scales, r, r)``, zero-padded.
    From features with a scale axis each scale is convolved with the kernel at that scale, without interaction of
    scales, as the authors have it on MNIST-scale.
    """

    def __init__(self, in_channels: int, out_channels: int, scales: list[float], order: int) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.order = order
        functions = (order + 1) * (order + 2) // 2
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, functions))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """He's initialisation, for a ReLU to follow."""
        nn.init.normal_(self.weight, std=(2 / self.weight[0].numel()) ** 0.5)

    @property
    def basis(self) -> Tensor:
        """:func:`hermite_basis` in the precision of the weights."""
        return constant(
            hermite_basis, self.scales, self.order, dtype=self.weight.dtype, device=self.weight.device
        )

    def forward(self, features: Tensor) -> Tensor:
        kernel = torch.einsum("oif,fsxy->soixy", self.weight, self.basis)
        outcome = F.conv2d(
            features.transpose(1, 2).flatten(1, 2),
            kernel.flatten(0, 1),
            padding=kernel.shape[-1] // 2,
            groups=features.shape[2],
        )
        by_scale: Tensor = outcome.unflatten(1, (len(self.scales), -1)).transpose(1, 2)
        return by_scale


class LargestOverScales(nn.Module):
    """``(batch, channels, scales, r, r)`` to ``(batch, channels, r, r)``: scale pooling."""

    def forward(self, features: Tensor) -> Tensor:
        return features.amax(2)


@dataclass(frozen=True)
class SESNTrunk:
    """The blocks of a :class:`SESN`.

    Args:
        widths: output channels of each block.
        scales: standard deviations of the filters' envelopes in pixels.
        order: the largest degree of the filters' polynomials.
        pools: max-pooling window of each block, 1 for none; by default 2 in all but the last.
    """

    widths: Sequence[int] = (32, 63, 95)
    scales: Sequence[float] = (1.0, 2**0.5, 2.0, 2 * 2**0.5)
    order: int = 4
    pools: Sequence[int] | None = None


class SESN(SinglePredictionNetwork):
    """Scale convolutions of steerable filters, and the maximum over scales (Sosnovik et al., ICLR 2020, SESN-vector).

    A block is a scale convolution, batch norm, ReLU and spatial max-pooling; behind the last the maximum over scales,
    and the head of :class:`ConvNetwork`. Enlarging an image by a ratio of two scales shifts the features along the
    scale axis. That is approximate: filters are sampled, scales are few and end, and, what
    ``callbacks.EquivarianceMonitor`` measures, downsampling to the next resolution is no step of the scales. For images
    alone.

    Args:
        trunk: the blocks.
        resize: how images are brought to ``max_resolution``: not at all, by upsampling or by padding, see
            :class:`Resizing`.
        head: what is made of their features.
        **common: the arguments of :class:`ScaleNetwork`.

    Raises:
        TypeError, ValueError: as :class:`ScaleNetwork`.
    """

    def __init__(
        self,
        trunk: SESNTrunk = SESNTrunk(),
        resize: Resize = "none",
        head: PooledHeadSettings = PooledHeadSettings(),
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self._require_images()
        pools = [2] * (len(trunk.widths) - 1) + [1] if trunk.pools is None else trunk.pools
        if not trunk.scales:
            raise ValueError("scales must name at least one scale, got []")
        scales = [require_number("scales", scale, above=0) for scale in trunk.scales]
        order = require_integer("order", trunk.order, least=0)
        shapes = block_shapes(self.in_channels, trunk.widths, pools)
        self.resize = Resizing(resize, self.max_resolution)
        self.takes_finer = resize == "none"
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    ScaleConv2d(inputs, outputs, scales, order),
                    nn.BatchNorm3d(outputs),
                    nn.ReLU(),
                    nn.MaxPool3d((1, window, window), ceil_mode=True),
                )
                for inputs, outputs, window in shapes
            )
        )
        self.scale_pooling = LargestOverScales()
        self.head = pooled_perceptron(trunk.widths[-1], self.classes, head)

    def classify(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.scale_pooling(self.blocks(self.resize(images).unsqueeze(2))))
        return logits

    def measured_layers(self) -> list[str]:
        """Where there is no scale axis, along which downsampling would move the features."""
        return ["scale_pooling", "head"]
