"""The nested real Fourier basis of periodic signals, as small constant matrices.

On one axis a signal of band ``b`` is a combination of ``2 b + 1`` functions *ordered by frequency*,

    1, sqrt(2) cos t, sqrt(2) sin t, sqrt(2) cos 2t, sqrt(2) sin 2t, ...,       t in [0, 2 pi),

orthonormal in the mean over the period. Low-pass filtering keeps the leading coefficients; sampling on a
grid and its inverse are matrix products.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sefl.arguments import require_positive
from sefl.tensors.constants import constant


def band(resolution: int) -> int:
    """The highest frequency that a real signal of ``resolution`` samples carries: ``(resolution - 1) // 2``.

    The Nyquist term of an even resolution has no recoverable phase and is not counted, so that an even
    resolution and the odd one below it share a band.

    >>> band(27), band(28)
    (13, 13)

    Raises:
        ValueError: if ``resolution`` is not a positive integer.
    """
    return (require_positive("resolution", resolution) - 1) // 2


def coefficient_count(band: int) -> int:
    """Real coefficients per axis of a signal of this band: ``2 band + 1``."""
    return 2 * band + 1


def band_of_count(count: int) -> int:
    """The band that ``count = 2 band + 1`` coefficients per axis stand for.

    Raises:
        ValueError: if ``count`` is even or not positive, which no band has.
    """
    if count < 1 or count % 2 == 0:
        raise ValueError(f"coefficients per axis must be an odd count 2 * band + 1, got {count}")
    return count // 2


def synthesis_matrix(
    band: int, points: int, dtype: torch.dtype, device: torch.device, shift: float = 0.0
) -> Tensor:
    """Values of the basis functions on ``points`` equispaced samples: ``(points, 2 band + 1)``.

    Sample ``j`` sits at ``t = 2 pi (j + shift) / points``. Computed in float64 and rounded once. The result is
    shared: do not write to it.
    """
    return constant(synthesis, band, points, shift, dtype=dtype, device=device)


def analysis_matrix(
    band: int, points: int, dtype: torch.dtype, device: torch.device, shift: float = 0.0
) -> Tensor:
    """The coefficients from ``points`` samples, ``(2 band + 1, points)``: transposed synthesis over ``points``.

    It inverts :func:`synthesis_matrix` on signals of this band when ``points >= 2 band + 1``; for other signals
    it projects out everything that does not alias into the band.
    """
    return constant(analysis, band, points, shift, dtype=dtype, device=device)


def synthesis(band: int, points: int, shift: float = 0.0) -> NDArray[np.float64]:
    """:func:`synthesis_matrix` as an array."""
    position = 2 * math.pi * (np.arange(points) + shift) / points
    phase = position[:, None] * np.arange(1, band + 1)
    matrix = np.ones((points, coefficient_count(band)))
    matrix[:, 1::2] = math.sqrt(2) * np.cos(phase)
    matrix[:, 2::2] = math.sqrt(2) * np.sin(phase)
    return matrix


def analysis(band: int, points: int, shift: float = 0.0) -> NDArray[np.float64]:
    """:func:`analysis_matrix` as an array."""
    return np.ascontiguousarray(synthesis(band, points, shift).T / points)
