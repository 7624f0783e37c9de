"""Moving grids and regular fields: against escnn and torch.rot90, exact on lattices, a representation."""

import math

import numpy as np
import pytest
import torch
from escnn import gspaces
from escnn.nn import FieldType, GeometricTensor
from torch import Tensor

from sefl.groups import FiniteGroup, act_on_field, act_on_grid, cyclic, dihedral, finite_group
from sefl.groups.spatial import sources_on_cells

EXACT = 1e-13

GSPACES = {
    "C1": lambda: gspaces.rot2dOnR2(1),
    "C2": lambda: gspaces.rot2dOnR2(2),
    "C4": lambda: gspaces.rot2dOnR2(4),
    "D1": lambda: gspaces.flipRot2dOnR2(1),
    "D2": lambda: gspaces.flipRot2dOnR2(2),
    "D4": lambda: gspaces.flipRot2dOnR2(4),
    "O": gspaces.octaOnR3,
}


def field_of(group: FiniteGroup, fields: int, size: int) -> Tensor:
    assert group.matrices is not None
    space = [size] * group.matrices.shape[1]
    return torch.randn(2, fields * len(group), *space, dtype=torch.float64)


@pytest.mark.parametrize("name", GSPACES)
@pytest.mark.parametrize("size", [4, 5])
def test_fields_move_as_escnn_moves_them(name: str, size: int) -> None:
    group, space = finite_group(name), GSPACES[name]()
    kind = FieldType(space, 2 * [space.regular_repr])
    x = field_of(group, 2, size)
    wrong = 0
    for element, theirs in enumerate(space.fibergroup.elements):
        expected = GeometricTensor(x, kind).transform(theirs).tensor
        assert (act_on_field(x, group, element) - expected).abs().max() < EXACT, group.labels[element]
        wrong += bool((act_on_field(x, group, int(group.inverse[element])) - expected).abs().max() > 0.1)
    assert wrong == (group.inverse != np.arange(len(group))).sum()  # control: the inverse element is wrong


def test_quarter_turn_is_rot90_and_the_reflection_flips_columns() -> None:
    group = dihedral(4)
    assert group.matrices is not None
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    assert torch.equal(act_on_grid(x, group.matrices[1]), torch.rot90(x, 1, (-2, -1)))
    assert torch.equal(act_on_grid(x, group.matrices[4]), x.flip(-1))
    assert not torch.equal(act_on_grid(x, group.matrices[3]), torch.rot90(x, 1, (-2, -1)))


@pytest.mark.parametrize("name", ["C4", "D4", "O"])
def test_lattice_elements_compose_exactly(name: str) -> None:
    group = finite_group(name)
    x = field_of(group, 1, 4)
    for g in range(len(group)):
        moved = act_on_field(x, group, g)
        for h in {0, len(group) // 2, len(group) - 1}:
            assert torch.equal(act_on_field(moved, group, h), act_on_field(x, group, int(group.table[h, g])))
    twice = act_on_field(act_on_field(x, group, 1), group, 1)
    assert not torch.equal(twice, act_on_field(x, group, 1))


def ball(size: int, dimensions: int) -> Tensor:
    """A smooth off-centre bump on a grid from -1 to 1, with its coordinates ``(*space, d)`` in ``x, y, z`` order."""
    axis = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2) * 2 / size
    grids = torch.meshgrid(*[axis] * dimensions, indexing="ij")
    signs = [-1.0] * (dimensions - 1) + [1.0]
    return torch.stack([grid * sign for grid, sign in zip(grids, signs, strict=True)][::-1], dim=-1)


def bump(points: Tensor) -> Tensor:
    centre = torch.tensor([0.3, 0.1, -0.2], dtype=torch.float64)[: points.shape[-1]]
    return torch.exp(-10 * ((points - centre) ** 2).sum(dim=-1))[None, None]


@pytest.mark.parametrize(("dimensions", "size", "tolerance"), [(2, 48, 0.01), (3, 24, 0.04)])
def test_other_angles_turn_a_smooth_signal_the_same_way(dimensions: int, size: int, tolerance: float) -> None:
    angle = math.radians(33)
    matrix = np.eye(dimensions)
    matrix[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    points = ball(size, dimensions)
    x = bump(points)
    expected = bump(points @ torch.as_tensor(matrix))  # f(M^-1 p), p as a row
    assert (act_on_grid(x, matrix) - expected).abs().max() < tolerance
    assert (act_on_grid(x, matrix.T) - expected).abs().max() > 0.2


def test_unequal_axes_keep_their_aspect() -> None:
    turn = cyclic(8).matrices
    assert turn is not None
    points = ball(60, 2)[10:50]
    assert (act_on_grid(bump(points), turn[1]) - bump(points @ torch.as_tensor(turn[1]))).abs().max() < 0.06
    x = torch.randn(1, 1, 4, 6, dtype=torch.float64)
    assert torch.equal(act_on_grid(x, turn[4]), x.flip(-1, -2))
    with pytest.raises(ValueError, match="different sizes"):
        act_on_grid(x, turn[2])


def test_background_is_what_lies_outside() -> None:
    eighth = cyclic(8).matrices
    assert eighth is not None
    background = torch.tensor([2.0, -1.0], dtype=torch.float64)
    constant = background[:, None, None].expand(1, 2, 9, 9)
    assert (act_on_grid(constant, eighth[1], background) - constant).abs().max() < EXACT
    assert (act_on_grid(constant, eighth[1]) - constant).abs().max() > 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_dtype_stays_and_gradients_flow(dtype: torch.dtype) -> None:
    group = dihedral(8)
    x = torch.randn(2, 16, 6, 6, dtype=dtype, requires_grad=True)
    for element in (1, 2, 9):
        y = act_on_field(x, group, element)
        assert y.dtype == dtype
        (gradient,) = torch.autograd.grad(y.square().sum(), x)
        assert gradient.abs().sum() > 0


def test_without_space_only_the_fibre_moves() -> None:
    group = finite_group("S3")
    x = torch.randn(2, 12, dtype=torch.float64)
    for element in range(6):
        expected = x.unflatten(1, (2, 6)) @ torch.as_tensor(group.left_translation(element)).T
        assert torch.equal(act_on_field(x, group, element), expected.flatten(1))
    with pytest.raises(ValueError, match="no matrices"):
        act_on_field(torch.randn(2, 12, 4, 4), group, 1)


def test_errors_name_what_is_wrong() -> None:
    x = torch.randn(2, 8, 4, 4)
    with pytest.raises(ValueError, match="orthogonal"):
        act_on_grid(x, [[2.0, 0.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match="matrix must be"):
        act_on_grid(x, np.eye(3))
    with pytest.raises(ValueError, match="spatial axes"):
        act_on_grid(x[:, 0], np.eye(2))
    with pytest.raises(ValueError, match="regular field of D8"):
        act_on_field(x, dihedral(8), 1)
    with pytest.raises(ValueError, match="not in D4"):
        act_on_field(x, dihedral(4), 8)
    with pytest.raises(ValueError, match="background"):
        act_on_grid(x, cyclic(8).matrices[1], torch.zeros(3))


@pytest.mark.parametrize(
    ("name", "cells"), [("C1", 2), ("C4", 3), ("D2", 2), ("D4", 3), ("C6", 1), ("D6", 1)]
)
def test_sources_on_cells_are_those_of_the_action(name: str, cells: int) -> None:
    group = finite_group(name)
    features = torch.randn(2, 3 * len(group), cells, cells, dtype=torch.float64)
    sources = torch.as_tensor(sources_on_cells(group, 3, cells))
    for element in range(len(group)):
        field = features if cells > 1 else features.flatten(1)
        moved = act_on_field(field, group, element).flatten(1)
        assert torch.equal(features.flatten(1)[:, sources[element]], moved)
