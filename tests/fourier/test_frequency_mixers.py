"""Mixers over frequencies: exact at every resolution, equal to masked dense matrices, magnitudes that ignore shifts."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scale_equivariance import (
    assert_same,
    assert_scale_equivariant,
    on_images,
    relative_squared_error,
    scale_equivariance_errors,
)
from torch import Tensor, nn
from torch.autograd import gradcheck

from sefl.fourier import (
    FrequencyMixer1d,
    FrequencyMixer2d,
    MagnitudeMixer1d,
    MagnitudeMixer2d,
    band,
    downsample,
    to_coefficients,
    to_grid,
)
from sefl.fourier.magnitude import from_plane_waves, to_plane_waves

FINEST = 13
CHANNELS = 6
OPTIONS: dict[str, dict[str, Any]] = {
    "shared": {},
    "in groups": {"groups": 3},
    "per channel": {"groups": CHANNELS},
    "banded": {"bandwidth": 2},
    "diagonal": {"bandwidth": 0},
    "banded in groups": {"bandwidth": 3, "groups": 2},
}
MIXERS = [FrequencyMixer1d, FrequencyMixer2d, MagnitudeMixer1d, MagnitudeMixer2d]
LINEAR = [FrequencyMixer1d, FrequencyMixer2d]
MAGNITUDE = [MagnitudeMixer1d, MagnitudeMixer2d]
Mixer = FrequencyMixer1d | FrequencyMixer2d | MagnitudeMixer1d | MagnitudeMixer2d
with_every_option = pytest.mark.parametrize("name", OPTIONS)


def axes_of(kind: type) -> int:
    return 1 if kind in (FrequencyMixer1d, MagnitudeMixer1d) else 2


def mixer(
    kind: Callable[..., Mixer], name: str = "shared", finest: int = FINEST, dtype: torch.dtype = torch.float64
) -> Mixer:
    torch.manual_seed(0)
    return kind(CHANNELS, finest, **OPTIONS[name]).to(dtype)


def coefficients_for(
    kind: type, resolution: int = FINEST, batch: int = 2, dtype: torch.dtype = torch.float64
) -> Tensor:
    shape = (*([2 * band(resolution) + 1] * axes_of(kind)), batch, CHANNELS)
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(resolution))


def signals_of(kind: type, resolution: int, dtype: torch.dtype = torch.float64) -> Tensor:
    shape = (2, CHANNELS, *([resolution] * axes_of(kind)))
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(resolution))


def frequency(index: int) -> int:
    """Of the coefficient at this place of an axis."""
    return (index + 1) // 2


def dense_matrix(
    entries: Tensor, count: int, bandwidth: int | None, order: Callable[[int], int] = frequency
) -> Tensor:
    """``(groups, count, count)`` out of stored entries: what the layer must not need to build."""
    values = iter(entries.unbind(1))
    matrix = torch.zeros(len(entries), count, count, dtype=entries.dtype)
    rows_of = [[i for i in range(count) if order(i) == k] for k in range(order(count - 1) + 1)]
    for k, rows in enumerate(rows_of):
        for row in rows:
            for column in range(count):
                if order(column) <= k and (bandwidth is None or order(column) >= k - bandwidth):
                    matrix[:, row, column] = next(values)
    return matrix


def by_channel(matrix: Tensor) -> Tensor:
    """One matrix per channel: neighbouring channels share a group's."""
    return matrix.repeat_interleave(CHANNELS // len(matrix), 0)


def masked_dense(layer: Mixer, coefficients: Tensor) -> Tensor:
    """A linear mixer by the matrices of its coefficients' band."""
    count = len(coefficients)
    matrices = [by_channel(dense_matrix(weight, count, layer.bandwidth)) for weight in layer.weights]
    if len(matrices) == 1:
        return torch.einsum("ckj,jbc->kbc", matrices[0], coefficients)
    return torch.einsum("ckj,cli,jibc->klbc", *matrices, coefficients)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", LINEAR)
@pytest.mark.parametrize("resolution", [1, 2, 4, 9, FINEST])
@with_every_option
def test_equal_to_the_masked_dense_matrix(name: str, resolution: int, kind: type, dtype: torch.dtype) -> None:
    layer, x = mixer(kind, name, dtype=dtype), coefficients_for(kind, resolution, dtype=dtype)
    assert_same(layer(x), masked_dense(layer, x))


@pytest.mark.parametrize("bandwidth", [None, 5])
def test_products_and_gradients_of_many_panels(bandwidth: int | None) -> None:
    count = 141
    layer = FrequencyMixer1d(1, 161, bandwidth).double()
    (weight,), (triangle,) = layer.weights, layer.triangles
    size = triangle.leading(band(count) + 1).size
    matrix = dense_matrix(weight.detach(), count, bandwidth)[0].requires_grad_()
    x = torch.randn(count, 2, 1, dtype=torch.float64, requires_grad=True)
    towards = torch.randn(count, 2, 1, dtype=torch.float64)
    out, dense = layer(x), torch.einsum("kj,jbc->kbc", matrix, x)
    assert_same(out, dense)
    found, found_entries = torch.autograd.grad(out, [x, weight], towards)
    expected, expected_matrix = torch.autograd.grad(dense, [x, matrix], towards)
    assert_same(found, expected)
    assert not found_entries[:, size:].any()
    inside = dense_matrix(torch.ones(1, size), count, bandwidth)[0].bool()
    assert_same(dense_matrix(found_entries[:, :size], count, bandwidth)[0], expected_matrix * inside)


@pytest.mark.parametrize("kind", MIXERS)
@pytest.mark.parametrize("finest", [FINEST, FINEST + 1])
@with_every_option
def test_exact_at_every_resolution(name: str, finest: int, kind: type) -> None:
    # In float32 a mean alone may be small by cancellation, and its relative error large.
    for dtype, base in ((torch.float64, 1), (torch.float32, 3)):
        layer, x = mixer(kind, name, finest, dtype), signals_of(kind, finest, dtype)
        if axes_of(kind) == 2:
            assert_scale_equivariant(on_images(layer), x, range(base, finest + 1))
        else:
            whole = on_signals(layer)(x)
            for r in range(base, finest + 1):
                assert_same(on_signals(layer)(downsample(x, r)), downsample(whole, r))


def on_signals(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda signals: to_grid(layer(to_coefficients(signals)), signals.shape[-1])


@pytest.mark.parametrize("kind", MIXERS)
@with_every_option
def test_coefficients_are_nested(name: str, kind: type) -> None:
    layer, x = mixer(kind, name), coefficients_for(kind)
    whole = layer(x)
    for count in range(1, len(x), 2):
        leading = (slice(count),) * axes_of(kind)
        assert_same(layer(x[leading]), whole[leading])


def test_a_full_matrix_would_not_be_equivariant() -> None:
    """The control: entries above the diagonal too, those of a lower band being the leading ones."""
    matrix = torch.randn(FINEST, FINEST, dtype=torch.float64)

    def full(coefficients: Tensor) -> Tensor:
        own = matrix[: len(coefficients), : len(coefficients)]
        return torch.einsum("kj,li,jibc->klbc", own, own, coefficients)

    x = signals_of(FrequencyMixer2d, FINEST)
    errors = scale_equivariance_errors(on_images(full), x, range(3, FINEST - 1))
    assert min(errors.values()) > 1e-2


@pytest.mark.parametrize("kind", MIXERS)
@pytest.mark.parametrize("name", ["in groups", "banded"])
def test_the_weights_of_a_lower_resolution_are_the_leading_ones(name: str, kind: type) -> None:
    layer, coarse = mixer(kind, name), mixer(kind, name, finest=8)
    leading = {
        key: value[:, : coarse.state_dict()[key].shape[1]] for key, value in layer.state_dict().items()
    }
    coarse.load_state_dict(leading)
    x = coefficients_for(kind, 8)
    assert_same(coarse(x), layer(x))


def test_only_the_triangle_is_stored() -> None:
    frequencies = band(FINEST) + 1
    triangle = (FINEST**2 + 1 + 4 * band(FINEST)) // 2  # with the other half of the blocks on the diagonal
    by_frequency = frequencies * (frequencies + 1) // 2
    bands = sum(min(k, 2) for k in range(frequencies))
    banded = 1 + sum(2 * (2 * min(k, 2) + (2 if k > 2 else 1)) for k in range(1, frequencies))

    def count(kind: type, name: str) -> int:
        return sum(parameter.numel() for parameter in mixer(kind, name).parameters())

    for kind, first, second, narrow_first, narrow_second in (
        (FrequencyMixer1d, triangle, 0, banded, 0),
        (FrequencyMixer2d, triangle, triangle, banded, banded),
        (MagnitudeMixer1d, by_frequency, 0, frequencies + bands, 0),
        (MagnitudeMixer2d, by_frequency, triangle, frequencies + bands, banded),
    ):
        assert count(kind, "shared") == first + second
        assert count(kind, "in groups") == 3 * (first + second)
        assert count(kind, "banded") == narrow_first + narrow_second
    assert count(FrequencyMixer1d, "shared") < 0.6 * FINEST**2


@pytest.mark.parametrize("kind", [FrequencyMixer1d, MagnitudeMixer1d])
def test_a_fresh_mixer_keeps_a_spectrum_that_falls_as_one_over_frequency(kind: type) -> None:
    torch.manual_seed(0)
    layer = kind(500, 41, groups=500)
    falling = 1 / (1 + torch.arange(41).add(1).div(2, rounding_mode="floor"))
    out = layer(falling[:, None, None] * torch.randn(41, 8, 500))
    energy = (out / falling[:, None, None]).square().mean((1, 2))
    assert 0.2 < energy.min() < energy.max() < 0.5


@pytest.mark.parametrize("kind", MIXERS)
@with_every_option
def test_gradients(name: str, kind: type) -> None:
    layer = mixer(kind, name)
    x = coefficients_for(kind, 5, batch=1).requires_grad_()

    def function(coefficients: Tensor, *weights: Tensor) -> Tensor:
        named = {f"weights.{axis}": weight for axis, weight in enumerate(weights)}
        return torch.func.functional_call(layer, named, coefficients)

    weights = [weight.detach().clone().requires_grad_() for weight in layer.weights]
    assert gradcheck(function, (x, *weights), fast_mode=True)


@pytest.mark.parametrize("kind", MIXERS)
def test_frozen_weights_and_inputs(kind: type) -> None:
    layer, x = mixer(kind), coefficients_for(kind).requires_grad_()
    (expected,) = torch.autograd.grad(layer(x).sum(), x)
    layer.requires_grad_(False)
    (found,) = torch.autograd.grad(layer(x).sum(), x)
    assert_same(found, expected)
    layer.requires_grad_(True)
    layer(x.detach()).sum().backward()
    assert all(weight.grad.isfinite().all() for weight in layer.weights)


@pytest.mark.parametrize("kind", MIXERS)
@pytest.mark.parametrize("name", ["shared", "in groups"])
def test_bfloat16_autocast(name: str, kind: type) -> None:
    layer, x = mixer(kind, name, dtype=torch.float32), coefficients_for(kind, dtype=torch.float32)
    expected = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x)
    assert found.dtype == torch.bfloat16
    assert relative_squared_error(found, expected) < 1e-3
    found.float().square().sum().backward()
    assert all(weight.grad.dtype == torch.float32 and weight.grad.any() for weight in layer.weights)


def test_an_empty_batch() -> None:
    for kind in MIXERS:
        layer, x = mixer(kind), coefficients_for(kind, batch=0).requires_grad_()
        out = layer(x)
        assert out.shape == x.shape
        out.sum().backward()
        assert not any(weight.grad.any() for weight in layer.weights)


def shifted(coefficients: Tensor, distance: float, axis: int) -> Tensor:
    """Coefficients of the signal moved by a fraction ``distance`` of its period along an axis."""
    moved = coefficients.clone()
    for k in range(1, band(coefficients.shape[axis]) + 1):
        angle = 2 * math.pi * k * distance
        cosine, sine = coefficients.select(axis, 2 * k - 1), coefficients.select(axis, 2 * k)
        moved.select(axis, 2 * k - 1).copy_(math.cos(angle) * cosine - math.sin(angle) * sine)
        moved.select(axis, 2 * k).copy_(math.sin(angle) * cosine + math.cos(angle) * sine)
    return moved


def test_moved_coefficients_are_those_of_a_rolled_image() -> None:
    x = signals_of(MagnitudeMixer2d, FINEST)
    rolled = to_coefficients(x.roll((3, -2), (2, 3)))
    assert_same(shifted(shifted(to_coefficients(x), 3 / FINEST, 0), -2 / FINEST, 1), rolled)


@pytest.mark.parametrize("kind", MAGNITUDE)
@with_every_option
def test_magnitudes_commute_with_shifts_by_any_distance(name: str, kind: type) -> None:
    layer, x = mixer(kind, name), coefficients_for(kind)
    for distance in (1 / FINEST, 0.5, 0.1234):
        for axis in range(axes_of(kind)):
            assert_same(layer(shifted(x, distance, axis)), shifted(layer(x), distance, axis))


@pytest.mark.parametrize("resolution", [8, FINEST])
def test_magnitudes_commute_with_circular_shifts_of_pixels(resolution: int) -> None:
    layer, x = mixer(MagnitudeMixer2d, "in groups"), signals_of(MagnitudeMixer2d, resolution)
    for shift in ((1, 0), (0, 1), (2, -3)):
        assert_same(on_images(layer)(x.roll(shift, (2, 3))), on_images(layer)(x).roll(shift, (2, 3)))
    one_axis, line = mixer(MagnitudeMixer1d, "in groups"), signals_of(MagnitudeMixer1d, resolution)
    assert_same(on_signals(one_axis)(line.roll(3, 2)), on_signals(one_axis)(line).roll(3, 2))


@pytest.mark.parametrize("kind", LINEAR)
@pytest.mark.parametrize("name", ["shared", "diagonal"])
def test_linear_mixers_do_not_commute_with_shifts(name: str, kind: type) -> None:
    """The control."""
    layer, x = mixer(kind, name), coefficients_for(kind)
    assert relative_squared_error(layer(shifted(x, 0.1234, 0)), shifted(layer(x), 0.1234, 0)) > 1e-2


@pytest.mark.parametrize("kind", MAGNITUDE)
def test_magnitudes_do_mix_and_phases_are_kept(kind: type) -> None:
    layer, x = mixer(kind), coefficients_for(kind)
    weaker = x.clone()
    weaker[0] *= 0.5
    assert relative_squared_error(layer(weaker)[1:], layer(x)[1:]) > 1e-4
    if axes_of(kind) == 1:
        out = layer(x)
        cross = out[1::2] * x[2::2] - out[2::2] * x[1::2]
        assert cross.abs().max() < 1e-12


@pytest.mark.parametrize("kind", MAGNITUDE)
def test_identity_weights_give_the_identity(kind: type) -> None:
    layer, x = mixer(kind, "diagonal"), coefficients_for(kind)
    for weight, triangle in zip(layer.weights, layer.triangles, strict=True):
        blocks = [torch.eye(block.height, dtype=weight.dtype).flatten() for block in triangle.row_blocks()]
        weight.data = torch.cat(blocks)[None]
    assert_same(layer(x), x)


@pytest.mark.parametrize("kind", MAGNITUDE)
def test_the_constant_keeps_its_sign_and_reads_nothing_else(kind: type) -> None:
    layer, x = mixer(kind), coefficients_for(kind)
    origin = (0,) * axes_of(kind)
    scale = math.prod(weight[0, 0].item() for weight in layer.weights)
    assert_same(layer(x)[origin], scale * x[origin])


@pytest.mark.parametrize("kind", MAGNITUDE)
def test_smooth_where_every_wave_vanishes(kind: type) -> None:
    layer = mixer(kind)
    zero = torch.zeros_like(coefficients_for(kind)).requires_grad_()
    out = layer(zero)
    assert not out.any()
    out.sum().backward()
    assert zero.grad is not None
    assert zero.grad.isfinite().all()
    assert gradcheck(layer, (torch.zeros_like(coefficients_for(kind, 3)).requires_grad_(),), fast_mode=True)


def test_plane_waves_are_an_isometry_and_their_own_way_back() -> None:
    x = coefficients_for(MagnitudeMixer2d)
    cosine, sine = to_plane_waves(x)
    assert_same(from_plane_waves(cosine, sine), x)
    assert_same(cosine.square().sum() + sine.square().sum(), x.square().sum())
    with pytest.raises(AssertionError):
        assert_same(to_plane_waves(x)[0], to_plane_waves(shifted(x, 0.1, 0))[0])


def test_the_wave_at_a_place_is_the_one_of_its_frequencies() -> None:
    positions = 2 * math.pi * torch.arange(9, dtype=torch.float64) / 9
    for k1, k2, place in ((2, 3, 5), (2, -3, 6), (1, 0, 0), (4, -1, 2), (0, 2, 3)):
        phase = k1 * positions[:, None] + k2 * positions[None, :]
        wave = math.sqrt(2) * torch.cos(phase - 0.3)
        cosine, sine = to_plane_waves(to_coefficients(wave[None, None]))
        magnitude = (cosine.square() + sine.square()).sqrt()[..., 0, 0]
        expected = torch.zeros_like(magnitude)
        if k1:
            expected[k1, place] = 1
        else:  # the same wave under both of its signs
            expected[0, place] = expected[0, place + 1] = math.sqrt(0.5)
        assert_same(magnitude, expected)


@pytest.mark.parametrize("kind", MIXERS)
def test_copies_and_what_it_shows(kind: type) -> None:
    layer, x = mixer(kind, "banded in groups"), coefficients_for(kind)
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
    assert "6, max_resolution=13, bandwidth=3, groups=2" in repr(layer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 0}, "channels must be a positive integer, got 0"),
        ({"groups": 0}, "groups must be a positive integer, got 0"),
        ({"groups": 4}, r"groups must divide channels \(6\), got 4"),
        ({"max_resolution": 0}, "resolution must be a positive integer, got 0"),
        ({"bandwidth": -1}, "bandwidth must be an integer of at least 0, got -1"),
    ],
)
@pytest.mark.parametrize("kind", MIXERS)
def test_arguments_out_of_range(kind: type, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**{"channels": CHANNELS, "max_resolution": FINEST, **arguments})


@pytest.mark.parametrize("kind", MAGNITUDE)
def test_eps_must_be_positive(kind: type) -> None:
    with pytest.raises(ValueError, match=r"eps must be a finite number above 0, got 0\.0"):
        kind(CHANNELS, FINEST, eps=0.0)


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        (FrequencyMixer2d, (7, 9, 1, 6), r"coefficients must be square, .* got shape \(7, 9, 1, 6\)"),
        (MagnitudeMixer2d, (7, 7, 6), r"coefficients must be square, .* got shape \(7, 7, 6\)"),
        (FrequencyMixer1d, (7, 7, 1, 6), r"coefficients must be \(K, batch, channels\), got shape"),
        (MagnitudeMixer1d, (6, 1, 6), "must be an odd count .* got 6"),
        (FrequencyMixer1d, (15, 1, 6), r"band 7 \(resolutions 15 and 16\) are finer than max_resolution 13"),
        (MagnitudeMixer2d, (15, 15, 1, 6), r"band 7 \(resolutions 15 and 16\) are finer than"),
        (FrequencyMixer2d, (7, 7, 1, 5), "coefficients must have channels=6, got 5"),
    ],
)
def test_inputs_that_do_not_fit(kind: type, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(CHANNELS, FINEST)(torch.zeros(shape))


def test_on_the_grid_of_an_image() -> None:
    """Images in, images out: the mixer of a lower band sees what the ideal low-pass leaves."""
    layer, x = mixer(FrequencyMixer2d), signals_of(FrequencyMixer2d, FINEST)
    assert to_grid(layer(to_coefficients(x)), FINEST).shape == x.shape
