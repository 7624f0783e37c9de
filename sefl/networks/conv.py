"""An ordinary convolutional classifier: the baseline, and the control that must not be scale-equivariant."""

from typing import Any, get_args

from torch import Tensor, nn

from models.single_prediction import SinglePredictionClassifier, block_shapes, pooled_perceptron
from sefl.arguments import is_odd
from sefl.networks.fixed_resolution import Resize, Resizing
from sefl.networks.fourier_blocks import Dimensions

_LAYERS: dict[Dimensions, tuple[type[nn.Module], type[nn.Module], type[nn.Module]]] = {
    1: (nn.Conv1d, nn.BatchNorm1d, nn.MaxPool1d),
    2: (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d),
}


def conv_blocks(
    in_channels: int,
    widths: list[int],
    kernel_size: int,
    pools: list[int] | None,
    dimensions: Dimensions = 2,
) -> nn.Sequential:
    """Blocks of convolution, batch norm, ReLU and max-pooling: ``(batch, in_channels, r, r)`` to a smaller grid.

    Args:
        in_channels: channels of the images.
        widths: output channels of each block.
        kernel_size: taps per axis, odd.
        pools: max-pooling window of each block, 1 for none; ``None`` for 2 after the second block.
        dimensions: 2 for images, 1 for signals ``(batch, in_channels, length)``.

    Raises:
        ValueError: if an argument is out of its range.
    """
    if pools is None:
        pools = [2 if index == 1 else 1 for index in range(len(widths))]
    shapes = block_shapes(in_channels, widths, pools)
    if not is_odd(kernel_size):
        raise ValueError(f"kernel_size must be odd and positive, got {kernel_size}")
    convolution, batch_norm, max_pool = _LAYERS[dimensions]
    return nn.Sequential(
        *(
            nn.Sequential(
                convolution(inputs, outputs, kernel_size, padding=kernel_size // 2, bias=False),
                batch_norm(outputs),
                nn.ReLU(),
                max_pool(window, ceil_mode=True),
            )
            for inputs, outputs, window in shapes
        )
    )


class ConvClassifier(SinglePredictionClassifier):
    """Convolution, batch norm, ReLU and max-pooling blocks, global pooling to a fixed grid, and a perceptron.

    With ``dimensions=1`` it classifies signals ``(batch, in_channels, length)``: images, pixels and resolutions below
    are signals, samples and lengths then.

    Args:
        in_channels: channels of the images.
        classes: number of classes.
        widths: output channels of each block.
        kernel_size: taps per axis, odd.
        pools: max-pooling window of each block, 1 for none; by default 2 after the second block.
        resize: how images are brought to ``max_resolution``: not at all, by upsampling or by padding, see
            :class:`Resizing`. Signals: not at all or ``"ideal"``.
        head_cells: cells per axis that the features are max-pooled to.
        head_hidden: hidden units of the head.
        head_dropout: dropout of the hidden units.
        dimensions: 2 for images, 1 for signals.
        **common: the other arguments of :class:`SinglePredictionClassifier`.

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
        resize: Resize = "none",
        head_cells: int = 2,
        head_hidden: int = 256,
        head_dropout: float = 0.5,
        dimensions: Dimensions = 2,
        **common: Any,
    ) -> None:
        super().__init__(in_channels, classes, **common)
        if dimensions not in get_args(Dimensions):
            raise ValueError(f"dimensions must be 1 for signals or 2 for images, got {dimensions}")
        if dimensions == 1 and resize not in ("none", "ideal"):
            raise ValueError(f"resize must be 'none' or 'ideal' for signals, got {resize!r}")
        self.dimensions = dimensions  # the other baselines are for images alone
        widths = [32, 64, 100, 100] if widths is None else widths
        self.resize = Resizing(resize, self.max_resolution)
        self.blocks = conv_blocks(in_channels, widths, kernel_size, pools, dimensions)
        self.head = pooled_perceptron(widths[-1], head_cells, head_hidden, classes, head_dropout, dimensions)

    def classify(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(self.resize(images)))
        return logits

    def measured_layers(self) -> list[str]:
        return [f"blocks.{index}" for index in range(len(self.blocks))] + ["head"]
