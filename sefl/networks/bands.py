"""What the networks with one prediction per band share: which band is whose, and a head for all of them."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sefl.arguments import require_number, require_positive, require_positives
from sefl.fourier import BandPooling1d, BandPooling2d, GridBatchNorm, band, to_grid
from sefl.fourier.basis import coefficient_count
from sefl.fourier.sampling import Center
from sefl.fourier.shells import Shells
from sefl.groups import FiniteGroup, GroupConv, LiftingConv
from sefl.groups.spatial import moves_pixels, sources_on_cells
from sefl.networks.network import Dimensions, ScaleNetwork, channels_last
from sefl.tensors.constants import constant
from sefl.tensors.graphs import in_pieces
from sefl.tensors.layer_norm import LayerNorm
from sefl.tensors.output_types import Bands

# What a band's log weight grows by is at first, beside ``growth``, softplus of this: 0.05.
INITIAL_GROWTH = -3.0
BAND_POOLINGS: dict[Dimensions, type[BandPooling1d | BandPooling2d]] = {1: BandPooling1d, 2: BandPooling2d}
_GRID_LAYERS: dict[Dimensions, tuple[type[nn.Module], type[nn.Module]]] = {
    1: (nn.Conv1d, nn.MaxPool1d),
    2: (nn.Conv2d, nn.MaxPool2d),
}


class _SharedNorm(nn.Module):
    """Batch norm of the maps of every band, by the statistics of the coarsest one that there is.

    All images have it: as in :class:`sefl.fourier.SpectralBatchNorm`, a band does not depend on how many finer ones a
    training batch has. Of fields they are over the elements of each, which are its channels.
    """

    def __init__(self, fields: int) -> None:
        super().__init__()
        self.fields = fields
        self.norm = GridBatchNorm(fields)

    def forward(self, maps: Tensor, bands: int) -> Tensor:
        fields = maps if maps.shape[1] == self.fields else maps.unflatten(1, (self.fields, -1)).flatten(2, 3)
        normalised: Tensor = self.norm(fields, fields.unflatten(0, (-1, bands))[:, 0])
        return normalised.reshape(maps.shape)


class BandConvolution(nn.Module):
    """Convolution on the map of every band by itself, batch norm, ReLU, and max-pooling by two.

    Shapes: ``(batch, bands, channels, *cells)`` to ``(batch, bands, width, *(cells // 2))``.

    Args:
        channels, width: channels of input and output.
        dimensions: 2 for images, 1 for signals.
        residual: two convolutions in place of one, and a 1 x 1 convolution, where channels change, beside them (He et
            al. 2016).
        group: if given, group convolutions, and ``channels`` and ``width`` count regular fields of it.
        lifting: whether the input is no field but images.
    """

    output_type = Bands()

    def __init__(
        self,
        channels: int,
        width: int,
        dimensions: Dimensions,
        residual: bool = False,
        group: FiniteGroup | None = None,
        lifting: bool = False,
    ) -> None:
        super().__init__()
        layer, pool = _GRID_LAYERS[dimensions]

        def convolution(inputs: int, size: int, lifts: bool = False) -> nn.Module:
            if group is None:
                return layer(inputs, width, size, padding=size // 2, bias=False)
            return (LiftingConv if lifts else GroupConv)(group, inputs, width, size, bias=False)

        self.convolution = convolution(channels, 3, lifting)
        self.norm = _SharedNorm(width)
        self.second: nn.Module | None = None
        if residual:
            self.second = convolution(width, 3)
            self.second_norm = _SharedNorm(width)
            self.shortcut = nn.Identity() if channels == width else convolution(channels, 1)
        self.pool = pool(2)

    def forward(self, maps: Tensor) -> Tensor:
        batch, bands = maps.shape[:2]
        flat = channels_last(maps.flatten(0, 1))
        outcome = self.norm(self.convolution(flat), bands)
        if self.second is not None:
            outcome = self.second_norm(self.second(outcome.relu()), bands) + self.shortcut(flat)
        pooled: Tensor = self.pool(outcome).relu().unflatten(0, (batch, bands))
        return pooled


@dataclass(frozen=True)
class BandHeadSettings:
    """The head of a network with one prediction per band, see :class:`BandHead`.

    Args:
        cells: cells per axis that the head pools features to.
        pool: ``"max"`` or ``"mean"`` over each cell.
        widths: output channels of convolutions in front, on the cells of every band by itself, each with batch norm,
            ReLU and max-pooling by two; published: none.
        residual: blocks of two convolutions with a shortcut in place of each of these.
        average: the mean over the cells that are left goes on, in place of all of them.
        stem: output channels of ordinary convolutions, as those of ``widths``, on each band's image itself: on a grid
            that they pool to ``cells``, where their outcome stands beside the features; published: none.
        hidden: hidden units, per band.
        dropout: dropout of the hidden units.
        growth: least growth, from a band to the next, of the log of what the logits are multiplied by: the more it is,
            the more surely the loss falls with resolution; ``None``, as published, lets the factors fall.
    """

    cells: int = 2
    pool: Literal["max", "mean"] = "max"
    widths: Sequence[int] = ()
    residual: bool = False
    average: bool = False
    stem: Sequence[int] = ()
    hidden: int = 256
    dropout: float = 0.5
    growth: float | None = 0.1


class BandStem(nn.Module):
    """Ordinary convolutions on the image of every band, sampled on one fixed grid.

    What no exact layer may do, turn fine texture into coarse features (NeurIPS 2023, claim 1), it does, for each band
    by itself and from nothing finer.

    Shapes: coefficients ``(K, K, batch, channels)``, on one axis ``(K, batch, channels)``, and the places of bands in
    ``image_bands``, to ``(batch, places, widths[-1], *cells)``.

    Args:
        channels: channels of the images.
        image_bands: of each prediction the band of the image that it sees.
        settings: cells and widths.
        dimensions: 2 for images, 1 for signals.
        center: where the grid lies, see :func:`sefl.fourier.to_coefficients`.
        group: as of :class:`BandConvolution`; ``widths`` count fields.

    Raises:
        ValueError: if a width is not positive, or the grid does not hold the finest band.
    """

    output_type = Bands()

    def __init__(
        self,
        channels: int,
        image_bands: Sequence[int],
        settings: BandHeadSettings,
        dimensions: Dimensions,
        center: Center = "pixel",
        group: FiniteGroup | None = None,
    ) -> None:
        super().__init__()
        widths = require_positives("head.stem", settings.stem)
        self.image_bands, self.shells, self.center = image_bands, Shells(dimensions), center
        self.points = require_positive("head.cells", settings.cells) << len(widths)
        needed = coefficient_count(image_bands[-1])
        if self.points < needed:
            raise ValueError(
                f"head.stem of {len(widths)} convolutions must pool a grid that holds the images' {needed} pixels to "
                f"head.cells, got {settings.cells} cells of {self.points} pixels; more cells or more widths would do"
            )
        self.blocks = nn.Sequential()
        for width in widths:
            lifting = not self.blocks
            self.blocks.append(BandConvolution(channels, width, dimensions, group=group, lifting=lifting))
            channels = width

    @in_pieces
    def forward(self, coefficients: Tensor, places: Sequence[int]) -> Tensor:
        counts = [coefficient_count(self.image_bands[place]) for place in places]
        images = [to_grid(coefficients[self.shells.whole(c)], self.points, self.center) for c in counts]
        maps: Tensor = self.blocks(torch.stack(images, 1))
        return maps


class BandHead(nn.Module):
    """One network on the pooled features of every band: ``(batch, bands, channels * cells^dimensions)`` to logits.

    Layer norm, linear, dropout, layer norm, ReLU, linear, as published; shared by the bands, but for one learned
    weight per band.

    With ``growth`` the log weight grows by at least so much from a band to the next: each finer look at an image is
    more certain than the last, and its loss falls with resolution by construction wherever the bands agree and are
    right; what is predicted does not depend on it.

    With ``widths`` there are convolutions in front (:class:`BandConvolution`), on the cells of every band by itself.
    No layer before the head can move what a high frequency says to a low one (NeurIPS 2023, claim 1); here the details
    that a band adds become features in their places. Nothing of a finer band enters in any of it.

    With a ``group``, features are regular fields of it, convolutions are group convolutions, and the hidden units see
    what is left of the map as each element moves it, of which the maximum goes on: logits are invariant.

    Args:
        channels: channels of the features, or regular fields of ``group``.
        classes: number of classes.
        bands: number of bands.
        settings: the features' cells, and what is made of them.
        dimensions: 2 for images, 1 for signals.
        group: under which the logits are invariant, if any.

    Raises:
        ValueError: if ``growth`` is negative or not finite, ``dropout`` not in [0, 1), a width not positive, or there
            are fewer cells than convolutions pool, or, with a group, other than pooling keeps symmetric.
    """

    output_type = Bands()

    def __init__(
        self,
        channels: int,
        classes: int,
        bands: int,
        settings: BandHeadSettings,
        dimensions: Dimensions = 2,
        group: FiniteGroup | None = None,
    ) -> None:
        super().__init__()
        self.group, elements = group, 1 if group is None else len(group)
        self.growth = settings.growth
        if settings.growth is not None:
            self.growth = require_number("head.growth", settings.growth, least=0)
        widths = require_positives("head.widths", settings.widths)
        cells = require_positive("head.cells", settings.cells)
        hidden = require_positive("head.hidden", settings.hidden)
        if cells >> len(widths) < 1:
            raise ValueError(
                f"head.cells must be at least {2 ** len(widths)} for {len(widths)} head.widths, got {cells}"
            )
        if group is not None and cells % 2 ** len(widths):
            raise ValueError(
                f"head.cells must be a multiple of {2 ** len(widths)} for {len(widths)} head.widths of {group.name}, "
                f"got {cells}"
            )
        self.map_shape = (channels * elements, *[cells] * dimensions)
        self.average = settings.average
        self.blocks = nn.Sequential()
        for width in widths:
            self.blocks.append(BandConvolution(channels, width, dimensions, settings.residual, group))
            channels, cells = width, cells // 2
        self.cells = 1 if self.average else cells
        features = channels * elements * self.cells**dimensions
        if (
            group is not None
            and self.cells > 1
            and (group.matrices is None or not moves_pixels(group.matrices))
        ):
            raise ValueError(
                f"head.cells must come to one for {group.name}, whose elements move cells to no others: make them "
                f"{2 ** len(widths)} or give head.average, got {settings.cells}"
            )
        self.perceptron = nn.Sequential(
            LayerNorm(features),
            nn.Linear(features, hidden),
            nn.Dropout(require_number("head.dropout", settings.dropout, least=0, below=1)),
            LayerNorm(hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )
        self.log_weight = nn.Parameter(torch.zeros(bands, 1))

    def reset_parameters(self) -> None:
        """The weights of the bands alone; each of the layers has its own."""
        nn.init.zeros_(self.log_weight)

    def weights(self) -> Tensor:
        """What the perceptron's logits are multiplied by: ``(bands, 1)``, positive."""
        if self.growth is None:
            return self.log_weight.exp()
        growth = self.growth + F.softplus(self.log_weight[1:] + INITIAL_GROWTH)
        grown = torch.cat([torch.zeros_like(self.log_weight[:1]), growth]).cumsum(0)
        # About their mean: many bands would else begin with logits too certain to learn from.
        return (self.log_weight[:1] + grown - grown.mean()).exp()

    @in_pieces
    def forward(self, features: Tensor, places: Sequence[int] | None = None) -> Tensor:
        """Logits ``(batch, bands, classes)`` of the bands at ``places``, by default the coarsest ones."""
        if self.blocks or self.average:
            maps = self.blocks(features.unflatten(2, self.map_shape)).flatten(3)
            features = maps.mean(3) if self.average else maps.flatten(2)
        places = range(features.shape[1]) if places is None else places
        if self.group is None:
            logits = self.perceptron(features)
        else:
            size = features.shape[2] // (len(self.group) * self.cells**2), self.cells
            views = constant(sources_on_cells, self.group, *size, dtype=torch.int64, device=features.device)
            logits = self.perceptron[-1](self.perceptron[:-1](features[..., views]).amax(2))
        weighted: Tensor = logits * self.weights()[list(places)]
        return weighted


class BandNetwork(ScaleNetwork):
    """Base of the networks that predict for every band at once, so that one pass holds every coarser resolution.

    ``forward`` maps images ``(batch, in_channels, r, r)`` to logits ``(batch, bands, classes)``, from the band of
    ``base_resolution`` up to that of ``r``, or of the bands at the ``places`` among these that it is asked for: the
    head, which is not shared by bands, then does no other work. A subclass whose layers pool says by how much
    (``reduction``), and one that approximates (``exact_predictions``) predicts for each resolution in a pass of its
    own.
    """

    blocks: nn.Sequential
    reduction = 1
    exact_predictions = True

    @abstractmethod
    def forward(self, images: Tensor, places: Sequence[int] | None = None) -> Tensor:
        """Logits ``(batch, bands, classes)`` of images ``(batch, in_channels, r, r)``."""

    def predict(self, images: Tensor) -> Tensor:
        logits: Tensor = self(images, [self.band_index(images.shape[-1])])
        return logits[:, -1]

    def predict_all_resolutions(
        self,
        images: Tensor,
        resolutions: Sequence[int] | None = None,
        progress: Callable[[Sequence[int]], Iterator[int]] = iter,
    ) -> Tensor:
        if not self.exact_predictions:  # the bands of a fine image are not quite those of a coarser one
            return super().predict_all_resolutions(images, resolutions, progress)
        indices = [self.band_index(r) for r in self._resolutions(images, resolutions)]
        places = sorted(set(indices))
        logits: Tensor = self(images, places)[:, [places.index(index) for index in indices]]
        return logits

    def band_index(self, resolution: int) -> int:
        """Which entry of ``forward``'s bands is the prediction at this resolution."""
        return self._head_band(resolution) - self._head_band(self.base_resolution)

    def measured_layers(self) -> list[str]:
        of_images = [name for name in ("projection", "stem") if getattr(self, name, None) is not None]
        return [*of_images, *(f"blocks.{index}" for index in range(len(self.blocks))), "head"]

    def _head_band(self, resolution: int) -> int:
        """The band of what the blocks make of an image."""
        return band(ceil(resolution / self.reduction))

    def _add_pooling(self, settings: BandHeadSettings, group: FiniteGroup | None = None) -> None:
        """Features of the head's cells, of every band, and what the stem makes of the band's image beside them."""
        base, finest = (ceil(r / self.reduction) for r in (self.base_resolution, self.max_resolution))
        center = self.sampling_center
        self.pooling = BAND_POOLINGS[self.dimensions](
            base, finest, settings.cells, pool=settings.pool, center=center
        )
        self.stem: BandStem | None = None
        if settings.stem:
            bands = range(self._head_band(self.base_resolution), self._head_band(self.max_resolution) + 1)
            image_bands = [self.reduction * b for b in bands]
            self.stem = BandStem(self.in_channels, image_bands, settings, self.dimensions, center, group)

    @in_pieces
    def _pooled(self, image: Tensor, features: Tensor | None, places: Sequence[int]) -> Tensor:
        """What the head sees of bands: ``(batch, bands, channels * cells^dimensions)``."""
        parts = [] if features is None else [self.pooling(features, places)]
        if self.stem is not None:
            parts.append(self.stem(image, places).flatten(2))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 2)
