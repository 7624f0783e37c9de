"""Features behind subsamplings, under the group of the input: what acts exactly, and what the failure measures."""

import numpy as np
import pytest
import torch
from torch import Tensor

from sefl.groups import (
    Canonicalize,
    FiniteGroup,
    RegularField,
    SubgroupDownsample,
    act_on_field,
    bandlimit,
    cyclic,
    dihedral,
    finite_group,
)

EXACT = 1e-12


def random_field(group: FiniteGroup, space: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(len(group))
    return torch.randn(3, 2 * len(group), *[5] * space, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize(
    ("name", "below", "space"),
    [
        ("C8", "C4", 0),
        ("C4", "C2", 2),
        ("D4", "C4", 2),
        ("D4", "D2", 2),
        ("D6", "D3", 0),
        ("O", "C4", 3),
        ("O", "T", 0),
    ],
)
def test_behind_a_filter_the_whole_group_acts_exactly(name: str, below: str, space: int) -> None:
    group = finite_group(name)
    limit = bandlimit(group, below)
    field = RegularField(group).sampled(limit)
    x = random_field(group, space)
    filtered, plain = SubgroupDownsample(limit), SubgroupDownsample(limit, anti_aliasing=False)
    wrong = []
    for element in range(len(group)):
        moved = act_on_field(x, group, element)
        assert (filtered(moved) - field.act(filtered(x), element)).abs().max() < EXACT, group.labels[element]
        wrong.append(float((plain(moved) - field.act(plain(x), element)).abs().max()))
    outside = limit.subgroup.position < 0
    assert max(np.array(wrong)[~outside]) < EXACT
    assert min(np.array(wrong)[outside]) > 0.1  # control: without the filter only H acts


def test_chains_embed_elements_and_compose_reconstructions() -> None:
    group = dihedral(12)
    first = bandlimit(group, "D6")
    second = bandlimit(first.subgroup.group, "C3")
    field = RegularField(group).sampled(first).sampled(second)
    assert field.fibre is second.subgroup.group
    assert field.elements.tolist() == first.subgroup.elements[second.subgroup.elements].tolist()
    assert np.abs(field.reconstruction - first.reconstruction @ second.reconstruction).max() < EXACT
    # Its values on H come back: S U = 1 on what is bandlimited.
    x = random_field(group)
    y = SubgroupDownsample(second)(SubgroupDownsample(first)(x))
    whole = y.unflatten(1, (-1, 3)) @ torch.as_tensor(field.reconstruction).T
    assert (whole[..., field.elements].flatten(1) - y).abs().max() < EXACT
    for h, element in enumerate(field.elements.tolist()):
        assert np.array_equal(field.fibre_action(element), field.fibre.left_translation(h))
        moved = SubgroupDownsample(second)(SubgroupDownsample(first)(act_on_field(x, group, element)))
        assert (moved - field.act(y, element)).abs().max() < EXACT


def test_fibre_action_is_the_restriction_of_the_reconstruction_moved() -> None:
    group = finite_group("O")
    limit = bandlimit(group, "D4")
    field = RegularField(group).sampled(limit)
    for element in range(len(group)):
        expected = limit.restriction @ group.left_translation(element) @ limit.reconstruction
        action = field.fibre_action(element)
        if limit.subgroup.position[element] < 0:
            assert np.abs(action - expected).max() < EXACT
        else:
            restricted = limit.restriction @ limit.projector
            assert np.abs((action - expected) @ restricted).max() < EXACT


@pytest.mark.parametrize(
    ("name", "below", "space"), [("C4", "C1", 2), ("D4", "D2", 2), ("D6", "C3", 0), ("O", "C4", 3)]
)
def test_canonicalised_features_move_by_their_own_elements(name: str, below: str, space: int) -> None:
    group = finite_group(name)
    limit = bandlimit(group, below)
    field, layer, canonicalize = (
        RegularField(group).sampled(limit),
        SubgroupDownsample(limit),
        Canonicalize(limit.subgroup),
    )
    x = random_field(group, space)
    canonical, coset = canonicalize(x)
    wrong = 0
    for element in range(len(group)):
        moved, moved_coset = canonicalize(act_on_field(x, group, element))
        expected = field.act(layer(canonical), element, cosets=(coset, moved_coset))
        assert (layer(moved) - expected).abs().max() < EXACT
        wrong += bool((layer(moved) - field.act(layer(canonical), element)).abs().max() > 0.1)
    assert wrong > 0  # control: the element that moved the input does not


def test_two_canonicalisations_compose() -> None:
    group = cyclic(8)
    first = bandlimit(group, "C4")
    second = bandlimit(first.subgroup.group, "C2")
    field = RegularField(group).sampled(first)

    def twice(x: Tensor) -> tuple[Tensor, Tensor]:
        x, c1 = Canonicalize(first.subgroup)(x)
        y, c2 = Canonicalize(second.subgroup)(SubgroupDownsample(first)(x))
        return SubgroupDownsample(second)(y), field.composed(RegularField(group).composed(None, c1), c2)

    x = random_field(group)
    y, coset = twice(x)
    for element in range(len(group)):
        moved, moved_coset = twice(act_on_field(x, group, element))
        expected = field.sampled(second).act(y, element, cosets=(coset, moved_coset))
        assert (moved - expected).abs().max() < EXACT


def test_elements_are_numbers_matrices_or_one_per_sample() -> None:
    group = dihedral(4)
    field = RegularField(group)
    assert group.matrices is not None
    x = random_field(group, space=2)
    for element, matrix in enumerate(group.matrices):
        expected = act_on_field(x, group, element)
        assert field.element(matrix) == element
        for given in (element, matrix, torch.tensor(matrix), matrix.tolist()):
            assert torch.equal(field.act(x, given), expected)
    each = torch.tensor([0, 3, 6])
    moved = field.act(x, each)
    for sample in range(3):
        assert torch.equal(moved[sample], act_on_field(x, group, int(each[sample]))[sample])
    assert not torch.equal(moved, field.act(x, 3))


def test_background_gradient_and_dtype() -> None:
    limit = bandlimit(cyclic(8), "C4")
    field = RegularField(cyclic(8)).sampled(limit)
    constant = torch.full((2, 4, 6, 6), 3.0)
    assert (field.act(constant, 1, background=3.0) - constant).abs().max() < 1e-5
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    y = field.act(x, torch.tensor([1, 2]))
    assert y.dtype == torch.float32
    assert torch.autograd.grad(y.sum(), x)[0].abs().sum() > 0


def test_regular_field_errors() -> None:
    field = RegularField(dihedral(4))
    x = random_field(dihedral(4), space=2)
    angle = np.radians(30)
    turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    assert field.element(turn) is None
    with pytest.raises(ValueError, match="no element of D4"):
        field.act(x, turn)
    with pytest.raises(ValueError, match="not in D4"):
        field.act(x, 8)
    with pytest.raises(ValueError, match="regular field of D4"):
        field.act(x[:, :7], 1)
    with pytest.raises(ValueError, match="one per sample"):
        field.act(x, torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="must go from D4"):
        field.sampled(bandlimit(cyclic(8), "C4"))
