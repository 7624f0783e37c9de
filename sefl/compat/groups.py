"""Group subsampling under the names of the authors' repository (ICLR 2025).

Of https://github.com/ashiq24/Group_Sampling the layer ``SubgroupDownsample`` and the function ``get_model`` with their
arguments in their order, around :class:`sefl.groups.SubgroupDownsample` and :class:`sefl.networks.GroupSampledNetwork`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sefl.arguments import require_positive
from sefl.groups import (
    Bandlimit,
    Canonicalize,
    FiniteGroup,
    OptimizedDesign,
    Subgroup,
    bandlimit,
    cyclic,
    dihedral,
    full_octahedral,
    octahedral,
    subgroup,
    subgroup_of,
    uniform_subgroup,
)
from sefl.groups import SubgroupDownsample as Downsample
from sefl.networks import GroupSampledNetwork, GroupStages, InvariantHeadSettings, SubgroupSampling

# Arguments of theirs for the numerics of an optimisation that the closed form does not need, nor the optimised
# design: it is always a projector.
_WITHOUT_EFFECT = ("equi_correction", "threshold", "device", "dtype", "apply_antialiasing")
__all__ = ["SubgroupDownsample", "get_model"]

_QUARTER_TURN = ((0, -1, 0), (1, 0, 0), (0, 0, 1))  # about z


class SubgroupDownsample(nn.Module):
    """:class:`sefl.groups.SubgroupDownsample` for the authors' layer of that name.

    Differences from theirs:

    * The filter is the closed form, exact and made in milliseconds, unless ``anti_aliasing_kwargs`` have ``mode:
      linear_optim``.
    * The inverse transform is not applied transposed, so that the output is a regular field of the subgroup.
    * Canonicalisation is :class:`sefl.groups.Canonicalize`, for every pair of groups, and goes by the largest of all
      features; theirs looks at the first feature alone.
    * The subgroup of an octahedral group of type ``"cycle"`` comes in cyclic order.

    Args:
        group_type: ``"cycle"`` (or ``"cyclic"``), ``"dihedral"``, ``"octahedral"`` or ``"full_octahedral"``.
        order: rotations of a cyclic or dihedral group: the dihedral group of order 12 has 24 elements.
        sub_group_type: the same type, by default; or ``"cycle"`` of a dihedral group, with an even factor, of an
            octahedral one with factor 6 or of a full octahedral one with factor 12 (the quarter turns about z); or
            ``"octahedral"`` of a full octahedral one with factor 2.
        subsampling_factor: elements of the group over those of the subgroup.
        num_features: regular fields of the input.
        generator: ``"r-s"``, or ``"r"`` of a cyclic group. Their ``"s-sr"`` cannot be subsampled.
        device, dtype: without effect: constants are where the features are, in their precision.
        sample_type: ``"sample"``. Their ``"pool"`` takes the maximum over neighbouring channels, which does not
            commute with the group.
        apply_antialiasing: whether to filter first.
        anti_aliasing_kwargs: of the filter.

            * ``mode``: ``"linear_optim"`` for :class:`sefl.groups.OptimizedDesign`; ``"analytical"``, or nothing, for
              the closed form, which none of the following change.
            * ``smoothness_loss_weight``, ``iterations``, ``smooth_operator`` (``"laplacian"``,
              ``"normalized_laplacian"``, ``"adjacency"``): those of the design.
            * ``equi_constraint``: if false, the design's penalty on what does not commute is left out.
            * ``equi_correction``, ``threshold``, ``device``, ``dtype``, ``apply_antialiasing``: without effect.

        cannonicalize: whether to move each sample to the coset of its strongest response first.

    Shapes: ``(batch, num_features * |G|, *space)`` to ``((batch, num_features * |H|, *space), element)``, where
    ``element`` holds the ``(batch,)`` elements of ``G`` by which samples were moved back, ``None`` without
    ``cannonicalize``. One signal ``(|G|,)`` becomes ``(|H|,)``.

    Raises:
        ValueError: if an argument has none of these values, or the group no such subgroup; in ``forward`` for input of
            another shape.

    >>> layer = SubgroupDownsample("dihedral", 12, "dihedral", 2, num_features=10, apply_antialiasing=True)
    >>> out, element = layer(torch.rand(4, 10 * 24, 32, 32))
    >>> out.shape
    torch.Size([4, 120, 32, 32])
    """

    def __init__(
        self,
        group_type: str,
        order: int | None = None,
        sub_group_type: str | None = None,
        subsampling_factor: int = 1,
        num_features: int = 1,
        generator: str = "r-s",
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        sample_type: str = "sample",
        apply_antialiasing: bool = False,
        anti_aliasing_kwargs: Mapping[str, Any] | None = None,
        cannonicalize: bool = False,
    ) -> None:
        super().__init__()
        if sample_type != "sample":
            raise ValueError(f"sample_type must be 'sample', got {sample_type!r}: 'pool' is not equivariant")
        if generator not in ("r-s", "r"):
            raise ValueError(f"generator must be 'r-s', or 'r' of a cyclic group, got {generator!r}")
        sub_group_type = sub_group_type or group_type
        chosen = chosen_subgroup(group_type, order, sub_group_type, subsampling_factor)
        self.num_features = require_positive("num_features", num_features)
        # What they call the order: of a dihedral group its rotations, of another its elements.
        self.sub_order = len(chosen.group) // (2 if sub_group_type == "dihedral" else 1)
        limit = designed_bandlimit(chosen, anti_aliasing_kwargs)
        self.cannonicalize = Canonicalize(chosen) if cannonicalize else None
        self.downsample = Downsample(limit, anti_aliasing=apply_antialiasing)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The features on the subgroup, and by which elements samples were moved back."""
        if x.dim() == 1:
            y, element = self(x[None])
            return y[0], element
        channels = self.num_features * len(self.downsample.group)
        if x.dim() > 2 and x.shape[1] != channels:
            raise ValueError(
                f"x must have num_features * |G| = {channels} channels, got shape {tuple(x.shape)}"
            )
        element = None
        if self.cannonicalize is not None:
            x, element = self.cannonicalize(x)
        return self.downsample(x), element

    def upsample(self, x: Tensor) -> Tensor:
        """Features on the group from those on the subgroup, ``(batch, num_features * |H|, *space)`` or ``(|H|,)``."""
        return self.upsample(x[None])[0] if x.dim() == 1 else self.downsample.upsample(x)


def chosen_subgroup(group_type: str, order: int | None, sub_group_type: str, factor: int) -> Subgroup:
    """The subgroup that the authors' arguments name, see :class:`SubgroupDownsample`.

    Raises:
        ValueError: if there is none.
    """
    kind, below = _kind(group_type), _kind(sub_group_type)
    factor = require_positive("subsampling_factor", factor)
    group = _group(kind, order)
    if factor == 1 and kind == below:
        return subgroup_of(group, range(len(group)))
    if kind == below and kind in ("cycle", "dihedral"):
        return uniform_subgroup(group, "r", factor)
    if (kind, below) == ("dihedral", "cycle"):
        rotations = len(group) // 2
        if factor % 2 == 0 and rotations % (factor // 2) == 0:
            return subgroup(group, (None, rotations // (factor // 2)))
    if (kind, below, factor) in (("octahedral", "cycle", 6), ("full_octahedral", "cycle", 12)):
        turn = group.element_of_matrix(_QUARTER_TURN)
        assert turn is not None
        return subgroup_of(group, group.generated_by([turn]))
    if (kind, below, factor) == ("full_octahedral", "octahedral", 2):
        return subgroup(group, "O")
    raise ValueError(
        f"subsampling {group_type} (order {order}) to {sub_group_type} by {factor} is not supported: give cycle to "
        "cycle or dihedral to dihedral by a factor of the order, dihedral to cycle by twice such a factor, "
        "octahedral to cycle by 6, full_octahedral to cycle by 12 or to octahedral by 2"
    )


def get_model(
    input_channel: int,
    num_channels: Sequence[int] | None = None,
    num_layers: int = 2,
    kernel_sizes: Sequence[int] | None = None,
    num_classes: int = 10,
    dwn_group_types: Sequence[Sequence[str]] | None = None,
    init_group_order: int = 12,
    spatial_subsampling_factors: Sequence[int] | None = None,
    subsampling_factors: Sequence[int] | None = None,
    domain: int = 2,
    pooling_type: Literal["max", "mean"] = "max",
    apply_antialiasing: bool = True,
    dropout_rate: float = 0.0,
    layer_kwargs: Mapping[str, Any] | None = None,
    antialiasing_kwargs: Mapping[str, Any] | None = None,
    fully_convolutional: bool = False,
) -> GroupSampledNetwork:
    """:class:`sefl.networks.GroupSampledNetwork` for the authors' function of that name.

    It maps images ``(batch, input_channel, h, w)`` to ``(batch, num_classes)``. Differences from theirs:

    * The filter is as in :class:`SubgroupDownsample`.
    * Convolutions keep the size of their input, whatever the dilation, and blur pooling has a centred grid, so that the
      network is invariant to the quarter turns and flips of the last subgroup; theirs is not.
    * Dropout is of the pooled features alone, not after every stage.

    Args:
        input_channel: channels of the images.
        num_channels: regular fields of each layer, by default 32.
        num_layers: how many layers.
        kernel_sizes: by default 7.
        num_classes: classes of the logits.
        dwn_group_types: the type of the group and of the subgroup of each layer, ``"cycle"`` (or ``"cyclic"``) or
            ``"dihedral"``; by default dihedral.
        init_group_order: rotations of the first group.
        spatial_subsampling_factors: blur pooling of each layer, by default 1.
        subsampling_factors: elements of the group over those of the subgroup of each layer, by default 1.
        domain: 2; for volumes take :class:`sefl.networks.GroupSampledNetwork` on ``"O"``.
        pooling_type: how the last features are pooled over group and space.
        apply_antialiasing: whether to filter before subsampling the group.
        dropout_rate: dropout of the pooled features.
        layer_kwargs: ``dilation`` of the convolutions, by default 2.
        antialiasing_kwargs: as ``anti_aliasing_kwargs`` of :class:`SubgroupDownsample`.
        fully_convolutional: return the pooled features ``(batch, num_channels[-1])`` instead of logits.

    Raises:
        ValueError: if an argument is out of its range, a list has not ``num_layers`` entries, a group type does not go
            on where the layer before ended, or a group has no such subgroup.

    >>> model = get_model(3, [4, 6], dwn_group_types=[["dihedral", "cycle"], ["cycle", "cycle"]],
    ...                   init_group_order=4, subsampling_factors=[2, 2])
    >>> model(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    if domain != 2:
        raise ValueError(
            f"domain must be 2, got {domain}; for volumes take sefl.networks.GroupSampledNetwork on group 'O'"
        )
    unknown = sorted(set(layer_kwargs or {}) - {"dilation"})
    if unknown:
        raise ValueError(f"layer_kwargs: {', '.join(unknown)} not supported, give dilation")
    num_layers = require_positive("num_layers", num_layers)
    types = [["dihedral", "dihedral"]] * num_layers if dwn_group_types is None else dwn_group_types
    factors = [1] * num_layers if subsampling_factors is None else subsampling_factors
    for name, given in (("dwn_group_types", types), ("subsampling_factors", factors)):
        if len(given) != num_layers:
            raise ValueError(f"{name} must have one entry per layer, {num_layers}, got {given}")
    design, optimized = design_of(antialiasing_kwargs)
    wanted: Literal["closed_form", "optimized", "none"] = "optimized" if optimized else "closed_form"
    return GroupSampledNetwork(
        _group(_kind(types[0][0]), init_group_order).name,
        input_channel,
        None if fully_convolutional else num_classes,
        GroupStages(
            widths=[32] * num_layers if num_channels is None else num_channels,
            kernel_sizes=[7] * num_layers if kernel_sizes is None else kernel_sizes,
            subgroups=_subgroup_names(types, init_group_order, factors),
            spatial_rates=spatial_subsampling_factors or [1] * num_layers,
            dilation=(layer_kwargs or {}).get("dilation", 2 if layer_kwargs is None else 1),
            norm=False,
        ),
        SubgroupSampling(wanted if apply_antialiasing else "none"),
        design,
        InvariantHeadSettings(pooling_type, dropout_rate),
    )


def designed_bandlimit(below: Subgroup, anti_aliasing_kwargs: Mapping[str, Any] | None) -> Bandlimit:
    """The bandlimit that the authors' ``anti_aliasing_kwargs`` ask for, see :class:`SubgroupDownsample`.

    Raises:
        ValueError: if one has another name or value.
    """
    design, optimized = design_of(anti_aliasing_kwargs)
    if optimized:
        return bandlimit(below.parent, below, design="optimized", optimized=design)
    return bandlimit(below.parent, below)


def design_of(anti_aliasing_kwargs: Mapping[str, Any] | None) -> tuple[OptimizedDesign, bool]:
    """The optimised design that the authors' ``anti_aliasing_kwargs`` describe, and whether it is to be used.

    Raises:
        ValueError: if one has another name or value.
    """
    given = {key: value for key, value in (anti_aliasing_kwargs or {}).items() if key not in _WITHOUT_EFFECT}
    mode = given.pop("mode", "analytical")
    if mode not in ("analytical", "linear_optim"):
        raise ValueError(
            f"anti_aliasing_kwargs: mode must be 'analytical' (the closed form) or 'linear_optim', got {mode!r}"
        )
    weight = 1.0 if given.pop("equi_constraint", True) else 0.0
    ours = {
        "smoothness_loss_weight": "smoothness_weight",
        "iterations": "iterations",
        "smooth_operator": "operator",
    }
    unknown = sorted(set(given) - set(ours))
    if unknown:
        known = ", ".join(["mode", "equi_constraint", *ours, *_WITHOUT_EFFECT])
        raise ValueError(f"anti_aliasing_kwargs: {', '.join(unknown)} not supported, give some of {known}")
    design = OptimizedDesign(
        equivariance_weight=weight, **{ours[name]: value for name, value in given.items()}
    )
    return design, mode == "linear_optim"


def _subgroup_names(types: Sequence[Sequence[str]], order: int, factors: Sequence[int]) -> list[str | None]:
    """The name of the subgroup that each layer goes to, ``None`` where it stays."""
    names: list[str | None] = []
    for layer, ((kind, below), factor) in enumerate(zip(types, factors, strict=True)):
        if layer and _kind(kind) != _kind(types[layer - 1][1]):
            raise ValueError(
                f"dwn_group_types: layer {layer} begins with {kind!r}, the one before ends with {types[layer - 1][1]!r}"
            )
        target = chosen_subgroup(kind, order, below, factor).group
        names.append(target.name if factor > 1 else None)
        order = len(target) // (2 if _kind(below) == "dihedral" else 1)
    return names


def _kind(group_type: str) -> str:
    return "cycle" if group_type == "cyclic" else group_type


def _group(kind: str, order: int | None) -> FiniteGroup:
    if kind == "octahedral":
        return octahedral()
    if kind == "full_octahedral":
        return full_octahedral()
    if kind not in ("cycle", "dihedral"):
        raise ValueError(
            f"group_type must be 'cycle', 'cyclic', 'dihedral', 'octahedral' or 'full_octahedral', got {kind!r}"
        )
    if order is None:
        raise ValueError(f"order must be the number of rotations of a {kind} group, got None")
    return cyclic(order) if kind == "cycle" else dihedral(order)
