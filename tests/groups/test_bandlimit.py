"""Bandlimits: exact for groups up to order 60, with controls that fail; the bound on their dimension; the paper's."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from sefl.groups import (
    Bandlimit,
    FiniteGroup,
    OptimizedDesign,
    Subgroup,
    automatic_subgroup,
    bandlimit,
    cyclic,
    dihedral,
    finite_group,
    subgroup,
    subgroups,
)
from sefl.groups.blocks import blocks, cayley_laplacian, characters, right_convolution
from sefl.groups.capacity import dimension_bound, restricted_dimensions, room

EXACT = 1e-12
FAILS = 1e-2
# Noise on H is enlarged by no more than this over a tight frame, in any bandlimit of the groups below.
LARGEST_AMPLIFICATION = 3.0

GROUPS = [
    "T",
    "O",
    "Oh",
    "I",
    "S3",
    "S4",
    "C4xC2",
    "C2xC2xC2",
    "C4xC4",
    "C3xC3",
    "D4xC2",
    "S3xC4",
    "S3xS3",
    "TxC2",
]
CHOICES = [("group", "lowpass"), ("group", "maximal"), ("subgroup", "lowpass")]


def quaternions() -> FiniteGroup:
    """1, i, -1, -i, j, ij, -j, -ij: its four-dimensional real irrep is of quaternionic type."""
    units = np.array([np.eye(2), [[1j, 0], [0, -1j]]])
    j = np.array([[0, 1], [-1, 0]])
    elements = np.stack([s * a @ b for b in (np.eye(2), j) for s in (1, -1) for a in units])
    products = elements[:, None] @ elements
    return FiniteGroup.from_table(
        np.abs(products[:, :, None] - elements).max(axis=(3, 4)).argmin(axis=2), "Q8"
    )


def one_per_class(group: FiniteGroup) -> list[Subgroup]:
    """The first subgroup of each conjugacy class."""
    found: dict[tuple[int, ...], Subgroup] = {}
    for candidate in subgroups(group):
        moved = np.sort(group.table[group.table[:, candidate.elements], group.inverse[:, None]], axis=1)
        found.setdefault(min(map(tuple, moved.tolist())), candidate)
    return list(found.values())


def projector_error(projector: NDArray[np.float64]) -> float:
    return float(max(np.abs(projector @ projector - projector).max(), np.abs(projector - projector.T).max()))


def translation_error(
    projector: NDArray[np.float64], group: FiniteGroup, elements: NDArray[np.int64]
) -> float:
    """The largest entry of ``L_g P - P L_g``."""
    moved = group.table[elements]
    return float(np.abs(projector[moved[:, :, None], moved[:, None, :]] - projector).max())


def reconstruction_error(limit: Bandlimit) -> float:
    """Of random bandlimited signals, after restriction and reconstruction."""
    noise = np.random.default_rng(0).standard_normal((len(limit.projector), 4))
    signals = limit.projector @ noise
    return float(np.abs(limit.reconstruction @ (limit.restriction @ signals) - signals).max())


def assert_is_bandlimit(limit: Bandlimit, moved_by: NDArray[np.int64]) -> None:
    group, inside = limit.subgroup.parent, limit.subgroup
    assert limit.projector.shape == (len(group), len(group))
    assert limit.reconstruction.shape == (len(group), len(inside.elements))
    assert projector_error(limit.projector) < EXACT
    assert translation_error(limit.projector, group, moved_by) < EXACT
    assert reconstruction_error(limit) < EXACT
    np.testing.assert_allclose(limit.projector @ limit.reconstruction, limit.reconstruction, atol=EXACT)
    signal = np.arange(len(group))
    np.testing.assert_array_equal(limit.restriction @ signal, inside.elements)
    assert np.linalg.matrix_rank(limit.restriction @ limit.projector) == limit.dimension
    assert limit.dimension == sum(block.dimension for block in limit.kept) <= len(inside.elements)
    basis = np.concatenate([block.basis for block in limit.kept], axis=1)
    np.testing.assert_allclose(basis @ basis.T, limit.projector, atol=EXACT)
    assert limit.amplification < LARGEST_AMPLIFICATION


def assert_all_choices_are_bandlimits(inside: Subgroup) -> None:
    group = inside.parent
    everything = np.arange(len(group))
    lowpass = bandlimit(group, inside)
    assert_is_bandlimit(lowpass, everything)
    maximal = bandlimit(group, inside, fill="maximal")
    assert_is_bandlimit(maximal, everything)
    assert lowpass.dimension <= maximal.dimension == dimension_bound(inside)
    partial = bandlimit(group, inside, equivariance="subgroup")
    assert_is_bandlimit(partial, inside.elements)
    assert partial.complete


@pytest.mark.parametrize("order", range(1, 61))
def test_every_bandlimit_of_a_cyclic_group(order: int) -> None:
    for inside in subgroups(cyclic(order)):
        assert_all_choices_are_bandlimits(inside)


@pytest.mark.parametrize("order", [*range(1, 17), 18, 20, 24, 30])
def test_every_bandlimit_of_a_dihedral_group(order: int) -> None:
    for inside in one_per_class(dihedral(order)):
        assert_all_choices_are_bandlimits(inside)


@pytest.mark.parametrize("name", GROUPS)
def test_every_bandlimit_of_another_group(name: str) -> None:
    for inside in one_per_class(finite_group(name)):
        assert_all_choices_are_bandlimits(inside)


def test_every_bandlimit_of_a_group_with_a_quaternionic_irrep() -> None:
    group = quaternions()
    assert sorted(block.dimension for block in blocks(group)) == [1, 1, 1, 1, 4]
    for inside in subgroups(group):
        assert_all_choices_are_bandlimits(inside)


# ---- controls: what has one of the properties fails another


@pytest.mark.parametrize(("name", "below"), [("C24", "C8"), ("D12", "D6"), ("O", "C4")])
def test_without_a_filter_signals_are_not_reconstructed(name: str, below: str) -> None:
    limit = bandlimit(finite_group(name), below)
    naive = Bandlimit(limit.subgroup, np.eye(len(limit.projector)), limit.restriction.T)
    assert translation_error(naive.projector, limit.subgroup.parent, limit.subgroup.elements) == 0
    assert reconstruction_error(naive) > FAILS


@pytest.mark.parametrize(("name", "below"), [("C24", "C8"), ("D12", "D6"), ("O", "C4")])
def test_another_projector_of_that_rank_is_not_equivariant(name: str, below: str) -> None:
    limit = bandlimit(finite_group(name), below)
    group = limit.subgroup.parent
    noise = np.random.default_rng(0).standard_normal((len(group), limit.dimension))
    basis = np.linalg.qr(noise)[0]
    other = Bandlimit(limit.subgroup, basis @ basis.T, basis @ np.linalg.pinv(basis[limit.subgroup.elements]))
    assert projector_error(other.projector) < EXACT
    assert reconstruction_error(other) < 1e-9
    assert translation_error(other.projector, group, np.arange(len(group))) > FAILS
    assert translation_error(other.projector, group, limit.subgroup.elements) > FAILS
    # Its mean over the group is equivariant and no projector.
    kernel = other.projector[np.arange(len(group))[:, None], group.table].mean(axis=0)
    mean = right_convolution(group, kernel)
    assert translation_error(mean, group, np.arange(len(group))) < EXACT
    assert projector_error(mean) > FAILS


@pytest.mark.parametrize(("name", "below"), [("C24", "C12"), ("D12", "D6"), ("O", "C4")])
def test_what_commutes_with_the_subgroup_may_not_commute_with_the_group(name: str, below: str) -> None:
    group = finite_group(name)
    partial = bandlimit(group, below, equivariance="subgroup")
    assert translation_error(partial.projector, group, np.arange(len(group))) > FAILS


# ---- the classical case


@pytest.mark.parametrize("order", range(2, 61))
def test_on_a_cyclic_group_it_is_the_ideal_low_pass_filter(order: int) -> None:
    frequency = np.abs(np.fft.fftfreq(order, 1 / order))
    circulant = (np.arange(order)[:, None] - np.arange(order)) % order
    for inside in subgroups(cyclic(order)):
        samples = len(inside.elements)
        kept = frequency < samples / 2 if inside.rate > 1 else np.ones(order)
        kernel = np.fft.ifft(kept).real
        limit = bandlimit(cyclic(order), inside)
        np.testing.assert_allclose(limit.projector, kernel[circulant], atol=EXACT)
        # With the subgroup's equivariance, the cosine at its Nyquist frequency as well.
        projector = kernel[circulant]
        if inside.rate > 1 and samples % 2 == 0:
            cosine = np.cos(np.pi * samples * np.arange(order) / order)
            projector = projector + np.outer(cosine, cosine) / (cosine @ cosine)
        partial = bandlimit(cyclic(order), inside, equivariance="subgroup")
        np.testing.assert_allclose(partial.projector, projector, atol=EXACT)


def test_a_rougher_alias_does_not_take_the_place_of_the_nyquist_frequency() -> None:
    group = cyclic(24)
    roughest = (-1.0) ** np.arange(24)
    lowpass = bandlimit(group, "C8")
    assert (lowpass.dimension, lowpass.complete) == (7, False)
    np.testing.assert_allclose(lowpass.projector @ roughest, 0, atol=EXACT)
    maximal = bandlimit(group, "C8", fill="maximal")
    assert (maximal.dimension, maximal.complete) == (8, True)
    np.testing.assert_allclose(maximal.projector @ roughest, roughest, atol=EXACT)


@pytest.mark.parametrize(("order", "rate"), [(4, 2), (12, 2), (12, 3), (24, 2), (24, 3), (30, 5)])
def test_dihedral_subsampling_loses_no_dimension_and_amplifies_no_noise(order: int, rate: int) -> None:
    limit = bandlimit(dihedral(order), rate)
    assert limit.complete
    assert limit.amplification == pytest.approx(1, abs=EXACT)
    # At the Nyquist frequency of the subgroup's rotations, an equal mix of two of the group's blocks is kept.
    laplacian = cayley_laplacian(dihedral(order))
    roughening = [laplacian @ block.basis - block.smoothness * block.basis for block in limit.kept]
    assert sum(np.abs(change).max() > FAILS for change in roughening) == (1 if order // rate % 2 == 0 else 0)


# ---- dimensions


@pytest.mark.parametrize(
    "name", ["C24", "C36", "D8", "D12", "D18", "T", "O", "Oh", "I", "S4", "C4xC4", "S3xC4"]
)
def test_the_bound_is_the_optimum_of_the_integer_programme(name: str) -> None:
    group = finite_group(name)
    dimensions, multiplicities = np.zeros(len(characters(group))), np.zeros(len(characters(group)))
    for block in blocks(group):
        dimensions[block.irrep] = block.dimension
        multiplicities[block.irrep] += 1
    for inside in one_per_class(group):
        optimum = milp(
            -dimensions,
            constraints=LinearConstraint(restricted_dimensions(inside), ub=room(inside)),
            bounds=Bounds(0, multiplicities),
            integrality=np.ones(len(dimensions)),
        )
        assert dimension_bound(inside) == round(-optimum.fun)


@pytest.mark.parametrize("name", ["O", "Oh"])
def test_every_subgroup_reaches_the_bound_not_one_per_class_alone(name: str) -> None:
    for inside in subgroups(finite_group(name)):
        assert bandlimit(inside.parent, inside, fill="maximal").dimension == dimension_bound(inside)


@pytest.mark.parametrize("order", [*range(1, 17), 20, 24])
def test_where_an_invariant_space_cannot_have_as_many_dimensions_as_there_are_samples(order: int) -> None:
    for name in ("C", "D"):
        for inside in one_per_class(finite_group(f"{name}{order}")):
            rotations = len(inside.elements)
            is_rotations = inside.elements.max() < order
            short = is_rotations and rotations % 2 == 0 and order // rotations % 2 == 0
            assert dimension_bound(inside) == rotations - short


def test_shortfalls_of_the_polyhedral_groups() -> None:
    short = {
        (name, inside.group.name): (dimension_bound(inside), len(inside.elements))
        for name in ("T", "O", "Oh", "I")
        for inside in one_per_class(finite_group(name))
        if dimension_bound(inside) < len(inside.elements)
    }
    assert short == {
        ("T", "C2"): (1, 2),
        ("O", "C2"): (1, 2),
        ("Oh", "C2"): (1, 2),
        ("Oh", "D2"): (2, 4),
        ("I", "D5"): (9, 10),
        ("I", "D3"): (5, 6),
        ("I", "C2"): (1, 2),
    }


# ---- blocks


@pytest.mark.parametrize("name", ["C1", "C7", "C12", "D9", "D12", *GROUPS])
def test_blocks_are_irreducible_and_ordered_by_smoothness(name: str) -> None:
    group = finite_group(name)
    found = blocks(group)
    basis = np.concatenate([block.basis for block in found], axis=1)
    np.testing.assert_allclose(basis.T @ basis, np.eye(len(group)), atol=1e-10)
    smoothness = [block.smoothness for block in found]
    assert smoothness == sorted(smoothness)
    assert smoothness[0] == 0
    laplacian = cayley_laplacian(group)
    first = {block.irrep: block for block in reversed(found)}
    steps = list(group.generators.values())
    for block in found:
        np.testing.assert_allclose(laplacian @ block.basis, block.smoothness * block.basis, atol=1e-8)
        for step in steps:
            matrix = block.basis.T @ group.left_translation(step) @ block.basis
            np.testing.assert_allclose(matrix @ matrix.T, np.eye(block.dimension), atol=1e-9)
            same = first[block.irrep].basis
            np.testing.assert_allclose(matrix, same.T @ group.left_translation(step) @ same, atol=1e-9)
    gram = characters(group) @ characters(group).T / len(group)
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-9)
    # One, two and four for irreps of real, complex and quaternionic type.
    assert {round(value) for value in np.diag(gram)} <= {1, 2, 4}
    for irrep, value in enumerate(np.diag(gram)):
        copies = sum(block.irrep == irrep for block in found)
        assert copies * round(value) == first[irrep].dimension


def test_characters_of_the_octahedral_group() -> None:
    group = finite_group("O")
    assert group.matrices is not None
    found = characters(group)
    assert sorted(np.rint(found[:, group.identity])) == [1, 1, 2, 3, 3]
    vectors = np.trace(group.matrices, axis1=1, axis2=2)
    assert np.abs(found - vectors).max(axis=1).min() < 1e-9


@pytest.mark.parametrize("name", ["D12", "O", "I", "S3xC4"])
def test_restriction_keeps_the_dimension_of_an_irrep(name: str) -> None:
    group = finite_group(name)
    for inside in one_per_class(group):
        restricted = restricted_dimensions(inside)
        np.testing.assert_array_equal(restricted.sum(axis=0), np.rint(characters(group)[:, group.identity]))
        assert room(inside).sum() == len(inside.elements)


# ---- the interface


def test_subgroups_are_given_by_name_by_rate_or_themselves() -> None:
    group = dihedral(12)
    limit = bandlimit(group, "D6")
    assert bandlimit(group, 2) is bandlimit(group, automatic_subgroup(group, 2)) is limit
    assert bandlimit(group, subgroup(group, "D6"), fill="lowpass", design="closed_form") is limit
    assert bandlimit(group, "C6") is not limit
    for matrix in (limit.projector, limit.reconstruction, limit.restriction):
        with pytest.raises(ValueError, match="read-only"):
            matrix[0, 0] = 1


def test_what_does_not_exist_is_refused() -> None:
    group = dihedral(6)
    with pytest.raises(ValueError, match="subgroup 'C5' of D6 does not exist; there are D6"):
        bandlimit(group, "C5")
    with pytest.raises(ValueError, match="rate 5: D6 has no subgroup of that index; rates that work are"):
        bandlimit(group, 5)
    with pytest.raises(ValueError, match="subgroup must be one of D6, got C2 < C4"):
        bandlimit(group, subgroup(cyclic(4), "C2"))
    for option in ("equivariance", "fill", "design"):
        with pytest.raises(ValueError, match=f"{option} must be one of '.*', got 'other'"):
            bandlimit(group, "C6", **{option: "other"})  # type: ignore[arg-type]


# ---- the optimised design


def optimized(name: str, below: str, equivariance: str = "group", **options: object) -> Bandlimit:
    design = OptimizedDesign(**options)  # type: ignore[arg-type]
    return bandlimit(
        finite_group(name), below, equivariance=equivariance, design="optimized", optimized=design
    )  # type: ignore[arg-type]


def largest_translation_error(limit: Bandlimit) -> float:
    group = limit.subgroup.parent
    return translation_error(limit.projector, group, np.arange(len(group)))


def roughness(limit: Bandlimit) -> float:
    return float(np.trace(limit.projector @ cayley_laplacian(limit.subgroup.parent)))


@pytest.mark.parametrize("operator", ["adjacency", "laplacian", "normalized_laplacian"])
@pytest.mark.parametrize(("name", "below"), [("C12", "C4"), ("D6", "D3"), ("D4", "C4")])
def test_the_optimised_design_is_a_projector_that_reconstructs(name: str, below: str, operator: str) -> None:
    limit = optimized(name, below, operator=operator)
    assert limit.complete
    assert limit.kept == ()
    assert projector_error(limit.projector) < EXACT
    assert reconstruction_error(limit) < EXACT
    assert limit.amplification < LARGEST_AMPLIFICATION


@pytest.mark.parametrize(("name", "below"), [("D6", "D3"), ("D12", "D6"), ("D4", "D2")])
def test_the_equivariance_penalty_acts(name: str, below: str) -> None:
    without = optimized(name, below, equivariance_weight=0.0)
    with_penalty = optimized(name, below, equivariance_weight=10.0)
    assert largest_translation_error(without) > FAILS
    assert largest_translation_error(with_penalty) < min(FAILS, largest_translation_error(without) / 10)
    # Approximately what the closed form has exactly.
    assert largest_translation_error(bandlimit(finite_group(name), below)) < EXACT


def test_the_optimised_design_of_the_subgroup_needs_no_equivariance_under_the_group() -> None:
    limit = optimized("C12", "C4", equivariance="subgroup")
    assert translation_error(limit.projector, limit.subgroup.parent, limit.subgroup.elements) < FAILS
    assert largest_translation_error(limit) > FAILS


def test_the_smoothness_term_has_the_right_sign() -> None:
    smooth, rough = (optimized("C12", "C4", smoothness_weight=weight) for weight in (1e-1, 0.0))
    assert roughness(smooth) < 0.8 * roughness(rough)


def test_the_optimised_design_is_seeded() -> None:
    group = dihedral(4)
    design = OptimizedDesign(iterations=3)
    first = bandlimit(group, "D2", design="optimized", optimized=design)
    torch.manual_seed(1)
    # Another group object, so that nothing is remembered; without gradients or storage, as where a module is built.
    with torch.inference_mode(), torch.device("meta"):
        copy = FiniteGroup.from_table(group.table, "D4", group.labels, group.generators)
        again = bandlimit(copy, "D2", design="optimized", optimized=design)
    np.testing.assert_allclose(again.projector, first.projector, atol=EXACT)
    other = bandlimit(group, "D2", design="optimized", optimized=OptimizedDesign(iterations=3, seed=1))
    assert np.abs(other.projector - first.projector).max() > EXACT


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smoothness_weight": -1.0}, "smoothness_weight must be a finite number of at least 0, got -1.0"),
        (
            {"equivariance_weight": float("nan")},
            "equivariance_weight must be a finite number of at least 0, got nan",
        ),
        ({"operator": "shift"}, "operator must be one of 'adjacency', 'laplacian', .*, got 'shift'"),
        ({"iterations": 0}, "iterations must be a positive integer, got 0"),
    ],
)
def test_options_of_the_optimised_design_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OptimizedDesign(**options)  # type: ignore[arg-type]
