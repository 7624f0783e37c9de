"""ScaleEquivariantNonlinearity2d and ScaleEquivariantMaxPool2d: exact, as the naive loop over bands, differentiable."""

from functools import partial
from itertools import pairwise, product
from math import ceil, pi

import naive_fourier
import pytest
import torch
from scale_equivariance import (
    assert_same,
    assert_scale_equivariant,
    max_pool,
    on_images,
    relative_squared_error,
    scale_equivariance_errors,
)
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.nn import functional as F

from sefl.fourier import (
    ScaleEquivariantMaxPool2d,
    ScaleEquivariantNonlinearity2d,
    band,
    downsample,
    to_coefficients,
    to_grid,
)

CHANNELS = 3

pooling = partial(max_pool, ScaleEquivariantMaxPool2d)


def images(resolution: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(resolution)
    return torch.randn(2, CHANNELS, resolution, resolution, dtype=dtype, generator=generator)


def naively(layer: ScaleEquivariantMaxPool2d, x: Tensor) -> Tensor:
    return naive_fourier.nonlinearity(
        x,
        layer.activation,
        layer.base_resolution,
        layer.window,
        layer.oversampling,
        layer.weight,
        layer.bias,
        layer.eps,
    )


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("oversampling", [1, 1.5, 2])
@pytest.mark.parametrize("activation", ["relu", "gelu", "PReLU"])
@pytest.mark.parametrize("window", [1, 2, 3])
def test_equivariance_at_every_resolution(
    window: int, activation: str, oversampling: float, norm: bool
) -> None:
    for finest in (14, 15):
        layer = pooling(window, activation, 5, finest, norm, oversampling=oversampling)
        assert_scale_equivariant(on_images(layer, window), images(finest), range(5, finest + 1), window)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("window", [1, 2, 3])
def test_equivariance_in_single_precision(window: int, norm: bool) -> None:
    layer = pooling(window, "relu", 5, 16, norm, torch.float32)
    x = images(16, torch.float32)
    assert_scale_equivariant(on_images(layer, window), x, range(5, 17), window)


@pytest.mark.parametrize("window", [1, 2, 3, 4])
@pytest.mark.parametrize("base", [1, 2, 3, 4, 6, 7])
def test_equivariance_from_any_base_on(window: int, base: int) -> None:
    layer = pooling(window, "gelu", base, 13, norm=True)
    assert_scale_equivariant(on_images(layer, window), images(13), range(base, 14), window)


@pytest.mark.parametrize("window", [1, 2, 3, 4, 5])
def test_resolution_r_maps_to_r_over_the_window_rounded_up(window: int) -> None:
    layer = pooling(window, base=5, finest=15)
    for r in range(5, 16):
        count = 2 * band(ceil(r / window)) + 1
        assert layer(to_coefficients(images(r))).shape == (count, count, 2, CHANNELS)


def test_pointwise_on_the_grid_and_naive_pooling_are_not_equivariant() -> None:
    x = images(15)
    assert min(scale_equivariance_errors(F.relu, x, range(5, 14)).values()) > 1e-3
    assert min(scale_equivariance_errors(F.gelu, x, range(5, 14)).values()) > 1e-3
    for window in (2, 3):
        errors = scale_equivariance_errors(
            lambda x, window=window: F.max_pool2d(x, window, ceil_mode=True), x, range(5, 14), window
        )
        assert min(errors.values()) > 1e-3


def test_below_the_base_nothing_is_claimed() -> None:
    """The base band gives everything below it, so a coarser range is another function there."""
    x = to_coefficients(images(9))
    lower, higher = pooling(1, base=3, finest=9)(x), pooling(1, base=7, finest=9)(x)
    assert_same(lower[5:], higher[5:])
    assert relative_squared_error(lower[:5, :5], higher[:5, :5]) > 1e-3


@pytest.mark.parametrize(
    ("window", "activation", "oversampling", "norm"),
    [
        (1, "relu", 1, False),
        (1, "gelu", 1, True),
        (1, "PReLU", 1.5, True),
        (1, "relu", 2, True),
        (2, "relu", 1, False),
        (2, "gelu", 1.5, True),
        (3, "PReLU", 1, True),
        (3, "relu", 2, False),
        (4, "gelu", 1, True),
    ],
)
def test_it_is_the_naive_loop_over_bands(
    window: int, activation: str, oversampling: float, norm: bool
) -> None:
    layer = pooling(window, activation, 5, 13, norm, oversampling=oversampling, eps=1e-3)
    for r in range(5, 14):
        assert_same(on_images(layer, window)(images(r)), naively(layer, images(r)))


def test_gradients_are_those_of_the_naive_loop() -> None:
    for window, activation in product((1, 2, 3), ("relu", "PReLU")):
        layer, x = pooling(window, activation, 4, 9, norm=True), images(8).requires_grad_()
        towards = images(ceil(8 / window))
        inputs = [x, *layer.parameters()]
        found = torch.autograd.grad((on_images(layer, window)(x) * towards).sum(), inputs)
        expected = torch.autograd.grad((naively(layer, x) * towards).sum(), inputs)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)


def test_what_the_activation_sees_of_each_band_has_mean_zero_and_variance_one() -> None:
    seen: list[Tensor] = []

    def spy(values: Tensor) -> Tensor:
        seen.append(values.clone())
        return values

    layer = ScaleEquivariantNonlinearity2d(spy, 3, 9, channels=CHANNELS, grid_sharing=1).double()
    layer.eps = 1e-14
    seen.clear()
    layer(to_coefficients(3 + 5 * images(9)))
    assert [values.shape for values in seen] == [(2, CHANNELS, n, n) for n in (3, 5, 7, 9)]
    zeros, ones = torch.zeros(2, CHANNELS).double(), torch.ones(2, CHANNELS).double()
    for values in seen:
        torch.testing.assert_close(values.mean((2, 3)), zeros, rtol=0, atol=1e-12)
        torch.testing.assert_close(values.var((2, 3), unbiased=False), ones, rtol=0, atol=1e-12)
    # Against the instance norm of the downsampled image, whose rows and columns are the band's.
    expected = F.instance_norm(downsample(images(9), 5), eps=0)
    torch.testing.assert_close(seen[1], expected, rtol=0, atol=1e-12)


def test_the_identity_without_norm_changes_nothing() -> None:
    coefficients = to_coefficients(images(10)).requires_grad_()
    for oversampling in (1, 1.3, 2):
        layer = ScaleEquivariantNonlinearity2d(nn.Identity(), 4, 10, oversampling=oversampling)
        outcome = layer(coefficients)
        assert_same(outcome, coefficients)
        (gradient,) = torch.autograd.grad((outcome * coefficients.detach()).sum(), coefficients)
        assert_same(gradient, coefficients)


@pytest.mark.parametrize(
    ("window", "activation", "oversampling", "norm", "resolution"),
    [
        (1, "relu", 1, False, 7),
        (1, "relu", 1.5, True, 7),
        (1, "gelu", 1, True, 6),
        (1, "PReLU", 1, False, 7),
        (1, "PReLU", 2, True, 5),
        (2, "relu", 1, True, 7),
        (2, "PReLU", 1, True, 5),
        (3, "gelu", 1.5, True, 7),
        (3, "relu", 1, False, 6),
    ],
)
def test_gradients_of_input_affine_and_activation(
    window: int, activation: str, oversampling: float, norm: bool, resolution: int
) -> None:
    layer = pooling(window, activation, 3, 7, norm, oversampling=oversampling, eps=0.1)
    parameters = list(layer.parameters())
    coefficients = to_coefficients(images(resolution)[:2, :, :, :]).requires_grad_()

    # gradcheck perturbs the tensors in place, so that the layer's own parameters may be passed beside the input.
    def outcome(coefficients: Tensor, *parameters: Tensor) -> Tensor:
        return layer(coefficients)

    assert gradcheck(outcome, (coefficients, *parameters))


@pytest.mark.parametrize("window", [1, 2])
def test_bands_finer_than_the_input_have_no_gradient(window: int) -> None:
    layer = pooling(window, "gelu", 5, 15, norm=True)
    outcome = layer(to_coefficients(images(9)))
    outcome.square().sum().backward()
    used = len(range(band(ceil(5 / window)), band(ceil(9 / window)) + 1))
    for parameter in (layer.weight, layer.bias):
        assert (parameter.grad[:used] != 0).all()
        assert (parameter.grad[used:] == 0).all()
        assert len(parameter) > used


def test_a_frozen_activation_or_norm_still_passes_gradients_on() -> None:
    for window in (1, 2):
        layer = pooling(window, "PReLU", 3, 7, norm=True)
        coefficients = to_coefficients(images(7)).requires_grad_()
        (expected,) = torch.autograd.grad(layer(coefficients).square().sum(), coefficients)
        layer.requires_grad_(False)
        (found,) = torch.autograd.grad(layer(coefficients).square().sum(), coefficients)
        assert_same(found, expected)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_relu_has_no_other_result_than_the_general_case(norm: bool, dtype: torch.dtype) -> None:
    x = images(9, dtype)
    outcomes = []
    for activation in (
        F.relu,
        nn.ReLU(),
        lambda values: F.relu(values),
        torch.relu,
        lambda v: v.clamp(min=0),
    ):
        layer = pooling(1, base=3, finest=9, norm=norm, dtype=dtype)
        layer.activation = activation
        leaf = to_coefficients(x).requires_grad_()
        outcome = layer(leaf)
        gradients = torch.autograd.grad((outcome * outcome.detach()).sum(), [leaf, *layer.parameters()])
        outcomes.append([outcome, *gradients])
    for other in outcomes[1:]:
        for one, reference in zip(other, outcomes[0], strict=True):
            assert_same(one, reference)


@pytest.mark.parametrize("window", [1, 2, 3])
def test_reversal_about_the_first_pixel_and_transposition_commute(window: int) -> None:
    def reverse(x: Tensor, axis: int) -> Tensor:
        return x.flip(axis).roll(1, axis)

    for oversampling in (1, 1.5):
        layer = on_images(pooling(window, "relu", 4, 13, norm=True, oversampling=oversampling), window)
        x = images(13)
        assert_same(layer(x.transpose(-1, -2)), layer(x).transpose(-1, -2))
        for axis in (-1, -2):
            assert_same(layer(reverse(x, axis)), reverse(layer(x), axis))


def shifted(coefficients: Tensor, offset: float) -> Tensor:
    """The signal moved down by ``offset`` periods, in coefficients."""
    frequency = torch.arange(1, coefficients.shape[0] // 2 + 1).double()
    cosine, sine = torch.cos(2 * pi * frequency * offset), torch.sin(2 * pi * frequency * offset)
    moved = coefficients.clone()
    cosine, sine = cosine[:, None, None, None], sine[:, None, None, None]
    moved[1::2] = cosine * coefficients[1::2] - sine * coefficients[2::2]
    moved[2::2] = sine * coefficients[1::2] + cosine * coefficients[2::2]
    return moved


def test_the_shift_in_coefficients_is_the_roll_on_the_grid() -> None:
    assert_same(to_grid(shifted(to_coefficients(images(9)), 2 / 9), 9), images(9).roll(2, 2))


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("window", [1, 2])
def test_oversampling_approaches_sub_pixel_shift_equivariance(window: int, activation: str) -> None:
    x = to_coefficients(images(15))
    errors = []
    for oversampling in (1, 1.5, 2, 3):
        layer = pooling(window, activation, 15, 15, oversampling=oversampling)
        errors.append(
            sum(
                relative_squared_error(layer(shifted(x, offset)), shifted(layer(x), offset))
                for offset in (0.11 / 15, 0.37 / 15, 0.5 / 15)
            )
        )
    assert all(finer < coarser for coarser, finer in pairwise(errors)), errors
    # The maximum over samples is itself only roughly invariant, so that pooling gains less.
    assert errors[-1] < errors[0] / (10 if window == 1 else 2), errors


@pytest.mark.parametrize(
    "make", [lambda a: ScaleEquivariantNonlinearity2d(a), lambda a: ScaleEquivariantMaxPool2d(2, a)]
)
def test_an_activation_in_place_is_refused(make) -> None:
    with pytest.raises(ValueError, match=r"activation must not work in place, got ReLU\(inplace=True\)"):
        make(nn.ReLU(inplace=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 0}, "window must be a positive integer, got 0"),
        ({"base_resolution": 0}, r"base_resolution must lie in 1..max_resolution \(28\), got 0"),
        ({"base_resolution": 29}, r"base_resolution must lie in 1..max_resolution \(28\), got 29"),
        ({"oversampling": 0.9}, r"oversampling must be a finite number of at least 1, got 0\.9"),
        ({"oversampling": float("nan")}, "oversampling must be a finite number of at least 1, got nan"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScaleEquivariantMaxPool2d(**{"window": 2, **arguments})


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((7, 9, 1, 3), r"coefficients must be square, .* got shape \(7, 9, 1, 3\)"),
        ((7, 7, 3), r"coefficients must be square, .* got shape \(7, 7, 3\)"),
        ((8, 8, 1, 3), r"odd count 2 \* band \+ 1, got 8"),
        ((5, 5, 1, 3), r"band 2 \(resolutions 5 and 6\) are outside the layer's range, base_resolution 7"),
        ((17, 17, 1, 3), r"band 8 \(resolutions 17 and 18\) are outside .* max_resolution 15"),
        ((9, 9, 1, 4), "coefficients must have channels=3, got 4"),
    ],
)
def test_inputs_that_do_not_fit(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScaleEquivariantNonlinearity2d(F.relu, 7, 15, channels=3)(torch.zeros(shape))
