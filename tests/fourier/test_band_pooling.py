"""BandPooling2d: every band's pooled features, as one band at a time would give them."""

import naive_fourier
import pytest
import torch
from scale_equivariance import TOLERANCE, assert_same, relative_squared_error
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F

from sefl.fourier import BandPooling2d, band, downsample, to_coefficients

POOLS = {"max": F.max_pool2d, "mean": F.avg_pool2d}


def images(resolution: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(resolution)
    return torch.randn(2, 3, resolution, resolution, dtype=dtype, generator=generator)


def naively(pooling: BandPooling2d, x: Tensor) -> Tensor:
    """Each band's image, interpolated to the grid and pooled."""
    pooled = []
    for finest in range(band(pooling.base_resolution), band(x.shape[-1]) + 1):
        count = 2 * finest + 1
        image = naive_fourier.resample(naive_fourier.resample(x, count, count), pooling.grid, pooling.grid)
        pooled.append(POOLS[pooling.pool](image, pooling.grid // pooling.cells).flatten(1))
    return torch.stack(pooled, dim=1)


@pytest.mark.parametrize("pool", ["max", "mean"])
@pytest.mark.parametrize(("cells", "grid"), [(1, None), (2, None), (3, None), (2, 20), (13, None)])
@pytest.mark.parametrize("base", [1, 5, 6])
def test_it_is_the_naive_loop_over_bands(base: int, cells: int, grid: int | None, pool: str) -> None:
    pooling = BandPooling2d(base, 13, cells, grid, pool)
    for r in range(base, 14):
        x = images(r)
        found = pooling(to_coefficients(x))
        assert found.shape == (2, band(r) - band(base) + 1, 3 * cells**2)
        assert_same(found, naively(pooling, x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("pool", ["max", "mean"])
@pytest.mark.parametrize("finest", [15, 16])
def test_a_coarser_image_gives_the_leading_bands(finest: int, pool: str, dtype: torch.dtype) -> None:
    pooling, x = BandPooling2d(5, finest, 2, pool=pool), images(finest, dtype)
    whole = pooling(to_coefficients(x))
    for r in range(5, finest + 1):
        coarse = pooling(to_coefficients(downsample(x, r)))
        assert_same(coarse, whole[:, : coarse.shape[1]])


def test_pooling_the_pixels_of_a_coarser_image_gives_other_features() -> None:
    """The control."""
    x = images(16)
    whole = BandPooling2d(6, 16, 2)(to_coefficients(x))
    for r in range(6, 16, 2):
        coarse = F.max_pool2d(downsample(x, r), r // 2).flatten(1)
        assert relative_squared_error(coarse, whole[:, band(r) - band(6)]) > 1e3 * TOLERANCE[torch.float32]


@pytest.mark.parametrize("pool", ["max", "mean"])
@pytest.mark.parametrize("base", [1, 4])
def test_gradients(base: int, pool: str) -> None:
    pooling = BandPooling2d(base, 7, 2, pool=pool)
    assert gradcheck(pooling, (to_coefficients(images(7)).requires_grad_(),))
    assert gradcheck(pooling, (to_coefficients(images(5)).requires_grad_(),))


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_gradients_are_those_of_the_naive_loop(pool: str) -> None:
    pooling, x = BandPooling2d(4, 13, 2, pool=pool), images(13).requires_grad_()
    outcome = pooling(to_coefficients(x))
    towards = torch.randn_like(outcome)
    (found,) = torch.autograd.grad((outcome * towards).sum(), x)
    (expected,) = torch.autograd.grad((naively(pooling, x) * towards).sum(), x)
    assert_same(found, expected)


@pytest.mark.parametrize("pool", ["max", "mean"])
@pytest.mark.parametrize("places", [[0], [4], [0, 3], [1, 2, 4], [3, 1]])
def test_bands_that_are_asked_for(places: list[int], pool: str) -> None:
    pooling, coefficients = BandPooling2d(4, 13, 2, pool=pool), to_coefficients(images(13)).requires_grad_()
    whole, found = pooling(coefficients), pooling(coefficients, places)
    assert_same(found, whole[:, places])
    towards = torch.randn_like(found)
    gradients = [torch.autograd.grad((of * towards).sum(), coefficients) for of in (found, whole[:, places])]
    assert_same(gradients[0][0], gradients[1][0])


def test_the_default_grid_is_the_least_multiple_that_holds_the_image() -> None:
    assert [BandPooling2d(8, 28, cells).grid for cells in (1, 2, 3, 5)] == [28, 28, 30, 30]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"base_resolution": 0}, r"base_resolution must lie in 1..max_resolution \(13\), got 0"),
        ({"base_resolution": 14}, r"base_resolution must lie in 1..max_resolution \(13\), got 14"),
        ({"cells": 0}, "cells must be a positive integer, got 0"),
        ({"grid": 15}, r"grid must be a multiple of cells \(2\) .* got 15"),
        ({"grid": 12}, "hold 13 pixels for the finest band, got 12"),
        ({"pool": "median"}, "pool must be 'max' or 'mean', got 'median'"),
    ],
)
def test_arguments_out_of_range(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BandPooling2d(**{"base_resolution": 5, "max_resolution": 13, **arguments})


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((7, 9, 1, 1), r"coefficients must be square, .* got shape \(7, 9, 1, 1\)"),
        ((7, 7), r"coefficients must be square, .* got shape \(7, 7\)"),
        ((3, 3, 1, 1), r"band 1 \(resolutions 3 and 4\) are outside the head's range, base_resolution 5"),
        ((15, 15, 1, 1), r"band 7 \(resolutions 15 and 16\) are outside .* max_resolution 13"),
    ],
)
def test_inputs_that_do_not_fit(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BandPooling2d(5, 13)(torch.zeros(shape))
