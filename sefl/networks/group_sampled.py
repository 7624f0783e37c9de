"""Networks of regular features that are subsampled from a group to smaller and smaller subgroups."""

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor, nn

from sefl.arguments import require_floating, require_number, require_one_of, require_positive
from sefl.groups.bandlimited import BandlimitedField
from sefl.groups.bandlimited_layers import to_values
from sefl.groups.field import FieldFeatures, RegularField
from sefl.groups.optimized import OptimizedDesign
from sefl.networks.group_stages import (
    CONTINUOUS,
    GroupStages,
    SamplingDesign,
    SubgroupSampling,
    grid_angles,
    subgroup_stages,
    whole_group_stages,
)
from sefl.networks.network import Network

Pooling = Literal["max", "mean"]


@dataclass(frozen=True)
class InvariantHeadSettings:
    """The head of a :class:`GroupSampledNetwork`.

    Args:
        pooling: how the last features are pooled over group and space.
        dropout: dropout of the pooled features.
    """

    pooling: Pooling = "max"
    dropout: float = 0.3


class GroupSampledNetwork(Network):
    """A group-convolutional network with group and spatial subsampling (Rahman & Yeh, ICLR 2025).

    Each stage is a convolution between regular fields, batch norm per field, ReLU, blur pooling and subsampling to a
    subgroup, on which the next stage goes on. At the end the features are pooled over group and space, and classified.
    ``forward`` maps images ``(batch, in_channels, h, w)``, or volumes ``(batch, in_channels, d, h, w)`` for a group
    that acts on space, to logits ``(batch, classes)``, which are invariant to the last subgroup; with ``canonicalize``
    or ``design="whole_group"`` to all of ``group``. On a grid that holds for the elements that permute its points:
    turns by 90 degrees and flips.

    With ``design="whole_group"`` the fields are ``d <= |H|`` coefficients of bandlimited signals on ``G``, convolutions
    are steerable, and the ReLU acts on the values on all of ``G`` (see :class:`sefl.groups.BandlimitedField`). The
    nearest others are escnn's ``FourierPointwise`` networks, whose band the user chooses.

    Args:
        group: the group ``G`` to begin with: ``"C8"``, ``"D12"`` (24 elements), ``"O"``, ...: see
            :func:`sefl.groups.finite_group`; with ``design="whole_group"`` and a band also ``"SO2"`` and ``"O2"``.
        in_channels: channels of the images.
        classes: number of classes; ``None`` returns the pooled features ``(batch, widths[-1])``.
        stages: the fields and subgroup of each stage.
        sampling: how the features go to a subgroup.
        optimized: weights and iterations of the optimised filter; by default its own.
        head: what is made of the last features.

    Raises:
        TypeError: in ``forward``, if the images are not a floating-point tensor.
        ValueError: if an argument is out of its range, or a group has no subgroup of a rate or name; and in ``forward``
            for images of another number of axes or channels.
    """

    def __init__(
        self,
        group: str = "C8",
        in_channels: int = 1,
        classes: int | None = 10,
        stages: GroupStages = GroupStages(),
        sampling: SubgroupSampling = SubgroupSampling(),
        optimized: OptimizedDesign | None = None,
        head: InvariantHeadSettings = InvariantHeadSettings(),
    ) -> None:
        super().__init__()
        self.in_channels = require_positive("in_channels", in_channels)
        self.classes = None if classes is None else require_positive("classes", classes)
        require_one_of("design", sampling.design, get_args(SamplingDesign))
        require_one_of("pooling", head.pooling, get_args(Pooling))
        dropout = require_number("dropout", head.dropout, least=0, below=1)
        if sampling.design == "whole_group":
            made = whole_group_stages(group, self.in_channels, stages, sampling)
        else:
            made = subgroup_stages(group, self.in_channels, stages, sampling, optimized)
        self.stages = nn.ModuleList(made)
        self.symmetry_group = CONTINUOUS.get(group, group)
        """Under which equivariance is measured by default."""
        field: RegularField = made[-1].output_type
        self.dimensions = field.matrix(0).shape[0]
        self.head = InvariantHead(
            int(stages.widths[-1]),
            self.classes,
            head.pooling,
            dropout,
            (field, grid_angles(field, sampling.angles)) if isinstance(field, BandlimitedField) else None,
        )

    def forward(self, images: Tensor) -> Tensor:
        require_floating("images", images)
        if images.dim() != self.dimensions + 2 or images.shape[1] != self.in_channels:
            axes = "h, w" if self.dimensions == 2 else "d, h, w"
            raise ValueError(
                f"images must be (batch, in_channels={self.in_channels}, {axes}), got shape {tuple(images.shape)}"
            )
        features = FieldFeatures(images)
        for stage in self.stages:
            features = stage(features)
        outcome: Tensor = self.head(features.values)
        return outcome

    def measured_layers(self) -> list[str]:
        """The names of each stage's layers before and after its subsampling, and of the head."""
        names: list[str] = []
        for index, stage in enumerate(self.stages):
            names.append(f"stages.{index}.features")
            if stage.sampling is not None:
                names.append(f"stages.{index}.sampling")
        return [*names, "head"]


class InvariantHead(nn.Module):
    """Pool over group and space, then a linear layer: ``(batch, fields * |H|, ...)`` to ``(batch, classes)``.

    Of a field of bandlimited signals, and the angles at which they are taken, the values on ``G`` are pooled.
    """

    def __init__(
        self,
        fields: int,
        classes: int | None,
        pooling: Pooling,
        dropout: float,
        bandlimited: tuple[BandlimitedField, int | None] | None = None,
    ) -> None:
        super().__init__()
        self.fields = fields
        self.bandlimited = bandlimited
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Identity() if classes is None else nn.Linear(fields, classes)

    def forward(self, features: Tensor) -> Tensor:
        if self.bandlimited is not None:
            features = to_values(features, *self.bandlimited)
        of_fields = features.unflatten(1, (self.fields, -1)).flatten(2)
        pooled = of_fields.amax(-1) if self.pooling == "max" else of_fields.mean(-1)
        outcome: Tensor = self.linear(self.dropout(pooled))
        return outcome
