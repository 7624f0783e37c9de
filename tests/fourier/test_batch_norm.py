"""Batch norms: torch's of the pixels, exactly equivariant on coefficients once trained, the same on two processes."""

import pytest
import torch
from scale_equivariance import (
    assert_same,
    assert_scale_equivariant,
    on_images,
    on_signals,
    scale_equivariance_errors,
)
from torch import Tensor, nn

from sefl.fourier import (
    GridBatchNorm,
    SpectralBatchNorm,
    downsample,
    downsample1d,
    to_coefficients,
    to_coefficients1d,
    to_grid,
    to_grid1d,
)

CHANNELS = 3
MOMENTUM = 0.3


def images(resolution: int, batch: int = 4, axes: int = 2) -> Tensor:
    """Each channel has a mean and a spread of its own."""
    generator = torch.Generator().manual_seed(resolution)
    noise = torch.randn(batch, CHANNELS, *[resolution] * axes, dtype=torch.float64, generator=generator)
    shape = (CHANNELS, *[1] * axes)
    return noise * torch.tensor([0.1, 1.0, 7.0]).view(shape) + torch.tensor([3.0, 0.0, -2.0]).view(shape)


Layer = type[SpectralBatchNorm] | type[GridBatchNorm]
both = pytest.mark.parametrize("kind", [SpectralBatchNorm, GridBatchNorm])


def layers(kind: Layer, axes: int = 2) -> tuple[SpectralBatchNorm | GridBatchNorm, nn.Module]:
    """Ours and torch's, with the same random parameters."""
    ours = kind(CHANNELS, momentum=MOMENTUM).double()
    theirs = (nn.BatchNorm1d if axes == 1 else nn.BatchNorm2d)(CHANNELS, momentum=MOMENTUM).double()
    torch.manual_seed(axes)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        nn.init.normal_(mine)
        other.data.copy_(mine)
    return ours, theirs


def on_grid(layer: nn.Module, x: Tensor) -> Tensor:
    if isinstance(layer, GridBatchNorm):
        return layer(x)
    if x.dim() == 3:
        return to_grid1d(layer(to_coefficients1d(x)), x.shape[-1])
    return to_grid(layer(to_coefficients(x)), x.shape[-1])


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("resolution", [5, 9])
@both
def test_is_batch_norm_of_the_pixels(kind: Layer, axes: int, resolution: int) -> None:
    """Of odd resolutions, whose pixels hold as many numbers as the band has."""
    ours, theirs = layers(kind, axes)
    mine = images(resolution, axes=axes).requires_grad_()
    other = mine.detach().clone().requires_grad_()
    weights = torch.randn_like(mine)
    for step in range(3):
        outputs = on_grid(ours, mine * (step + 1)), theirs(other * (step + 1))
        assert_same(*outputs)
        for output in outputs:
            (output * weights).sum().backward()
        assert_same(mine.grad, other.grad)
    for name, parameter in ours.named_parameters():
        assert_same(parameter.grad, theirs.get_parameter(name).grad)
    for name, buffer in ours.named_buffers():
        assert_same(buffer, theirs.get_buffer(name))
    assert_same(on_grid(ours.eval(), mine), theirs.eval()(other))


@pytest.mark.parametrize("axes", [1, 2])
def test_equivariant_in_evaluation(axes: int) -> None:
    layer, _ = layers(SpectralBatchNorm, axes)
    x = images(14, axes=axes)
    resolutions = range(1, 14)
    function = (on_signals if axes == 1 else on_images)(layer)
    # The control: with the statistics of the batch each resolution has its own.
    assert max(scale_equivariance_errors(function, x, resolutions).values()) > 1e-3
    layer.eval()
    assert_scale_equivariant(function, x, resolutions)


@pytest.mark.parametrize("axes", [1, 2])
def test_statistics_of_a_resolution_are_equivariant_in_training(axes: int) -> None:
    layer = SpectralBatchNorm(CHANNELS, statistics_resolution=6).double()
    x = images(14, axes=axes)
    function = (on_signals if axes == 1 else on_images)(layer)
    assert_scale_equivariant(function, x, range(5, 14))
    # Resolutions without that band have statistics of their own.
    assert min(scale_equivariance_errors(function, x, range(1, 5)).values()) > 1e-3
    layer, other = (SpectralBatchNorm(CHANNELS, statistics_resolution=6).double() for _ in range(2))
    on_grid(layer, x)
    on_grid(other, (downsample1d if axes == 1 else downsample)(x, 5))
    assert_same(layer.running_mean, other.running_mean)
    assert_same(layer.running_var, other.running_var)


def test_grids_may_take_the_statistics_of_others() -> None:
    x, others = images(5), images(7, batch=2)
    layer, same = layers(GridBatchNorm)[0], layers(GridBatchNorm)[0]
    joined = same(others)
    assert_same(layer(torch.cat([others, others]), others), torch.cat([joined, joined]))
    assert_same(layer.running_var, same.running_var)
    assert_same(layer.eval()(x, others), layer(x))


@both
def test_two_processes_train_as_one(kind: Layer, on_two_processes) -> None:
    """On uneven shares: output, statistics, and the gradient that data parallelism averages."""
    x = images(7, batch=5)
    weights = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))

    def train(share: slice) -> list[Tensor]:
        layer, _ = layers(kind)
        part = x[share].clone().requires_grad_()
        output = on_grid(layer, part)
        (output * weights[share]).sum().backward()
        return [output.detach(), part.grad, *(p.grad for p in layer.parameters()), *layer.buffers()]

    output, gradient, weight, bias, *statistics = train(slice(None))
    shares = [slice(0, 2), slice(2, 5)]
    found = on_two_processes(lambda rank: train(shares[rank]))
    for share, (own_output, own_gradient, _, _, *own_statistics) in zip(shares, found, strict=True):
        assert_same(own_output, output[share])
        assert_same(own_gradient, gradient[share])
        for own, expected in zip(own_statistics, statistics, strict=True):
            assert_same(own, expected)
    assert_same(found[0][2] + found[1][2], weight)
    assert_same(found[0][3] + found[1][3], bias)


@both
def test_under_autocast_the_statistics_are_precise(kind: Layer) -> None:
    layer, _ = layers(kind)
    layer.float()
    x = images(8).float()
    if kind is SpectralBatchNorm:
        x = to_coefficients(x)
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(x.bfloat16())
    assert output.dtype == torch.bfloat16
    assert layer.running_mean.dtype == torch.float32
    torch.testing.assert_close(output.float(), layer(x), rtol=0.05, atol=0.05)


def test_bad_input() -> None:
    for kind, single in [(SpectralBatchNorm, (1, 1, 1, CHANNELS)), (GridBatchNorm, (1, CHANNELS, 1, 1))]:
        with pytest.raises(ValueError, match="channels must be a positive integer, got 0"):
            kind(0)
        layer = kind(CHANNELS)
        with pytest.raises(ValueError, match="more than one value per channel"):
            layer(torch.zeros(single))
        assert layer.running_mean.eq(0).all()
    with pytest.raises(ValueError, match="must have channels=3, got 2"):
        SpectralBatchNorm(CHANNELS)(torch.zeros(5, 5, 4, 2))
    with pytest.raises(ValueError, match="must have channels=3, got 2"):
        GridBatchNorm(CHANNELS)(torch.zeros(4, 2, 5, 5))
