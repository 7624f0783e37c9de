"""SpectralConv2d: the circular convolution on the finest grid, exactly equivariant, all real."""

import pytest
import torch
from scale_equivariance import (
    assert_same,
    assert_scale_equivariant,
    on_images,
    scale_equivariance_errors,
)
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from sefl.fourier import (
    BandPooling2d,
    ScaleEquivariantMaxPool2d,
    SpectralConv2d,
    downsample,
    to_coefficients,
)


def convolution(size: int, finest: int, *, dtype: torch.dtype = torch.float64, **settings) -> SpectralConv2d:
    torch.manual_seed(size + finest)
    return SpectralConv2d(3, 4, size, finest, **settings).to(dtype)


def images(resolution: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(resolution)
    return torch.randn(2, 3, resolution, resolution, dtype=dtype, generator=generator)


def spatially(layer: SpectralConv2d, x: Tensor) -> Tensor:
    """The same with ``F.conv2d`` and circular padding, the residual path as a convolution of its own."""
    kernel = layer.weight.permute(3, 2, 0, 1).flip(-2, -1)
    margin = layer.kernel_size // 2
    padded = F.pad(x, (margin, margin, margin, margin), mode="circular") if margin else x
    result = F.conv2d(padded, kernel, layer.bias)
    if layer.residual is not None:
        result = result + F.conv2d(x, layer.residual.T[:, :, None, None])
    return result


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("finest", [8, 9])
def test_it_is_the_circular_convolution_on_the_finest_grid(
    finest: int, size: int, bias: bool, residual: bool
) -> None:
    layer, x = convolution(size, finest, bias=bias, residual=residual), images(finest)
    outcome = on_images(layer)
    for r in range(1, finest + 1):
        assert_same(outcome(downsample(x, r)), downsample(spatially(layer, x), r))


def test_a_kernel_as_large_as_the_image() -> None:
    layer, x = convolution(7, 7), images(7)
    assert_same(on_images(layer)(x), spatially(layer, x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("finest", [15, 16])
def test_equivariance_at_every_resolution(finest: int, size: int, dtype: torch.dtype) -> None:
    layer = convolution(size, finest, residual=True, dtype=dtype)
    assert_scale_equivariant(on_images(layer), images(finest, dtype), range(1, finest + 1))


def test_a_convolution_that_ignores_the_resolution_or_strides_is_not_equivariant() -> None:
    x = images(16)
    torch.manual_seed(0)
    same = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular", dtype=torch.float64)
    strided = nn.Conv2d(3, 4, 3, stride=2, padding=1, padding_mode="circular", dtype=torch.float64)
    assert min(scale_equivariance_errors(same, x, range(4, 15)).values()) > 1e-3
    assert min(scale_equivariance_errors(strided, x, range(4, 15), window=2).values()) > 1e-3


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_gradients_of_input_and_parameters(size: int, bias: bool, residual: bool) -> None:
    layer = SpectralConv2d(2, 3, size, 6, bias=bias, residual=residual).double()
    names = [name for name, _ in layer.named_parameters()]

    def outcome(coefficients: Tensor, *parameters: Tensor) -> Tensor:
        named = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(layer, named, (coefficients,))

    generator = torch.Generator().manual_seed(0)
    for count in (1, 5):
        coefficients = torch.randn(count, count, 2, 2, dtype=torch.float64, generator=generator)
        assert gradcheck(outcome, (coefficients.requires_grad_(), *layer.parameters()))


def test_gradients_are_those_of_the_spatial_convolution() -> None:
    layer, x = convolution(3, 8, residual=True), images(8).requires_grad_()
    towards = images(8)[:, :1]
    inputs = [x, *layer.parameters()]
    found = torch.autograd.grad((on_images(layer)(x) * towards).sum(), inputs)
    expected = torch.autograd.grad((downsample(spatially(layer, x), 8) * towards).sum(), inputs)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("frozen", ["input", "parameters"])
def test_only_what_needs_a_gradient_gets_one(frozen: str) -> None:
    layer, coefficients = convolution(3, 8), to_coefficients(images(8))
    if frozen == "input":
        layer(coefficients).sum().backward()
        assert layer.weight.grad is not None
    else:
        layer.requires_grad_(False)
        coefficients.requires_grad_()
        layer(coefficients).square().sum().backward()
        assert coefficients.grad is not None
        assert layer.weight.grad is None


def test_the_input_is_left_alone() -> None:
    for size in (1, 3):
        layer, coefficients = convolution(size, 8, residual=True), to_coefficients(images(8))
        before = coefficients.clone()
        layer(coefficients)
        assert torch.equal(coefficients, before)


class NothingComplex(TorchDispatchMode):
    """Refuses every operation that gives a complex tensor, in the forward and the backward pass."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            assert not (isinstance(tensor, Tensor) and tensor.is_complex()), f"{func} gives complex numbers"
        return result


def test_no_complex_number_anywhere() -> None:
    network = nn.Sequential(
        convolution(3, 8, residual=True),
        ScaleEquivariantMaxPool2d(2, F.gelu, 3, 8, channels=4),
        SpectralConv2d(4, 4, 1, 4),
        BandPooling2d(2, 4, 2),
    ).double()
    passed = []
    for layer in network:
        layer.register_forward_hook(lambda layer, inputs, output: passed.extend([*inputs, output]))
    with pytest.raises(AssertionError, match="complex"), NothingComplex():
        torch.fft.rfft2(images(8))
    with NothingComplex():
        network(to_coefficients(images(8))).sum().backward()
    assert len(passed) == 8
    for tensor in [*passed, *network.parameters(), *(p.grad for p in network.parameters())]:
        assert tensor.dtype == torch.float64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 4, 3, 8), "in_channels must be a positive integer, got 0"),
        ((3, -1, 3, 8), "out_channels must be a positive integer, got -1"),
        ((3, 4, 2, 8), r"kernel_size must be odd and at most max_resolution \(8\), got 2"),
        ((3, 4, 9, 8), r"kernel_size must be odd and at most max_resolution \(8\), got 9"),
        ((3, 4, -1, 8), r"kernel_size must be odd and at most max_resolution \(8\), got -1"),
    ],
)
def test_arguments_out_of_range(arguments: tuple[int, int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpectralConv2d(*arguments)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, 7, 2, 3), r"coefficients must be square, .* got shape \(5, 7, 2, 3\)"),
        ((5, 5, 2), r"coefficients must be square, .* got shape \(5, 5, 2\)"),
        ((4, 4, 2, 3), r"odd count 2 \* band \+ 1, got 4"),
        ((9, 9, 2, 3), r"coefficients of band 4 \(resolutions 9 and 10\) are finer than max_resolution 8"),
        ((7, 7, 2, 5), "coefficients must have in_channels=3, got 5"),
    ],
)
def test_inputs_that_do_not_fit(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpectralConv2d(3, 4, 3, 8)(torch.zeros(shape))
