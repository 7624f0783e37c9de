"""Periodic signals as nested real Fourier coefficients, and truly scale-equivariant layers on them."""

from sefl.fourier.basis import band
from sefl.fourier.convolution import SpectralConv2d
from sefl.fourier.head import BandPooling
from sefl.fourier.nonlinearity import ScaleEquivariantMaxPool2d, ScaleEquivariantNonlinearity
from sefl.fourier.sampling import (
    CoefficientModule,
    downsample,
    downsample1d,
    to_coefficients,
    to_coefficients1d,
    to_grid,
    to_grid1d,
    upsample,
    upsample1d,
)

__all__ = [
    "BandPooling",
    "CoefficientModule",
    "ScaleEquivariantMaxPool2d",
    "ScaleEquivariantNonlinearity",
    "SpectralConv2d",
    "band",
    "downsample",
    "downsample1d",
    "to_coefficients",
    "to_coefficients1d",
    "to_grid",
    "to_grid1d",
    "upsample",
    "upsample1d",
]
