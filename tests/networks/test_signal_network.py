"""FourierNetwork on signals: one pass predicts at every length, blocks are equivariant, errors speak of signals."""

import math
from typing import Any

import pytest
import torch
from flat_settings import made
from scale_equivariance import (
    assert_same,
    assert_scale_equivariant,
    on_signals,
    randomised,
    relative_squared_error,
    scale_equivariance_errors,
)
from torch import Tensor
from torch.nn import functional as F

from models import ScaleClassifier
from sefl.fourier import band, downsample
from sefl.networks import FourierNetwork

BASE, LONGEST = 6, 24

# Every option at a value that it does not have by default, pools at odd and even places.
NETWORKS: dict[str, dict[str, Any]] = {
    "default": {},
    "no norm": {"norm": "none", "activation": "gelu", "residual": False, "kernel_size": [3, 1]},
    "pools": {"pools": [2, 1], "kernel_size": [5, 3], "layer_base_resolution": 5, "projection": 3},
    "more pools": {"pools": [3, 2], "kernel_size": 3, "head_pool": "mean", "head_growth": None},
    "two convolutions": {"convolutions": 2, "oversampling": 1.5, "head_cells": 3, "max_resolution": 23},
    "no residual path": {"convolutions": 2, "residual": False, "pools": [1, 2], "base_resolution": 7},
    "batch norm": {"norm": "batch", "convolutions": 2, "pools": [1, 2]},
    "convolutions in the head": {"head_cells": 6, "head_widths": [3]},
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def network(name: str = "default", dtype: torch.dtype = torch.float64, **settings: Any) -> FourierNetwork:
    """A small network with random parameters throughout, in evaluation mode."""
    torch.manual_seed(0)
    small = {"dimensions": 1, "in_channels": 2, "classes": 5, "widths": [4, 6], "head_hidden": 8}
    small |= {"base_resolution": BASE, "max_resolution": LONGEST}
    return randomised(made(FourierNetwork, **{**small, **NETWORKS[name], **settings}).to(dtype).eval())


def signals(length: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(length)
    return torch.randn(3, 2, length, generator=generator, dtype=dtype)


def lengths_of(model: FourierNetwork) -> range:
    return range(model.base_resolution, model.max_resolution + 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@every_network
def test_one_pass_predicts_what_separate_passes_do(name: str, dtype: torch.dtype) -> None:
    model = network(name, dtype)
    x = signals(model.max_resolution, dtype)
    logits, together = model(x), model.predict_all_resolutions(x)
    assert logits.shape == (3, len(model.head.log_weight), 5)
    assert together.shape == (3, len(lengths_of(model)), 5)
    counts = set()
    for index, length in enumerate(lengths_of(model)):
        alone = model(downsample(x, length))
        assert_same(together[:, index], alone[:, -1])
        assert_same(alone, logits[:, : alone.shape[1]])
        counts.add(alone.shape[1])
    assert counts == set(range(1, logits.shape[1] + 1))


def test_other_lengths_of_one_signal_do_get_other_predictions() -> None:
    """The control: bands differ, so that the equalities above are not those of constants."""
    logits = network().predict_all_resolutions(signals(LONGEST))
    for length in range(BASE + 1, LONGEST + 1):
        error = relative_squared_error(logits[:, length - BASE], logits[:, length - BASE - 1])
        assert (error < 1e-24) if band(length) == band(length - 1) else (error > 1e-6)


def test_chosen_lengths() -> None:
    model, x = network("pools"), signals(LONGEST - 3)
    found = model.predict_all_resolutions(x, [LONGEST - 3, BASE, BASE + 3])
    for index, length in enumerate([LONGEST - 3, BASE, BASE + 3]):
        assert_same(found[:, index], model(downsample(x, length))[:, -1])


def test_skipped_bands_take_a_pass_per_length() -> None:
    model, x = network(band_step=3), signals(LONGEST)
    assert not model.exact_predictions
    found = model.predict_all_resolutions(x)
    for index, length in enumerate(lengths_of(model)):
        assert_same(found[:, index], model(downsample(x, length))[:, -1])
    assert relative_squared_error(model(x)[:, 1], found[:, 2]) > 1e-6


@every_network
def test_every_block_is_equivariant_at_every_length(name: str) -> None:
    model = network(name)
    for depth in (1, 2):
        window = math.prod(NETWORKS[name].get("pools", [1, 1])[:depth])
        layers = model.blocks[:depth]
        if model.projection is not None:
            layers.insert(0, model.projection)
        assert_scale_equivariant(
            on_signals(layers, window), signals(model.max_resolution), lengths_of(model), window
        )


def test_with_relu_on_the_samples_it_would_not_be_equivariant() -> None:
    """The control: the same convolutions, with the activation on the samples."""
    model = network("no norm")

    def careless(x: Tensor) -> Tensor:
        for block in model.blocks:
            x = F.relu(on_signals(block.convolution)(x))
        return x

    errors = scale_equivariance_errors(careless, signals(LONGEST), range(BASE, LONGEST - 1))
    assert min(errors.values()) > 1e-3


@every_network
def test_every_parameter_learns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ScaleClassifier(network(name, torch.float32, head_dropout=0.0)).train()
    monkeypatch.setattr(model, "log", lambda *_, **__: None)
    batch = signals(model.network.max_resolution, torch.float32), torch.arange(3)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    losses = []
    for _ in range(4):
        loss = model.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        for parameter in model.parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


def test_the_names_of_parameters_are_those_of_the_network_on_images() -> None:
    for name in NETWORKS:
        assert list(network(name).state_dict()) == list(network(name, dimensions=2).state_dict())


def test_measured_layers_exist() -> None:
    model = network("pools")
    for name in model.measured_layers():
        model.get_submodule(name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dimensions": 3}, "dimensions must be 1 for signals or 2 for images, got 3"),
        ({"base_resolution": 25}, r"base_resolution must lie in 1..max_resolution \(24\), got 25"),
        ({"pools": [2]}, r"pools must have one entry per block, 2 as widths, got \[2\]"),
        ({"kernel_size": 4}, "kernel_size must be odd .* got 4"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**arguments)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 2, 9, 9), r"signals must be \(batch, channels, length\), got shape \(1, 2, 9, 9\)"),
        ((2, 9), r"signals must be \(batch, channels, length\), got shape \(2, 9\)"),
        ((1, 3, 9), "signals must have in_channels=2, got 3"),
        ((1, 2, 5), "signals of length 5 are outside .* base_resolution 6 to max_resolution 24"),
        ((1, 2, 25), "signals of length 25 are outside .* base_resolution 6 to max_resolution 24"),
    ],
)
def test_signals_that_do_not_fit(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(dtype=torch.float32)(torch.zeros(shape))


def test_a_network_on_images_says_that_a_signal_is_no_image() -> None:
    with pytest.raises(ValueError, match=r"images must be square, .* got shape \(1, 2, 9\)"):
        network(dtype=torch.float32, dimensions=2)(torch.zeros(1, 2, 9))


def test_lengths_that_the_signals_do_not_have() -> None:
    with pytest.raises(ValueError, match=r"between base_resolution 6 and the signals' 10, got \[11\]"):
        network().predict_all_resolutions(signals(10), [7, 11])
