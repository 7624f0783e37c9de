"""Regular features from a group to a subgroup and back (ICLR 2025)."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from sefl.groups.bandlimit import Bandlimit
from sefl.groups.group import FiniteGroup, FloatArray, IntArray
from sefl.groups.spatial import check_field
from sefl.groups.subgroup import Subgroup
from sefl.tensors.constants import constant


class SubgroupDownsample(nn.Module):
    """Bandlimit a regular field of ``G`` and restrict it to ``H``.

    On each fibre, with the projector ``P`` and the restriction ``S`` of the bandlimit,

        ``y = S P x``,  and back  ``x' = U y``,  where ``x' = P x``: bandlimited features come back exactly.

    ``y`` is a regular field of ``H`` in escnn's order: ``H`` acts on it as it acts on ``x``. Without ``anti_aliasing``
    it is ``S x``. Each direction is one product with a constant matrix, in the precision of the features (under
    autocast in that of autocast); nothing is stored in the ``state_dict``.

    Args:
        bandlimit: ``H`` in ``G`` and the matrices, see :func:`sefl.groups.bandlimit`.
        anti_aliasing: whether to filter before restricting. :meth:`upsample` does not depend on it: after naive
            subsampling it interpolates what aliased, so that the filter is the only difference. (To insert zeros
            instead, multiply by the transpose of ``bandlimit.restriction``.)

    Source:
        M. A. Rahman, R. A. Yeh: Group Downsampling with Equivariant Anti-aliasing, ICLR 2025. The published code
        applies the inverse transform transposed on feature maps, which breaks equivariance; here it holds.

    >>> from sefl.groups import bandlimit, dihedral
    >>> downsample = SubgroupDownsample(bandlimit(dihedral(12), "D6"))
    >>> downsample(torch.rand(2, 10 * 24, 32, 32)).shape
    torch.Size([2, 120, 32, 32])
    """

    def __init__(self, bandlimit: Bandlimit, anti_aliasing: bool = True) -> None:
        super().__init__()
        self.bandlimit = bandlimit
        self.anti_aliasing = anti_aliasing

    def extra_repr(self) -> str:
        return f"{self.bandlimit}, anti_aliasing={self.anti_aliasing}"

    @property
    def group(self) -> FiniteGroup:
        """``G``."""
        return self.bandlimit.subgroup.parent

    @property
    def subgroup(self) -> FiniteGroup:
        """``H``."""
        return self.bandlimit.subgroup.group

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, fields * |G|, *space)`` to ``(batch, fields * |H|, *space)``, any number of spatial axes.

        Raises:
            ValueError: if the channels are no multiple of ``|G|``.
        """
        check_field(x, self.group)
        down = _down if self.anti_aliasing else _restriction
        return multiply_fibres(x, constant(down, self.bandlimit, dtype=x.dtype, device=x.device))

    def upsample(self, y: Tensor) -> Tensor:
        """``(batch, fields * |H|, *space)`` to the bandlimited ``(batch, fields * |G|, *space)`` through these values.

        Raises:
            ValueError: if the channels are no multiple of ``|H|``.
        """
        check_field(y, self.subgroup)
        return multiply_fibres(y, constant(_up, self.bandlimit, dtype=y.dtype, device=y.device))


def _down(bandlimit: Bandlimit) -> FloatArray:
    return bandlimit.restriction @ bandlimit.projector


def _restriction(bandlimit: Bandlimit) -> FloatArray:
    return bandlimit.restriction


def _up(bandlimit: Bandlimit) -> FloatArray:
    return bandlimit.reconstruction


class FieldRestriction(nn.Module):
    """Each regular field of ``G`` as ``|G| / |H|`` regular fields of ``H``: channels change places, nothing is lost.

        out[i, j, h](x) = in[i, h t_j](x),      ``t_j`` one element of each right coset ``H t_j``

    On these fields :meth:`sefl.groups.GroupConv.restrict` is what a convolution of ``G`` was before.

    Args:
        subgroup: ``H`` in ``G``.

    Shapes: ``(batch, fields |G|, *space)`` to the same, channel ``(field, coset, element of H)``.

    Raises:
        ValueError: in ``forward``, if the channels are no multiple of ``|G|``.
    """

    def __init__(self, subgroup: Subgroup) -> None:
        super().__init__()
        self.subgroup = subgroup

    def forward(self, x: Tensor) -> Tensor:
        check_field(x, self.subgroup.parent)
        return self._take(x, _cosets)

    def invert(self, y: Tensor) -> Tensor:
        """The regular fields of ``G`` again.

        Raises:
            ValueError: if the channels are no multiple of ``|G|``.
        """
        check_field(y, self.subgroup.parent)
        return self._take(y, _places_in_cosets)

    def _take(self, x: Tensor, make: Callable[[Subgroup], IntArray]) -> Tensor:
        source = constant(make, self.subgroup, dtype=torch.int64, device=x.device)
        taken: Tensor = x.unflatten(1, (-1, len(source))).index_select(2, source).flatten(1, 2)
        return taken

    def extra_repr(self) -> str:
        return self.subgroup.name


def _cosets(subgroup: Subgroup) -> IntArray:
    """``h t_j``, coset by coset: ``(|G|,)``."""
    first = subgroup.right_coset_representatives[:, None]
    members: IntArray = subgroup.parent.table[subgroup.elements, first]
    return members.ravel()


def _places_in_cosets(subgroup: Subgroup) -> IntArray:
    places: IntArray = np.argsort(_cosets(subgroup))
    return places


def multiply_fibres(x: Tensor, matrix: Tensor) -> Tensor:
    """``matrix``, ``(n, m)``, times every fibre of ``(batch, fields * m, *space)``: ``(batch, fields * n, *space)``."""
    matrix = matrix.to(x.dtype)
    count, size = matrix.shape
    fields = x.shape[1] // size
    by_field: Tensor = x.unflatten(1, (fields, size))
    if x.dim() == 2:
        return (by_field @ matrix.T).flatten(1)
    fibres = by_field.flatten(3).flatten(0, 1)
    # The same matrix for each, by a stride of zero: on CPUs several times faster than a 1 x 1 convolution.
    product = torch.bmm(matrix.expand(fibres.shape[0], count, size), fibres)
    return product.reshape(x.shape[0], fields * count, *x.shape[2:])
