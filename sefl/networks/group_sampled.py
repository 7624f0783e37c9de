"""Networks of regular features that are subsampled from a group to smaller and smaller subgroups."""

from collections.abc import Sequence
from typing import Literal, get_args

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
from sefl.groups.convolution import GroupConv
from sefl.groups.field import RegularField
from sefl.groups.group import finite_group
from sefl.groups.normalization import FieldNorm
from sefl.groups.optimized import OptimizedDesign
from sefl.groups.sampling import SubgroupDownsample

AntiAliasing = Literal["closed_form", "optimized", "none"]
Pooling = Literal["max", "mean"]


class GroupSampledNetwork(nn.Module):
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
        widths: regular fields of each stage; a stage on ``H`` has ``|H|`` times as many channels.
        kernel_sizes: taps per axis of each stage, odd.
        group_rates: index of the subgroup that each stage goes to, 1 to stay.
        subgroups: the subgroup of each stage by name, such as ``"C4"``, instead of the automatic choice for its rate;
            ``None`` where the rate decides.
        spatial_rates: blur pooling of each stage, 1 for none.
        anti_aliasing: the filter before subsampling: ``"closed_form"``, ``"optimized"`` (the paper's design) or
            ``"none"``.
        equivariance: whether the filter commutes with the whole ``"group"`` or with the ``"subgroup"`` alone, which
            keeps one frequency more where the subgroup is even.
        canonicalize: move each image's features to the coset of the strongest response before subsampling (Xu et al.
            2021).
        optimized: weights and iterations of the optimised filter; by default its own.
        dilation: of the convolutions.
        norm: batch norm per field after each convolution.
        pooling: how the last features are pooled over group and space.
        dropout: dropout of the pooled features.

    Raises:
        TypeError: in ``forward``, if the images are not a floating-point tensor.
        ValueError: if an argument is out of its range, or a group has no subgroup of a rate or name; and in ``forward``
            for images of another number of axes or channels.
    """

    def __init__(
        self,
        group: str,
        in_channels: int,
        classes: int | None,
        widths: Sequence[int],
        kernel_sizes: Sequence[int],
        group_rates: Sequence[int],
        subgroups: Sequence[str | None],
        spatial_rates: Sequence[int],
        anti_aliasing: AntiAliasing = "closed_form",
        equivariance: Literal["group", "subgroup"] = "group",
        canonicalize: bool = False,
        optimized: OptimizedDesign | None = None,
        dilation: int = 1,
        norm: bool = True,
        pooling: Pooling = "max",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = require_positives("widths", widths)
        group_rates = require_positives("group_rates", group_rates)
        spatial_rates = require_positives("spatial_rates", spatial_rates)
        _check_stages(widths, kernel_sizes, group_rates, subgroups, spatial_rates)
        in_channels = require_positive("in_channels", in_channels)
        if classes is not None:
            classes = require_positive("classes", classes)
        require_one_of("anti_aliasing", anti_aliasing, get_args(AntiAliasing))
        require_one_of("pooling", pooling, get_args(Pooling))
        dropout = require_number("dropout", dropout, least=0, below=1)
        whole = finite_group(group)
        if whole.matrices is None:
            raise ValueError(f"group {group} does not act on images or volumes: give C_n, D_n, T, O, Oh or I")
        self.dimensions = whole.matrices.shape[1]
        self.in_channels = in_channels

        field = RegularField(whole)
        stages: list[Stage] = []
        fields = in_channels
        for index, width in enumerate(widths):
            target = subgroups[index] or group_rates[index]
            sampling = None
            if target != 1:
                sampling = bandlimit(
                    field.fibre,
                    target,
                    equivariance=equivariance,
                    design="optimized" if anti_aliasing == "optimized" else "closed_form",
                    optimized=optimized or OptimizedDesign(),
                )
            stage = Stage(
                field,
                fields,
                width,
                kernel_sizes[index],
                lifting=index == 0,
                dilation=dilation,
                norm=norm,
                spatial_rate=spatial_rates[index],
                sampling=sampling,
                anti_aliasing=anti_aliasing != "none",
                canonicalize=canonicalize,
            )
            stages.append(stage)
            field, fields = stage.output_field, width
        self.stages = nn.ModuleList(stages)
        self.head = InvariantHead(widths[-1], classes, pooling, dropout)

    def forward(self, images: Tensor) -> Tensor:
        require_floating("images", images)
        if images.dim() != self.dimensions + 2 or images.shape[1] != self.in_channels:
            axes = "h, w" if self.dimensions == 2 else "d, h, w"
            raise ValueError(
                f"images must be (batch, in_channels={self.in_channels}, {axes}), got shape {tuple(images.shape)}"
            )
        features, cosets = images, None
        for stage in self.stages:
            features, cosets = stage(features, cosets)
        outcome: Tensor = self.head(features)
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
    """Convolution, norm, ReLU and blur on one group, then subsampling to the next.

    Attributes:
        features: the part before subsampling.
        sampling: the subsampling, ``None`` where the group stays.
        output_field: how its output transforms under the network's group.
    """

    def __init__(
        self,
        field: RegularField,
        in_fields: int,
        out_fields: int,
        kernel_size: int,
        lifting: bool,
        dilation: int,
        norm: bool,
        spatial_rate: int,
        sampling: Bandlimit | None,
        anti_aliasing: bool,
        canonicalize: bool,
    ) -> None:
        super().__init__()
        group = field.fibre
        dimensions = group.matrices.shape[1] if group.matrices is not None else 0
        layers: list[nn.Module] = [
            GroupConv(
                group, in_fields, out_fields, kernel_size, lifting=lifting, dilation=dilation, bias=not norm
            )
        ]
        if norm:
            layers.append(FieldNorm(group, out_fields))
        layers.append(nn.ReLU())
        if spatial_rate > 1:
            layers.append(BlurPool(spatial_rate, dimensions))
        self.features = RegularFeatures(field, layers)
        self.sampling = None
        self.output_field = field
        if sampling is not None:
            self.output_field = field.sampled(sampling)
            self.sampling = Subsampling(field, self.output_field, sampling, anti_aliasing, canonicalize)

    def forward(self, features: Tensor, cosets: Tensor | None) -> tuple[Tensor, Tensor | None]:
        self.features.output_cosets = cosets
        features = self.features(features)
        if self.sampling is None:
            return features, cosets
        self.sampling.input_cosets = cosets
        features = self.sampling(features)
        return features, self.sampling.output_cosets


class RegularFeatures(nn.Sequential):
    """Layers whose output is a regular field, and says so to ``callbacks.EquivarianceMonitor``."""

    output_signal = "regular"

    def __init__(self, field: RegularField, layers: Sequence[nn.Module]) -> None:
        super().__init__(*layers)
        self.output_field = field
        self.output_cosets: Tensor | None = None


class Subsampling(nn.Module):
    """From a group to its subgroup, after moving to the coset of the strongest response if ``canonicalize``.

    Maps ``(batch, fields * |G|, ...)`` to ``(batch, fields * |H|, ...)``. ``output_cosets`` ``(batch,)`` holds, after
    ``forward``, the elements of the network's group by which each sample was moved back so far.
    """

    output_signal = "regular"

    def __init__(
        self,
        input_field: RegularField,
        output_field: RegularField,
        sampling: Bandlimit,
        anti_aliasing: bool,
        canonicalize: bool,
    ) -> None:
        super().__init__()
        self.canonicalize = Canonicalize(sampling.subgroup) if canonicalize else None
        self.downsample = SubgroupDownsample(sampling, anti_aliasing)
        self.output_field = output_field
        self.input_field = input_field
        self.input_cosets: Tensor | None = None
        self.output_cosets: Tensor | None = None

    def forward(self, features: Tensor) -> Tensor:
        self.output_cosets = self.input_cosets
        if self.canonicalize is not None:
            features, coset = self.canonicalize(features)
            self.output_cosets = self.input_field.composed(self.input_cosets, coset)
        downsampled: Tensor = self.downsample(features)
        return downsampled


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


def _check_stages(
    widths: Sequence[int],
    kernel_sizes: Sequence[int],
    group_rates: Sequence[int],
    subgroups: Sequence[str | None],
    spatial_rates: Sequence[int],
) -> None:
    if not widths:
        raise ValueError("widths must name the fields of at least one stage, got []")
    lists: dict[str, Sequence[object]] = {
        "kernel_sizes": kernel_sizes,
        "group_rates": group_rates,
        "subgroups": subgroups,
        "spatial_rates": spatial_rates,
    }
    for name, given in lists.items():
        if len(given) != len(widths):
            raise ValueError(f"{name} must have one entry per stage, {len(widths)} as widths, got {given}")
    for index, (chosen, rate) in enumerate(zip(subgroups, group_rates, strict=True)):
        if chosen is not None and rate > 1:
            raise ValueError(
                f"subgroups and group_rates both say where stage {index} goes, {chosen!r} and rate {rate}: "
                "leave the rate at 1 where a subgroup is named"
            )
