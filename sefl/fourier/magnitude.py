"""Mixers over frequencies that commute with circular shifts too: they act on magnitudes and keep phases.

A shift turns the phase of every plane wave and leaves its magnitude alone. With ``z_k`` the pair (cosine, sine) of a
wave and ``|z|_eps = sqrt(|z|^2 + eps^2)``, the output is

    out_k = (sum of T[k, j] m_j over |j| <= |k|) z_k / |z_k|_eps,        m_j = |z_j|_eps,

where the constant ``z_0``, which no shift changes, enters as itself, sign included, and leaves as its sum alone. It is
smooth also where a wave vanishes, and the identity ``T`` gives the identity.
"""

import math

import torch
from torch import Tensor

from sefl.arguments import require_number
from sefl.fourier.mixer import TriangularMixer, coefficient_triangle, frequency_triangle
from sefl.fourier.triangular import BlockTriangle


class _MagnitudeMixerNd(TriangularMixer):
    """The triangles and arguments of :class:`MagnitudeMixer1d`, along ``axes`` axes."""

    def __init__(
        self,
        channels: int,
        max_resolution: int,
        bandwidth: int | None = None,
        groups: int = 1,
        eps: float = 1e-3,
    ) -> None:
        super().__init__(channels, max_resolution, bandwidth, groups)
        self.eps = require_number("eps", eps, above=0)

    def axis_triangles(self, finest: int, bandwidth: int | None) -> tuple[BlockTriangle, ...]:
        triangles = (frequency_triangle(finest, bandwidth), coefficient_triangle(finest, bandwidth))
        return triangles[: self.axes]


class MagnitudeMixer1d(_MagnitudeMixerNd):
    """Gains of the frequencies of signals from the magnitudes of all lower ones; phases are kept.

    Exactly equivariant to scale, at every length up to ``max_resolution``, and to circular shifts by any distance.

    Args:
        channels: channels of input and output.
        max_resolution: samples per axis of the finest input.
        bandwidth: frequency ``k`` reads the magnitudes of ``k - bandwidth .. k``, by default all from 0 on.
        groups: neighbouring channels are divided into so many groups with weights of their own: 1 shares the weights
            among all channels, ``channels`` has weights for each.
        eps: magnitude below which a wave fades out; the smaller, the steeper the layer is around zero.

    Shapes: ``(K, batch, channels)`` to the same, ``K = 2 band + 1``.

    Raises:
        ValueError: if an argument is out of its range, and in ``forward`` for coefficients that are of another shape,
            are finer than ``max_resolution`` or have other than ``channels`` channels.
    """

    axes = 1

    def forward_band(self, coefficients: Tensor, finest: int) -> Tensor:
        constant, cosine, sine = coefficients[:1], coefficients[1::2], coefficients[2::2]
        magnitude = _magnitude(cosine, sine, self.eps)
        gain = self.mix(torch.cat([constant, magnitude]), finest)
        ratio = gain[1:] / magnitude
        waves = torch.stack([ratio * cosine, ratio * sine], dim=1).flatten(0, 1)
        return torch.cat([gain[:1], waves])


class MagnitudeMixer2d(_MagnitudeMixerNd):
    """Gains of the plane waves of images from the magnitudes of lower ones; phases are kept.

    :class:`MagnitudeMixer1d` on two axes, where arguments and errors are described. The waves are those of
    :func:`to_plane_waves`. A triangle over ``|k1|`` (``weights[0]``) and one over ``|k2|`` and its sign
    (``weights[1]``) act on their magnitudes, one after the other: wave ``(k1, k2)`` reads those with
    ``|j1| <= |k1|`` and ``|j2| <= |k2|``.

    Shapes: ``(K, K, batch, channels)`` to the same, ``K = 2 band + 1``.
    """

    axes = 2

    def forward_band(self, coefficients: Tensor, finest: int) -> Tensor:
        cosine, sine = to_plane_waves(coefficients)
        magnitude = _magnitude(cosine, sine, self.eps)
        signed = magnitude.clone()
        signed[0, 0] = cosine[0, 0]
        gain = self.mix(signed, finest)
        ratio = gain / magnitude
        cosine, sine = ratio * cosine, ratio * sine
        cosine[0, 0] = gain[0, 0]
        return from_plane_waves(cosine, sine)


def to_plane_waves(coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the plane waves ``(k1, k2)`` with ``k1 >= 0`` and ``k2`` of either sign.

    Sums and differences of the products (cos, sin) x (cos, sin), divided by ``sqrt(2)`` so that energy is kept. Half
    of the plane holds every wave but those with ``k1 = 0``, whose energy goes to ``(0, k2)`` and ``(0, -k2)`` alike. As
    coefficients are, waves are nested: those of a lower band come first on both axes.

    Args:
        coefficients: ``(2 b + 1, 2 b + 1, batch, channels)``.

    Returns:
        Two tensors ``(b + 1, 2 b + 1, batch, channels)``, with ``k2 = 0, 1, -1, 2, -2, ...`` on the second axis.
    """
    cos_rows = torch.cat([coefficients[:1], coefficients[1::2]])
    sin_rows = torch.cat([torch.zeros_like(coefficients[:1]), coefficients[2::2]])
    cos_cos, cos_sin = cos_rows[:, 1::2], cos_rows[:, 2::2]
    sin_cos, sin_sin = sin_rows[:, 1::2], sin_rows[:, 2::2]
    cosine = _alternate(cos_rows[:, :1], cos_cos - sin_sin, cos_cos + sin_sin)
    sine = _alternate(sin_rows[:, :1], sin_cos + cos_sin, sin_cos - cos_sin)
    return cosine, sine


def from_plane_waves(cosine: Tensor, sine: Tensor) -> Tensor:
    """The transpose of :func:`to_plane_waves`, and its inverse on what that returns."""
    cos_plus, cos_minus = cosine[:, 1::2], cosine[:, 2::2]
    sin_plus, sin_minus = sine[:, 1::2], sine[:, 2::2]
    cos_rows = _alternate(cosine[:, :1], cos_plus + cos_minus, sin_plus - sin_minus)
    sin_rows = _alternate(sine[:, :1], sin_plus + sin_minus, cos_minus - cos_plus)
    rows = torch.stack([cos_rows[1:], sin_rows[1:]], dim=1).flatten(0, 1)
    return torch.cat([cos_rows[:1], rows])


def _alternate(first: Tensor, odd: Tensor, even: Tensor) -> Tensor:
    """``first`` at 0 of the second axis, then ``odd / sqrt(2)`` and ``even / sqrt(2)`` by turns."""
    turns = torch.stack([odd, even], dim=2).flatten(1, 2)
    return torch.cat([first, turns * math.sqrt(0.5)], dim=1)


def _magnitude(cosine: Tensor, sine: Tensor, eps: float) -> Tensor:
    return (cosine.square() + sine.square() + eps**2).sqrt()
