"""Moving features to a canonical coset, as a module of escnn."""

from typing import Any

import torch
from escnn.group import GroupElement
from escnn.nn import FieldType
from torch import Tensor, nn

from sefl.escnn.field_module import FieldModule, difference
from sefl.escnn.field_types import regular_field_of
from sefl.escnn.spaces import subspace_of
from sefl.groups.canonicalization import Canonicalize
from sefl.groups.spatial import act_on_field, act_on_samples


class Canonicalization(FieldModule):
    """Each sample moved back by the coset of ``H`` in which its strongest response lies.

    :class:`sefl.groups.Canonicalize`: behind it all that happens in ``H``, such as :class:`SubgroupDownsampling`, is
    invariant to ``G`` as far as it is to ``H``. ``canonical(g . x) = h . canonical(x)`` with ``h`` in ``H``, which
    depends on ``x``: this, which no type says, is what :meth:`check_equivariance` checks.

    Args:
        in_type: regular fields of ``G``.
        below: ``H``, as of :class:`SubgroupDownsampling`.
        background: what lies outside of the grid when elements interpolate.

    Raises:
        ValueError: if ``in_type`` has other fields, or ``below`` is the space of no subgroup of its group.
    """

    layer: "CanonicalField"

    def __init__(self, in_type: FieldType, below: Any, background: float = 0.0) -> None:
        regular_field_of("in_type", in_type)
        canonicalize = Canonicalize(subspace_of(in_type.gspace, below)[1], background)
        super().__init__(in_type, in_type, CanonicalField(canonicalize))

    def check_equivariance(self, atol: float = 1e-6, rtol: float = 1e-5) -> list[tuple[GroupElement, float]]:
        """As of :class:`FieldModule`, on fibres; outcomes are moved by ``h = c(g . x)^-1 g c(x)``, of each sample."""
        canonicalize = self.layer.canonicalize
        subgroup, group = canonicalize.subgroup, canonicalize.subgroup.parent
        table, inverse = torch.as_tensor(group.table), torch.as_tensor(group.inverse)
        x = torch.randn(4, self.in_type.size)
        canonical, coset = canonicalize(x)
        errors = []
        for index, element in enumerate(self.in_type.fibergroup.elements):
            found, moved = canonicalize(act_on_field(x, group, index))
            within = table[inverse[moved], table[index, coset]]
            assert (subgroup.position[within] >= 0).all(), f"{element} must move cosets of {subgroup.name}"
            expected = act_on_samples(canonical, group, within)
            errors.append((element, difference(element, found, expected, atol, rtol)))
        return errors


class CanonicalField(nn.Module):
    """The field of :class:`sefl.groups.Canonicalize`, without the coset."""

    def __init__(self, canonicalize: Canonicalize) -> None:
        super().__init__()
        self.canonicalize = canonicalize

    def forward(self, x: Tensor) -> Tensor:
        canonical: Tensor = self.canonicalize(x)[0]
        return canonical
