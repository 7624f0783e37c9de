"""Bands that share a grid: exact as with grids of their own, the same at all resolutions, by less work."""

from typing import Any

import pytest
import torch
from scale_equivariance import assert_same, assert_scale_equivariant, on_images, relative_squared_error
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.nn import functional as F

from sefl.fourier import (
    ScaleEquivariantMaxPool1d,
    ScaleEquivariantMaxPool2d,
    downsample,
    to_coefficients,
    to_grid,
)
from sefl.fourier.shells import Shells
from sefl.fourier.shellwise import Plan

CHANNELS = 3
BASE, FINEST = 5, 19
LAYERS = {1: ScaleEquivariantMaxPool1d, 2: ScaleEquivariantMaxPool2d}
SHARING = (1.25, 1.6)
ACTIVATIONS = {"ReLU": lambda: F.relu, "GELU": lambda: F.gelu, "PReLU": lambda: nn.PReLU(CHANNELS)}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "norm": {"channels": CHANNELS},
    "window": {"window": 2, "channels": CHANNELS},
    "window of three, oversampled": {"window": 3, "oversampling": 1.5},
    "skipped bands": {"band_step": 2, "channels": CHANNELS},
}


def layer(axes: int, sharing: float, activation: str = "ReLU", finest: int = FINEST, **options: Any) -> Any:
    torch.manual_seed(1)
    settings = {"window": 1, "base_resolution": BASE, "max_resolution": finest, **options}
    made = LAYERS[axes](activation=ACTIVATIONS[activation](), grid_sharing=sharing, **settings).double()
    if made.weight is not None:
        nn.init.normal_(made.weight)
        nn.init.normal_(made.bias)
    return made


def images(axes: int, size: int = FINEST) -> Tensor:
    generator = torch.Generator().manual_seed(size)
    return torch.randn(2, CHANNELS, *[size] * axes, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("sharing", SHARING)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "skipped bands"])
@pytest.mark.parametrize("axes", LAYERS)
def test_it_is_exact(axes: int, name: str, activation: str, sharing: float) -> None:
    made = layer(axes, sharing, activation, **OPTIONS[name])
    assert_scale_equivariant(on_images(made, made.window), images(axes), range(BASE, FINEST + 1), made.window)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("axes", LAYERS)
def test_every_band_is_what_its_own_layer_of_that_grid_computes(axes: int, name: str) -> None:
    """Oversampling a layer whose bands have grids of their own makes the grid that a band shares, for that band."""
    options = {**OPTIONS[name], "activation": "GELU"}
    made, x = layer(axes, 1.6, **options), to_coefficients(images(axes))
    found = made(x)
    top = {b: Plan(Shells(axes), range(1), 0, 1, 1.0, F.gelu, 0.0, 1.6).top(b) for b in range(10)}
    assert any(shared > own for own, shared in top.items())
    for b in made._bands((found.shape[0] - 1) // 2):
        if b > (found.shape[0] - 1) // 2:
            continue
        points = (2 * top[b] + 1) * options.get("oversampling", 1.0)
        own = layer(axes, 1.0, **{**options, "oversampling": -(-points // 1) / (2 * b + 1)})
        own.load_state_dict(made.state_dict())
        expected = own(x)
        frequency = (torch.arange(len(expected)) + 1) // 2
        shell = frequency if axes == 1 else torch.maximum(frequency[:, None], frequency)
        own_shells = (shell <= b) & ((shell > b - made.band_step) | (b == made.base_band))
        assert_same(found[own_shells], expected[own_shells])


@pytest.mark.parametrize("activation", ["GELU", "PReLU", "ReLU"])
@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("axes", LAYERS)
def test_gradients(axes: int, name: str, activation: str) -> None:
    made = layer(axes, 1.6, activation, finest=13, **OPTIONS[name])
    coefficients = to_coefficients(images(axes, 13)[:1]).requires_grad_()
    assert gradcheck(lambda c, *_: made(c), (coefficients, *made.parameters()), nondet_tol=1e-12)


def test_not_even_the_finest_resolution_changes_the_function() -> None:
    x = images(2, 11)
    one, other = (layer(2, 1.6, finest=finest) for finest in (11, 19))
    assert torch.equal(one(to_coefficients(x)), other(to_coefficients(x)))


def test_grids_that_follow_from_the_image_would_not_be_equivariant() -> None:
    """The control: each image on the finest grid that its own bands share."""

    def careless(x: Tensor) -> Tensor:
        size = x.shape[-1]
        made = layer(2, 1.0, "GELU", oversampling=1.6 if size == FINEST else 1.0)
        return to_grid(made(to_coefficients(x)), size)

    x = images(2)
    assert relative_squared_error(careless(downsample(x, 9)), downsample(careless(x), 9)) > 1e-6


def test_a_factor_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"grid_sharing must be a finite number of at least 1, got 0\.9"):
        layer(2, 0.9)
