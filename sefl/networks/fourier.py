"""The truly scale-equivariant classifier of Rahman & Yeh (NeurIPS 2023), as configuration."""

from collections.abc import Sequence
from math import ceil
from typing import Literal, get_args

import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.nn import functional as F

from models.band_classifier import BandClassifier, BandHead
from sefl.arguments import MOST_LAYERS, require_integer, require_one_of, require_positives
from sefl.fourier import band
from sefl.networks.fourier_blocks import LAYERS, BlockSettings, Dimensions, Norm

ActivationName = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "tanh"]


class FourierClassifier(BandClassifier):
    """Blocks on nested Fourier coefficients and a head over all bands; equivariant at every integer resolution.

    ``forward`` maps images ``(batch, in_channels, r, r)``, ``base_resolution <= r <= max_resolution``, to logits
    ``(batch, bands, classes)``: one prediction per band from the base up to the one of ``r`` (two neighbouring
    resolutions, 9 and 10, share a band). Band ``b``'s logits depend on frequencies up to ``b`` alone, so one pass at
    the finest resolution holds the predictions at every coarser one.

    With ``dimensions=1`` it classifies signals ``(batch, in_channels, length)``: images, pixels and resolutions below
    are signals, samples and lengths then.

    Args:
        in_channels: channels of the images.
        classes: number of classes.
        widths: output channels of each block.
        kernel_size: taps per axis on the finest grid, one number or one per block.
        pools: max-pooling window of each block, 1 for none; by default 1 throughout.
        projection: channels of a 1 x 1 convolution with norm and activation in front of the blocks, by default none.
        convolutions: spectral convolutions of each block, norm and activation between them.
        residual: 1 x 1 convolution beside the kernels of each block, from its input to its last norm.
        activation: name of a pointwise function in ``torch.nn.functional``.
        norm: ``"batch"``, ``"instance"`` per band, as published, or ``"none"``; the former two with affine parameters.
        oversampling: grid points of the non-linearities as a multiple of the critical number.
        band_step: of the bands compute each so many, divided by the pooling before; 1 computes all. Above, layers are
            **not** equivariant but at some resolutions, as ``callbacks.EquivarianceMonitor`` shows. Predictions stay
            exact where the skipped bands are those that the pooling behind leaves out (``exact_predictions``);
            otherwise predictions at several resolutions take as many passes. The increment 8 of the paper's STL-10
            network is a step of 4, which is exact in this sense from a ``layer_base_resolution`` of 41 on, not of 40.
        dimensions: 2 for images, 1 for signals.
        base_resolution: coarsest resolution of an input, and of the head's bands.
        max_resolution: finest resolution of an input.
        layer_base_resolution: resolution from which on the layers are equivariant, at most ``base_resolution``.
        head_cells: cells per axis that the head pools features to.
        head_pool: ``"max"`` or ``"mean"``.
        head_widths: output channels of convolutions in the head, on the cells of every band by itself, each with batch
            norm, ReLU and max-pooling by two; published: none.
        head_hidden: hidden units of the head.
        head_dropout: dropout of the hidden units.
        head_growth: least growth, from a band to the next, of the log of what the head's logits are multiplied by: the
            more it is, the more surely the loss falls with resolution; ``None``, as published, lets the factors fall.
        consistency_weight: weight of the scale-consistency hinge.
        optimizer: from parameters to an optimiser.
        lr_scheduler: from an optimiser to its schedule.

    Raises:
        ValueError: if an argument is out of its range, and in ``forward`` for images that are not square, have other
            than ``in_channels`` channels or a resolution outside the range.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 10,
        widths: list[int] | None = None,
        kernel_size: int | list[int] = 5,
        pools: list[int] | None = None,
        projection: int | None = None,
        convolutions: int = 1,
        residual: bool = True,
        activation: ActivationName = "relu",
        norm: Norm = "instance",
        oversampling: float = 1.0,
        band_step: int = 1,
        dimensions: Dimensions = 2,
        base_resolution: int = 8,
        max_resolution: int = 28,
        layer_base_resolution: int = 6,
        head_cells: int = 2,
        head_pool: Literal["max", "mean"] = "max",
        head_widths: list[int] | None = None,
        head_hidden: int = 256,
        head_dropout: float = 0.75,
        head_growth: float | None = 0.1,
        consistency_weight: float = 1e-3,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            classes,
            base_resolution,
            max_resolution,
            consistency_weight,
            optimizer,
            lr_scheduler,
            dimensions,
        )
        widths = [32, 64, 100, 100] if widths is None else widths
        pools = [1] * len(widths) if pools is None else pools
        kernel_sizes = kernel_size if isinstance(kernel_size, Sequence) else [kernel_size] * len(widths)
        for name, values in (("pools", pools), ("kernel_size", kernel_sizes)):
            if len(values) != len(widths):
                raise ValueError(
                    f"{name} must have one entry per block, {len(widths)} as widths, got {values}"
                )
        if not widths:
            raise ValueError("widths must name the channels of at least one block, got []")
        widths, pools = require_positives("widths", widths), require_positives("pools", pools)
        layer_base_resolution = require_integer(
            "layer_base_resolution", layer_base_resolution, least=1, most=self.base_resolution
        )
        require_one_of("norm", norm, get_args(Norm))
        require_one_of("activation", activation, get_args(ActivationName))
        convolutions = require_integer("convolutions", convolutions, 1, MOST_LAYERS)
        if projection is not None:
            projection = require_integer("projection", projection, least=1)
        band_step = require_integer("band_step", band_step, least=1)
        self.layers = LAYERS[dimensions]
        settings = BlockSettings(
            self.layers,
            getattr(F, activation),
            norm,
            residual,
            convolutions,
            oversampling,
            band_step,
            layer_base_resolution,
            self.max_resolution,
            self.base_resolution,
        )
        self.projection = None if projection is None else settings.projection(in_channels, projection)
        blocks = []
        reached = 1
        for inputs, outputs, size, window in zip(
            [projection or in_channels, *widths], widths, kernel_sizes, pools, strict=False
        ):
            blocks.append(settings.block(inputs, outputs, size, window, reached))
            reached *= window
        self.blocks = nn.Sequential(*blocks)
        self.reduction = reached
        self.exact_predictions = self._computes_what_the_head_sees(pools)
        self.pooling = self.layers.band_pooling(
            ceil(base_resolution / reached), ceil(max_resolution / reached), head_cells, pool=head_pool
        )
        bands = self.band_index(max_resolution) + 1
        self.head = BandHead(
            widths[-1],
            head_cells,
            head_hidden,
            classes,
            head_dropout,
            bands,
            head_growth,
            head_widths or [],
            dimensions,
        )

    def forward(self, images: Tensor) -> Tensor:
        self._check_images(images)
        coefficients = self.layers.to_coefficients(images)
        if self.projection is not None:
            coefficients = self.projection(coefficients)
        logits: Tensor = self.head(self.pooling(self.blocks(coefficients)))
        return logits

    def measured_layers(self) -> list[str]:
        projection = [] if self.projection is None else ["projection"]
        return [*projection, *(f"blocks.{index}" for index in range(len(self.blocks))), "head"]

    def _computes_what_the_head_sees(self, pools: list[int]) -> bool:
        """Whether no band is skipped of which the head's bands, one in ``reduction`` of the image's, are made."""
        bands = range(
            band(ceil(self.base_resolution / self.reduction)),
            band(ceil(self.max_resolution / self.reduction)) + 1,
        )
        reached = 1
        for block, window in zip([self.projection, *self.blocks], [1, *pools], strict=True):
            for layer in [] if block is None else block.modules():
                if isinstance(layer, self.layers.max_pool):
                    behind = self.reduction // (reached * layer.window)
                    needed = (b * behind - layer.base_band for b in bands)
                    if any(above > 0 and above % layer.band_step for above in needed):
                        return False
            reached *= window
        return True
