"""How far a function of images or signals is from commuting with ideal downsampling, and that it commutes."""

from collections.abc import Callable, Iterable
from math import ceil
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sefl.fourier import (
    GridBatchNorm,
    ScaleEquivariantMaxPool1d,
    ScaleEquivariantMaxPool2d,
    SpectralBatchNorm,
    downsample,
    to_coefficients,
    to_grid,
)

# Relative squared error that rounding alone may cause.
TOLERANCE = {torch.float64: 1e-24, torch.float32: 1e-10}

OnImages = Callable[[Tensor], Tensor]
Network = TypeVar("Network", bound=nn.Module)
Pooling = TypeVar("Pooling", ScaleEquivariantMaxPool1d, ScaleEquivariantMaxPool2d)

ACTIVATIONS = {
    "relu": lambda: F.relu,
    "ReLU": nn.ReLU,
    "gelu": lambda: F.gelu,
    "PReLU": lambda: nn.PReLU(init=-0.37),
}


def relative_squared_error(actual: Tensor, expected: Tensor) -> float:
    assert actual.shape == expected.shape, f"{tuple(actual.shape)} is not {tuple(expected.shape)}"
    actual, expected = actual.double(), expected.double()
    return ((actual - expected).square().sum() / expected.square().sum()).item()


def on_images(layer: Callable[[Tensor], Tensor], window: int = 1) -> OnImages:
    """A layer on coefficients as a function from images at resolution ``r`` to images at ``ceil(r / window)``."""
    return lambda images: to_grid(layer(to_coefficients(images)), ceil(images.shape[-1] / window))


def on_signals(layer: Callable[[Tensor], Tensor], window: int = 1) -> OnImages:
    """A layer on coefficients as a function from signals of length ``r`` to signals of length ``ceil(r / window)``."""
    return lambda signals: to_grid(layer(to_coefficients(signals)), ceil(signals.shape[-1] / window))


def scale_equivariance_errors(
    function: OnImages, images: Tensor, resolutions: Iterable[int], window: int = 1
) -> dict[int, float]:
    """``||D f(x) - f(D x)||^2 / ||D f(x)||^2`` at each resolution, for ``f`` that divides resolutions by ``window``.

    On images ``(batch, channels, height, width)``, or signals ``(batch, channels, length)`` and their lengths.
    """
    resample = downsample
    with torch.no_grad():
        finest = function(images)
        return {
            r: relative_squared_error(function(resample(images, r)), resample(finest, ceil(r / window)))
            for r in resolutions
        }


def assert_scale_equivariant(
    function: OnImages, images: Tensor, resolutions: Iterable[int], window: int = 1
) -> None:
    """Fails with the resolutions at which ``function`` misses ``f(D_r x) = D_r f(x)`` by more than rounding."""
    errors = scale_equivariance_errors(function, images, resolutions, window)
    assert errors
    broken = {r: error for r, error in errors.items() if not error < TOLERANCE[images.dtype]}
    assert not broken, f"not equivariant at resolutions {broken} ({images.dtype})"


def assert_same(actual: Tensor, expected: Tensor) -> None:
    """Equal up to rounding, by the same tolerance."""
    assert actual.dtype == expected.dtype
    error = relative_squared_error(actual, expected)
    assert error < TOLERANCE[expected.dtype], f"relative squared error {error}"


def randomised(model: Network) -> Network:
    """The model with noise on every parameter and random statistics in every batch norm, so that none is neutral."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        for module in model.modules():
            if isinstance(module, SpectralBatchNorm | GridBatchNorm):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return model


def max_pool(
    kind: type[Pooling],
    window: int,
    activation: str = "relu",
    base: int = 5,
    finest: int = 15,
    norm: bool = False,
    dtype: torch.dtype = torch.float64,
    channels: int = 3,
    eps: float = 1e-5,
    **settings: Any,
) -> Pooling:
    """A layer with or without instance norm, whose affine parameters are random then."""
    settings = {"channels": channels if norm else None, "grid_sharing": 1, **settings}
    layer = kind(window, ACTIVATIONS[activation](), base, finest, **settings).to(dtype)
    layer.eps = eps
    if norm:
        torch.manual_seed(window)
        nn.init.normal_(layer.weight)
        nn.init.normal_(layer.bias)
    return layer
