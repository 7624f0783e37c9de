"""Padding and blurring by their names in ``gsampling.thirdparty`` and ``models.g_cnn_3d``.

Blurred grids keep the pixels 0, s, 2 s, ...; of an even size a quarter turn does not map these to themselves.
:class:`sefl.groups.BlurPool` has a centred grid.
"""

from collections.abc import Sequence
from dataclasses import field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sefl.arguments import require_positive
from sefl.compat.declared import Declared


def get_padding(kernel_size: int, stride: int = 1, dilation: int = 1, **_: Any) -> int:
    """What to pad on each side so that of ``n`` pixels ``ceil(n / stride)`` are left, if the sides can be equal."""
    return (stride - 1 + dilation * (kernel_size - 1)) // 2


def get_same_padding(x: Any, kernel_size: int, stride: int, dilation: int) -> Any:
    """What to pad on both sides together so that ``ceil(x / stride)`` pixels are left; of a number or a tensor."""
    if isinstance(x, Tensor):
        return (((x / stride).ceil() - 1) * stride + (kernel_size - 1) * dilation + 1 - x).clamp(min=0)
    return max((-(-x // stride) - 1) * stride + (kernel_size - 1) * dilation + 1 - x, 0)


def is_static_pad(kernel_size: int, stride: int = 1, dilation: int = 1, **_: Any) -> bool:
    """Whether :func:`get_padding` leaves ``ceil(n / stride)`` pixels of any ``n``."""
    return stride == 1 and dilation * (kernel_size - 1) % 2 == 0


def pad_same_arg(
    input_size: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int] = (1, 1),
) -> list[int]:
    """:func:`get_same_padding` of rows and columns, as ``F.pad`` takes it: ``[left, right, top, bottom]``."""
    both = [get_same_padding(*each) for each in zip(input_size, kernel_size, stride, dilation, strict=True)]
    return [side for pad in reversed(both) for side in (pad // 2, pad - pad // 2)]


def pad_same(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int] = (1, 1),
    value: float = 0,
) -> Tensor:
    """``(..., h, w)`` padded by :func:`pad_same_arg`."""
    return F.pad(x, pad_same_arg(x.shape[-2:], kernel_size, stride, dilation), value=value)


def get_padding_value(padding: Any, kernel_size: int, **kwargs: Any) -> tuple[Any, bool]:
    """What ``"same"``, ``"valid"`` or another word means, and whether it depends on the input; a number is itself."""
    if not isinstance(padding, str):
        return padding, False
    if padding.lower() == "same" and not is_static_pad(kernel_size, **kwargs):
        return 0, True
    return (0 if padding.lower() == "valid" else get_padding(kernel_size, **kwargs)), False


def _binomial(size: int) -> Tensor:
    """The coefficients of ``(1/2 + 1/2 x)^(size - 1)``."""
    return torch.as_tensor((np.poly1d((0.5, 0.5)) ** (size - 1)).coeffs, dtype=torch.float)


class BlurPool2d(Declared):
    """Binomial blurring and every ``stride``-th pixel (Zhang 2019), with zeros outside.

    Args:
        channels: of the input.
        filt_size: taps per axis, at least 2.
        stride: pixels from one to the next.

    Raises:
        ValueError: if an argument is out of its range.
    """

    channels: int
    filt_size: int = 3
    stride: int = 2

    filt: Tensor = field(init=False)

    def __post_init__(self) -> None:
        if self.filt_size < 2:
            raise ValueError(f"filt_size must be at least 2, got {self.filt_size}")
        self.channels = require_positive("channels", self.channels)
        self.stride = require_positive("stride", self.stride)
        self.padding = [self._padding()] * 4
        taps = _binomial(self.filt_size)
        filt = (taps[:, None] * taps).expand(self.channels, 1, *[self.filt_size] * 2)
        self.register_buffer("filt", filt.clone(), persistent=False)

    def _padding(self) -> int:
        return get_padding(self.filt_size, self.stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, self.padding), self.filt.to(x), stride=self.stride, groups=self.channels)


class BlurPool2dMod(BlurPool2d):
    """:class:`BlurPool2d` that pads half a filter, whatever the stride."""

    def _padding(self) -> int:
        return (self.filt_size - 1) // 2


class BlurPool3d(Declared):
    """Binomial blurring with three taps and every ``stride``-th voxel, the border replicated."""

    channels: int
    stride: int

    def __post_init__(self) -> None:
        self.blur: nn.Module = nn.Identity()
        if self.stride > 1:
            how: dict[str, Any] = {"groups": self.channels, "bias": False, "padding_mode": "replicate"}
            blur = nn.Conv3d(self.channels, self.channels, 3, self.stride, 1, **how)
            taps = _binomial(3)
            cube = taps[:, None, None] * taps[:, None] * taps
            cubes = cube.expand(self.channels, 1, 3, 3, 3).clone()
            blur.weight = nn.Parameter(cubes, requires_grad=False)
            self.blur = blur

    def forward(self, x: Tensor) -> Tensor:
        blurred: Tensor = self.blur(x)
        return blurred
