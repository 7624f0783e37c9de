"""ConvNetwork: takes every resolution, and is measurably not scale-equivariant."""

from typing import Any

import pytest
import torch
from flat_settings import made
from scale_equivariance import assert_same, relative_squared_error, scale_equivariance_errors
from torch import Tensor, nn
from torch.nn import functional as F

from models import ScaleClassifier
from sefl.fourier import downsample, upsample
from sefl.networks import ConvNetwork, Resizing
from sefl.networks.padding import pad

BASE, FINEST = 6, 16


def network(**settings: Any) -> ConvNetwork:
    torch.manual_seed(0)
    small = {"in_channels": 2, "classes": 5, "widths": [4, 6, 6], "kernel_size": 3, "head_hidden": 8}
    small |= {"base_resolution": BASE, "max_resolution": FINEST}
    return made(ConvNetwork, **{**small, **settings}).double().eval()


def images(resolution: int) -> Tensor:
    generator = torch.Generator().manual_seed(resolution)
    return torch.randn(3, 2, resolution, resolution, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("resize", ["none", "ideal", "zero", "circular"])
@pytest.mark.parametrize("pools", [None, [1, 1, 1], [2, 2, 3]])
def test_every_resolution_is_taken(pools: list[int] | None, resize: str) -> None:
    model = network(pools=pools, resize=resize)
    for r in range(BASE, FINEST + 1):
        logits = model(images(r))
        assert logits.shape == (3, 1, 5)
        assert logits.isfinite().all()


def test_blocks_of_several_convolutions() -> None:
    """Each block by hand: convolutions, batch norm and ReLU in turn, and the maximum of each window."""
    model, x = network(convolutions=[1, 3, 2], pools=[2, 1, 2]), images(11)
    features = x
    for block, (count, window) in zip(model.blocks, [(1, 2), (3, 1), (2, 2)], strict=True):
        convolutions = [layer for layer in block if isinstance(layer, nn.Conv2d)]
        norms = [layer for layer in block if isinstance(layer, nn.BatchNorm2d)]
        assert len(convolutions) == len(norms) == count
        for convolution, norm in zip(convolutions, norms, strict=True):
            features = norm(convolution(features)).relu()
        features = F.max_pool2d(features, window, ceil_mode=True)
    assert_same(model.head(features), model(x)[:, 0])


def test_predictions_at_all_resolutions_are_those_of_the_downsampled_images() -> None:
    model, x = network(), images(14)
    found = model.predict_all_resolutions(x)
    assert found.shape == (3, 14 - BASE + 1, 5)
    for r in range(BASE, 15):
        assert_same(found[:, r - BASE], model(downsample(x, r))[:, 0])
    assert_same(model.predict_all_resolutions(x, [9, 7]), found[:, [3, 1]])


def test_ideal_resizing_is_upsampling_first() -> None:
    model, plain = network(resize="ideal"), network(resize="none")
    for r in range(BASE, FINEST + 1):
        assert_same(model(images(r)), plain(upsample(images(r), FINEST)))


def test_bicubic_resizing_is_upsampling_first() -> None:
    model, plain = network(resize="bicubic"), network(resize="none")
    for r in range(BASE, FINEST + 1):
        upsampled = F.interpolate(images(r), size=(FINEST, FINEST), mode="bicubic")
        assert_same(model(images(r)), plain(upsampled))
    assert (model(images(9)) - network(resize="ideal")(images(9))).abs().max() > 1e-4


def test_padding_is_padding_first() -> None:
    plain = network(resize="none")
    for padding in ("zero", "reflect", "replicate", "circular"):
        for r in range(BASE, FINEST + 1):
            padded = pad(images(r), FINEST, padding)
            assert_same(network(resize=padding)(images(r)), plain(padded))


@pytest.mark.parametrize("resize", ["none", "ideal", "bicubic", "zero", "reflect", "replicate", "circular"])
def test_predictions_count_at_the_resolution_that_an_image_has(resize: str) -> None:
    """Resizing is part of the network: per-resolution accuracy sees what came before it."""
    model = ScaleClassifier(network(resize=resize)).double()
    model.test_step((images(7), torch.arange(3)), 0)
    model.test_step((images(12), torch.arange(3)), 1)
    accuracy = model.test_accuracy.compute()
    assert {r for r, value in accuracy.items() if not value.isnan()} == {7, 12, "overall"}


def test_a_network_of_ones_own_gets_one_input_size() -> None:
    fixed = torch.nn.Sequential(
        Resizing("zero", FINEST), torch.nn.Flatten(), torch.nn.Linear(2 * FINEST**2, 5)
    )
    for r in range(BASE, FINEST + 1):
        assert fixed.double()(images(r)).shape == (3, 5)
    with pytest.raises(ValueError, match="size must be at least the 17 pixels of the images, got 16"):
        fixed(images(FINEST + 1))


def test_it_is_not_scale_equivariant() -> None:
    """The living control of ``callbacks.EquivarianceMonitor``."""
    model, x = network(), images(FINEST)
    assert min(scale_equivariance_errors(model.blocks[0], x, range(BASE, FINEST - 1)).values()) > 1e-3
    assert min(scale_equivariance_errors(model.blocks[:2], x, range(BASE, FINEST - 1), 2).values()) > 1e-3
    logits = model.predict_all_resolutions(x)
    for index in range(FINEST - 2 - BASE):
        assert relative_squared_error(logits[:, index], logits[:, -1]) > 1e-6


class TestSignals:
    """The same network along one axis."""

    @pytest.mark.parametrize("resize", ["none", "ideal"])
    def test_predictions_at_all_lengths_are_those_of_the_downsampled_signals(self, resize: str) -> None:
        model, x = network(dimensions=1, resize=resize), images(14)[..., 0]
        found = model.predict_all_resolutions(x)
        assert found.shape == (3, 14 - BASE + 1, 5)
        for r in range(BASE, 15):
            assert_same(found[:, r - BASE], model(downsample(x, r))[:, 0])
        for index in range(14 - 2 - BASE):
            assert relative_squared_error(found[:, index], found[:, -1]) > 1e-6

    def test_ideal_resizing_is_upsampling_first(self) -> None:
        model, plain = network(dimensions=1, resize="ideal"), network(dimensions=1)
        for r in range(BASE, FINEST + 1):
            x = images(r)[..., 0]
            assert_same(model(x), plain(upsample(x, FINEST)))

    def test_the_names_of_parameters_are_those_of_the_network_on_images(self) -> None:
        assert list(network(dimensions=1).state_dict()) == list(network().state_dict())


def test_measured_layers_exist() -> None:
    model = network()
    for name in model.measured_layers():
        model.get_submodule(name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 0}, "classes must be a positive integer, got 0"),
        ({"widths": [], "pools": []}, r"widths must name the channels of at least one block, got \[\]"),
        ({"pools": [2]}, r"pools must have one entry per block, 3 as widths, got \[2\]"),
        ({"pools": [0, 1, 1]}, r"pools must be positive integers, got \[0, 1, 1\]"),
        ({"kernel_size": 4}, "kernel_size must be odd and positive, got 4"),
        ({"resize": "mirror"}, "resize must be one of 'none', 'ideal', .*, 'circular', got 'mirror'"),
        ({"dimensions": 3}, "dimensions must be 1 for signals or 2 for images, got 3"),
        ({"dimensions": 1, "resize": "zero"}, "resize must be 'none' or 'ideal' for signals, got 'zero'"),
        ({"base_resolution": 17}, r"base_resolution must lie in 1..max_resolution \(16\), got 17"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**arguments)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 2, 9, 10), r"images must be square, .* got shape \(1, 2, 9, 10\)"),
        ((1, 3, 9, 9), "images must have in_channels=2, got 3"),
        ((1, 2, 5, 5), "images of resolution 5 are outside .* base_resolution 6 to max_resolution 16"),
        ((1, 2, 17, 17), "images of resolution 17 are outside .* base_resolution 6 to max_resolution 16"),
    ],
)
def test_images_that_do_not_fit(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network()(torch.zeros(shape, dtype=torch.float64))
