"""An ordinary convolutional network: the baseline, and the control that must not be scale-equivariant."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sefl.arguments import is_odd, require_positives
from sefl.networks.fixed_resolution import Resize, Resizing
from sefl.networks.network import Dimensions, block_shapes, channels_last
from sefl.networks.single_prediction import PooledHeadSettings, SinglePredictionNetwork, pooled_perceptron

_LAYERS: dict[Dimensions, tuple[type[nn.Module], type[nn.Module], type[nn.Module]]] = {
    1: (nn.Conv1d, nn.BatchNorm1d, nn.MaxPool1d),
    2: (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d),
}


@dataclass(frozen=True)
class ConvTrunk:
    """Blocks of convolution, batch norm, ReLU and max-pooling.

    Args:
        widths: output channels of each block.
        kernel_size: taps per axis, odd.
        pools: max-pooling window of each block, 1 for none; by default 2 after the second block.
        convolutions: how many each block has, each with norm and ReLU, before the pooling; by default one.
    """

    widths: Sequence[int] = (32, 64, 100, 100)
    kernel_size: int = 5
    pools: Sequence[int] | None = None
    convolutions: Sequence[int] | None = None


def conv_blocks(in_channels: int, trunk: ConvTrunk, dimensions: Dimensions = 2) -> nn.Sequential:
    """The blocks, ``(batch, in_channels, r, r)`` to a smaller grid; of signals ``(batch, in_channels, length)``.

    Raises:
        ValueError: if an argument is out of its range.
    """
    pools = trunk.pools
    if pools is None:
        pools = [2 if index == 1 else 1 for index in range(len(trunk.widths))]
    counts = [1] * len(trunk.widths) if trunk.convolutions is None else trunk.convolutions
    shapes = block_shapes(in_channels, trunk.widths, pools, convolutions=counts)
    size = trunk.kernel_size
    if not is_odd(size):
        raise ValueError(f"kernel_size must be odd and positive, got {size}")
    convolution, batch_norm, max_pool = _LAYERS[dimensions]
    blocks = nn.Sequential()
    for (inputs, outputs, window), count in zip(
        shapes, require_positives("convolutions", counts), strict=True
    ):
        block = nn.Sequential()
        for entering in [inputs, *[outputs] * (count - 1)]:
            if block:
                block.append(nn.ReLU())
            block.append(convolution(entering, outputs, size, padding=size // 2, bias=False))
            block.append(batch_norm(outputs))
        blocks.append(block.extend([max_pool(window, ceil_mode=True), nn.ReLU()]))  # ReLU, of fewer, commutes
    return blocks


class ConvNetwork(SinglePredictionNetwork):
    """Convolution, batch norm, ReLU and max-pooling blocks, global pooling to a fixed grid, and a perceptron.

    Args:
        trunk: the blocks.
        resize: how images are brought to ``max_resolution``: not at all, by upsampling or by padding, see
            :class:`Resizing`. Signals: not at all or ``"ideal"``.
        head: what is made of their features.
        **common: the arguments of :class:`ScaleNetwork`.

    Raises:
        TypeError, ValueError: as :class:`ScaleNetwork`.
    """

    def __init__(
        self,
        trunk: ConvTrunk = ConvTrunk(),
        resize: Resize = "none",
        head: PooledHeadSettings = PooledHeadSettings(),
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if self.dimensions == 1 and resize not in ("none", "ideal"):
            raise ValueError(f"resize must be 'none' or 'ideal' for signals, got {resize!r}")
        self.resize = Resizing(resize, self.max_resolution)
        self.takes_finer = resize == "none"
        self.blocks = conv_blocks(self.in_channels, trunk, self.dimensions)
        self.head = pooled_perceptron(trunk.widths[-1], self.classes, head, self.dimensions)

    def classify(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(channels_last(self.resize(images))))
        return logits
