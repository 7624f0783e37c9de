"""An ordinary convolutional classifier: the baseline, and the control that must not be scale-equivariant."""

import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from models.fixed_resolution import Resize, check_resize, resized
from models.scale_classifier import ScaleClassifier


def conv_blocks(in_channels: int, widths: list[int], kernel_size: int, pools: list[int]) -> nn.Sequential:
    """Blocks of convolution, batch norm, ReLU and max-pooling: ``(batch, in_channels, r, r)`` to a smaller grid.

    Args:
        in_channels: channels of the images.
        widths: output channels of each block.
        kernel_size: taps per axis, odd.
        pools: max-pooling window of each block, 1 for none.

    Raises:
        ValueError: if an argument is out of its range.
    """
    if not widths:
        raise ValueError("widths must name the channels of at least one block, got []")
    if len(pools) != len(widths):
        raise ValueError(f"pools must have one entry per block, {len(widths)} as widths, got {pools}")
    if min(pools) < 1:
        raise ValueError(f"pools must be positive, got {pools}")
    if kernel_size % 2 == 0 or kernel_size < 1:
        raise ValueError(f"kernel_size must be odd and positive, got {kernel_size}")
    return nn.Sequential(
        *(
            nn.Sequential(
                nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
                nn.MaxPool2d(window, ceil_mode=True),
            )
            for inputs, outputs, window in zip([in_channels, *widths], widths, pools, strict=False)
        )
    )


def pooled_perceptron(channels: int, cells: int, hidden: int, classes: int, dropout: float) -> nn.Sequential:
    """Max-pooling to ``cells x cells`` and one hidden layer: ``(batch, channels, r, r)`` to ``(batch, classes)``.

    Raises:
        ValueError: if there is no cell or no hidden unit.
    """
    for name, value in (("head_cells", cells), ("head_hidden", hidden)):
        if value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value}")
    return nn.Sequential(
        nn.AdaptiveMaxPool2d(cells),
        nn.Flatten(),
        nn.Linear(channels * cells**2, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, classes),
    )


class ConvClassifier(ScaleClassifier):
    """Convolution, batch norm, ReLU and max-pooling blocks, global pooling to a fixed grid, and a perceptron.

    ``forward`` maps images ``(batch, in_channels, r, r)`` to logits ``(batch, 1, classes)``: there is one prediction,
    at the resolution of the input.

    Args:
        in_channels: channels of the images.
        classes: number of classes.
        widths: output channels of each block.
        kernel_size: taps per axis, odd.
        pools: max-pooling window of each block, 1 for none; by default 2 after the second block.
        resize: ``"none"`` takes images as they come, ``"ideal"`` first upsamples each to ``max_resolution``, and
            ``"zero"``, ``"reflect"``, ``"replicate"`` or ``"circular"`` pad it to that.
        base_resolution: coarsest resolution of an input.
        max_resolution: finest resolution of an input.
        head_cells: cells per axis that the features are max-pooled to.
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
        resize: Resize = "none",
        base_resolution: int = 8,
        max_resolution: int = 28,
        head_cells: int = 2,
        head_hidden: int = 256,
        head_dropout: float = 0.5,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(in_channels, classes, base_resolution, max_resolution, 0.0, optimizer, lr_scheduler)
        widths = [32, 64, 100, 100] if widths is None else widths
        pools = [2 if index == 1 else 1 for index in range(len(widths))] if pools is None else pools
        check_resize(resize)
        self.resize: Resize = resize
        self.blocks = conv_blocks(in_channels, widths, kernel_size, pools)
        self.head = pooled_perceptron(widths[-1], head_cells, head_hidden, classes, head_dropout)

    def forward(self, images: Tensor) -> Tensor:
        self._check_images(images)
        images = resized(images, self.max_resolution, self.resize)
        return self.head(self.blocks(images)).unsqueeze(1)

    def measured_layers(self) -> list[str]:
        return [f"blocks.{index}" for index in range(len(self.blocks))] + ["head"]
