"""Spectral convolutions with ordinary activations: the Fourier layers without what makes them scale-equivariant."""

from math import ceil
from typing import Any

from torch import Tensor, nn

from models.single_prediction import SinglePredictionClassifier, block_shapes, pooled_perceptron
from sefl.fourier import SpectralConv2d, to_coefficients, to_grid


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


class FourierCNNClassifier(SinglePredictionClassifier):
    """Blocks of spectral convolution and pointwise activation on the grid (NeurIPS 2023, baseline "Fourier CNN").

    The convolutions of :class:`models.FourierClassifier`, whose kernels span the same part of the image at every
    resolution and which are scale-equivariant by themselves, with everything else as in
    :class:`models.ConvClassifier`: what the scale-equivariant non-linearity is worth.

    Args:
        in_channels: channels of the images.
        classes: number of classes.
        widths: output channels of each block.
        kernel_size: taps per axis on the finest grid of the block, odd; ``None`` for global kernels, as many as that
            grid has, or one less.
        pools: max-pooling window of each block, 1 for none; by default 1 throughout.
        residual: 1 x 1 convolution beside each kernel.
        head_cells: cells per axis that the head max-pools features to.
        head_hidden: hidden units of the head.
        head_dropout: dropout of the hidden units.
        **common: the other arguments of :class:`SinglePredictionClassifier`.

    Raises:
        ValueError: if an argument is out of its range, and in ``forward`` for images that do not fit.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 10,
        widths: list[int] | None = None,
        kernel_size: int | None = 5,
        pools: list[int] | None = None,
        residual: bool = True,
        head_cells: int = 2,
        head_hidden: int = 256,
        head_dropout: float = 0.5,
        **common: Any,
    ) -> None:
        super().__init__(in_channels, classes, **common)
        widths = [32, 64, 100, 100] if widths is None else widths
        pools = [1] * len(widths) if pools is None else pools
        blocks = []
        finest = self.max_resolution
        for inputs, outputs, window in block_shapes(in_channels, widths, pools):
            # Batch norm follows: a bias would have no effect. An even grid has no kernel of its own size.
            size = finest - 1 + finest % 2 if kernel_size is None else kernel_size
            convolution = SpectralConv2d(
                inputs, outputs, size, finest, bias=False, residual=residual and size > 1
            )
            blocks.append(FourierCNNBlock(convolution, window))
            finest = ceil(finest / window)
        self.blocks = nn.Sequential(*blocks)
        self.head = pooled_perceptron(widths[-1], head_cells, head_hidden, classes, head_dropout)

    def classify(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(images))
        return logits

    def measured_layers(self) -> list[str]:
        return [f"blocks.{index}" for index in range(len(self.blocks))] + ["head"]
