"""What makes subsampling equivariant to the whole group: move the strongest response to one coset first."""

import torch
from torch import Tensor, nn

from sefl.groups.group import FiniteGroup, IntArray
from sefl.groups.spatial import act_on_samples, check_field
from sefl.groups.subgroup import Subgroup
from sefl.tensors.constants import constant


class Canonicalize(nn.Module):
    """Move each sample's field by the inverse of the coset in which its strongest response lies.

    With ``c(x)`` the representative of that left coset ``g H``, ``x`` becomes ``c(x)^-1 . x``, on the fibres and, where
    there are spatial axes, on the grid. Since ``c(a . x) H = a c(x) H``,

        ``canonical(a . x) = h . canonical(x)``  with ``h = c(a . x)^-1 a c(x)`` in ``H``, for every ``a`` in ``G``,

    so that restricting the result to ``H`` loses nothing of the equivariance to ``G``: ``c`` carries the rest of it. It
    is exact on fibres and for symmetries of the grid; other elements interpolate, and a maximum that they change may
    fall into another coset. The strongest response is the largest value over all fields, elements and positions; of
    cosets in which it is equal, the first of ``subgroup.coset_representatives`` is taken, and the equation holds only
    up to this choice.

    ``c`` passes no gradient. Every coset moves the whole batch, ``rate`` times the work of one move.

    Args:
        subgroup: ``H`` in ``G``.
        background: what lies outside of the grid when elements interpolate.

    Sources:
        J. Xu, H. Kim, T. Rainforth, Y. W. Teh: Group Equivariant Subsampling, NeurIPS 2021, sections 3 and 4. There the
        maximum is over a norm of the features; here features are non-negative after an activation or compared signed.

    >>> from sefl.groups import dihedral, subgroup
    >>> canonicalize = Canonicalize(subgroup(dihedral(4), "C4"))
    >>> canonical, coset = canonicalize(torch.rand(3, 16, 7, 7))
    >>> canonical.shape, coset.shape
    (torch.Size([3, 16, 7, 7]), torch.Size([3]))
    """

    def __init__(self, subgroup: Subgroup, background: float = 0.0) -> None:
        super().__init__()
        self.subgroup = subgroup
        self.background = background

    def extra_repr(self) -> str:
        return self.subgroup.name

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The canonical field and what it was moved back by.

        Args:
            x: a regular field of ``G``, ``(batch, fields * |G|, *space)``.

        Returns:
            ``c^-1 . x`` of the same shape and ``c``, ``(batch,)`` elements of ``G``.

        Raises:
            ValueError: if ``x`` is no such field, or the elements cannot move its grid (see
                :func:`sefl.groups.act_on_grid`).
        """
        coset = self.coset(x)
        group = self.subgroup.parent
        candidates = group.inverse[self.subgroup.coset_representatives].tolist()
        back = constant(_inverse, group, dtype=torch.int64, device=x.device)[coset]
        return act_on_samples(x, group, back, candidates, self.background), coset

    def coset(self, x: Tensor) -> Tensor:
        """``c(x)``: ``(batch,)``, the representative of the coset of the strongest response, an element of ``G``."""
        check_field(x, self.subgroup.parent)
        fibres = x.detach().unflatten(1, (-1, len(self.subgroup.parent)))
        strongest = fibres.amax(dim=[1, *range(3, fibres.dim())])
        representatives, members = (
            constant(make, self.subgroup, dtype=torch.int64, device=x.device)
            for make in (_representatives, _members)
        )
        return representatives[strongest[:, members].amax(dim=2).argmax(dim=1)]

    def invert(self, y: Tensor, coset: Tensor) -> Tensor:
        """``c . y``: move a regular field of ``G`` back, such as an upsampled one.

        Args:
            y: ``(batch, fields * |G|, *space)``.
            coset: ``c``, ``(batch,)`` as :meth:`forward` returned it.

        Raises:
            ValueError: as :meth:`forward`, and if ``coset`` is not one element per sample.
        """
        check_field(y, self.subgroup.parent)
        candidates = self.subgroup.coset_representatives.tolist()
        return act_on_samples(y, self.subgroup.parent, coset, candidates, self.background)


def _representatives(subgroup: Subgroup) -> IntArray:
    return subgroup.coset_representatives


def _members(subgroup: Subgroup) -> IntArray:
    """``(rate, |H|)``: the elements of each left coset."""
    members: IntArray = subgroup.parent.table[subgroup.coset_representatives[:, None], subgroup.elements]
    return members


def _inverse(group: FiniteGroup) -> IntArray:
    return group.inverse
