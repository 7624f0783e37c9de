"""Finite groups: tables and orders against escnn, the identities of a group, refusals that name what is wrong."""

import re
from typing import Any

import numpy as np
import pytest

from sefl.groups import (
    FiniteGroup,
    cyclic,
    dihedral,
    finite_group,
    octahedral,
    product,
    symmetric,
    tetrahedral,
)

ESCNN = {
    "C1": ("cyclic_group", 1),
    "C8": ("cyclic_group", 8),
    "C15": ("cyclic_group", 15),
    "D1": ("dihedral_group", 1),
    "D2": ("dihedral_group", 2),
    "D5": ("dihedral_group", 5),
    "D12": ("dihedral_group", 12),
    "O": ("octa_group",),
    "Oh": ("full_octa_group",),
    "I": ("ico_group",),
}
GSPACES = {"O": "octaOnR3", "Oh": "fullOctaOnR3", "I": "icoOnR3"}
SIZES = {
    "C7": 7,
    "D12": 24,
    "T": 12,
    "O": 24,
    "Oh": 48,
    "I": 60,
    "S4": 24,
    "S1": 1,
    "C4xC2": 8,
    "C2xC2xC3": 12,
}
QUATERNIONS = [
    [0, 1, 2, 3, 4, 5, 6, 7],  # 1, -1, i, -i, j, -j, k, -k
    [1, 0, 3, 2, 5, 4, 7, 6],
    [2, 3, 1, 0, 6, 7, 5, 4],
    [3, 2, 0, 1, 7, 6, 4, 5],
    [4, 5, 7, 6, 1, 0, 2, 3],
    [5, 4, 6, 7, 0, 1, 3, 2],
    [6, 7, 4, 5, 3, 2, 1, 0],
    [7, 6, 5, 4, 2, 3, 0, 1],
]


@pytest.mark.parametrize("name", ESCNN)
def test_elements_are_in_the_order_of_escnn(name: str) -> None:
    function, *arguments = ESCNN[name]
    theirs = getattr(pytest.importorskip("escnn.group"), function)(*arguments)
    group = finite_group(name)
    elements = list(theirs.elements)
    assert len(group) == len(elements)
    position = {element: index for index, element in enumerate(elements)}
    # Products are slow in escnn: those of a random part of the elements with all of them.
    some = np.random.default_rng(0).permutation(len(elements))[:6]
    table = [[position[elements[g] @ h] for h in elements] for g in some]
    np.testing.assert_array_equal(group.table[some], table)
    np.testing.assert_array_equal(group.inverse, [position[~g] for g in elements])
    assert group.identity == position[theirs.identity]


@pytest.mark.parametrize(
    ("make", "arguments", "name"),
    [
        ("rot2dOnR2", (8,), "C8"),
        ("flipRot2dOnR2", (6,), "D6"),
        ("trivialOnR2", (), "C1"),
        ("octaOnR3", (), "O"),
        ("fullOctaOnR3", (), "Oh"),
    ],
)
def test_spaces_of_escnn_have_the_groups_of_here(make: str, arguments: tuple[int, ...], name: str) -> None:
    space = getattr(pytest.importorskip("escnn.gspaces"), make)(*arguments)
    group = FiniteGroup.from_escnn(space)
    assert group is finite_group(name)


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        ("flipRot2dOnR2", {"N": 4, "axis": 0.3}),
        ("flip2dOnR2", {"axis": 0.0}),
        ("rot2dOnR3", {"n": 4}),
        ("dihedralOnR3", {"n": 3}),
        ("conicalOnR3", {"n": 4}),
        ("cylindricalOnR3", {"n": 3}),
        ("invOnR3", {}),
    ],
)
def test_other_spaces_of_escnn(make: str, arguments: dict[str, Any]) -> None:
    space = getattr(pytest.importorskip("escnn.gspaces"), make)(**arguments)
    group = FiniteGroup.from_escnn(space)
    elements = list(space.fibergroup.elements)
    for index, element in enumerate(elements):
        np.testing.assert_allclose(group.matrices[index], space.basespace_action(element), atol=1e-12)
        regular = space.regular_repr(element)
        np.testing.assert_allclose(regular, group.left_translation(index), atol=1e-9)
    assert FiniteGroup.from_escnn(space) is group


def test_what_is_no_space_of_a_finite_group_is_refused() -> None:
    gspaces = pytest.importorskip("escnn.gspaces")
    with pytest.raises(
        TypeError, match=r"space must be a GSpace of escnn's that moves points, got C8: give rot2dOnR2\(8\)"
    ):
        FiniteGroup.from_escnn(gspaces.rot2dOnR2(8).fibergroup)
    with pytest.raises(ValueError, match=r"space must be one of a finite group, got SO\(2\).*rot2dOnR2\(8\)"):
        FiniteGroup.from_escnn(gspaces.rot2dOnR2())


@pytest.mark.parametrize("name", GSPACES)
def test_polyhedral_groups_move_space_as_those_of_escnn(name: str) -> None:
    space = getattr(pytest.importorskip("escnn.gspaces"), GSPACES[name])()
    theirs = np.stack([space.basespace_action(element) for element in space.fibergroup.elements])
    np.testing.assert_allclose(finite_group(name).matrices, theirs, atol=1e-12)


@pytest.mark.parametrize("name", SIZES)
def test_group_laws(name: str) -> None:
    group = finite_group(name)
    everything, table = np.arange(len(group)), group.table
    assert len(group) == SIZES[name] == len(set(group.labels))
    np.testing.assert_array_equal(table[group.identity], everything)
    np.testing.assert_array_equal(table[everything, group.inverse], group.identity)
    np.testing.assert_array_equal(table[table], table[everything[:, None, None], table])
    assert len(group.generated_by(list(group.generators.values()))) == len(group)
    for element in everything.tolist():
        order = int(group.element_orders[element])
        assert len(group.generated_by([element])) == order
        assert group.power(element, order) == group.identity


@pytest.mark.parametrize("name", ["C7", "D1", "D12", "T", "O", "Oh", "I"])
def test_matrices_are_an_orthogonal_representation(name: str) -> None:
    group = finite_group(name)
    moves = group.matrices
    assert moves is not None
    np.testing.assert_allclose(moves[:, None] @ moves, moves[group.table], atol=1e-12)
    unit = np.eye(moves.shape[1])
    np.testing.assert_allclose(moves @ moves.transpose(0, 2, 1) - unit, 0, atol=1e-12)
    assert [group.element_of_matrix(matrix) for matrix in moves] == list(range(len(group)))
    assert group.element_of_matrix(2 * moves[0]) is None


def test_a_dihedral_group_is_rotations_then_reflections() -> None:
    group = dihedral(12)
    r, s = group.element("r"), group.element("s")
    for k in range(12):
        assert group.power(r, k) == k
        assert group.table[k, s] == 12 + k
    assert group.labels[:3] == ("e", "r", "r^2")
    assert group.labels[12:14] == ("s", "rs")
    np.testing.assert_allclose(group.matrices[s], np.diag([-1, 1]))  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("C5", [1] * 5),
        ("D12", [1, 1, 2, 2, 2, 2, 2, 6, 6]),
        ("T", [1, 3, 4, 4]),
        ("O", [1, 3, 6, 6, 8]),
        ("I", [1, 12, 12, 15, 20]),
        ("S4", [1, 3, 6, 6, 8]),
    ],
)
def test_conjugacy_classes(name: str, sizes: list[int]) -> None:
    group = finite_group(name)
    assert sorted(map(len, group.conjugacy_classes)) == sizes
    assert sorted(np.concatenate(group.conjugacy_classes)) == list(range(len(group)))
    for members in group.conjugacy_classes:
        assert len(set(group.element_orders[members].tolist())) == 1


@pytest.mark.parametrize("name", ["C5", "D4", "T"])
def test_left_translation_is_a_representation_that_moves_signals(name: str) -> None:
    group = finite_group(name)
    signal = np.random.default_rng(0).standard_normal(len(group))
    for g in range(len(group)):
        moved = group.left_translation(g) @ signal
        np.testing.assert_array_equal(moved, signal[group.table[group.inverse[g]]])
        for h in range(len(group)):
            both = group.left_translation(g) @ group.left_translation(h)
            np.testing.assert_array_equal(both, group.left_translation(int(group.table[g, h])))


def test_other_constructions() -> None:
    both = product(cyclic(4), cyclic(2))
    assert both.labels[2 * 3 + 1] == "(r^3,r)"
    assert both.table[2 * 3 + 1, 2 * 2 + 1] == 2 * 1 + 0
    assert sorted(symmetric(3).element_orders) == sorted(dihedral(3).element_orders)
    assert sorted(tetrahedral().element_orders) == [1] + [2] * 3 + [3] * 8
    assert octahedral() is finite_group("O")
    quaternions = FiniteGroup.from_table(QUATERNIONS, "Q8")
    assert sorted(quaternions.element_orders) == [1, 2, 4, 4, 4, 4, 4, 4]
    assert len(quaternions.generators) == 2
    assert quaternions.labels[0] == "e"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"table": [[0, 1]]}, "table must be a square matrix of integers, got shape (1, 2)"),
        ({"table": [[0.0, 1.0], [1.0, 0.0]]}, "table must be a square matrix of integers"),
        ({"table": [[0, 1], [0, 1]]}, "table must have each of 0..1 once in every row and every column"),
        ({"table": [[1, 0, 2], [0, 2, 1], [2, 1, 0]]}, "table must have an identity"),
        (
            {
                "table": [
                    [0, 1, 2, 3, 4],
                    [1, 0, 3, 4, 2],
                    [2, 4, 0, 1, 3],
                    [3, 2, 4, 0, 1],
                    [4, 3, 1, 2, 0],
                ]
            },
            "table must be associative",
        ),
        ({"table": [[0, 1], [1, 0]], "labels": ["e", "e"]}, "labels must be 2 different names"),
        ({"table": [[0, 1], [1, 0]], "generators": {"a": 0}}, "generators {'a': 0} do not generate all 2"),
        ({"table": [[0, 1], [1, 0]], "matrices": np.eye(2)}, "matrices must be (2, d, d)"),
        (
            {"table": [[0, 1], [1, 0]], "matrices": [[[1.0]], [[2.0]]]},
            "matrices must multiply as the table of G does",
        ),
    ],
)
def test_what_is_no_group_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        FiniteGroup.from_table(**arguments)


@pytest.mark.parametrize("name", ["C0", "D", "A5", "X", "C4x", "S7", "D-1"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"group .* is unknown: give C1|degree must be an integer from 1 to 6, got 7"
    ):
        finite_group(name)


def test_elements_are_found_or_refused_by_name() -> None:
    group = dihedral(4)
    assert (group.element("s"), group.element("r^3s"), group.element(5)) == (4, 7, 5)
    with pytest.raises(ValueError, match=r"element 't' is not in D4: give a generator \(r, s\), a label"):
        group.element("t")
    with pytest.raises(ValueError, match="element 8 is not in D4: give a number from 0 to 7"):
        group.element(8)
    with pytest.raises(ValueError, match="order must be a positive integer, got 0"):
        cyclic(0)
    with pytest.raises(ValueError, match=r"matrix must be of the shape of D4's, \(2, 2\), got \(3, 3\)"):
        group.element_of_matrix(np.eye(3))
