"""A classifier whose layers mix frequencies instead of convolving: equivariant at every integer resolution."""

from typing import Literal, get_args

import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.nn import functional as F

from models.band_classifier import BandClassifier, BandHead
from models.fourier_classifier import ActivationName
from sefl.arguments import MOST_LAYERS, require_integer, require_one_of
from sefl.fourier import (
    BandPerceptron,
    CoefficientModule,
    FrequencyMixer1d,
    FrequencyMixer2d,
    MagnitudeMixer1d,
    MagnitudeMixer2d,
)
from sefl.networks.fourier_blocks import LAYERS, Dimensions, Norm

Mixing = Literal["linear", "magnitude"]
Head = Literal["shared", "triangular"]

_MIXERS: dict[
    tuple[Mixing, Dimensions],
    type[FrequencyMixer1d | FrequencyMixer2d | MagnitudeMixer1d | MagnitudeMixer2d],
] = {
    ("linear", 1): FrequencyMixer1d,
    ("linear", 2): FrequencyMixer2d,
    ("magnitude", 1): MagnitudeMixer1d,
    ("magnitude", 2): MagnitudeMixer2d,
}


class MixerBlock(CoefficientModule):
    """``nonlinearity(channels(frequencies(x)) + shortcut(x))``.

    As in an MLP-mixer, what mixes places, here frequencies, leaves channels apart, and the other way round.

    Args:
        frequencies: a mixer over frequencies, from channels to as many.
        channels: a 1 x 1 convolution behind it.
        shortcut: a 1 x 1 convolution beside both.
        nonlinearity: norm and activation.
    """

    def __init__(
        self,
        frequencies: CoefficientModule,
        channels: CoefficientModule,
        shortcut: CoefficientModule,
        nonlinearity: CoefficientModule,
    ) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.channels = channels
        self.shortcut = shortcut
        self.nonlinearity = nonlinearity

    def forward(self, coefficients: Tensor) -> Tensor:
        mixed = self.channels(self.frequencies(coefficients))
        outcome: Tensor = self.nonlinearity(mixed + self.shortcut(coefficients))
        return outcome


class MixerClassifier(BandClassifier):
    """Blocks that mix frequencies and channels in turn, and a head over all bands.

    A 1 x 1 convolution lifts the image to ``width`` channels; ``depth`` blocks (:class:`MixerBlock`), pooling and head
    follow. ``forward`` maps images ``(batch, in_channels, r, r)``, ``base_resolution <= r <= max_resolution``, to
    logits ``(batch, bands, classes)``: one prediction per band from the base up to the one of ``r``, as
    :class:`models.FourierClassifier`. Band ``b``'s logits depend on frequencies up to ``b`` alone.

    With ``dimensions=1`` it classifies signals ``(batch, in_channels, length)``: images, pixels and resolutions below
    are signals, samples and lengths then.

    Args:
        in_channels: channels of the images.
        classes: number of classes.
        width: channels of all blocks.
        depth: number of blocks.
        mixing: ``"linear"``, a triangular matrix over the frequencies along each axis, or ``"magnitude"``, gains from
            the magnitudes of lower frequencies, which commute with circular shifts too.
        bandwidth: frequency ``k`` reads the frequencies ``k - bandwidth .. k``, by default all lower ones.
        groups: groups of channels that mix frequencies with weights of their own; it divides ``width``.
        activation: name of a pointwise function in ``torch.nn.functional``.
        norm: ``"batch"``, ``"instance"`` per band, as published, or ``"none"``; the former two with affine parameters.
        oversampling: grid points of the non-linearities as a multiple of the critical number.
        dimensions: 2 for images, 1 for signals.
        base_resolution: coarsest resolution of an input, and of the head's bands.
        max_resolution: finest resolution of an input.
        layer_base_resolution: resolution from which on the layers are equivariant, at most ``base_resolution``.
        head: ``"shared"``, one perceptron on every band, or ``"triangular"``, one whose layers mix the features of a
            band with those of all coarser bands.
        head_cells: cells per axis that the head pools features to.
        head_pool: ``"max"`` or ``"mean"``.
        head_widths: output channels of convolutions in a shared head, on the cells of every band by itself, each with
            batch norm, ReLU and max-pooling by two.
        head_hidden: hidden units of the head, per band.
        head_dropout: dropout of the hidden units.
        head_growth: least growth, from a band to the next, of the log of what a shared head's logits are multiplied by;
            ``None`` for factors that may fall.
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
        width: int = 32,
        depth: int = 2,
        mixing: Mixing = "linear",
        bandwidth: int | None = None,
        groups: int = 8,
        activation: ActivationName = "relu",
        norm: Norm = "instance",
        oversampling: float = 1.0,
        dimensions: Dimensions = 2,
        base_resolution: int = 8,
        max_resolution: int = 28,
        layer_base_resolution: int = 6,
        head: Head = "shared",
        head_cells: int = 2,
        head_pool: Literal["max", "mean"] = "max",
        head_widths: list[int] | None = None,
        head_hidden: int = 256,
        head_dropout: float = 0.5,
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
        depth = require_integer("depth", depth, 1, MOST_LAYERS)
        layer_base_resolution = require_integer(
            "layer_base_resolution", layer_base_resolution, least=1, most=self.base_resolution
        )
        require_one_of("mixing", mixing, get_args(Mixing))
        require_one_of("activation", activation, get_args(ActivationName))
        require_one_of("norm", norm, get_args(Norm))
        require_one_of("head", head, get_args(Head))
        if head == "triangular" and head_widths:
            raise ValueError(f"head_widths are for a shared head, got {head_widths} with head='triangular'")
        self.layers = LAYERS[dimensions]
        self.embedding = self.layers.convolution(in_channels, width, 1, max_resolution)

        def block() -> MixerBlock:
            return MixerBlock(
                _MIXERS[mixing, dimensions](width, max_resolution, bandwidth, groups),
                self.layers.convolution(width, width, 1, max_resolution, bias=norm == "none"),
                self.layers.convolution(width, width, 1, max_resolution, bias=False),
                self.layers.nonlinearity(
                    width,
                    1,
                    getattr(F, activation),
                    norm,
                    layer_base_resolution,
                    max_resolution,
                    oversampling,
                    base_resolution,
                ),
            )

        self.blocks = nn.Sequential(*(block() for _ in range(depth)))
        self.pooling = self.layers.band_pooling(base_resolution, max_resolution, head_cells, pool=head_pool)
        bands = self.band_index(max_resolution) + 1
        self.head = (
            BandHead(
                width,
                head_cells,
                head_hidden,
                classes,
                head_dropout,
                bands,
                head_growth,
                head_widths or [],
                dimensions,
            )
            if head == "shared"
            else BandPerceptron(width * head_cells**dimensions, head_hidden, classes, bands, head_dropout)
        )

    def forward(self, images: Tensor) -> Tensor:
        self._check_images(images)
        coefficients = self.embedding(self.layers.to_coefficients(images))
        logits: Tensor = self.head(self.pooling(self.blocks(coefficients)))
        return logits

    def measured_layers(self) -> list[str]:
        return [*(f"blocks.{index}" for index in range(len(self.blocks))), "head"]
