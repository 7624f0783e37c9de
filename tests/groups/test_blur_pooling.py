"""The centred blur commutes with the symmetries of the grid at odd and even sizes; a plain stride does not."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sefl.groups import BlurPool, FiniteGroup, act_on_grid, blur_pool, finite_group

EXACT = 1e-13


def plain_blur(x: Tensor) -> Tensor:
    """The control: binomial blur, then every second point from the first on."""
    taps = torch.tensor([1.0, 2.0, 1.0], dtype=x.dtype) / 4
    kernel = (taps[:, None] * taps).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(x, kernel, padding=1, groups=x.shape[1])[..., ::2, ::2]


def commutator(layer: object, x: Tensor, group: FiniteGroup) -> float:
    assert callable(layer)
    assert group.matrices is not None
    errors = [
        (layer(act_on_grid(x, matrix)) - act_on_grid(layer(x), matrix)).abs().max()
        for matrix in group.matrices
    ]
    return float(torch.stack(errors).max())


@pytest.mark.parametrize("rate", [1, 2, 3, 4])
@pytest.mark.parametrize("size", range(1, 14))
def test_commutes_with_rotations_and_reflections_of_pixels(rate: int, size: int) -> None:
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    y = BlurPool(rate)(x)
    assert y.shape[2:] == 2 * (-(-size // rate),)
    assert commutator(BlurPool(rate), x, finite_group("D4")) < EXACT


@pytest.mark.parametrize("rate", [2, 3])
@pytest.mark.parametrize("size", [4, 5, 6, 7])
def test_commutes_with_all_symmetries_of_voxels(rate: int, size: int) -> None:
    x = torch.randn(1, 2, size, size, size, dtype=torch.float64)
    assert commutator(BlurPool(rate, dimensions=3), x, finite_group("Oh")) < EXACT


def test_a_plain_stride_commutes_at_odd_sizes_only() -> None:
    odd, even = (torch.randn(2, 3, size, size, dtype=torch.float64) for size in (9, 10))
    assert commutator(plain_blur, odd, finite_group("D4")) < EXACT
    assert commutator(plain_blur, even, finite_group("D4")) > 0.1


@pytest.mark.parametrize(("rate", "size"), [(2, 9), (2, 10), (3, 10), (3, 11), (4, 16)])
def test_kept_points_are_those_of_the_formula_and_constants_stay(rate: int, size: int) -> None:
    position = torch.arange(size, dtype=torch.float64)
    kept = -(-size // rate)
    expected = ((size - 1) - rate * (kept - 1)) / 2 + rate * np.arange(kept)
    pooled = blur_pool(position.expand(1, 1, 3, size), rate)[0, 0, 0]
    inner = slice(1 + rate // 2, kept - 1 - rate // 2)
    assert np.abs(pooled.numpy() - expected)[inner].max(initial=0) < EXACT
    assert (blur_pool(torch.ones(1, 1, size, size, dtype=torch.float64), rate) - 1).abs().max() < EXACT


def test_kernels_at_rate_two() -> None:
    odd, even = torch.zeros(1, 1, 9, dtype=torch.float64), torch.zeros(1, 1, 10, dtype=torch.float64)
    odd[..., 4], even[..., 4] = 1, 1
    assert (blur_pool(odd, 2)[0, 0] * 4 - torch.tensor([0.0, 0, 2, 0, 0])).abs().max() < EXACT
    assert (blur_pool(even, 2)[0, 0] * 8 - torch.tensor([0.0, 1, 3, 0, 0])).abs().max() < EXACT


def test_axes_may_differ_and_dtype_stays() -> None:
    x = torch.randn(2, 3, 8, 11)
    y = blur_pool(x, 2)
    assert y.shape == (2, 3, 4, 6)
    assert torch.allclose(blur_pool(x.mT, 2), y.mT, atol=1e-6)
    assert blur_pool(x.bfloat16(), 2).dtype == torch.bfloat16
    assert not list(BlurPool(2).parameters())


@pytest.mark.parametrize("size", [6, 7])
def test_compiles_in_one_graph(size: int) -> None:
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    layer = BlurPool(2)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), layer(x))


def test_blur_errors() -> None:
    with pytest.raises(ValueError, match="rate"):
        BlurPool(0)
    with pytest.raises(ValueError, match="dimensions"):
        BlurPool(2, dimensions=1)
    with pytest.raises(ValueError, match="3 spatial axes"):
        BlurPool(2, dimensions=3)(torch.rand(1, 2, 4, 4))
