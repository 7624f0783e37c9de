"""Regular fields of escnn's to a subgroup and back."""

from collections.abc import Iterator
from typing import Any

from escnn.group import GroupElement
from escnn.gspaces import GSpace
from escnn.nn import FieldType
from torch import Tensor, nn

from sefl.escnn.field_module import FieldModule
from sefl.escnn.field_types import field_type, regular_field_of
from sefl.escnn.spaces import subspace_of
from sefl.groups.bandlimit import Bandlimit, bandlimit
from sefl.groups.field import RegularField
from sefl.groups.group import FloatArray
from sefl.groups.lowpass import Equivariance
from sefl.groups.sampling import FieldRestriction, SubgroupDownsample


class SubgroupDownsampling(FieldModule):
    """Regular fields of ``G`` bandlimited and restricted to ``H``, as many regular fields of ``H``.

    :class:`sefl.groups.SubgroupDownsample`. With the filter the output keeps the symmetry of all of ``G``: an element
    acts on it by ``S L_g U``, which :meth:`check_equivariance` checks. ``RestrictionModule`` keeps all channels and
    forgets what acts on them; here there are ``|G| / |H|`` times fewer.

    Args:
        in_type: regular fields of any finite group that moves points of the plane or of space.
        below: ``H``: what ``in_type.gspace.restrict`` takes, or the space of ``H``.
        anti_aliasing: whether to filter before restricting.
        equivariance: of the filter, see :func:`sefl.groups.bandlimit`.

    Raises:
        ValueError: if ``in_type`` has other fields, or ``below`` is the space of no subgroup of its group.
    """

    def __init__(
        self,
        in_type: FieldType,
        below: Any,
        anti_aliasing: bool = True,
        equivariance: Equivariance = "group",
    ) -> None:
        fields = regular_field_of("in_type", in_type)
        inner, subgroup = subspace_of(in_type.gspace, below)
        limit = bandlimit(subgroup.parent, subgroup, equivariance=equivariance)
        super().__init__(in_type, field_type(inner, fields), SubgroupDownsample(limit, anti_aliasing))
        self.bandlimit = limit
        self.commutes = anti_aliasing and equivariance == "group"

    def _actions(self) -> Iterator[tuple[GroupElement, FloatArray, FloatArray]]:
        yield from _of_both(self.in_type, self.bandlimit, self.commutes)


class SubgroupUpsampling(FieldModule):
    """Regular fields of ``H`` to the bandlimited regular fields of ``G`` that have these values.

    Behind :class:`SubgroupDownsampling` with the filter it gives back what was bandlimited.

    Args:
        in_type: regular fields of ``H``.
        space: that of ``G``.
        equivariance: of the filter of the downsampling.

    Raises:
        ValueError: if ``in_type`` has other fields, or its group is no subgroup of that of ``space``.
    """

    def __init__(self, in_type: FieldType, space: GSpace, equivariance: Equivariance = "group") -> None:
        fields = regular_field_of("in_type", in_type)
        subgroup = subspace_of(space, in_type.gspace)[1]
        limit = bandlimit(subgroup.parent, subgroup, equivariance=equivariance)
        super().__init__(in_type, field_type(space, fields), Upsample(limit))
        self.bandlimit = limit
        self.commutes = equivariance == "group"

    def _actions(self) -> Iterator[tuple[GroupElement, FloatArray, FloatArray]]:
        for element, whole, below in _of_both(self.out_type, self.bandlimit, self.commutes):
            yield element, below, whole


def _of_both(
    whole: FieldType, limit: Bandlimit, commutes: bool
) -> Iterator[tuple[GroupElement, FloatArray, FloatArray]]:
    """How elements act on the fibre of ``G`` and on that of ``H``: all of ``G`` as ``S L_g U``, or those of ``H``."""
    field = RegularField(limit.subgroup.parent, [limit])
    for index, element in enumerate(whole.fibergroup.elements):
        if commutes or index in limit.subgroup.elements:
            yield element, limit.subgroup.parent.left_translation(index), field.fibre_action(index)


class Upsample(nn.Module):
    """:meth:`sefl.groups.SubgroupDownsample.upsample` as a module."""

    def __init__(self, bandlimit: Bandlimit) -> None:
        super().__init__()
        self.downsample = SubgroupDownsample(bandlimit)

    def forward(self, y: Tensor) -> Tensor:
        return self.downsample.upsample(y)


class RegularRestriction(FieldModule):
    """``RestrictionModule`` on regular fields, with regular fields of ``H`` as the outcome, ``|G| / |H|`` for each.

    :class:`sefl.groups.FieldRestriction`: channels change places. On these fields :meth:`FieldConv.restrict` is what a
    convolution of ``G`` was before.

    Args:
        in_type: regular fields of ``G``.
        below: ``H``, as of :class:`SubgroupDownsampling`.

    Raises:
        ValueError: if ``in_type`` has other fields, or ``below`` is the space of no subgroup of its group.
    """

    layer: FieldRestriction

    def __init__(self, in_type: FieldType, below: Any) -> None:
        fields = regular_field_of("in_type", in_type)
        inner, subgroup = subspace_of(in_type.gspace, below)
        layer = FieldRestriction(subgroup)
        super().__init__(in_type, field_type(inner, fields * subgroup.rate), layer)

    def _actions(self) -> Iterator[tuple[GroupElement, FloatArray, FloatArray]]:
        subgroup, elements = self.layer.subgroup, list(self.in_type.fibergroup.elements)
        for index, embedded in enumerate(subgroup.elements.tolist()):
            before = subgroup.parent.left_translation(embedded)
            yield elements[embedded], before, subgroup.group.left_translation(index)
