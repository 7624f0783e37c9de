"""The blocks of the scale-equivariant networks of Rahman & Yeh (NeurIPS 2023): coefficients to coefficients."""

from dataclasses import dataclass, fields
from math import ceil
from typing import Any, Literal, get_args

from torch import Tensor, nn
from torch.nn import functional as F

from sefl.arguments import require_integer, require_one_of
from sefl.fourier import (
    CoefficientModule,
    ScaleEquivariantMaxPool1d,
    ScaleEquivariantMaxPool2d,
    SpectralBatchNorm,
    SpectralConv1d,
    SpectralConv2d,
)
from sefl.fourier.nonlinearity import GRID_SHARING
from sefl.networks.network import Dimensions, ScaleNetwork

Norm = Literal["instance", "batch", "none"]
ActivationName = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "tanh"]

CONVOLUTIONS: dict[Dimensions, type[SpectralConv1d | SpectralConv2d]] = {1: SpectralConv1d, 2: SpectralConv2d}
MAX_POOLS: dict[Dimensions, type[ScaleEquivariantMaxPool1d | ScaleEquivariantMaxPool2d]] = {
    1: ScaleEquivariantMaxPool1d,
    2: ScaleEquivariantMaxPool2d,
}


class NormalisedNonlinearity(CoefficientModule):
    """A norm, then a non-linearity that has none of its own."""

    def __init__(self, norm: CoefficientModule, nonlinearity: CoefficientModule) -> None:
        super().__init__()
        self.norm = norm
        self.nonlinearity = nonlinearity

    def forward(self, coefficients: Tensor) -> Tensor:
        outcome: Tensor = self.nonlinearity(self.norm(coefficients))
        return outcome


class FourierBlock(CoefficientModule):
    """Spectral convolution, then norm, activation and pooling."""

    def __init__(self, convolution: CoefficientModule, nonlinearity: CoefficientModule) -> None:
        super().__init__()
        self.convolution = convolution
        self.nonlinearity = nonlinearity

    def forward(self, coefficients: Tensor) -> Tensor:
        outcome: Tensor = self.nonlinearity(self.convolution(coefficients))
        return outcome


class ResidualFourierBlock(CoefficientModule):
    """``nonlinearity(convolution(inner(x)) + shortcut(x))``: ``inner`` are blocks, the shortcut a 1 x 1 convolution.

    With one block inside it is the block of the paper's STL-10 network.
    """

    def __init__(
        self,
        inner: nn.Sequential,
        convolution: CoefficientModule,
        shortcut: CoefficientModule | None,
        nonlinearity: CoefficientModule,
    ) -> None:
        super().__init__()
        self.inner = inner
        self.convolution = convolution
        self.shortcut = shortcut
        self.nonlinearity = nonlinearity

    def forward(self, coefficients: Tensor) -> Tensor:
        outcome = self.convolution(self.inner(coefficients))
        if self.shortcut is not None:
            outcome = outcome + self.shortcut(coefficients)
        activated: Tensor = self.nonlinearity(outcome)
        return activated


@dataclass(frozen=True)
class FourierLayers:
    """Makes the layers and blocks of a network; resolutions are those of the images, or lengths of the signals.

    What follows poolings by ``reached`` in all works at ``1 / reached`` of the resolutions and of the step.

    Args:
        dimensions: 2 for images, 1 for signals.
        base_resolution: the least resolution of an input.
        max_resolution: the finest.
        layer_base_resolution: that from which on layers are equivariant.
        activation: name of a pointwise function in ``torch.nn.functional``.
        norm: in front of the activations.
        oversampling: grid points of the non-linearities as a multiple of the critical number.
        band_step: of the bands compute each so many.
        grid_sharing: grid points of a run of bands that share one, at most as a multiple of the coarsest's.

    Raises:
        ValueError: if an argument is out of its range.
    """

    dimensions: Dimensions
    base_resolution: int
    max_resolution: int
    layer_base_resolution: int
    activation: ActivationName
    norm: Norm
    oversampling: float = 1.0
    band_step: int = 1
    grid_sharing: float = GRID_SHARING

    def __post_init__(self) -> None:
        require_integer("layer_base_resolution", self.layer_base_resolution, 1, self.base_resolution)
        require_one_of("activation", self.activation, get_args(ActivationName))
        require_one_of("norm", self.norm, get_args(Norm))
        require_integer("band_step", self.band_step, least=1)

    @classmethod
    def of(cls, network: ScaleNetwork, trunk: Any) -> "FourierLayers":
        """Those of a network whose trunk's settings, a dataclass, have the options here under the same names."""
        options = {
            option.name: getattr(trunk, option.name) for option in fields(cls) if hasattr(trunk, option.name)
        }
        return cls(network.dimensions, network.base_resolution, network.max_resolution, **options)

    def convolution(
        self,
        inputs: int,
        outputs: int,
        size: int,
        reached: int = 1,
        bias: bool | None = None,
        residual: bool = False,
    ) -> CoefficientModule:
        """A spectral convolution, by default with a bias where no norm follows it."""
        bias = self.norm == "none" if bias is None else bias
        finest = ceil(self.max_resolution / reached)
        return CONVOLUTIONS[self.dimensions](inputs, outputs, size, finest, bias, residual and size > 1)

    def nonlinearity(self, channels: int, window: int = 1, reached: int = 1) -> CoefficientModule:
        """Norm, activation and max-pooling."""
        pooling = MAX_POOLS[self.dimensions](
            window,
            getattr(F, self.activation),
            ceil(self.layer_base_resolution / reached),
            ceil(self.max_resolution / reached),
            channels if self.norm == "instance" else None,
            self.oversampling,
            # The step counts output bands. A window below one is refused by the layer.
            band_step=max(1, self.band_step // (reached * max(1, window))),
            grid_sharing=self.grid_sharing,
        )
        if self.norm != "batch":
            return pooling
        norm = SpectralBatchNorm(channels, ceil(self.base_resolution / reached))
        return NormalisedNonlinearity(norm, pooling)

    def block(
        self, inputs: int, outputs: int, size: int, window: int = 1, reached: int = 1, residual: bool = False
    ) -> FourierBlock:
        """A kernel of ``size`` with norm and activation, pooling behind."""
        convolution = self.convolution(inputs, outputs, size, reached, residual=residual)
        return FourierBlock(convolution, self.nonlinearity(outputs, window, reached))

    def deep_block(
        self, widths: list[int], size: int, window: int, reached: int, residual: bool
    ) -> ResidualFourierBlock:
        """Kernels of ``size`` from width to width, each with norm and activation, pooling after the last."""
        *entering, inputs, outputs = widths
        inner = [
            self.block(before, after, size, reached=reached)
            for before, after in zip(entering, [*entering[1:], inputs], strict=True)
        ]
        shortcut = self.convolution(widths[0], outputs, 1, reached, bias=False) if residual else None
        return ResidualFourierBlock(
            nn.Sequential(*inner),
            self.convolution(inputs, outputs, size, reached),
            shortcut,
            self.nonlinearity(outputs, window, reached),
        )
