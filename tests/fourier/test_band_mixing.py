"""Perceptrons over bands: a band reads itself and coarser ones alone, and is stored so."""

from typing import Any

import pytest
import torch
from scale_equivariance import assert_same, relative_squared_error
from torch import Tensor, nn
from torch.autograd import gradcheck

from sefl.fourier import BandLinear, BandPerceptron, BandPooling2d, downsample, to_coefficients

BANDS, FEATURES, OUTPUTS = 7, 5, 3


def linear(bandwidth: int | None = None, **settings: Any) -> BandLinear:
    torch.manual_seed(0)
    return BandLinear(FEATURES, OUTPUTS, BANDS, bandwidth, **settings).double()


def features(bands: int = BANDS, batch: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(bands)
    return torch.randn(batch, bands, FEATURES, dtype=torch.float64, generator=generator)


def masked_dense(layer: BandLinear, x: Tensor) -> Tensor:
    """Each pair of bands has a matrix, and those that look at a finer band are zero."""
    bandwidth = BANDS if layer.triangle.bandwidth is None else layer.triangle.bandwidth
    matrix = torch.zeros(BANDS, OUTPUTS, BANDS, FEATURES, dtype=x.dtype)
    stored = iter(layer.weight.detach())
    for b in range(BANDS):
        for output in range(OUTPUTS):
            for a in range(max(0, b - bandwidth), b + 1):
                for entry in range(FEATURES):
                    matrix[b, output, a, entry] = next(stored)
    assert next(stored, None) is None
    bands = x.shape[1]
    out = torch.einsum("boai,nai->nbo", matrix[:bands, :, :bands], x)
    return out if layer.bias is None else out + layer.bias[:bands]


@pytest.mark.parametrize("bandwidth", [None, 0, 2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bands", [1, 4, BANDS])
def test_equal_to_the_masked_dense_matrix(bands: int, bias: bool, bandwidth: int | None) -> None:
    layer, x = linear(bandwidth, bias=bias), features(bands)
    assert_same(layer(x), masked_dense(layer, x))


@pytest.mark.parametrize("bandwidth", [None, 2])
def test_fewer_bands_give_the_leading_bands(bandwidth: int | None) -> None:
    torch.manual_seed(1)
    perceptron = BandPerceptron(FEATURES, 8, OUTPUTS, BANDS, bandwidth=bandwidth).double()
    x = features()
    for layer in (linear(bandwidth), perceptron):
        whole = layer(x)
        for bands in range(1, BANDS + 1):
            assert_same(layer(x[:, :bands]), whole[:, :bands])


def test_a_full_layer_over_bands_would_not() -> None:
    """The control: finer bands reach coarser ones."""
    full = nn.Linear(BANDS, BANDS).double()
    x = features()
    without = x.clone()
    without[:, -1] = 0
    mixed, rest = full(x.transpose(1, 2)), full(without.transpose(1, 2))
    assert relative_squared_error(rest[..., :-1], mixed[..., :-1]) > 1e-3
    assert_same(linear()(without)[:, :-1], linear()(x)[:, :-1])


def test_every_coarser_band_acts() -> None:
    x = features(batch=1).requires_grad_()
    for b in range(BANDS):
        (gradient,) = torch.autograd.grad(linear()(x)[0, b].sum(), x)
        assert gradient[0, : b + 1].all()
        assert not gradient[0, b + 1 :].any()


def test_on_pooled_images_of_every_resolution() -> None:
    torch.manual_seed(0)
    pooling = BandPooling2d(5, 13)
    layer = BandPerceptron(8, 6, OUTPUTS, 5).double()
    x = torch.randn(2, 2, 13, 13, dtype=torch.float64)
    whole = layer(pooling(to_coefficients(x)))
    for r in range(5, 14):
        own = layer(pooling(to_coefficients(downsample(x, r))))
        assert_same(own, whole[:, : own.shape[1]])


def test_only_the_triangle_is_stored() -> None:
    pairs = BANDS * (BANDS + 1) // 2
    assert linear().weight.numel() == pairs * FEATURES * OUTPUTS
    assert linear(bandwidth=1).weight.numel() == (2 * BANDS - 1) * FEATURES * OUTPUTS


def test_the_weights_of_fewer_bands_are_the_leading_ones() -> None:
    layer, fewer = linear(), BandLinear(FEATURES, OUTPUTS, 4).double()
    fewer.load_state_dict(
        {name: value[: len(fewer.state_dict()[name])] for name, value in layer.state_dict().items()}
    )
    assert_same(fewer(features(4)), layer(features(4)))


@pytest.mark.parametrize("bandwidth", [None, 1])
def test_gradients(bandwidth: int | None) -> None:
    layer = linear(bandwidth)

    def function(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, x)

    weight, bias = (value.detach().clone().requires_grad_() for value in (layer.weight, layer.bias))
    assert gradcheck(function, (features(5).requires_grad_(), weight, bias))


def test_bfloat16_autocast() -> None:
    layer, x = linear().float(), features().float()
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x)
    assert found.dtype == torch.bfloat16
    assert relative_squared_error(found, layer(x)) < 1e-3
    found.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_features": 0}, "in_features must be a positive integer, got 0"),
        ({"out_features": 0}, "out_features must be a positive integer, got 0"),
        ({"bands": 0}, "bands must be a positive integer, got 0"),
        ({"bandwidth": -2}, "bandwidth must be an integer of at least 0, got -2"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BandLinear(**{"in_features": 5, "out_features": 3, "bands": 7, **arguments})


@pytest.mark.parametrize("shape", [(2, 8, 5), (2, 7, 4), (7, 5), (2, 0, 5)])
def test_inputs_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"features must be \(batch, bands, 5\) with 1..7 bands, got shape"):
        linear()(torch.zeros(shape))
