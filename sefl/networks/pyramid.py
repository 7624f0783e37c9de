"""Any network on every level of an image's ideal pyramid: scale-equivariant predictions of ordinary convolutions."""

from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor, nn

from sefl.arguments import require_integer, require_number, require_one_of, require_positives
from sefl.fourier import downsample, upsample
from sefl.fourier.basis import coefficient_count
from sefl.fourier.sampling import Center
from sefl.networks.bands import BandNetwork
from sefl.networks.network import stored_as_config
from sefl.networks.single_prediction import SinglePredictionNetwork
from sefl.tensors.graphs import in_pieces
from sefl.tensors.output_types import Bands


class LevelMean(nn.Module):
    """The mean of the logits of every level of a band.

    Shapes: ``(batch, copies, classes)`` to ``(batch, places, classes)``.

    Args:
        bands: number of bands.
        growth: growth, from a band to the next, of the log of what the means are multiplied by in evaluation, 1 at the
            middle band: the more it is, the more surely the loss falls with resolution; what is predicted does not
            depend on it. In training the network would only learn to undo it.
    """

    output_type = Bands()

    def __init__(self, bands: int, growth: float) -> None:
        super().__init__()
        self.growth, self.middle = require_number("growth", growth, least=0), (bands - 1) / 2

    def forward(self, logits: Tensor, read: Tensor, places: Sequence[int]) -> Tensor:
        """Means at the bands ``places`` of the logits of the copies that each reads: ``(places, copies)``, boolean."""
        rows = read.to(torch.promote_types(logits.dtype, torch.float32))
        rows = rows / rows.sum(1, keepdim=True)
        if not self.training:
            rows = rows * (self.growth * (torch.tensor(places)[:, None] - self.middle)).exp()
        # No matrix product: autocast would round it.
        return (rows.to(logits.device)[:, :, None] * logits[:, None]).sum(2)


class PyramidNetwork(
    BandNetwork, coders={SinglePredictionNetwork: stored_as_config(SinglePredictionNetwork)}
):
    """The mean of what one network predicts for the ideally downsampled copies of its images, from coarse to fine.

    Each band ``b`` of the images is a level: the copy of ``2 b + 1`` pixels that holds frequencies up to ``b`` and
    nothing finer. A band's prediction is the mean over its own level and coarser ones, so it is that of the image
    downsampled to it, whatever the network does: claim 1 of NeurIPS 2023 binds layers that see all bands at once, and
    here none does. Each finer look at an image adds to what the coarser ones saw.

    With ``upsampled`` a band has all levels: those that are finer than it are its ideally upsampled image. That is a
    function of the band as well, and the network sees an object at several sizes however coarse its image is.

    In training, a prediction is of one level alone, the band's own, with ``upsampled`` a random one: with
    ``models.ScaleClassifier(trained_bands: own)`` a step costs what the network's own does. Evaluation takes a pass of
    the network for each level, with ``upsampled`` one for each level and band that is coarser.

    Args:
        network: what sees each level.
        levels: resolutions of the levels, from the base resolution on; by default one for each band. Of more levels the
            mean is better, of fewer faster; a resolution that the network was not trained at is better none. With
            ``upsampled`` the coarsest need not be among them, few are enough, and they may be above
            ``max_resolution`` if the network takes such images (not with ``resize``, nor
            :class:`FourierCNN` and :class:`PerResolutionNetwork`).
        upsampled: whether levels that are finer than a band are its upsampled image, in place of left out.
        finest: resolution of the finest band that is read, by default ``max_resolution``: what a network was never
            trained on it had better not see.
        growth: growth of the logits with the bands, see :class:`LevelMean`.
        center: what the levels' grids share, see :func:`sefl.fourier.downsample`. With ``"image"`` predictions are also
            invariant to the flips and quarter turns to which the network's are (:class:`GroupScaleNetwork`).

    Raises:
        ValueError: if an argument is out of its range; in ``forward`` as :class:`ScaleNetwork`.

    >>> from sefl.networks import ConvNetwork
    >>> network = PyramidNetwork(ConvNetwork()).eval()
    >>> network(torch.rand(2, 1, 12, 12)).shape, network(torch.rand(2, 1, 8, 8)).shape
    (torch.Size([2, 3, 10]), torch.Size([2, 1, 10]))
    """

    def __init__(
        self,
        network: SinglePredictionNetwork,
        levels: Sequence[int] | None = None,
        upsampled: bool = False,
        finest: int | None = None,
        growth: float = 0.0,
        center: Center = "pixel",
    ) -> None:
        super().__init__(
            network.in_channels,
            network.classes,
            network.base_resolution,
            network.max_resolution,
            network.dimensions,
        )
        self.network = network
        require_one_of("center", center, get_args(Center))
        self.sampling_center = center
        coarsest, largest = network.base_resolution, network.max_resolution
        if finest is not None:
            require_integer("finest", finest, coarsest, largest)
        levels = range(coarsest, largest + 1) if levels is None else require_positives("levels", levels)
        bounded = not (upsampled and network.takes_finer)
        if (
            not levels
            or (min(levels) < coarsest if upsampled else min(levels) != coarsest)
            or (bounded and max(levels) > largest)
        ):
            raise ValueError(
                f"levels must be resolutions from base_resolution {coarsest} on{'' if upsampled else ', with it,'}"
                f"{f' to max_resolution {largest}' if bounded else ''}, got {levels}"
            )
        self.upsampled, self.finest = upsampled, self.band_index(finest or largest)
        self.levels = sorted(set(map(self.band_index, levels)))
        self.head = LevelMean(self.band_index(largest) + 1, growth)

    @in_pieces
    def forward(self, images: Tensor, places: Sequence[int] | None = None) -> Tensor:
        self._check_images(images)
        places = range(self.band_index(images.shape[-1]) + 1) if places is None else places
        copies = [self._copies(place) for place in places]
        every = sorted(set().union(*copies))
        logits = torch.stack([self.network.classify(self.level(images, *copy)) for copy in every], 1)
        read = torch.tensor([[copy in own for copy in every] for own in copies])
        means: Tensor = self.head(logits, read, places)
        return means

    def _copies(self, place: int) -> list[tuple[int, int]]:
        """What a band reads: each level, and the band of its image."""
        place = min(place, self.finest)
        levels = [level for level in self.levels if self.upsampled or level <= place]
        if self.training:
            levels = [levels[int(torch.randint(len(levels), ())) if self.upsampled else -1]]
        return [(level, min(level, place)) for level in levels]

    def level(self, images: Tensor, index: int, band: int | None = None) -> Tensor:
        """The images at their ``index``-th band ``b``, with nothing finer than the ``band``-th.

        To ``(batch, channels, 2 b + 1, 2 b + 1)``.
        """
        size = self._size(index)
        held = size if band is None else min(size, self._size(band))
        if held % 2 == 0 or held < images.shape[-1]:
            images = downsample(images, held, self.sampling_center)
        return upsample(images, size, self.sampling_center) if held < size else images

    def _size(self, index: int) -> int:
        coarsest = self.base_resolution
        return max(coefficient_count(index + self._head_band(coarsest)), coarsest)

    def measured_layers(self) -> list[str]:
        return ["head"]
