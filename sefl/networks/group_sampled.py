"""Networks of regular features that are subsampled from a group to smaller and smaller subgroups."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor, nn

from sefl.arguments import (
    require_floating,
    require_number,
    require_one_of,
    require_positive,
    require_positives,
)
from sefl.groups.bandlimit import Bandlimit, bandlimit
from sefl.groups.blur import BlurPool
from sefl.groups.canonicalization import Canonicalize
from sefl.groups.convolution import GroupConv, LiftingConv
from sefl.groups.field import FieldFeatures, RegularField
from sefl.groups.group import finite_group
from sefl.groups.normalization import FieldNorm
from sefl.groups.optimized import OptimizedDesign
from sefl.groups.sampling import SubgroupDownsample
from sefl.networks.network import Network

AntiAliasing = Literal["closed_form", "optimized", "none"]
Pooling = Literal["max", "mean"]


@dataclass(frozen=True)
class GroupStages:
    """The stages of a :class:`GroupSampledNetwork`.

    Args:
        widths: regular fields of each stage; a stage on ``H`` has ``|H|`` times as many channels.
        kernel_sizes: taps per axis of each stage, odd; one number for all.
        group_rates: index of the subgroup that each stage goes to, 1 to stay; by default all 1.
        subgroups: the subgroup of each stage by name, such as ``"C4"``, instead of the automatic choice for its rate;
            ``None`` where the rate decides.
        spatial_rates: blur pooling of each stage, 1 for none; by default 2 in the first stage.
        dilation: of the convolutions.
        norm: batch norm per field after each convolution.
    """

    widths: Sequence[int] = (8, 16, 32)
    kernel_sizes: int | Sequence[int] = 5
    group_rates: Sequence[int] | None = None
    subgroups: Sequence[str | None] | None = None
    spatial_rates: Sequence[int] | None = None
    dilation: int = 1
    norm: bool = True

    def of_each(self) -> list[tuple[int, int, int, str | None, int]]:
        """Width, kernel size, group rate, subgroup and spatial rate of each stage.

        Raises:
            ValueError: if there is none, or a list has not one entry for each.
        """
        count = len(self.widths)
        if not count:
            raise ValueError("widths must name the fields of at least one stage, got []")
        sizes = self.kernel_sizes
        lists: dict[str, Sequence[Any]] = {
            "kernel_sizes": sizes if isinstance(sizes, Sequence) else [sizes] * count,
            "group_rates": [1] * count if self.group_rates is None else self.group_rates,
            "subgroups": [None] * count if self.subgroups is None else self.subgroups,
            "spatial_rates": [2] + [1] * (count - 1) if self.spatial_rates is None else self.spatial_rates,
        }
        for name, given in lists.items():
            if len(given) != count:
                raise ValueError(
                    f"{name} must have one entry per stage, {count} as widths, got {list(given)}"
                )
        for name in ("group_rates", "spatial_rates"):
            require_positives(name, lists[name])
        for index, (chosen, rate) in enumerate(zip(lists["subgroups"], lists["group_rates"], strict=True)):
            if chosen is not None and rate > 1:
                raise ValueError(
                    f"subgroups and group_rates both say where stage {index} goes, {chosen!r} and rate {rate}: "
                    "leave the rate at 1 where a subgroup is named"
                )
        return list(zip(require_positives("widths", self.widths), *lists.values(), strict=True))


@dataclass(frozen=True)
class SubgroupSampling:
    """How the features of a :class:`GroupSampledNetwork` go from a group to a subgroup.

    Args:
        anti_aliasing: the filter before subsampling: ``"closed_form"``, ``"optimized"`` (the paper's design) or
            ``"none"``.
        equivariance: whether the filter commutes with the whole ``"group"`` or with the ``"subgroup"`` alone, which
            keeps one frequency more where the subgroup is even.
        canonicalize: move each image's features to the coset of the strongest response before subsampling (Xu et al.
            2021).
    """

    anti_aliasing: AntiAliasing = "closed_form"
    equivariance: Literal["group", "subgroup"] = "group"
    canonicalize: bool = False


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
    to all of ``group``. On a grid that holds for the elements that permute its points: turns by 90 degrees and flips.

    Args:
        group: the group ``G`` to begin with: ``"C8"``, ``"D12"`` (24 elements), ``"O"``, ...: see
            :func:`sefl.groups.finite_group`.
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
        of_each = stages.of_each()
        self.in_channels = require_positive("in_channels", in_channels)
        self.classes = None if classes is None else require_positive("classes", classes)
        require_one_of("anti_aliasing", sampling.anti_aliasing, get_args(AntiAliasing))
        require_one_of("pooling", head.pooling, get_args(Pooling))
        dropout = require_number("dropout", head.dropout, least=0, below=1)
        whole = finite_group(group)
        if whole.matrices is None:
            raise ValueError(f"group {group} does not act on images or volumes: give C_n, D_n, T, O, Oh or I")
        self.symmetry_group = group
        """Under which equivariance is measured by default."""
        self.dimensions = whole.matrices.shape[1]

        field, entering = RegularField(whole), self.in_channels
        self.stages = nn.ModuleList()
        for index, (width, kernel_size, rate, subgroup, spatial_rate) in enumerate(of_each):
            limit = None
            if subgroup or rate != 1:
                limit = bandlimit(
                    field.fibre,
                    subgroup or rate,
                    equivariance=sampling.equivariance,
                    design="optimized" if sampling.anti_aliasing == "optimized" else "closed_form",
                    optimized=optimized or OptimizedDesign(),
                )
            convolution = (GroupConv if index else LiftingConv)(
                field.fibre, entering, width, kernel_size, dilation=stages.dilation, bias=not stages.norm
            )
            layers: list[nn.Module] = [convolution]
            if stages.norm:
                layers.append(FieldNorm(field.fibre, width))
            layers.append(nn.ReLU())
            if spatial_rate > 1:
                layers.append(BlurPool(spatial_rate, self.dimensions))
            features = RegularFeatures(field, layers)
            subsampling = None if limit is None else Subsampling(field, limit, sampling)
            stage = Stage(features, subsampling)
            self.stages.append(stage)
            field, entering = stage.output_type, width
        self.head = InvariantHead(entering, self.classes, head.pooling, dropout)

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


class Stage(nn.Module):
    """Convolution, norm, ReLU and blur on one group, then subsampling to the next, if there is one."""

    def __init__(self, features: "RegularFeatures", sampling: "Subsampling | None" = None) -> None:
        super().__init__()
        self.features = features
        self.sampling = sampling

    def forward(self, features: FieldFeatures) -> FieldFeatures:
        before: FieldFeatures = self.features(features)
        return before if self.sampling is None else self.sampling(before)

    @property
    def output_type(self) -> RegularField:
        """How its output transforms under the network's group."""
        return (self.sampling or self.features).output_type


class RegularFeatures(nn.Sequential):
    """Layers that leave a regular field on its group, and where it was moved: of ``(batch, fields * |H|, ...)``."""

    def __init__(self, field: RegularField, layers: Sequence[nn.Module]) -> None:
        super().__init__(*layers)
        self.output_type = field

    def forward(self, features: FieldFeatures) -> FieldFeatures:
        values, cosets = features
        for layer in self:
            values = layer(values)
        return FieldFeatures(values, cosets)


class Subsampling(nn.Module):
    """From a group to its subgroup, after moving to the coset of the strongest response if ``canonicalize``.

    Maps ``(batch, fields * |G|, ...)`` to ``(batch, fields * |H|, ...)``.
    """

    def __init__(self, field: RegularField, limit: Bandlimit, sampling: SubgroupSampling) -> None:
        super().__init__()
        self.canonicalize = Canonicalize(limit.subgroup) if sampling.canonicalize else None
        self.downsample = SubgroupDownsample(limit, sampling.anti_aliasing != "none")
        self.input_type = field
        self.output_type = field.sampled(limit)

    def forward(self, features: FieldFeatures) -> FieldFeatures:
        values, cosets = features
        if self.canonicalize is not None:
            values, moved = self.canonicalize(values)
            cosets = self.input_type.composed(cosets, moved)
        return FieldFeatures(self.downsample(values), cosets)


class InvariantHead(nn.Module):
    """Pool over group and space, then a linear layer: ``(batch, fields * |H|, ...)`` to ``(batch, classes)``."""

    def __init__(self, fields: int, classes: int | None, pooling: Pooling, dropout: float) -> None:
        super().__init__()
        self.fields = fields
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Identity() if classes is None else nn.Linear(fields, classes)

    def forward(self, features: Tensor) -> Tensor:
        of_fields = features.unflatten(1, (self.fields, -1)).flatten(2)
        pooled = of_fields.amax(-1) if self.pooling == "max" else of_fields.mean(-1)
        outcome: Tensor = self.linear(self.dropout(pooled))
        return outcome
