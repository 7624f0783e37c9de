"""Periodic signals as nested real Fourier coefficients, and truly scale-equivariant layers on them."""

from sefl.fourier.band_mixing import BandLinear, BandPerceptron
from sefl.fourier.basis import band
from sefl.fourier.batch_norm import GridBatchNorm, SpectralBatchNorm
from sefl.fourier.convolution import SpectralConv1d, SpectralConv2d
from sefl.fourier.head import BandPooling1d, BandPooling2d
from sefl.fourier.magnitude import MagnitudeMixer1d, MagnitudeMixer2d
from sefl.fourier.mixer import FrequencyMixer1d, FrequencyMixer2d
from sefl.fourier.nonlinearity import (
    ScaleEquivariantMaxPool1d,
    ScaleEquivariantMaxPool2d,
    ScaleEquivariantNonlinearity1d,
    ScaleEquivariantNonlinearity2d,
)
from sefl.fourier.sampling import (
    CoefficientModule,
    downsample,
    to_coefficients,
    to_grid,
    upsample,
)

__all__ = [
    "BandLinear",
    "BandPerceptron",
    "BandPooling1d",
    "BandPooling2d",
    "CoefficientModule",
    "FrequencyMixer1d",
    "FrequencyMixer2d",
    "GridBatchNorm",
    "MagnitudeMixer1d",
    "MagnitudeMixer2d",
    "ScaleEquivariantMaxPool1d",
    "ScaleEquivariantMaxPool2d",
    "ScaleEquivariantNonlinearity1d",
    "ScaleEquivariantNonlinearity2d",
    "SpectralBatchNorm",
    "SpectralConv1d",
    "SpectralConv2d",
    "band",
    "downsample",
    "to_coefficients",
    "to_grid",
    "upsample",
]
