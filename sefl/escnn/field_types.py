"""Field types of escnn's for our fields, and back."""

from functools import lru_cache
from typing import Any

import numpy as np
from escnn.group import Representation
from escnn.gspaces import GSpace
from escnn.nn import FieldType

from sefl.arguments import require_positive
from sefl.escnn.spaces import subspace_of
from sefl.groups.bandlimit import bandlimit
from sefl.groups.bandlimited import BandlimitedField
from sefl.groups.field import RegularField
from sefl.groups.group import FiniteGroup, FloatArray
from sefl.groups.subgroup import subgroup_of

_FIELD = "bandlimited_field"
"""The attribute of a representation that says which band it is of."""


def bandlimited_field(space: GSpace, below: Any) -> BandlimitedField:
    """The signals on the group ``G`` of a space that their values on a subgroup ``H`` determine.

    Args:
        space: of ``G``.
        below: ``H``, as in :func:`sefl.escnn.subspace_of`.

    Raises:
        ValueError: as :func:`sefl.escnn.subspace_of`.
    """
    return BandlimitedField(bandlimit(FiniteGroup.from_escnn(space), subspace_of(space, below)[1]))


def field_type(space: GSpace, fields: int, field: BandlimitedField | None = None) -> FieldType:
    """So many regular fields; or fields of the coefficients of bandlimited signals.

    The latter is a sum of irreps in the basis of :class:`sefl.groups.BandlimitedField`: all layers of escnn's that take
    any orthogonal representation work on it, ``R2Conv`` and ``IIDBatchNorm2d`` among them.

    Args:
        space: of a finite group.
        fields: how many.
        field: of the group of ``space``, such as :func:`sefl.escnn.bandlimited_field` makes; by default regular fields.

    Raises:
        ValueError: if ``fields`` is not positive, or ``field`` is of another group.
    """
    representation = space.regular_repr if field is None else _bandlimited(space, field)
    return FieldType(space, require_positive("fields", fields) * [representation])


def field_of(kind: FieldType) -> tuple[RegularField, int]:
    """Our field that a field type is of, and how many: regular fields, scalars, or what :func:`field_type` made.

    Raises:
        ValueError: if it has others, or of different kinds, or its group is continuous.
    """
    first = kind.representations[0]
    if all(each == first for each in kind.representations):
        group = FiniteGroup.from_escnn(kind.gspace)
        if first == kind.gspace.regular_repr:
            return RegularField(group), len(kind)
        if _FIELD in first.attributes:
            return first.attributes[_FIELD], len(kind)
        if first.is_trivial():
            return _scalars(group), len(kind)
    raise ValueError(
        "a field type must have regular fields alone, or scalars, or those of field_type(space, fields, field), got "
        f"{kind}"
    )


def regular_field_of(name: str, kind: FieldType) -> int:
    """How many regular fields a type has.

    Raises:
        ValueError: if it has others.
    """
    field, fields = field_of(kind)
    if isinstance(field, BandlimitedField):
        raise ValueError(f"{name} must have regular fields alone, got {kind}")
    return fields


@lru_cache(maxsize=64)
def _scalars(group: FiniteGroup) -> BandlimitedField:
    return BandlimitedField(bandlimit(group, subgroup_of(group, [group.identity])))


@lru_cache(maxsize=64)
def _bandlimited(space: GSpace, field: BandlimitedField) -> Representation:
    group, theirs = FiniteGroup.from_escnn(space), space.fibergroup
    if field.continuous or field.group is not group:
        raise ValueError(f"field must be of the group of {space}, {group.name}, got {field}")
    irreps, change = [], np.zeros((field.channels, field.channels))
    elements = list(theirs.elements)
    actions = np.stack([field.fibre_action(index) for index in range(len(group))])
    first = 0
    for width in field.widths:
        block = slice(first, first + width)
        for irrep in theirs.irreps():
            moves = np.stack([irrep(element) for element in elements])
            if (
                moves.shape[1] == width
                and (between := _intertwiner(actions[:, block, block], moves)) is not None
            ):
                irreps.append(irrep.id)
                change[block, block] = between
                break
        first += width
    return Representation(
        theirs,
        f"{field.channels} coefficients on {field.fibre.name} {field.elements.tolist()}",
        irreps,
        change,
        supported_nonlinearities=["norm", "gated", "concatenated"],
        representation={element: actions[index] for index, element in enumerate(elements)},
        change_of_basis_inv=change.T,
        **{_FIELD: field},
    )


def _intertwiner(here: FloatArray, there: FloatArray) -> FloatArray | None:
    """The orthogonal ``T`` with ``here(g) T = T there(g)``, of two irreps ``(|G|, d, d)``; ``None`` if they differ.

    The mean over ``G`` of ``here(g) X there(g)^T`` is a multiple of one for every ``X``, by Schur's lemma.
    """
    start = np.random.default_rng(0).standard_normal(here.shape[1:])
    mean: FloatArray = (here @ start @ there.transpose(0, 2, 1)).mean(axis=0)
    length = float(np.linalg.norm(mean)) / np.sqrt(len(mean))
    return mean / length if length > 1e-6 else None
