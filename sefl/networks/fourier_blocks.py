"""The blocks of the scale-equivariant networks of Rahman & Yeh (NeurIPS 2023): coefficients to coefficients."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Literal

from torch import Tensor, nn

from sefl.fourier import (
    BandPooling1d,
    BandPooling2d,
    CoefficientModule,
    ScaleEquivariantMaxPool1d,
    ScaleEquivariantMaxPool2d,
    SpectralBatchNorm,
    SpectralConv1d,
    SpectralConv2d,
    to_coefficients,
)
from sefl.fourier.activation import Activation

Norm = Literal["instance", "batch", "none"]


Dimensions = Literal[1, 2]
"""Of the space that a network sees: signals and images."""


@dataclass(frozen=True)
class FourierLayers:
    """The layers on signals along one axis, or those on images."""

    to_coefficients: Callable[[Tensor], Tensor]
    convolution: type[SpectralConv1d | SpectralConv2d]
    max_pool: type[ScaleEquivariantMaxPool1d | ScaleEquivariantMaxPool2d]
    band_pooling: type[BandPooling1d | BandPooling2d]

    def nonlinearity(
        self,
        channels: int,
        window: int,
        activation: Activation,
        norm: Norm,
        base_resolution: int,
        max_resolution: int,
        oversampling: float,
        statistics_resolution: int,
        band_step: int = 1,
    ) -> CoefficientModule:
        """Norm, activation and max-pooling; ``statistics_resolution`` is that of a batch norm."""
        pooling = self.max_pool(
            window,
            activation,
            base_resolution,
            max_resolution,
            channels if norm == "instance" else None,
            oversampling,
            band_step=band_step,
        )
        if norm != "batch":
            return pooling
        return NormalisedNonlinearity(SpectralBatchNorm(channels, statistics_resolution), pooling)


LAYERS: dict[Dimensions, FourierLayers] = {
    1: FourierLayers(to_coefficients, SpectralConv1d, ScaleEquivariantMaxPool1d, BandPooling1d),
    2: FourierLayers(to_coefficients, SpectralConv2d, ScaleEquivariantMaxPool2d, BandPooling2d),
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
class BlockSettings:
    """What all blocks of a network share; resolutions are those of the images, or lengths of the signals.

    ``coarsest`` is the least resolution of an input, ``base_resolution`` that from which on layers are equivariant.
    A block that follows poolings by ``reached`` in all works at ``1 / reached`` of the resolutions and of the step.
    """

    layers: FourierLayers
    activation: Activation
    norm: Norm
    residual: bool
    convolutions: int
    oversampling: float
    band_step: int
    base_resolution: int
    max_resolution: int
    coarsest: int

    def block(self, inputs: int, outputs: int, size: int, window: int, reached: int) -> CoefficientModule:
        """``convolutions`` kernels of ``size``, each with norm and activation, pooling after the last."""
        if self.convolutions == 1:
            convolution = self._convolution(inputs, outputs, size, reached, residual=self.residual)
            return FourierBlock(convolution, self._nonlinearity(outputs, window, reached))
        channels = [inputs] + [outputs] * (self.convolutions - 1)
        inner = [
            FourierBlock(
                self._convolution(entering, outputs, size, reached), self._nonlinearity(outputs, 1, reached)
            )
            for entering in channels[:-1]
        ]
        shortcut = None
        if self.residual:
            finest = ceil(self.max_resolution / reached)
            shortcut = self.layers.convolution(inputs, outputs, 1, finest, bias=False)
        return ResidualFourierBlock(
            nn.Sequential(*inner),
            self._convolution(outputs, outputs, size, reached),
            shortcut,
            self._nonlinearity(outputs, window, reached),
        )

    def projection(self, inputs: int, outputs: int) -> FourierBlock:
        """A 1 x 1 convolution at full resolution, with norm and activation."""
        return FourierBlock(self._convolution(inputs, outputs, 1, 1), self._nonlinearity(outputs, 1, 1))

    def _convolution(
        self, inputs: int, outputs: int, size: int, reached: int, residual: bool = False
    ) -> CoefficientModule:
        finest = ceil(self.max_resolution / reached)
        return self.layers.convolution(
            inputs, outputs, size, finest, self.norm == "none", residual and size > 1
        )

    def _nonlinearity(self, channels: int, window: int, reached: int) -> CoefficientModule:
        return self.layers.nonlinearity(
            channels,
            window,
            self.activation,
            self.norm,
            ceil(self.base_resolution / reached),
            ceil(self.max_resolution / reached),
            self.oversampling,
            ceil(self.coarsest / reached),
            # The step counts output bands. A window below one is refused by the layer.
            max(1, self.band_step // (reached * max(1, window))),
        )
