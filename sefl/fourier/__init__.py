"""Periodic signals as nested real Fourier coefficients, and truly scale-equivariant layers on them."""

from sefl.fourier.basis import band
from sefl.fourier.convolution import SpectralConv2d
from sefl.fourier.head import BandPooling
from sefl.fourier.nonlinearity import ScaleEquivariantMaxPool2d, ScaleEquivariantNonlinearity
from sefl.fourier.sampling import CoefficientModule, downsample, to_coefficients, to_grid, upsample

__all__ = [
    "BandPooling",
    "CoefficientModule",
    "ScaleEquivariantMaxPool2d",
    "ScaleEquivariantNonlinearity",
    "SpectralConv2d",
    "band",
    "downsample",
    "to_coefficients",
    "to_grid",
    "upsample",
]
