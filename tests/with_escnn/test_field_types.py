"""Groups, subgroups and field types of escnn's as ours, and back."""

import numpy as np
import pytest
import torch
from escnn import gspaces
from escnn.nn import FieldType, GeometricTensor
from spaces import EVERYWHERE, EXACT, in_double_precision  # noqa: F401

from sefl.escnn import bandlimited_field, field_of, field_type, space_of, subspace_of
from sefl.groups import (
    BandlimitedField,
    FiniteGroup,
    act_on_field,
    bandlimit,
    cyclic,
    dihedral,
    finite_group,
    subgroup,
)


@pytest.mark.parametrize("name", EVERYWHERE)
def test_regular_fields_are_ours(name: str) -> None:
    space, _ = EVERYWHERE[name]
    kind, group = field_type(space, 2), FiniteGroup.from_escnn(space)
    assert kind == FieldType(space, 2 * [space.regular_repr])
    field, fields = field_of(kind)
    assert (field.fibre, fields) == (group, 2)
    x = torch.randn(2, kind.size)
    moved = [act_on_field(x, group, index) for index in range(len(group))]
    for index, element in enumerate(space.fibergroup.elements):
        theirs = kind.transform_fibers(x, element)
        errors = [float((each - theirs).abs().max()) for each in moved]
        assert errors.pop(index) < EXACT
        assert min(errors) > 0.1  # a control: any other element fails


@pytest.mark.parametrize("name", EVERYWHERE)
def test_the_subgroup_has_its_elements_in_the_order_of_escnn(name: str) -> None:
    space, below = EVERYWHERE[name]
    inner, chosen = subspace_of(space, below)
    assert chosen.group is FiniteGroup.from_escnn(inner)
    whole, part = space.fibergroup.elements, inner.fibergroup.elements
    for index, embedded in enumerate(chosen.elements.tolist()):
        there, here = space.basespace_action(whole[embedded]), inner.basespace_action(part[index])
        np.testing.assert_allclose(there, here, atol=EXACT)
    inside = chosen.parent.table[np.ix_(chosen.elements, chosen.elements)]
    np.testing.assert_array_equal(chosen.position[inside], chosen.group.table)


def test_subgroups_by_identifier_are_ours() -> None:
    for identifier in [(None, 4), (0, 2), (1, 2), (1, 1)]:
        _, theirs = subspace_of(gspaces.flipRot2dOnR2(4), identifier)
        assert set(theirs.elements) == set(subgroup(dihedral(4), identifier).elements)


@pytest.mark.parametrize("name", EVERYWHERE)
def test_bandlimited_signals_are_a_representation(name: str) -> None:
    space, below = EVERYWHERE[name]
    field = bandlimited_field(space, below)
    kind = field_type(space, 2, field)
    assert field_of(kind) == (field, 2)
    assert kind == field_type(space, 2, field)
    assert kind != field_type(space, 2)
    (representation, _) = kind.representations
    change, irreps = representation.change_of_basis, representation.irreps
    np.testing.assert_allclose(change @ change.T, np.eye(field.channels), atol=EXACT)
    for index, element in enumerate(space.fibergroup.elements):
        blocks = np.zeros_like(change)
        first = 0
        for irrep in irreps:
            matrix = space.fibergroup.irrep(*irrep)(element)
            blocks[first : first + len(matrix), first : first + len(matrix)] = matrix
            first += len(matrix)
        np.testing.assert_allclose(change @ blocks @ change.T, field.fibre_action(index), atol=EXACT)
        np.testing.assert_allclose(representation(element), field.fibre_action(index), atol=EXACT)


def test_bandlimited_images_move_as_escnn_moves_them() -> None:
    space = gspaces.flipRot2dOnR2(4)
    field = bandlimited_field(space, (0, 2))
    kind = field_type(space, 3, field)
    x = torch.randn(2, kind.size, 5, 5)
    for index, element in enumerate(space.fibergroup.elements):
        theirs = GeometricTensor(x, kind).transform(element).tensor
        torch.testing.assert_close(theirs, field.act(x, index), rtol=0, atol=EXACT)


def test_scalars() -> None:
    space = gspaces.rot2dOnR2(8)
    field, fields = field_of(FieldType(space, 3 * [space.trivial_repr]))
    assert isinstance(field, BandlimitedField)
    assert (field.channels, fields) == (1, 3)


@pytest.mark.parametrize("name", ["C1", "C2", "C8", "D4", "D12", "O", "Oh"])
def test_our_groups_have_spaces(name: str) -> None:
    assert FiniteGroup.from_escnn(space_of(finite_group(name))) is finite_group(name)


@pytest.mark.parametrize("below", [(1, 2), (3, 1), (None, 2), (2, 3)])
def test_our_subgroups_of_the_plane_have_spaces(below: tuple[int | None, int]) -> None:
    group = subgroup(dihedral(12), below).group
    theirs = FiniteGroup.from_escnn(space_of(group))
    np.testing.assert_array_equal(theirs.table, group.table)
    np.testing.assert_allclose(theirs.matrices, group.matrices, atol=EXACT)


def test_errors_name_the_argument() -> None:
    space = gspaces.rot2dOnR2(8)
    with pytest.raises(ValueError, match=r"below must be the space of a subgroup of C8_on_R2.*got C3_on_R2"):
        subspace_of(space, gspaces.rot2dOnR2(3))
    with pytest.raises(ValueError, match=r"below must be the space of a subgroup .*got C2_on_R3"):
        subspace_of(space, gspaces.rot2dOnR3(2))
    with pytest.raises(ValueError, match=r"group must be of a space of escnn's.*got T: give C_n"):
        space_of(finite_group("T"))
    with pytest.raises(ValueError, match="fields must be a positive integer, got 0"):
        field_type(space, 0)
    other = BandlimitedField(bandlimit(cyclic(4), "C2"))
    with pytest.raises(ValueError, match=r"field must be of the group of C8_on_R2.*got BandlimitedField\(C4"):
        field_type(space, 1, other)
    for wrong in ([space.irrep(1)], [space.regular_repr, space.trivial_repr]):
        with pytest.raises(ValueError, match="a field type must have regular fields alone, or scalars"):
            field_of(FieldType(space, wrong))
