"""Spectral convolutions with ordinary activations: the Fourier layers without what makes them scale-equivariant."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from torch import Tensor, nn

from sefl.fourier import SpectralConv2d, to_coefficients, to_grid
from sefl.networks.network import block_shapes
from sefl.networks.single_prediction import PooledHeadSettings, SinglePredictionNetwork, pooled_perceptron


class FourierCNNBlock(nn.Module):
    """Spectral convolution in coefficients; batch norm, ReLU and max-pooling on the pixels.

    ``(batch, inputs, r, r)`` to ``(batch, outputs, ceil(r / window), ceil(r / window))``. An activation on the pixels
    aliases: what it adds above the band of ``r`` folds back, by ``r`` in another way.
    """

    def __init__(self, convolution: SpectralConv2d, window: int) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = nn.BatchNorm2d(convolution.out_channels)
        self.pool = nn.MaxPool2d(window, ceil_mode=True)

    def forward(self, images: Tensor) -> Tensor:
        convolved = to_grid(self.convolution(to_coefficients(images)), images.shape[-1])
        pooled: Tensor = self.pool(self.norm(convolved).relu())
        return pooled


@dataclass(frozen=True)
class FourierCNNTrunk:
    """The blocks of a :class:`FourierCNN`.

    Args:
        widths: output channels of each block.
        kernel_size: taps per axis on the finest grid of the block, odd; ``None`` for global kernels, as many as that
            grid has, or one less.
        pools: max-pooling window of each block, 1 for none; by default 1 throughout.
        residual: 1 x 1 convolution beside each kernel.
    """

    widths: Sequence[int] = (32, 64, 100, 100)
    kernel_size: int | None = 5
    pools: Sequence[int] | None = None
    residual: bool = True


class FourierCNN(SinglePredictionNetwork):
    """Blocks of spectral convolution and pointwise activation on the grid (NeurIPS 2023, baseline "Fourier CNN").

    The convolutions of :class:`FourierNetwork`, whose kernels span the same part of the image at every resolution and
    which are scale-equivariant by themselves, with everything else as in :class:`ConvNetwork`: what the
    scale-equivariant non-linearity is worth. For images alone.

    Args:
        trunk: the blocks.
        head: what is made of their features.
        **common: the arguments of :class:`ScaleNetwork`.

    Raises:
        TypeError, ValueError: as :class:`ScaleNetwork`.
    """

    takes_finer = False

    def __init__(
        self,
        trunk: FourierCNNTrunk = FourierCNNTrunk(),
        head: PooledHeadSettings = PooledHeadSettings(),
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self._require_images()
        pools = [1] * len(trunk.widths) if trunk.pools is None else trunk.pools
        self.blocks = nn.Sequential()
        finest = self.max_resolution
        for inputs, outputs, window in block_shapes(self.in_channels, trunk.widths, pools):
            # Batch norm follows: a bias would have no effect. An even grid has no kernel of its own size.
            size = finest - 1 + finest % 2 if trunk.kernel_size is None else trunk.kernel_size
            convolution = SpectralConv2d(
                inputs, outputs, size, finest, bias=False, residual=trunk.residual and size > 1
            )
            self.blocks.append(FourierCNNBlock(convolution, window))
            finest = ceil(finest / window)
        self.head = pooled_perceptron(trunk.widths[-1], self.classes, head)

    def classify(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(images))
        return logits
