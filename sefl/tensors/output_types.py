"""How the output of a layer transforms with the images: what a module says of itself in ``output_type``.

A regular field of a group is one by a :class:`sefl.groups.RegularField`, which says of which.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Grid:
    """Pixels ``(batch, channels, h, w)``, voxels or samples, with as many spatial axes as the images have."""


@dataclass(frozen=True)
class Coefficients:
    """Nested Fourier coefficients ``(K1, K2, batch, channels)``, of signals ``(K, batch, channels)``.

    Args:
        field: of which regular fields, on grids about the image's middle, if they are of any.
    """

    field: Any = None


@dataclass(frozen=True)
class Bands:
    """``(batch, bands, ...)`` from coarse to fine, of which downsampling keeps the leading ones."""


@dataclass(frozen=True)
class Invariant:
    """``(batch, ...)``, on which every transformation acts trivially."""
