"""Pointwise non-linearities and max-pooling that commute with ideal downsampling (NeurIPS 2023, claim 1 and eq. 8).

A layer is scale-equivariant exactly when its output at frequency ``k`` depends on input frequencies up to ``|k|``
alone. So every shell of the output (the frequencies with ``max(|k1|, |k2|) = b``) is read off a grid of its own,

    shell b of the output = shell b of  A pool(sigma(S C[:K, :K] S^T)) A^T,     K = 2 p b + 1,

for every band ``b`` from the base to the finest, with window ``p = 1`` where nothing is pooled. Everything below the
base band comes from the base band. Neighbouring bands share a grid, which any band's may be that is fine enough and
does not depend on the image. Skipping bands is an option, which costs exactness.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sefl.arguments import require_number, require_positive
from sefl.fourier.activation import Activation, parameters_of, require_activation
from sefl.fourier.basis import band
from sefl.fourier.sampling import CoefficientModule, require_channels, resolution_range
from sefl.fourier.shells import Shells, fast
from sefl.fourier.shellwise import Plan, shellwise_activation
from sefl.tensors.graphs import outside_of_graphs

GRID_SHARING = 1.3
"""The default of ``grid_sharing``: the fastest of 1 to 2 at 20, 28, 49 and 97 pixels."""


class _ScaleEquivariantMaxPoolNd(CoefficientModule):
    """What :class:`ScaleEquivariantMaxPool2d` does, along ``axes`` axes."""

    axes: ClassVar[int]
    eps = 1e-5  # added to the variance, as by torch's norms

    def __init__(
        self,
        window: int,
        activation: Activation = F.relu,
        base_resolution: int = 8,
        max_resolution: int = 28,
        channels: int | None = None,
        oversampling: float = 1.0,
        band_step: int = 1,
        grid_sharing: float = GRID_SHARING,
    ) -> None:
        super().__init__()
        self.window = require_positive("window", window)
        self.base_resolution, self.max_resolution = resolution_range(base_resolution, max_resolution)
        self.oversampling = require_number("oversampling", oversampling, least=1)
        if channels is not None:
            channels = require_positive("channels", channels)
        require_activation(activation, channels, self.axes)
        self.activation = activation
        self.band_step = require_positive("band_step", band_step)
        self.grid_sharing = require_number("grid_sharing", grid_sharing, least=1)
        self.base_band = self._output_band(self.base_resolution)
        bands = len(self._bands(self._output_band(self.max_resolution)))
        if channels is None:
            self.register_parameter("weight", None)
            self.register_parameter("bias", None)
        else:
            self.weight = nn.Parameter(torch.ones(bands, channels))
            self.bias = nn.Parameter(torch.zeros(bands, channels))

    def reset_parameters(self) -> None:
        """Of the norm, scales of 1 and offsets of 0; the activation's own parameters are its own."""
        if self.weight is not None:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)

    @outside_of_graphs
    def forward(self, coefficients: Tensor) -> Tensor:
        finest = self._check(coefficients)
        # From the largest resolution of this band: 2 band + 2 pixels share it with 2 band + 1.
        output_band = max(band(-(-(2 * finest + 1) // self.window)), self.base_band)
        plan = Plan(
            shells=Shells(self.axes),
            bands=self._bands(output_band),
            output_band=output_band,
            window=self.window,
            oversampling=self.oversampling,
            activation=self.activation,
            eps=self.eps,
            sharing=self.grid_sharing,
        )
        trained = parameters_of(self.activation)
        # Where the activation's own parameters are of half precision, so must be what it sees.
        half = any(parameter.dtype.itemsize < 4 for parameter in trained)
        inner = coefficients if half else fast(coefficients)
        return shellwise_activation(inner, self.weight, self.bias, plan).to(coefficients.dtype)

    def _output_band(self, resolution: int) -> int:
        return band(-(-resolution // self.window))

    def _bands(self, output_band: int) -> range:
        """The bands that are computed: from the base up to the first that is not below ``output_band``."""
        return range(self.base_band, output_band + self.band_step, self.band_step)

    def _check(self, coefficients: Tensor) -> int:
        shells = Shells(self.axes)
        finest = shells.band_in_range(coefficients, self.base_resolution, self.max_resolution, of="layer")
        if self.weight is not None:
            require_channels(coefficients, self.weight.shape[1])
        return finest

    def extra_repr(self) -> str:
        norm = None if self.weight is None else self.weight.shape[1]
        return (
            f"window={self.window}, resolutions={self.base_resolution}..{self.max_resolution}, "
            f"channels={norm}, oversampling={self.oversampling}, band_step={self.band_step}, "
            f"grid_sharing={self.grid_sharing}"
        )


class ScaleEquivariantMaxPool2d(_ScaleEquivariantMaxPoolNd):
    """Instance norm per band, pointwise activation and max-pooling: resolution ``r`` to ``ceil(r / window)``.

    Output shell ``k`` comes from input band ``window * k``, sampled on ``window * m`` points per axis
    (``m = 2 k + 1``, or more with oversampling or where bands share a grid), activated, max-pooled to ``m`` points.
    Windows lie symmetrically around the pooled samples, so that the pooled signal is not shifted. Reversals of the axes
    (signs of the sines) and their exchange map the grid of every band to itself: the layer commutes with them, wherever
    images are sampled.

    Exactly scale-equivariant at every integer resolution from ``base_resolution`` to ``max_resolution``; a finer
    input is refused.

    With ``band_step`` above 1 bands are skipped, as by the published code's ``increment``: only every
    ``band_step``-th output band from the base on has a grid, and the shells between are taken from the next band that
    has one. That is cheaper and **not** equivariant but at the resolutions of the bands that are computed: at the
    others the shells above the last of these miss the frequencies that a finer image would have shown them.

    Args:
        window: pooling window and stride ``p`` in pixels; 1 pools nothing.
        activation: a deterministic, out-of-place pointwise function, or a module, whose parameters are trained. It
            gets ``(batch, channels, *space)``, as torch's do: ``nn.PReLU(channels)`` has a slope per channel.
        base_resolution: resolution from which on the layer is equivariant.
        max_resolution: finest input resolution.
        channels: normalise each band of each channel to zero mean and unit variance over space, with ``channels``
            learned scales and offsets per band; ``None`` leaves out the norm.
        oversampling: grid points per axis as a multiple of the critical ``2 b + 1``; a finer grid aliases less,
            which brings the layer closer to commuting with sub-pixel shifts.
        band_step: of the output bands compute each so many; 1 computes all and is exact. An increment of ``2 m`` pixels
            in the published code is a step of ``m`` bands.
        grid_sharing: neighbouring bands share a grid, that of the finest of them, of at most so many times the points
            per axis that the coarsest needs. Which bands share is the same at all resolutions and in all layers. The
            finer grids alias less, and the signal on one is not synthesised anew for each band: ``n^3`` for ``n^4``
            operations in pixels per side; of 1 to 2 the default is the fastest from 20 to 97 pixels. 1, as published,
            gives each band its own.

    Shapes: ``(K, K, batch, channels)`` to ``(K', K', batch, channels)``; ``K = 2 band + 1``.

    Raises:
        TypeError: if ``activation`` is no function, or a class.
        ValueError: if an argument is out of its range, or ``activation`` not such a function, and in ``forward`` for
            coefficients that are not square, lie below the base or above the maximum, or have other than ``channels``
            channels.
    """

    axes = 2


class ScaleEquivariantMaxPool1d(_ScaleEquivariantMaxPoolNd):
    """:class:`ScaleEquivariantMaxPool2d` of signals, with its arguments and errors: resolutions are lengths.

    Exactly scale-equivariant at every integer length from ``base_resolution`` to ``max_resolution``.

    Shapes: ``(K, batch, channels)`` to ``(K', batch, channels)``; ``K = 2 band + 1``.
    """

    axes = 1


class _WindowOfOne(_ScaleEquivariantMaxPoolNd):
    """Nothing is pooled."""

    def __init__(
        self,
        activation: Activation = F.relu,
        base_resolution: int = 8,
        max_resolution: int = 28,
        channels: int | None = None,
        oversampling: float = 1.0,
        band_step: int = 1,
        grid_sharing: float = GRID_SHARING,
    ) -> None:
        super().__init__(
            1,
            activation,
            base_resolution,
            max_resolution,
            channels,
            oversampling,
            band_step,
            grid_sharing,
        )


class ScaleEquivariantNonlinearity2d(_WindowOfOne, ScaleEquivariantMaxPool2d):
    """Instance norm per band and a pointwise activation, exactly scale-equivariant (NeurIPS 2023, equation 8).

    :class:`ScaleEquivariantMaxPool2d` with a window of one pixel, where arguments, shapes and errors are described.
    The affine parameters follow instance norm's, one set per band: the mean of a band is its constant coefficient,
    its variance the sum of its other squared coefficients (Parseval).
    """


class ScaleEquivariantNonlinearity1d(_WindowOfOne, ScaleEquivariantMaxPool1d):
    """:class:`ScaleEquivariantNonlinearity2d` of signals: :class:`ScaleEquivariantMaxPool1d` with a window of one."""
