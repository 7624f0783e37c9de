"""Group subsampling under the names of the authors' repository (ICLR 2025).

Of https://github.com/ashiq24/Group_Sampling the layer ``SubgroupDownsample`` with its arguments in its order, around
:class:`sefl.groups.SubgroupDownsample`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

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

# Arguments of theirs for the numerics of an optimisation that the closed form does not need, nor the optimised
# design: it is always a projector.
_WITHOUT_EFFECT = ("equi_correction", "threshold", "device", "dtype", "apply_antialiasing")
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
        device: where the constants are, until the layer is moved.
        dtype: without effect: constants have the precision of the features.
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
        self.num_features = num_features
        # What they call the order: of a dihedral group its rotations, of another its elements.
        self.sub_order = len(chosen.group) // (2 if sub_group_type == "dihedral" else 1)
        limit = designed_bandlimit(chosen, anti_aliasing_kwargs)
        self.cannonicalize = Canonicalize(chosen) if cannonicalize else None
        self.downsample = Downsample(limit, anti_aliasing=apply_antialiasing)
        self.to(device=device)

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
    kind, below = (name.replace("cyclic", "cycle") for name in (group_type, sub_group_type))
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


def designed_bandlimit(below: Subgroup, anti_aliasing_kwargs: Mapping[str, Any] | None) -> Bandlimit:
    """The bandlimit that the authors' ``anti_aliasing_kwargs`` ask for, see :class:`SubgroupDownsample`.

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
    if mode == "linear_optim":
        return bandlimit(below.parent, below, design="optimized", optimized=design)
    return bandlimit(below.parent, below)


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
