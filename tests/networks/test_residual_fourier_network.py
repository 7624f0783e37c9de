"""FourierNetwork with a projection and blocks of several convolutions: the paper's STL-10 network, small."""

from typing import Any

import pytest
import torch
from flat_settings import made
from scale_equivariance import (
    assert_same,
    assert_scale_equivariant,
    on_images,
    randomised,
    relative_squared_error,
)
from torch import Tensor, nn

from sefl.fourier import downsample, to_coefficients
from sefl.networks import FourierNetwork
from sefl.networks.fourier_blocks import FourierBlock, ResidualFourierBlock

BASE, FINEST = 13, 25


def network(**settings: Any) -> FourierNetwork:
    torch.manual_seed(0)
    small = {"in_channels": 2, "classes": 5, "projection": 3, "widths": [4, 4, 6], "convolutions": 2}
    small |= {"kernel_size": [5, 3, 3], "pools": [2, 2, 1], "head_hidden": 8}
    small |= {"base_resolution": BASE, "max_resolution": FINEST, "layer_base_resolution": 10}
    return randomised(made(FourierNetwork, **{**small, **settings}).double().eval())


def images(resolution: int) -> Tensor:
    generator = torch.Generator().manual_seed(resolution)
    return torch.randn(3, 2, resolution, resolution, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"residual": False},
        {"convolutions": 3, "norm": "none"},
        {"projection": None},
        {"convolutions": 1},
        {"norm": "batch"},
    ],
)
def test_one_pass_predicts_what_separate_passes_do(settings: dict[str, Any]) -> None:
    model, x = network(**settings), images(FINEST)
    together = model.predict_all_resolutions(x)
    for r in range(BASE, FINEST + 1):
        assert_same(together[:, r - BASE], model(downsample(x, r))[:, -1])


def test_projection_and_every_block_are_equivariant() -> None:
    model = network()
    for depth, window in enumerate((1, 2, 4, 4)):
        upto = on_images(nn.Sequential(model.projection, *model.blocks[:depth]), window)
        assert_scale_equivariant(upto, images(FINEST), range(BASE, FINEST + 1), window)


def test_a_block_is_two_convolutions_and_a_shortcut_around_them() -> None:
    model = network()
    block, x = model.blocks[0], model.projection(to_coefficients(images(FINEST)))
    assert isinstance(block, ResidualFourierBlock)
    inner = block.inner[0]
    straight = block.convolution(inner.nonlinearity(inner.convolution(x)))
    around = torch.matmul(x, block.shortcut.weight[0, 0])
    assert_same(block(x), block.nonlinearity(straight + around))
    assert network(residual=False).blocks[0].shortcut is None
    assert isinstance(network(convolutions=1).blocks[0], FourierBlock)


@pytest.mark.parametrize("layer_base", [8, 10, 12])
@pytest.mark.parametrize("band_step", [2, 4])
def test_skipped_bands_cost_exactness_but_where_the_pooling_leaves_them_out(
    band_step: int, layer_base: int
) -> None:
    model, x = network(band_step=band_step, layer_base_resolution=layer_base), images(FINEST)
    logits, errors = model(x), []
    for r in range(BASE, FINEST):
        separate = model(downsample(x, r))
        assert_same(model.predict_all_resolutions(x, [r])[:, 0], separate[:, -1])
        errors.append(relative_squared_error(logits[:, : separate.shape[1]], separate))
    if model.exact_predictions:
        assert max(errors) < 1e-20
    elif band_step == 4:  # of other steps a few are exact for all that this range can tell
        assert max(errors) > 1e-8


def test_the_step_is_divided_by_the_pooling_and_some_steps_are_exact() -> None:
    steps = [module.band_step for module in network(band_step=4).modules() if hasattr(module, "base_band")]
    assert steps == [4, 4, 2, 2, 1, 1, 1]
    assert network(band_step=4, layer_base_resolution=10).exact_predictions  # bands 4, 8, 12
    assert not network(band_step=4, layer_base_resolution=12).exact_predictions  # bands 5, 9, 13
    assert network(band_step=1, layer_base_resolution=12).exact_predictions


def test_every_parameter_acts() -> None:
    model = network(activation="gelu")
    model(images(FINEST)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_measured_layers_exist() -> None:
    model = network()
    assert model.measured_layers()[0] == "projection"
    assert "projection" not in network(projection=None).measured_layers()
    for name in model.measured_layers():
        model.get_submodule(name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"projection": 0}, "projection must be an integer of at least 1, got 0"),
        ({"convolutions": 0}, "convolutions must be an integer from 1 to 10000, got 0"),
        ({"band_step": 0}, "band_step must be an integer of at least 1, got 0"),
    ],
)
def test_options_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**arguments)
