"""Periodic signals as nested real Fourier coefficients, and truly scale-equivariant layers on them."""

from sefl.fourier.basis import band
from sefl.fourier.sampling import CoefficientModule, downsample, to_coefficients, to_grid, upsample

__all__ = ["CoefficientModule", "band", "downsample", "to_coefficients", "to_grid", "upsample"]
