"""The stages of a network of features on a group that is sampled: settings, modules, and how they are made."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import nn

from sefl.arguments import require_one_of, require_positives
from sefl.groups.bandlimit import Bandlimit, bandlimit
from sefl.groups.bandlimited import BandlimitedField, circular_field
from sefl.groups.bandlimited_layers import BandlimitedNonlinearity, BandlimitedNorm
from sefl.groups.blur import BlurPool
from sefl.groups.canonicalization import Canonicalize
from sefl.groups.convolution import GroupConv, LiftingConv
from sefl.groups.field import FieldFeatures, RegularField
from sefl.groups.group import FiniteGroup, finite_group
from sefl.groups.normalization import FieldNorm
from sefl.groups.optimized import OptimizedDesign
from sefl.groups.sampling import SubgroupDownsample
from sefl.groups.steerable import SteerableConv
from sefl.groups.subgroup import Subgroup, automatic_subgroup, subgroup, subgroup_of

AntiAliasing = Literal["closed_form", "optimized", "none"]
SamplingDesign = Literal["subgroup", "whole_group"]
CONTINUOUS = {"SO2": "C24", "O2": "D24"}
"""The continuous groups of ``design="whole_group"``, and under which of their elements equivariance is measured."""


@dataclass(frozen=True)
class GroupStages:
    """The stages of a :class:`GroupSampledNetwork`.

    Args:
        widths: regular fields of each stage; a stage on ``H`` has ``|H|`` times as many channels.
        kernel_sizes: taps per axis of each stage, odd; one number for all.
        group_rates: index of the subgroup that each stage goes to, 1 to stay; by default all 1. See also
            :class:`SubgroupSampling`.
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
        design: ``"subgroup"``, the paper's: behind a stage restrict to the subgroup ``H`` and go on with convolutions
            of ``H``; or ``"whole_group"``: the features of a stage are the coefficients of the signals on ``G`` that
            their values on ``H`` determine, and every layer commutes with all of ``G``. This needs the other arguments
            above as they are by default.
        angles: of ``"whole_group"``, equidistant rotations at which signals are taken for the ReLU and the head: for a
            cyclic or dihedral group a multiple of its own, which is the default; for ``"SO2"`` and ``"O2"`` as many as
            hold the band, by default the next multiple of 4 from twice as many.
        band: of ``"SO2"`` and ``"O2"``, the highest angular frequency, in place of subgroups.
    """

    anti_aliasing: AntiAliasing = "closed_form"
    equivariance: Literal["group", "subgroup"] = "group"
    canonicalize: bool = False
    design: SamplingDesign = "subgroup"
    angles: int | None = None
    band: int | None = None


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


class FieldBlurPool(BlurPool):
    """Blur pooling of every channel of a field."""

    def __init__(self, rate: int, field: RegularField) -> None:
        super().__init__(rate, field.matrix(0).shape[0])
        self.output_type = field


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


def subgroup_stages(
    group: str,
    in_channels: int,
    settings: GroupStages,
    sampling: SubgroupSampling,
    optimized: OptimizedDesign | None,
) -> list[Stage]:
    """Regular fields that are restricted to the subgroup of each stage behind it.

    Raises:
        ValueError: if an argument is out of its range or not one of this design.
    """
    require_one_of("anti_aliasing", sampling.anti_aliasing, get_args(AntiAliasing))
    for name in ("angles", "band"):
        if (given := getattr(sampling, name)) is not None:
            raise ValueError(
                f"{name} must be None with design='subgroup', got {given}: give design='whole_group'"
            )
    if group in CONTINUOUS:
        raise ValueError(f"group {group} needs design='whole_group' and a band, got design='subgroup'")
    field, entering = RegularField(acting_group(group)), in_channels
    stages: list[Stage] = []
    for width, kernel_size, rate, below, spatial_rate in settings.of_each():
        limit = None
        if below or rate != 1:
            limit = bandlimit(
                field.fibre,
                below or rate,
                equivariance=sampling.equivariance,
                design="optimized" if sampling.anti_aliasing == "optimized" else "closed_form",
                optimized=optimized or OptimizedDesign(),
            )
        convolution = (GroupConv if stages else LiftingConv)(
            field.fibre, entering, width, kernel_size, dilation=settings.dilation, bias=not settings.norm
        )
        norm = FieldNorm(field.fibre, width) if settings.norm else None
        features = RegularFeatures(field, _layers(field, convolution, norm, nn.ReLU(), spatial_rate))
        stages.append(Stage(features, None if limit is None else Subsampling(field, limit, sampling)))
        field, entering = stages[-1].output_type, width
    return stages


def whole_group_stages(
    group: str, in_channels: int, settings: GroupStages, sampling: SubgroupSampling
) -> list[Stage]:
    """Fields of the signals on ``G`` that values on the subgroup of each stage determine.

    Raises:
        ValueError: if an argument is out of its range or not one of this design.
    """
    for name in ("anti_aliasing", "equivariance", "canonicalize"):
        given, wanted = getattr(sampling, name), getattr(SubgroupSampling, name)
        if given != wanted:
            raise ValueError(
                f"{name} must be {wanted!r} with design='whole_group', whose bandlimit commutes with all of {group}, "
                f"got {given!r}"
            )
    fields = bandlimited_fields(group, settings, sampling.band)
    source = fields[0].scalars, in_channels
    stages = []
    for field, (width, kernel_size, _, _, spatial_rate) in zip(fields, settings.of_each(), strict=True):
        target = field, width
        convolution = SteerableConv(
            source, target, kernel_size, dilation=settings.dilation, bias=not settings.norm
        )
        norm = BandlimitedNorm(*target) if settings.norm else None
        nonlinearity = BandlimitedNonlinearity(field, angles=grid_angles(field, sampling.angles))
        stages.append(
            Stage(RegularFeatures(field, _layers(field, convolution, norm, nonlinearity, spatial_rate)))
        )
        source = target
    return stages


def grid_angles(field: BandlimitedField, angles: int | None) -> int | None:
    """Those of :class:`SubgroupSampling`, or their default; with a multiple of 4 quarter turns are exact."""
    return 4 * math.ceil(field.circle[0] / 2) if angles is None and field.continuous else angles


def acting_group(name: str) -> FiniteGroup:
    """The group of a name.

    Raises:
        ValueError: if there is none, or it does not act on space.
    """
    group = finite_group(name)
    if group.matrices is None:
        raise ValueError(f"group {name} does not act on images or volumes: give C_n, D_n, T, O, Oh or I")
    return group


def bandlimited_fields(group: str, settings: GroupStages, band: int | None) -> list[BandlimitedField]:
    """That of each stage."""
    moves = [(rate, below) for _, _, rate, below, _ in settings.of_each()]
    if group in CONTINUOUS:
        if band is None:
            raise ValueError(f"band must be an integer of at least 0 for group {group}, got None")
        if any(move != (1, None) for move in moves):
            raise ValueError(
                f"group_rates and subgroups must be left out for group {group}, whose features have the one band "
                f"{band}, got rates and subgroups {moves}"
            )
        return [circular_field(band, reflections=group == "O2")] * len(moves)
    whole = acting_group(group)
    if band is not None:
        raise ValueError(
            f"band must be None for group {group}, of which the stages' subgroups say it, got {band}"
        )
    reached = subgroup_of(whole, range(len(whole)))
    fields: list[BandlimitedField] = []
    for rate, below in moves:
        if below or rate != 1:
            reached = _within(reached, below or rate)
        if not fields:
            fields.append(BandlimitedField(bandlimit(whole, reached)))
        elif below or rate != 1:
            fields.append(fields[-1].leading(reached))
        else:
            fields.append(fields[-1])
    return fields


def _within(reached: Subgroup, below: str | int) -> Subgroup:
    """A subgroup of a subgroup, by name or rate, as one of the whole group."""
    inner = reached.group
    chosen = subgroup(inner, below) if isinstance(below, str) else automatic_subgroup(inner, below)
    return subgroup_of(reached.parent, reached.elements[chosen.elements])


def _layers(
    field: RegularField,
    convolution: nn.Module,
    norm: nn.Module | None,
    nonlinearity: nn.Module,
    spatial_rate: int,
) -> list[nn.Module]:
    blur = FieldBlurPool(spatial_rate, field) if spatial_rate > 1 else None
    return [layer for layer in (convolution, norm, nonlinearity, blur) if layer is not None]
