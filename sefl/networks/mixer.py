"""A network whose layers mix frequencies instead of convolving: equivariant at every integer resolution."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor, nn

from sefl.arguments import MOST_LAYERS, require_integer, require_one_of
from sefl.fourier import (
    BandPerceptron,
    CoefficientModule,
    FrequencyMixer1d,
    FrequencyMixer2d,
    MagnitudeMixer1d,
    MagnitudeMixer2d,
    to_coefficients,
)
from sefl.fourier.nonlinearity import GRID_SHARING
from sefl.networks.bands import BandHead, BandHeadSettings, BandNetwork
from sefl.networks.fourier_blocks import ActivationName, FourierLayers, Norm
from sefl.networks.network import Dimensions
from sefl.tensors.graphs import in_pieces

Mixing = Literal["linear", "magnitude"]

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


@dataclass(frozen=True)
class MixerTrunk:
    """The blocks of a :class:`MixerNetwork`.

    Args:
        width: channels of all blocks.
        depth: number of blocks.
        mixing: ``"linear"``, a triangular matrix over the frequencies along each axis, or ``"magnitude"``, gains from
            the magnitudes of lower frequencies, which commute with circular shifts too.
        bandwidth: frequency ``k`` reads the frequencies ``k - bandwidth .. k``, by default all lower ones.
        groups: groups of channels that mix frequencies with weights of their own; it divides ``width``.
        activation: name of a pointwise function in ``torch.nn.functional``.
        norm: ``"batch"``, ``"instance"`` per band, as published, or ``"none"``; the former two with affine parameters.
        oversampling: grid points of the non-linearities as a multiple of the critical number.
        grid_sharing: neighbouring bands share a grid, of at most so many times the points per axis that the coarsest of
            them needs: faster, the more the finer the images; 1, as published, gives each band its own.
        layer_base_resolution: resolution from which on the layers are equivariant, at most the ``base_resolution``.
    """

    width: int = 32
    depth: int = 2
    mixing: Mixing = "linear"
    bandwidth: int | None = None
    groups: int = 8
    activation: ActivationName = "relu"
    norm: Norm = "instance"
    oversampling: float = 1.0
    grid_sharing: float = GRID_SHARING
    layer_base_resolution: int = 6


class MixerNetwork(BandNetwork):
    """Blocks that mix frequencies and channels in turn, and a head over all bands.

    A 1 x 1 convolution lifts the image to ``width`` channels; ``depth`` blocks (:class:`MixerBlock`), pooling and head
    follow. ``forward`` maps images ``(batch, in_channels, r, r)``, ``base_resolution <= r <= max_resolution``, to
    logits ``(batch, bands, classes)``: one prediction per band from the base up to the one of ``r``, as
    :class:`FourierNetwork`. Band ``b``'s logits depend on frequencies up to ``b`` alone.

    Args:
        trunk: the blocks.
        head: what is made of their features.
        mixes_bands: a head whose layers mix the features of a band with those of all coarser bands
            (:class:`sefl.fourier.BandPerceptron`), instead of one perceptron on every band; it has neither convolutions
            nor weights that grow.
        **common: the arguments of :class:`ScaleNetwork`.

    Raises:
        TypeError, ValueError: as :class:`ScaleNetwork`.
    """

    def __init__(
        self,
        trunk: MixerTrunk = MixerTrunk(),
        head: BandHeadSettings = BandHeadSettings(),
        mixes_bands: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        depth = require_integer("depth", trunk.depth, 1, MOST_LAYERS)
        require_one_of("mixing", trunk.mixing, get_args(Mixing))
        for name, widths in [("widths", head.widths), ("stem", head.stem)]:
            if mixes_bands and widths:
                raise ValueError(
                    f"head.{name} are for a head that does not mix bands, got {list(widths)} with mixes_bands"
                )
        finest, width = self.max_resolution, trunk.width
        layers = FourierLayers.of(self, trunk)
        self.embedding = layers.convolution(self.in_channels, width, 1, bias=True)
        self.blocks = nn.Sequential()
        for _ in range(depth):
            block = MixerBlock(
                _MIXERS[trunk.mixing, self.dimensions](width, finest, trunk.bandwidth, trunk.groups),
                layers.convolution(width, width, 1),
                layers.convolution(width, width, 1, bias=False),
                layers.nonlinearity(width),
            )
            self.blocks.append(block)
        self._add_pooling(head)
        bands = self.band_index(finest) + 1
        self.mixes_bands = mixes_bands
        if mixes_bands:
            features = width * head.cells**self.dimensions
            self.head: nn.Module = BandPerceptron(features, head.hidden, self.classes, bands, head.dropout)
        else:
            channels = width + (head.stem[-1] if head.stem else 0)
            self.head = BandHead(channels, self.classes, bands, head, self.dimensions)

    @in_pieces
    def forward(self, images: Tensor, places: Sequence[int] | None = None) -> Tensor:
        self._check_images(images)
        bands = range(self.band_index(images.shape[-1]) + 1)
        places = bands if places is None else places
        image = to_coefficients(images)
        features = self.blocks(self.embedding(image))
        logits: Tensor
        if self.mixes_bands:
            logits = self.head(self._pooled(image, features, bands))[:, list(places)]
        else:
            logits = self.head(self._pooled(image, features, places), places)
        return logits
