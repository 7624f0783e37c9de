"""Layers on bandlimited signals: exactly equivariant to all of G, complete, and what is refused."""

import math
import time

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sefl.equivariance import GroupAction, Rotation90, measure
from sefl.groups import (
    BandlimitedDownsample,
    BandlimitedField,
    BandlimitedNonlinearity,
    BandlimitedNorm,
    BlurPool,
    FieldNorm,
    GroupConv,
    SteerableConv,
    act_on_grid,
    bandlimit,
    circular_field,
    finite_group,
    from_samples,
    from_values,
    subgroup,
    to_samples,
    to_values,
)
from sefl.groups.convolution import sampled_filters
from sefl.groups.steerable import steerable_kernels

EXACT = 1e-20
PLANE = [("C12", "C6"), ("C12", "C4"), ("D6", "D3"), ("D12", "D6"), ("C48", "C6"), ("D4", "C4"), ("D8", "D2")]
SPACE = [("O", "T"), ("O", "D4"), ("O", "C4"), ("Oh", "O")]


def field_of(group: str, below: str) -> BandlimitedField:
    return BandlimitedField(bandlimit(finite_group(group), below))


def layers_of(field: BandlimitedField, images: int = 2) -> nn.Sequential:
    """Every kind of layer, lifting first, one after the other."""
    torch.manual_seed(0)
    dimension = field.matrix(0).shape[0]
    found = nn.Sequential(
        SteerableConv((field.scalars, images), (field, 3), 5),
        BandlimitedNorm(field, 3),
        BandlimitedNonlinearity(field),
        Pooled(BlurPool(2, dimension), field),
        SteerableConv((field, 3), (field, 2), 3, dilation=2),
        BandlimitedNonlinearity(field, nn.Tanh()),
    )
    for parameter in found.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, mean=1)
    return found.double().eval()


class Pooled(nn.Module):
    """A layer on every channel alone: of the field that it is given."""

    def __init__(self, layer: nn.Module, field: BandlimitedField) -> None:
        super().__init__()
        self.layer, self.output_type = layer, field

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def images_for(field: BandlimitedField, size: int = 9) -> Tensor:
    dimension = field.matrix(0).shape[0]
    generator = torch.Generator().manual_seed(1)
    return torch.randn(
        2, 2, *[size if dimension == 2 else 5] * dimension, generator=generator, dtype=torch.float64
    )


def lattice_elements(field: BandlimitedField) -> list[int]:
    matrices = [field.matrix(element) for element in range(len(field.group))]
    return [element for element, matrix in enumerate(matrices) if abs(matrix - matrix.round()).max() < 1e-9]


def relative(expected: Tensor, actual: Tensor) -> float:
    return float(((expected - actual).square().sum() / expected.square().sum()).detach())


@pytest.mark.parametrize("values", [1, 1000, 2**18])
def test_relu_in_blocks(values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers and gradients are those of the whole at once, of blocks of one fibre, of some with a rest, and of all."""
    monkeypatch.setattr("sefl.groups.blockwise._VALUES", values)
    field = field_of("C12", "C6")
    torch.manual_seed(0)
    x, upstream = torch.randn(2, 7, 20, 3, 5, dtype=torch.float64).unbind()
    by_blocks, at_once = x.clone().requires_grad_(), x.clone().requires_grad_()
    found = BandlimitedNonlinearity(field)(by_blocks)
    expected = BandlimitedNonlinearity(field, nn.LeakyReLU(0.0))(at_once)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    found.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(by_blocks.grad, at_once.grad, rtol=1e-13, atol=1e-13)


class TestField:
    @pytest.mark.parametrize(("group", "below"), PLANE + SPACE)
    def test_representation_of_all_of_the_group(self, group: str, below: str) -> None:
        field = field_of(group, below)
        matrices = np.stack([field.fibre_action(element) for element in range(len(field.group))])
        assert np.allclose(matrices[:, None] @ matrices, matrices[field.group.table], atol=1e-12)
        assert np.allclose(matrices @ matrices.transpose(0, 2, 1), np.eye(field.channels), atol=1e-12)
        assert np.allclose(field.basis.T @ field.basis, len(field.group) * np.eye(field.channels), atol=1e-11)
        assert np.allclose(
            field.basis @ field.basis.T / len(field.group), field.bandlimit.projector, atol=1e-13
        )

    @pytest.mark.parametrize(("group", "below"), PLANE + SPACE)
    def test_irreducible_blocks_do_not_mix(self, group: str, below: str) -> None:
        field = field_of(group, below)
        own = np.zeros((field.channels, field.channels), dtype=bool)
        first = 0
        for width in field.widths:
            own[first : first + width, first : first + width] = True
            first += width
        assert first == field.channels <= len(field.fibre)
        for element in range(len(field.group)):
            assert abs(field.fibre_action(element)[~own]).max(initial=0) < 1e-12

    def test_coefficients_do_not_depend_on_the_basis_that_was_found(self) -> None:
        limit = bandlimit(finite_group("D12"), "D6")
        turn = np.linalg.qr(np.random.default_rng(0).standard_normal((2, 2)))[0]
        kept = tuple(
            type(b)(b.basis @ turn if b.dimension == 2 else -b.basis, b.smoothness, b.irrep)
            for b in limit.kept
        )
        other = type(limit)(limit.subgroup, limit.projector, limit.reconstruction, kept)
        assert np.allclose(BandlimitedField(limit).basis, BandlimitedField(other).basis, atol=1e-12)

    @pytest.mark.parametrize("reflections", [False, True])
    def test_continuous(self, reflections: bool) -> None:
        field = circular_field(2, reflections)
        generator = np.random.default_rng(0)

        def random() -> np.ndarray:
            angle = generator.uniform(0, 2 * np.pi)
            matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            return matrix @ np.diag([generator.choice([-1, 1]) if reflections else 1, 1])

        for _ in range(20):
            a, b = random(), random()
            product = field.fibre_action(a) @ field.fibre_action(b)
            assert np.allclose(product, field.fibre_action(a @ b), atol=1e-13)
            assert np.allclose(product @ product.T, np.eye(field.channels), atol=1e-13)
        for element, matrix in enumerate(field.group.matrices):
            assert np.allclose(field.fibre_action(element), field.fibre_action(matrix), atol=1e-13)
        mirror = np.diag([-1.0, 1.0])
        assert (field.element(mirror) is not None) == reflections

    def test_leading_coefficients_are_those_of_the_smaller_band(self) -> None:
        field, group = field_of("C24", "C12"), finite_group("C24")
        smaller = field.leading(subgroup(group, "C6"))
        assert smaller.channels == 5
        assert np.allclose(smaller.basis, field.basis[:, :5])
        assert np.allclose(smaller.bandlimit.projector, bandlimit(group, "C6").projector)

    def test_refused(self) -> None:
        group = finite_group("C12")
        for wrong in ({"equivariance": "subgroup"}, {"design": "optimized"}):
            with pytest.raises(
                ValueError, match=r"bandlimit must commute with all of C12, .* does not: make it with"
            ):
                BandlimitedField(bandlimit(group, "C6", **wrong))
        with pytest.raises(ValueError, match=r"subgroup must be one of C12, got C3 < C6 .* of another group"):
            field_of("C12", "C6").leading(subgroup(finite_group("C6"), "C3"))
        with pytest.raises(ValueError, match="band must be an integer of at least 0, got -1"):
            circular_field(-1)


class TestEveryLayer:
    @pytest.mark.parametrize("size", [9, 10])
    @pytest.mark.parametrize(("group", "below"), PLANE + SPACE)
    def test_commutes_with_all_of_the_group(self, group: str, below: str, size: int) -> None:
        field = field_of(group, below)
        layers, images = layers_of(field), images_for(field, size)
        elements = lattice_elements(field)
        assert set(elements) - set(field.elements.tolist()) or group == "C12"
        for element in elements:
            upright, moved = images, act_on_grid(images, field.matrix(element))
            for layer in layers:
                upright, moved = layer(upright), layer(moved)
                assert relative(field.act(upright, element), moved) < EXACT

    @pytest.mark.parametrize(("group", "below"), [("C12", "C6"), ("D6", "D3"), ("D12", "D6"), ("O", "T")])
    def test_layers_on_the_subgroup_do_not(self, group: str, below: str) -> None:
        """The control: the same test of a convolution of H behind the filter."""
        field = field_of(group, below)
        below_group = field.bandlimit.subgroup.group
        lifted, images = layers_of(field)[0], images_for(field)
        conv = GroupConv(below_group, 3, 2, 3).double()
        outside = set(lattice_elements(field)) - set(field.elements.tolist())
        for element in outside:
            samples = [
                to_samples(lifted(x), field) for x in (images, act_on_grid(images, field.matrix(element)))
            ]
            upright, moved = (from_samples(conv(torch.relu(x)), field) for x in samples)
            assert relative(field.act(upright, element), moved) > 1e-3

    @pytest.mark.parametrize(("group", "below"), [("C12", "C6"), ("D6", "D3"), ("O", "T")])
    def test_measured_like_any_other(self, group: str, below: str) -> None:
        field = field_of(group, below)
        table = measure(layers_of(field), images_for(field), [GroupAction(group)])
        assert not table.unmeasured
        assert len({row.layer for row in table}) == 6
        exact = {field.group.labels[element] for element in lattice_elements(field)}
        assert max(row.max for row in table if row.parameter in exact) < EXACT
        others = [
            row.max
            for row in table
            if row.parameter not in exact and not row.transformation.endswith("floor")
        ]
        assert not others or max(others) > 1e-6

    @pytest.mark.parametrize("reflections", [False, True])
    def test_continuous_fields_are_measured_under_any_rotation(self, reflections: bool) -> None:
        table = measure(
            layers_of(circular_field(2, reflections)), images_for(circular_field(2)), [GroupAction("C72")]
        )
        assert not table.unmeasured
        assert {row.layer for row in table} == {str(index) for index in range(6)}
        quarter = measure(layers_of(circular_field(3)), images_for(circular_field(2)), [Rotation90()])
        assert max(row.max for row in quarter if row.parameter == 180) < EXACT

    @pytest.mark.parametrize("angles", [8, 12, 20])
    def test_of_a_continuous_group_exact_at_the_angles_of_the_grid(self, angles: int) -> None:
        field = circular_field(2)
        layer = BandlimitedNonlinearity(field, angles=angles).double()
        x = torch.randn(3, 10, dtype=torch.float64)
        turn = 2 * math.pi / angles

        def error(angle: float) -> float:
            matrix = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
            return relative(field.act(layer(x), matrix), layer(field.act(x, matrix)))

        assert error(turn) < EXACT
        assert error(turn / 2) > 1e-8

    def test_finer_grids_alias_less_and_commute(self) -> None:
        field = field_of("D6", "D3")
        x = torch.randn(4, 12, 3, 3, dtype=torch.float64)
        layers = [BandlimitedNonlinearity(field, angles=angles).double() for angles in (6, 12, 24, 96)]
        for layer in layers:
            for element in range(12):
                moved = field.act(x.flatten(2).movedim(2, 1).reshape(-1, 12), element)
                expected = field.act(layer(x).flatten(2).movedim(2, 1).reshape(-1, 12), element)
                assert relative(expected, layer(moved)) < EXACT
        *errors, finest = (relative(layers[-1](x), layer(x)) for layer in layers)
        assert errors == sorted(errors, reverse=True)
        assert errors[0] > 2 * errors[1] > finest == 0


class TestKernels:
    @pytest.mark.parametrize(
        ("group", "below", "kernels"),
        [("C12", "C6", 43), ("C12", "C4", 21), ("D6", "D3", 42), ("D12", "D6", 105), ("C48", "C6", 43)],
    )
    def test_orthonormal_and_as_many_as_there_are(self, group: str, below: str, kernels: int) -> None:
        """As many as compressed kernels between regular fields span."""
        field = field_of(group, below)
        basis = steerable_kernels(field, field, 5).reshape(kernels, -1)
        assert np.allclose(basis @ basis.T, np.eye(kernels), atol=1e-12)
        assert SteerableConv((field, 2), (field, 3), 5).weight.shape == (3, 2, kernels)

    @pytest.mark.parametrize(("group", "below"), [("C12", "C6"), ("D6", "D3"), ("O", "C4")])
    def test_span_the_compressed_kernels_of_regular_fields(self, group: str, below: str) -> None:
        field = field_of(group, below)
        size = len(field.group)
        filters = sampled_filters(field.group, 3).reshape(size, -1, 3 ** field.matrix(0).shape[0])
        quotients = field.group.table[field.group.inverse]  # a^-1 b
        compressed = []
        for element in range(size):
            here = field.basis[np.argmax(quotients == element, axis=1)]
            taps = np.einsum("ap,aq,anx->npqx", field.basis, here, filters)
            compressed += list(taps.reshape(len(taps), -1))
        basis = steerable_kernels(field, field, 3)
        basis = basis.reshape(len(basis), -1)
        whole = np.stack(compressed)
        assert np.linalg.matrix_rank(whole, tol=1e-8) == len(basis)
        assert np.allclose(whole @ basis.T @ basis, whole, atol=1e-10)

    def test_of_a_continuous_group_are_those_of_a_fine_finite_one(self) -> None:
        circle, fine = circular_field(2), field_of("C48", "C6")
        values = circle.synthesis(48)
        between = values.T @ fine.basis / 48
        turned = np.einsum(
            "ip,npqx,jq->nijx", between, steerable_kernels(fine, fine, 5).reshape(43, 5, 5, 25), between
        )
        ours = steerable_kernels(circle, circle, 5).reshape(43, -1)
        assert np.allclose(turned.reshape(43, -1) @ ours.T @ ours, turned.reshape(43, -1), atol=1e-12)

    @pytest.mark.parametrize(("group", "below"), [("C96", "C48"), ("D48", "D24"), ("Oh", "O"), ("I", "T")])
    def test_take_a_second_at_most(self, group: str, below: str) -> None:
        field = field_of(group, below)
        size = 5 if field.matrix(0).shape[0] == 2 else 3
        start = time.process_time()
        SteerableConv((field, 1), (field, 1), size)
        assert time.process_time() - start < 2  # a third of a second

    @pytest.mark.parametrize(("group", "below"), [("C12", "C6"), ("D12", "D6"), ("O", "T")])
    @pytest.mark.parametrize("lifting", [False, True])
    def test_white_coefficients_come_out_with_twice_the_mean_square(
        self, group: str, below: str, lifting: bool
    ) -> None:
        field = field_of(group, below)
        torch.manual_seed(0)
        source = field.scalars if lifting else field
        layer = SteerableConv((source, 100), (field, 50), 3, padding=0)
        x = torch.randn(64, layer.in_channels, *[3] * layer.dimension) / math.sqrt(source.channels)
        assert float(layer(x).detach().square().sum(1).mean()) / 50 == pytest.approx(2, rel=0.1)

    def test_refused(self) -> None:
        field, other = field_of("C12", "C6"), field_of("C8", "C4")
        with pytest.raises(ValueError, match="target must be on the group of source"):
            SteerableConv((field, 1), (other, 1), 3)
        with pytest.raises(ValueError, match="kernel_size must be odd"):
            SteerableConv((field, 1), (field, 1), 4)
        with pytest.raises(ValueError, match="target's number of fields must be a positive integer, got 0"):
            SteerableConv((field, 1), (field, 0), 3)
        with pytest.raises(
            ValueError, match=r"features must have 10 channels \(2 fields of 5 coefficients\), got 12"
        ):
            SteerableConv((field, 2), (field, 1), 3)(torch.zeros(1, 12, 5, 5))


class TestOtherLayers:
    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("space", [(), (4, 4)])
    def test_norm_is_that_of_the_values(self, training: bool, space: tuple[int, ...]) -> None:
        field = field_of("D6", "D3")
        ours, theirs = BandlimitedNorm(field, 3).double(), FieldNorm(field.group, 3).double()
        with torch.no_grad():
            for one, other in ((ours.weight, theirs.norm.weight), (ours.bias, theirs.norm.bias)):
                other.copy_(one.normal_(1))
        x = 3 * torch.randn(5, 18, *space, dtype=torch.float64) + 1
        for _ in range(2):
            expected = theirs.train(training)(to_values(x, field))
            torch.testing.assert_close(to_values(ours.train(training)(x), field), expected)
        torch.testing.assert_close(ours.running_mean, theirs.norm.running_mean)
        spread = (x.numel() / 18, x.numel() / 18 * 12)  # of how many values torch takes the sample's variance
        correction = 1 if not training else spread[0] / (spread[0] - 1) * (spread[1] - 1) / spread[1]
        assert ours.running_var is not None
        assert torch.allclose(ours.running_var - 0.81, (theirs.norm.running_var - 0.81) * correction)

    def test_nonlinearity_is_the_projected_function_of_values(self) -> None:
        field = field_of("C12", "C6")
        x = torch.randn(2, 10, 3, 3, dtype=torch.float64)
        values = torch.sigmoid(to_values(x, field))
        layer = BandlimitedNonlinearity(field, nn.Sigmoid())
        torch.testing.assert_close(layer(x), from_values(values, field))

    @pytest.mark.parametrize(("group", "below"), PLANE + SPACE)
    def test_samples_and_values_determine_coefficients(self, group: str, below: str) -> None:
        field = field_of(group, below)
        x = torch.randn(2, 3 * field.channels, 4, dtype=torch.float64)
        assert relative(x, from_samples(to_samples(x, field), field)) < EXACT
        assert relative(x, from_values(to_values(x, field), field)) < EXACT

    def test_downsampling_is_a_slice_and_upsampling_pads(self) -> None:
        field = field_of("C24", "C12")
        layer = BandlimitedDownsample(field, subgroup(field.group, "C6"))
        x = torch.randn(2, 22, 3, 3, dtype=torch.float64)
        small = layer(x)
        assert torch.equal(small, x.unflatten(1, (2, 11))[:, :, :5].flatten(1, 2))
        again = layer.upsample(small)
        torch.testing.assert_close(to_values(again, field), to_values(small, layer.output_type))

    def test_refused(self) -> None:
        field = field_of("C12", "C6")
        with pytest.raises(ValueError, match="angles must be a multiple of the 12 of C12, got 18"):
            BandlimitedNonlinearity(field, angles=18)
        with pytest.raises(
            ValueError, match="angles must be at least 5, for a band of frequencies up to 2, got 4"
        ):
            BandlimitedNonlinearity(circular_field(2), angles=4)
        with pytest.raises(ValueError, match="group must be cyclic or dihedral to have angles, got O"):
            BandlimitedNonlinearity(field_of("O", "T"), angles=24)
        with pytest.raises(
            ValueError, match=r"features must be coefficients of signals on C12, .* got shape \(1, 12\)"
        ):
            BandlimitedNonlinearity(field)(torch.zeros(1, 12))
        with pytest.raises(
            ValueError, match=r"features must be \(batch, 10, \*space\): 2 fields of 5 coefficients"
        ):
            BandlimitedNorm(field, 2)(torch.zeros(1, 12))
