"""Grids about the image's middle: flips and quarter turns on coefficients, and layers that commute with them."""

from collections.abc import Callable, Iterator

import pytest
import torch
from flat_settings import made
from scale_equivariance import assert_same, max_pool, randomised, relative_squared_error
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from sefl.equivariance import Composition, GroupAction, IdealDownsampling, measure
from sefl.fourier import (
    BandPooling2d,
    ScaleEquivariantMaxPool2d,
    SpectralBatchNorm,
    band,
    downsample,
    to_coefficients,
    to_grid,
)

Move = Callable[[Tensor], Tensor]


def images(resolution: int, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(resolution)
    return torch.randn(batch, 3, resolution, resolution, dtype=torch.float64, generator=generator)


def moves(first_axis: int) -> Iterator[Move]:
    """The symmetries of the square of two neighbouring axes."""
    axes = (first_axis, first_axis + 1)
    for turns in range(4):
        yield lambda x, turns=turns: x.rot90(turns, axes)
        yield lambda x, turns=turns: x.rot90(turns, axes).flip(axes[1])


def on_coefficients() -> Iterator[Move]:
    """The same: the signs of sines, and a transposition, with no grid in between."""

    def flipped(c: Tensor, axis: int) -> Tensor:
        signs = torch.ones(c.shape[axis], dtype=c.dtype)
        signs[2::2] = -1
        return c * signs.view(-1, *[1] * (c.dim() - 1 - axis))

    def turned(c: Tensor, turns: int) -> Tensor:
        return c if not turns else turned(flipped(c.transpose(0, 1), 0), turns - 1)

    for turns in range(4):
        yield lambda c, turns=turns: turned(c, turns)
        yield lambda c, turns=turns: flipped(turned(c, turns), 1)


@pytest.mark.parametrize("size", range(5, 13))
def test_symmetries_of_the_square_are_signs_and_a_transposition(size: int) -> None:
    x = images(size)
    missed = []
    for move, on_them in zip(moves(2), on_coefficients(), strict=True):
        coefficients = on_them(to_coefficients(x, "image"))
        assert_same(to_coefficients(move(x), "image"), coefficients)
        finer = to_grid(to_coefficients(x, "image"), size + 3, "image")
        assert_same(to_grid(coefficients, size + 3, "image"), move(finer))
        missed.append(relative_squared_error(to_coefficients(move(x)), on_them(to_coefficients(x))))
    # The control: of grids that begin at the first pixel, the transposition keeps that.
    assert sum(error > 0.1 for error in missed) == 6


@pytest.mark.parametrize("size", [11, 12])
def test_downsampling_is_the_slice(size: int) -> None:
    x = images(size)
    coefficients = to_coefficients(x, "image")
    for r in range(1, size + 1):
        count = 2 * band(r) + 1
        coarse = downsample(x, r, "image")
        assert_same(to_coefficients(coarse, "image"), coefficients[:count, :count])
        assert_same(to_grid(coefficients, r, "image"), coarse)


LAYERS = {
    "max-pool 1": lambda: max_pool(ScaleEquivariantMaxPool2d, 1, norm=True),
    "max-pool 2": lambda: max_pool(ScaleEquivariantMaxPool2d, 2, "gelu", oversampling=1.4),
    "max-pool 3": lambda: max_pool(ScaleEquivariantMaxPool2d, 3, grid_sharing=1.5),
    "batch norm": lambda: randomised(SpectralBatchNorm(3)).eval(),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_that_never_see_where_grids_begin(name: str) -> None:
    """Their grids, of as many points as a band needs, are symmetric as they are."""
    layer = LAYERS[name]().double()
    x = to_coefficients(images(15), "image")
    for move in on_coefficients():
        assert_same(layer(move(x)), move(layer(x)))


@pytest.mark.parametrize("pool", ["max", "mean"])
@pytest.mark.parametrize(("cells", "grid"), [(2, None), (3, 18), (14, None)])
def test_cells_of_moved_images_are_the_moved_cells(cells: int, grid: int | None, pool: str) -> None:
    def of_bands(x: Tensor, center: str) -> Tensor:
        pooling = BandPooling2d(5, 14, cells, grid, pool, center)
        return pooling(to_coefficients(x, center)).unflatten(2, (3, cells, cells))

    x = images(14)
    for r in (14, 9, 8):
        coarse = downsample(x, r, "image")
        pooled, corner = of_bands(coarse, "image"), of_bands(coarse, "pixel")
        assert_same(pooled, of_bands(x, "image")[:, : pooled.shape[1]])
        missed = []
        for move_images, move_cells in zip(moves(2), moves(3), strict=True):
            moved = move_images(coarse)
            assert_same(of_bands(moved, "image"), move_cells(pooled))
            missed.append(relative_squared_error(of_bands(moved, "pixel"), move_cells(corner)))
        # The control, which an image on the grid itself would pass, as one that is not resampled.
        assert r == 14 or sum(error > 1e-6 for error in missed) == 6
    window = (grid or 14) // cells
    finest = to_grid(to_coefficients(x, "image"), grid or 14, "image")
    whole = {"max": F.max_pool2d, "mean": F.avg_pool2d}[pool](finest, window)
    assert_same(of_bands(x, "image")[:, -1], whole)


def test_gradients() -> None:
    pooling = BandPooling2d(3, 7, 2, center="image")
    x = to_coefficients(images(7, 1), "image").requires_grad_()
    assert gradcheck(pooling, x)
    assert gradgradcheck(pooling, x)


@pytest.mark.parametrize("center", ["image", "pixel"])
def test_every_layer_of_a_network_under_both_at_once(center: str) -> None:
    """With kernels of one tap nothing in a block has a direction; whether that shows, the grids decide."""
    torch.manual_seed(0)
    settings = {
        "in_channels": 3,
        "widths": [4, 5],
        "kernel_size": 1,
        "pools": [1, 2],
        "norm": "batch",
        "activation": "gelu",
    }
    network = made("FourierNetwork", **settings, base_resolution=9, max_resolution=13, center=center)
    turn, shrink = GroupAction("D4"), IdealDownsampling()
    transformations = [shrink, turn, Composition(turn, shrink)]
    table = measure(randomised(network).double().eval(), images(13), transformations, ["blocks.*"])
    assert table.error(transformation="downsample")[1] < 1e-26
    if center == "image":
        assert len(table) == 10 * (4 + 7 + 28)
        assert table.error()[1] < 1e-26
    else:
        assert {row.transformation for row in table} == {"downsample"}
        assert all("no middle" in reason for reason in table.unmeasured.values())


def test_what_is_neither() -> None:
    x = images(6)
    for refused in (
        lambda: to_coefficients(x, "middle"),
        lambda: to_grid(to_coefficients(x), 6, "middle"),
        lambda: BandPooling2d(3, 7, center="middle"),
        lambda: made("FourierNetwork", center="middle"),
    ):
        with pytest.raises(ValueError, match=r"center must be one of .*'image', 'pixel'.*got 'middle'"):
            refused()
