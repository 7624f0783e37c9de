"""Wide residual networks, the baseline of the published STL-10 experiment."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from sefl.arguments import MOST_LAYERS, require_integer, require_number, require_positive
from sefl.networks.fixed_resolution import Resize, Resizing
from sefl.networks.single_prediction import SinglePredictionNetwork

STEM_CHANNELS = 16


class HeConv2d(nn.Conv2d):
    """``torch.nn.Conv2d`` without bias and with He's initialisation by what it feeds, for ReLU."""

    def reset_parameters(self) -> None:
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")


class PreActivationBlock(nn.Module):
    """Twice batch norm, ReLU and 3 x 3 convolution, dropout between, and a shortcut around them.

    Where channels or stride change, the shortcut is a 1 x 1 convolution of what the first ReLU gives (Zagoruyko &
    Komodakis 2016, section 2). ``(batch, inputs, r, r)`` to ``(batch, outputs, ceil(r / stride), ceil(r / stride))``.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.first_norm = nn.BatchNorm2d(inputs)
        self.first = HeConv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.dropout = nn.Dropout(dropout)
        self.second = HeConv2d(outputs, outputs, 3, padding=1, bias=False)
        changes = inputs != outputs or stride > 1
        self.shortcut = HeConv2d(inputs, outputs, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.first_norm(x))
        around = x if self.shortcut is None else self.shortcut(activated)
        inner = F.relu(self.second_norm(self.first(activated)))
        outcome: Tensor = around + self.second(self.dropout(inner))
        return outcome


class WideResNet(SinglePredictionNetwork):
    """WRN-``depth``-``width`` (Zagoruyko & Komodakis, BMVC 2016) with global pooling, so that any resolution is taken.

    A stem of 16 channels, three groups of pre-activation blocks with 16, 32 and 64 times ``width`` channels, the
    second and third of which start with a stride of 2, and a linear classifier on the mean over the grid.

    Args:
        depth: layers, ``6 n + 4`` for ``n`` blocks in each group.
        width: factor of the channels.
        dropout: dropout between the convolutions of a block.
        resize: how images are brought to ``max_resolution``: not at all, by upsampling or by padding, see
            :class:`Resizing`.
        **common: the arguments of :class:`ScaleNetwork`.

    Raises:
        TypeError, ValueError: as :class:`ScaleNetwork`.
    """

    def __init__(
        self,
        depth: int = 16,
        width: int = 8,
        dropout: float = 0.3,
        resize: Resize = "none",
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self._require_images()
        if require_integer("depth", depth, 1, MOST_LAYERS) < 10 or (depth - 4) % 6:
            raise ValueError(
                f"depth must be 6 n + 4 for n blocks per group, 10, 16, 22 and so on, got {depth}"
            )
        width = require_positive("width", width)
        dropout = require_number("dropout", dropout, least=0, below=1)
        self.resize = Resizing(resize, self.max_resolution)
        self.takes_finer = resize == "none"
        self.stem = HeConv2d(self.in_channels, STEM_CHANNELS, 3, padding=1, bias=False)
        groups = []
        entering = STEM_CHANNELS
        for index in range(3):
            channels = STEM_CHANNELS * 2**index * width
            blocks = []
            for block in range((depth - 4) // 6):
                stride = 2 if index and not block else 1
                blocks.append(PreActivationBlock(entering, channels, stride, dropout))
                entering = channels
            groups.append(nn.Sequential(*blocks))
        self.groups = nn.Sequential(*groups)
        self.head = nn.Sequential(
            nn.BatchNorm2d(entering),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(entering, self.classes),
        )

    def classify(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.groups(self.stem(self.resize(images))))
        return logits

    def measured_layers(self) -> list[str]:
        return ["stem", *(f"groups.{index}" for index in range(len(self.groups))), "head"]
