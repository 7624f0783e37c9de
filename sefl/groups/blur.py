"""Blur and subsample grids so that the kept points lie symmetrically about the centre, for every size."""

import math

import torch
from torch import Tensor, nn

from sefl.arguments import require_floating, require_integer, require_positive


class BlurPool(nn.Module):
    """:func:`blur_pool` as a layer: an anti-aliased stride that commutes with the symmetries of the grid.

    Args:
        rate: ``s``, the distance of the kept points.
        dimensions: spatial axes, 2 or 3.

    Raises:
        ValueError: if ``rate`` is not positive or ``dimensions`` neither 2 nor 3.

    >>> BlurPool(2)(torch.rand(4, 16, 29, 29)).shape
    torch.Size([4, 16, 15, 15])
    """

    def __init__(self, rate: int, dimensions: int = 2) -> None:
        super().__init__()
        self.rate = require_positive("rate", rate)
        self.dimensions = require_integer("dimensions", dimensions, least=2, most=3)

    def extra_repr(self) -> str:
        return f"rate={self.rate}, dimensions={self.dimensions}"

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, *space)`` to ``(batch, channels, *[ceil(n / rate) for n in space])``.

        Raises:
            TypeError: if ``x`` is not a floating-point tensor.
            ValueError: if ``x`` does not have ``dimensions`` spatial axes.
        """
        if x.dim() != self.dimensions + 2:
            raise ValueError(
                f"x must be (batch, channels, *space) with {self.dimensions} spatial axes, got {tuple(x.shape)}"
            )
        return blur_pool(x, self.rate)


def blur_pool(x: Tensor, rate: int) -> Tensor:
    """Blur with a binomial kernel and keep every ``rate``-th point, on a grid that is centred.

    Of ``n`` points on an axis ``m = ceil(n / s)`` are kept, at ``o + s j`` with ``o = ((n - 1) - s (m - 1)) / 2``:
    mirror symmetric. Where ``o`` is an integer the kernel has an odd number of taps; where it is half of one, an
    even number and the kept points lie between pixels. So 90-degree rotations and reflections commute with it, at odd
    and even sizes alike, which they do not with ``x[..., ::2, ::2]`` at even sizes.

    The kernel is the narrowest binomial one of this parity whose variance is at least that of linear interpolation
    between the kept points, ``(s^2 - 1) / 6``: 1 2 1 or 1 3 3 1 at rate 2. At the border its taps inside of the grid
    are normalised to sum to one, so that a constant stays one. Separable: one ``(m, n)`` matrix per axis.

    Args:
        x: ``(batch, channels, *space)`` with 1, 2 or 3 spatial axes.
        rate: ``s``; 1 changes nothing.

    Returns:
        ``(batch, channels, *[ceil(n / s) for n in space])``, in the dtype of ``x`` outside of autocast.

    Raises:
        TypeError: if ``x`` is not a floating-point tensor.
        ValueError: if ``rate`` is not positive.

    Sources:
        R. Zhang: Making Convolutional Networks Shift-Invariant Again, ICML 2019, section 3, for blurring before a
        stride; the centred grid and the border are ours.
    """
    require_floating("x", x)
    rate = require_positive("rate", rate)
    for axis in range(2, x.dim()):
        weights = _weights(x.shape[axis], rate, x.device, x.dtype)
        x = torch.matmul(weights, x) if axis == x.dim() - 2 else _along(weights, x, axis)
    return x


def _along(weights: Tensor, x: Tensor, axis: int) -> Tensor:
    return torch.matmul(x.movedim(axis, -1), weights.T).movedim(-1, axis)


def _weights(points: int, rate: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """``(m, n)``: the weights of the points of an axis in each kept point, rows summing to one."""
    kept = -(-points // rate)
    twice_offset = (points - 1) - rate * (kept - 1)
    order = math.ceil(2 * (rate**2 - 1) / 3)
    if (order + twice_offset) % 2:  # a branch, so that a compiled graph for any size has a number here
        order += 1
    exact = torch.promote_types(dtype, torch.float32)
    binomial = [math.comb(order, tap) / 2**order for tap in range(order + 1)]
    taps = torch.tensor(binomial, device=device, dtype=exact)
    first = rate * torch.arange(kept, device=device) + (twice_offset - order) // 2
    tap = torch.arange(points, device=device) - first[:, None]
    inside = (tap >= 0) & (tap <= order)
    weights = torch.where(inside, taps[tap.clamp(0, order)], 0.0)
    return (weights / weights.sum(dim=1, keepdim=True)).to(dtype)
