"""Canonical fields differ by an element of the subgroup, whichever element of the group moved the input."""

import pytest
import torch
from torch import Tensor

from sefl.groups import (
    Canonicalize,
    FiniteGroup,
    Subgroup,
    act_on_field,
    cyclic,
    dihedral,
    finite_group,
    subgroup,
    subgroups,
)

LATTICE = [("C4", "C2"), ("C4", "C1"), ("D4", "C4"), ("D4", "D2"), ("D4", "C1"), ("O", "C4"), ("O", "T")]
FIBRES = ["C6", "C8", "D3", "D4", "D6", "T", "O", "S4", "C4xC2"]


def random_field(group: FiniteGroup, space: int) -> Tensor:
    generator = torch.Generator().manual_seed(len(group))
    return torch.randn(3, 2 * len(group), *[5] * space, dtype=torch.float64, generator=generator)


def move(x: Tensor, below: Subgroup, a: int, cosets: tuple[Tensor, Tensor]) -> tuple[Tensor, list[int]]:
    """``h . x`` per sample with ``h = c'^-1 a c``, one by one, and the elements ``h``."""
    group = below.parent
    elements = [
        int(group.table[group.inverse[after], group.table[a, before]])
        for before, after in zip(*(coset.tolist() for coset in cosets), strict=True)
    ]
    return torch.cat(
        [act_on_field(one[None], group, h) for one, h in zip(x, elements, strict=True)]
    ), elements


def check_canonical(below: Subgroup, space: int) -> None:
    group, canonicalize = below.parent, Canonicalize(below)
    x = random_field(group, space)
    canonical, coset = canonicalize(x)
    assert torch.equal(canonicalize.invert(canonical, coset), x)
    assert set(coset.tolist()) <= set(below.coset_representatives.tolist())
    left_alone = 0
    for a in range(len(group)):
        moved, moved_coset = canonicalize(act_on_field(x, group, a))
        expected, elements = move(canonical, below, a, (coset, moved_coset))
        assert (below.position[elements] >= 0).all(), f"{group.labels[a]}: {elements} not in {below.name}"
        assert torch.equal(moved, expected), group.labels[a]
        left_alone += bool(torch.equal(act_on_field(x, group, a), moved))
    # Control: without it, elements outside of H stay outside: the field as it is was canonical for few of them.
    assert left_alone < len(group) or below.rate == 1


@pytest.mark.parametrize("name", FIBRES)
def test_fibres_of_every_subgroup(name: str) -> None:
    for below in subgroups(finite_group(name)):
        check_canonical(below, space=0)


@pytest.mark.parametrize(("group", "below"), LATTICE)
def test_grids(group: str, below: str) -> None:
    parent = finite_group(group)
    check_canonical(subgroup(parent, below), space=3 if group == "O" else 2)


def test_restriction_is_equivariant_to_the_group_only_after_it() -> None:
    """What subsampling needs: S canonical(a x) is S canonical(x) moved by H; S(a x) is S x moved by none of H."""
    below = subgroup(cyclic(8), "C4")
    x = random_field(below.parent, space=0)
    a = 1

    def restricted(field: Tensor) -> Tensor:
        return field.unflatten(1, (-1, len(below.parent)))[:, :, below.elements].flatten(1)

    canonical, coset = Canonicalize(below)(x)
    moved, moved_coset = Canonicalize(below)(act_on_field(x, below.parent, a))
    _, elements = move(canonical, below, a, (coset, moved_coset))
    for sample, h in enumerate(below.position[elements].tolist()):
        one = slice(sample, sample + 1)
        expected = act_on_field(restricted(canonical)[one], below.group, h)
        assert torch.equal(restricted(moved)[one], expected)
        plain = restricted(act_on_field(x, below.parent, a))[one]
        found = [
            torch.equal(act_on_field(restricted(x)[one], below.group, other), plain)
            for other in range(len(below.group))
        ]
        assert not any(found)


def test_ties_take_the_first_coset() -> None:
    below = subgroup(dihedral(4), "D2")
    _, coset = Canonicalize(below)(torch.zeros(2, 8, 3, 3))
    assert coset.tolist() == [below.coset_representatives[0]] * 2


def test_interpolated_elements_come_back_nearly() -> None:
    below = subgroup(cyclic(8), "C4")
    axis = torch.linspace(-1, 1, 41, dtype=torch.float64)
    smooth = torch.exp(-8 * ((axis[:, None] - 0.2) ** 2 + axis**2))
    weights = torch.rand(4, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = weights[:, :, None, None] * smooth
    canonicalize = Canonicalize(below)
    canonical, coset = canonicalize(x)
    assert len(coset.unique()) == 2
    assert (canonicalize.invert(canonical, coset) - x).abs().max() < 0.02
    assert (canonical - x).abs().max() > 0.1


def test_gradients_dtype_and_errors() -> None:
    below = subgroup(dihedral(4), "C4")
    canonicalize = Canonicalize(below)
    x = torch.rand(2, 16, 4, 4, requires_grad=True)
    canonical, coset = canonicalize(x)
    assert coset.dtype == torch.int64
    assert canonical.dtype == x.dtype
    (gradient,) = torch.autograd.grad(canonical.sum(), x)
    assert torch.equal(gradient, torch.ones_like(x))
    assert not list(canonicalize.state_dict())
    with pytest.raises(ValueError, match="regular field of D4"):
        canonicalize(torch.rand(2, 12, 4, 4))
    with pytest.raises(ValueError, match="one per sample"):
        canonicalize.invert(canonical, coset[:1])
    with pytest.raises(ValueError, match="different sizes"):
        Canonicalize(subgroup(cyclic(4), "C2")).invert(
            torch.rand(2, 8, 4, 5), torch.ones(2, dtype=torch.int64)
        )


@pytest.mark.parametrize(("group", "below"), [("D4", "C2"), ("C8", "C4")])
def test_compiled_networks_canonicalise_the_same(group: str, below: str) -> None:
    canonicalize = Canonicalize(subgroup(finite_group(group), below))
    x = random_field(finite_group(group), space=2)
    compiled = torch.compile(lambda field: canonicalize(field.relu())[0] + 1, backend="aot_eager")
    assert torch.equal(compiled(x), canonicalize(x.relu())[0] + 1)
