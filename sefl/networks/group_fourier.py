"""A network that is exactly equivariant to scale and to flips and quarter turns, in every layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, get_args

from torch import Tensor, nn

from sefl.arguments import require_one_of
from sefl.fourier import CoefficientModule, to_coefficients
from sefl.fourier.nonlinearity import GRID_SHARING
from sefl.groups import (
    GroupConv,
    LiftingConv,
    OnElements,
    OnFibres,
    RegularField,
    SpectralGroupConv,
    SteerableConv,
    SubgroupDownsample,
    bandlimit,
)
from sefl.groups.bandlimited import BandlimitedField
from sefl.groups.spectral import FieldModule, to_elements
from sefl.networks.bands import BandHead, BandHeadSettings, BandNetwork
from sefl.networks.fourier_blocks import ActivationName, FourierLayers, Norm
from sefl.networks.group_stages import GroupStages, SamplingDesign, acting_group, bandlimited_fields
from sefl.networks.network import block_shapes
from sefl.tensors.graphs import in_pieces
from sefl.tensors.output_types import Coefficients


@dataclass(frozen=True)
class GroupFourierTrunk:
    """The blocks of a :class:`GroupFourierNetwork`.

    Args:
        widths: regular fields of each block, or fields of as many coefficients as its subgroup has elements.
        kernel_size: taps per axis on the finest grid, one number or one per block.
        pools: max-pooling window of each block, 1 for none; by default 1 throughout.
        subgroups: the subgroup of each block by name, such as ``"C4"``, ``None`` to stay; by default all ``None``.
        design: what becomes of fields there. ``"whole_group"``: a block's features are the signals on the group that
            their values on its subgroup determine, and every layer commutes with all of the group. ``"subgroup"``,
            the paper's (ICLR 2025): behind a block they are filtered and restricted to its subgroup, with which alone
            the layers behind commute.
        activation, norm, oversampling, grid_sharing, layer_base_resolution: as of :class:`FourierTrunk`; a norm is
            of fields, ``"batch"`` over the elements of each, too.
    """

    widths: Sequence[int] = (4, 8, 12, 12)
    kernel_size: int | Sequence[int] = 5
    pools: Sequence[int] | None = None
    subgroups: Sequence[str | None] | None = None
    design: SamplingDesign = "whole_group"
    activation: ActivationName = "relu"
    norm: Norm = "batch"
    oversampling: float = 1.0
    grid_sharing: float = GRID_SHARING
    layer_base_resolution: int = 6


class FieldBlock(nn.Sequential, CoefficientModule):
    """Group convolution, then norm, activation and pooling, then, if there is one, the way to a subgroup."""

    @property
    def output_type(self) -> Coefficients:  # type: ignore[override]
        """That of its last layer."""
        last = self[-1]
        assert isinstance(last, FieldModule)
        return last.output_type


class GroupFourierNetwork(BandNetwork):
    """A :class:`FourierNetwork` of fields of a group: exact under downsampling, and under flips and quarter turns.

    Grids of all resolutions share the image's middle. Under the elements of C1, C2, C4, D1, D2 and D4, and every
    integer resolution, all layers are equivariant and the logits invariant to rounding. Under what other elements C8,
    D8 and their like have they are not: bands are squares of frequencies, which these do not leave as they are, and the
    error is that of the band-wise activation, far above interpolation's. It costs what a :class:`FourierNetwork` of as
    many channels does, ``widths`` times the elements of the group.

    Args:
        group: its name, a group of the plane; see :func:`sefl.groups.finite_group`.
        trunk: the blocks.
        head: what is made of their features; its widths and stem count regular fields.
        **common: the arguments of :class:`ScaleNetwork`.

    Raises:
        TypeError, ValueError: as :class:`ScaleNetwork`, :class:`BandHead` and :class:`FourierLayers`; if the group is
            none of the plane, or has no such subgroup.

    >>> import torch
    >>> network = GroupFourierNetwork("D4", GroupFourierTrunk(widths=[1, 2]), max_resolution=12).eval()
    >>> images = torch.rand(2, 1, 12, 12)
    >>> logits = network(images)
    >>> logits.shape, torch.allclose(network(images.rot90(1, (2, 3))), logits, atol=1e-5)
    (torch.Size([2, 3, 10]), True)
    """

    sampling_center = "image"

    def __init__(
        self,
        group: str = "D4",
        trunk: GroupFourierTrunk = GroupFourierTrunk(),
        head: BandHeadSettings = BandHeadSettings(),
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self._require_images()
        acting = acting_group(group)
        if acting.matrices is None or acting.matrices.shape[1:] != (2, 2):
            raise ValueError(f"group must be one of the plane, C_n or D_n, got {group}")
        require_one_of("design", trunk.design, get_args(SamplingDesign))
        layers = FourierLayers.of(self, trunk)
        count = len(trunk.widths)
        pools = [1] * count if trunk.pools is None else trunk.pools
        sizes = trunk.kernel_size if isinstance(trunk.kernel_size, Sequence) else [trunk.kernel_size] * count
        subgroups = [None] * count if trunk.subgroups is None else trunk.subgroups
        shapes = block_shapes(self.in_channels, trunk.widths, pools, kernel_size=sizes, subgroups=subgroups)
        whole: list[BandlimitedField] = []
        if trunk.design == "whole_group" and any(subgroups):
            whole = bandlimited_fields(group, GroupStages(trunk.widths, subgroups=subgroups), None)
        field = RegularField(acting)
        self.blocks = nn.Sequential()
        for place, (inputs, outputs, window) in enumerate(shapes):
            bias, sampling = trunk.norm == "none", None
            convolution: GroupConv | SteerableConv
            if whole:
                source, field = whole[place - 1] if place else whole[0].scalars, whole[place]
                convolution = SteerableConv(
                    (source, inputs), (whole[place], outputs), sizes[place], bias=bias
                )
            else:
                kind = GroupConv if place else LiftingConv
                convolution = kind(field.fibre, inputs, outputs, sizes[place], bias=bias)
                if (below := subgroups[place]) is not None:
                    limit = bandlimit(field.fibre, below)
                    sampling = OnFibres(SubgroupDownsample(limit), field.sampled(limit))
            finest = ceil(self.max_resolution / self.reduction)
            nonlinearity = layers.nonlinearity(outputs, window, self.reduction)
            block = [SpectralGroupConv(convolution, finest, field), OnElements(nonlinearity, field)]
            if sampling is not None:
                block.append(sampling)
                field = sampling.field
            self.blocks.append(FieldBlock(*block))
            self.reduction *= window
        self.field = field
        kept = acting if whole else field.fibre
        self._add_pooling(head, kept)
        fields = shapes[-1][1] + (head.stem[-1] if head.stem else 0)
        bands = self.band_index(self.max_resolution) + 1
        self.head = BandHead(fields, self.classes, bands, head, group=kept)

    @in_pieces
    def forward(self, images: Tensor, places: Sequence[int] | None = None) -> Tensor:
        self._check_images(images)
        places = range(self.band_index(images.shape[-1]) + 1) if places is None else places
        image = to_coefficients(images, self.sampling_center)
        features = to_elements(self.blocks(image), self.field).flatten(3)
        logits: Tensor = self.head(self._pooled(image, features, places), places)
        return logits

    def measured_layers(self) -> list[str]:
        """The layers of each block, and the head."""
        layers = [
            f"blocks.{index}.{name}"
            for index, block in self.blocks.named_children()
            for name, _ in block.named_children()
        ]
        return [*layers, "head"]
