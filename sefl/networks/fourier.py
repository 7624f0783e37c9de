"""The truly scale-equivariant network of Rahman & Yeh (NeurIPS 2023), as configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, get_args

from torch import Tensor, nn

from sefl.arguments import MOST_LAYERS, require_integer, require_one_of
from sefl.fourier import band, to_coefficients
from sefl.fourier.nonlinearity import GRID_SHARING
from sefl.fourier.sampling import Center
from sefl.networks.bands import BandHead, BandHeadSettings, BandNetwork
from sefl.networks.fourier_blocks import MAX_POOLS, ActivationName, FourierLayers, Norm
from sefl.networks.network import block_shapes
from sefl.tensors.graphs import in_pieces


@dataclass(frozen=True)
class FourierTrunk:
    """The blocks of a :class:`FourierNetwork`.

    Args:
        widths: output channels of each block.
        kernel_size: taps per axis on the finest grid, one number or one per block.
        pools: max-pooling window of each block, 1 for none; by default 1 throughout.
        projection: channels of a 1 x 1 convolution with norm and activation in front of the blocks, by default none.
        convolutions: spectral convolutions of each block, norm and activation between them.
        residual: 1 x 1 convolution beside the kernels of each block, from its input to its last norm.
        activation: name of a pointwise function in ``torch.nn.functional``.
        norm: ``"batch"``, ``"instance"`` per band, as published, or ``"none"``; the former two with affine parameters.
        oversampling: grid points of the non-linearities as a multiple of the critical number.
        grid_sharing: neighbouring bands share a grid, of at most so many times the points per axis that the coarsest of
            them needs: faster, the more the finer the images; 1, as published, gives each band its own.
        band_step: of the bands compute each so many, divided by the pooling before; 1 computes all. Above, layers are
            **not** equivariant but at some resolutions, as ``callbacks.EquivarianceMonitor`` shows. Predictions stay
            exact where the skipped bands are those that the pooling behind leaves out (``exact_predictions``);
            otherwise predictions at several resolutions take as many passes. The increment 8 of the paper's STL-10
            network is a step of 4, which is exact in this sense from a ``layer_base_resolution`` of 41 on, not of 40.
        layer_base_resolution: resolution from which on the layers are equivariant, at most the ``base_resolution``.
    """

    widths: Sequence[int] = (32, 64, 100, 100)
    kernel_size: int | Sequence[int] = 5
    pools: Sequence[int] | None = None
    projection: int | None = None
    convolutions: int = 1
    residual: bool = True
    activation: ActivationName = "relu"
    norm: Norm = "instance"
    oversampling: float = 1.0
    grid_sharing: float = GRID_SHARING
    band_step: int = 1
    layer_base_resolution: int = 6


class FourierNetwork(BandNetwork):
    """Blocks on nested Fourier coefficients and a head over all bands; equivariant at every integer resolution.

    ``forward`` maps images ``(batch, in_channels, r, r)``, ``base_resolution <= r <= max_resolution``, to logits
    ``(batch, bands, classes)``: one prediction per band from the base up to the one of ``r`` (two neighbouring
    resolutions, 9 and 10, share a band), or of those at ``places`` among these. Band ``b``'s logits depend on
    frequencies up to ``b`` alone, so one pass at the finest resolution holds the predictions at every coarser one.

    Without blocks (``trunk.widths`` empty) the head sees the image's stem alone.

    Args:
        trunk: the blocks.
        head: what is made of their features.
        center: what the images' grids share, see :func:`sefl.fourier.downsample`.
        **common: the arguments of :class:`ScaleNetwork`.

    Raises:
        TypeError, ValueError: as :class:`ScaleNetwork`.

    >>> import torch
    >>> network = FourierNetwork(FourierTrunk(widths=[4, 8]), max_resolution=12)
    >>> network(torch.rand(2, 1, 12, 12)).shape, network(torch.rand(2, 1, 8, 8)).shape
    (torch.Size([2, 3, 10]), torch.Size([2, 1, 10]))
    """

    def __init__(
        self,
        trunk: FourierTrunk = FourierTrunk(),
        head: BandHeadSettings = BandHeadSettings(dropout=0.75),
        center: Center = "pixel",
        **common: Any,
    ) -> None:
        super().__init__(**common)
        require_one_of("center", center, get_args(Center))
        self.sampling_center = center
        layers = FourierLayers.of(self, trunk)
        convolutions = require_integer("convolutions", trunk.convolutions, 1, MOST_LAYERS)
        entering = self.in_channels
        self.projection = None
        if trunk.projection is not None:
            entering = require_integer("projection", trunk.projection, least=1)
            self.projection = layers.block(self.in_channels, entering, 1)
        pools = [1] * len(trunk.widths) if trunk.pools is None else trunk.pools
        kernel_sizes = trunk.kernel_size
        if not isinstance(kernel_sizes, Sequence):
            kernel_sizes = [kernel_sizes] * len(trunk.widths)
        if not trunk.widths and head.stem:
            # All that the head sees is the image's stem: the control of what blocks are worth.
            shapes, pools, kernel_sizes, outputs = [], [], [], 0
        else:
            shapes = block_shapes(entering, trunk.widths, pools, kernel_size=kernel_sizes)
        self.blocks = nn.Sequential()
        for (inputs, outputs, window), size in zip(shapes, kernel_sizes, strict=True):
            if convolutions == 1:
                block: nn.Module = layers.block(inputs, outputs, size, window, self.reduction, trunk.residual)
            else:
                widths = [inputs, *[outputs] * convolutions]
                block = layers.deep_block(widths, size, window, self.reduction, trunk.residual)
            self.blocks.append(block)
            self.reduction *= window
        self.exact_predictions = self._computes_what_the_head_sees(pools)
        self._add_pooling(head)
        channels = outputs + (head.stem[-1] if head.stem else 0)
        bands = self.band_index(self.max_resolution) + 1
        self.head = BandHead(channels, self.classes, bands, head, self.dimensions)

    @in_pieces
    def forward(self, images: Tensor, places: Sequence[int] | None = None) -> Tensor:
        self._check_images(images)
        places = range(self.band_index(images.shape[-1]) + 1) if places is None else places
        image = to_coefficients(images, self.sampling_center)
        features = image if self.projection is None else self.projection(image)
        pooled = self._pooled(image, self.blocks(features) if self.blocks else None, places)
        logits: Tensor = self.head(pooled, places)
        return logits

    def _computes_what_the_head_sees(self, pools: Sequence[int]) -> bool:
        """Whether no band is skipped of which the head's bands, one in ``reduction`` of the image's, are made."""
        bands = range(
            band(ceil(self.base_resolution / self.reduction)),
            band(ceil(self.max_resolution / self.reduction)) + 1,
        )
        reached = 1
        for block, window in zip([self.projection, *self.blocks], [1, *pools], strict=True):
            for layer in [] if block is None else block.modules():
                if isinstance(layer, MAX_POOLS[self.dimensions]):
                    behind = self.reduction // (reached * layer.window)
                    needed = (b * behind - layer.base_band for b in bands)
                    if any(above > 0 and above % layer.band_step for above in needed):
                        return False
            reached *= window
        return True
