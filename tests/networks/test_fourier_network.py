"""FourierNetwork: one pass predicts at every resolution, blocks are equivariant, the loss is as stated."""

import copy
import math
import pickle
from itertools import pairwise
from math import ceil
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
    scale_equivariance_errors,
)
from torch import Tensor, nn
from torch.nn import functional as F

from models import ScaleClassifier
from sefl.fourier import band, downsample, to_coefficients
from sefl.networks import FourierNetwork

BASE, FINEST = 6, 16

# Every option at a value that it does not have by default, pools at odd and even places.
NETWORKS: dict[str, dict[str, Any]] = {
    "as published": {},
    "no norm": {"norm": "none", "activation": "gelu", "residual": False, "kernel_size": [3, 1]},
    "pools": {"pools": [2, 1], "kernel_size": [5, 3], "layer_base_resolution": 5},
    "more pools": {"pools": [2, 2], "kernel_size": 3, "head_pool": "mean", "head_growth": None},
    "pools by three": {"pools": [1, 3], "kernel_size": [5, 5], "base_resolution": 7, "max_resolution": 15},
    "oversampled": {"oversampling": 1.5, "head_cells": 3, "activation": "tanh", "max_resolution": 13},
    "batch norm": {"norm": "batch", "pools": [1, 2]},
    "convolutions in the head": {"norm": "batch", "head_cells": 5, "head_widths": [3, 4], "pools": [1, 2]},
    "residual convolutions, their mean": {
        "head_cells": 5,
        "head_widths": [3, 4],
        "head_residual": True,
        "head_average": True,
    },
    "a stem beside the blocks": {
        "norm": "batch",
        "pools": [1, 2],
        "head_cells": 4,
        "head_stem": [3, 4],
        "head_widths": [5],
    },
    "a stem alone": {"widths": [], "pools": [], "head_cells": 8, "head_stem": [3], "head_average": True},
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def network(
    name: str = "as published", dtype: torch.dtype = torch.float64, **settings: Any
) -> FourierNetwork:
    """A small network with random parameters throughout, in evaluation mode."""
    torch.manual_seed(0)
    small = {"in_channels": 2, "classes": 5, "widths": [4, 6], "head_hidden": 8}
    small |= {"base_resolution": BASE, "max_resolution": FINEST}
    return randomised(made(FourierNetwork, **{**small, **NETWORKS[name], **settings}).to(dtype).eval())


def images(resolution: int, dtype: torch.dtype = torch.float64, batch: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(resolution)
    return torch.randn(batch, 2, resolution, resolution, generator=generator, dtype=dtype)


def resolutions_of(model: FourierNetwork) -> range:
    return range(model.base_resolution, model.max_resolution + 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@every_network
def test_one_pass_predicts_what_separate_passes_do(name: str, dtype: torch.dtype) -> None:
    model = network(name, dtype)
    x = images(model.max_resolution, dtype)
    together = model.predict_all_resolutions(x)
    assert together.shape == (3, len(resolutions_of(model)), 5)
    for index, r in enumerate(resolutions_of(model)):
        alone = model(downsample(x, r))
        assert_same(together[:, index], alone[:, -1])


@every_network
def test_the_bands_of_a_coarser_image_are_the_leading_bands(name: str) -> None:
    model = network(name)
    x = images(model.max_resolution)
    logits = model(x)
    assert logits.shape[1] == len(model.head.log_weight)
    counts = set()
    for r in resolutions_of(model):
        coarse = model(downsample(x, r))
        assert_same(coarse, logits[:, : coarse.shape[1]])
        counts.add(coarse.shape[1])
    assert counts == set(range(1, logits.shape[1] + 1))


@every_network
def test_bands_of_a_training_batch_do_not_depend_on_how_fine_it_is(name: str) -> None:
    """Batch statistics, too, are of what images of every resolution have."""
    model = network(name, head_dropout=0.0).train()
    x = images(model.max_resolution)
    logits = model(x)
    for r in resolutions_of(model):
        coarse = model(downsample(x, r))
        assert_same(coarse, logits[:, : coarse.shape[1]])


@every_network
def test_chosen_resolutions_and_coarser_images(name: str) -> None:
    model = network(name)
    x = images(model.max_resolution - 2)
    everything = model.predict_all_resolutions(x)
    assert everything.shape[1] == len(resolutions_of(model)) - 2
    chosen = [model.max_resolution - 2, model.base_resolution, model.base_resolution + 3]
    found = model.predict_all_resolutions(x, chosen)
    for index, r in enumerate(chosen):
        assert_same(found[:, index], everything[:, r - model.base_resolution])
        assert_same(found[:, index], model(downsample(x, r))[:, -1])


def test_other_resolutions_of_one_image_do_get_other_predictions() -> None:
    """The control: bands differ, so that the equalities above are not those of constants."""
    logits = network().predict_all_resolutions(images(FINEST))
    for r in range(BASE + 1, FINEST + 1):
        error = relative_squared_error(logits[:, r - BASE], logits[:, r - BASE - 1])
        assert (error < 1e-24) if band(r) == band(r - 1) else (error > 1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@every_network
def test_every_block_is_equivariant_at_every_resolution(name: str, dtype: torch.dtype) -> None:
    model = network(name, dtype)
    pools = NETWORKS[name].get("pools", [1, 1])
    for depth in (1, 2):
        window = math.prod(pools[:depth])
        upto = on_images(model.blocks[:depth], window)
        assert_scale_equivariant(upto, images(model.max_resolution, dtype), resolutions_of(model), window)


@every_network
def test_coefficients_of_every_block_are_nested(name: str) -> None:
    """The Nyquist terms included, which a comparison on grids drops: the slices themselves."""
    model = network(name)
    x = images(model.max_resolution)
    outcomes = block_outputs(model, x)
    for r in resolutions_of(model):
        window = 1
        for pool, whole, coarse in zip(
            NETWORKS[name].get("pools", [1, 1]), outcomes, block_outputs(model, downsample(x, r)), strict=True
        ):
            window *= pool
            count = 2 * band(ceil(r / window)) + 1
            assert coarse.shape[:2] == (count, count)
            assert_same(coarse, whole[:count, :count])


@every_network
def test_bands_that_are_asked_for_are_those_of_all(name: str) -> None:
    """In any order; the head does no other work."""
    model = network(name)
    x = images(model.max_resolution)
    logits = model(x)
    seen: list[int] = []
    model.head.perceptron.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    last = logits.shape[1] - 1
    for places in ([0], [last], [last, 0]):
        assert_same(model(x, places), logits[:, places])
    assert seen == [1, 1, 2]


def block_outputs(model: FourierNetwork, x: Tensor) -> list[Tensor]:
    outcomes = []
    coefficients = to_coefficients(x)
    for block in model.blocks:
        coefficients = block(coefficients)
        outcomes.append(coefficients)
    return outcomes


def test_with_relu_on_the_grid_it_would_not_be_equivariant() -> None:
    """The control: the same convolutions, with the activation on the pixels."""
    model = network("no norm")

    def careless(x: Tensor) -> Tensor:
        for block in model.blocks:
            x = F.relu(on_images(block.convolution)(x))
        return x

    assert min(scale_equivariance_errors(careless, images(FINEST), range(BASE, FINEST - 1)).values()) > 1e-3


def test_measured_layers_exist() -> None:
    model = network()
    for name in model.measured_layers():
        model.get_submodule(name)


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_the_loss_is_cross_entropy_over_bands_plus_the_hinge(
    weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ScaleClassifier(network(), weight).double()
    logged: dict[str, Tensor] = {}
    monkeypatch.setattr(model, "log", lambda name, value, **_: logged.update({name: value}))
    x, labels = images(FINEST, batch=7), torch.tensor([0, 4, 2, 2, 1, 3, 0])
    loss = model.training_step((x, labels), 0)

    logits = model(x)
    entropy = hinge = finest = 0.0
    for sample, label in zip(logits.tolist(), labels.tolist(), strict=True):
        losses = [math.log(sum(math.exp(z) for z in band)) - band[label] for band in sample]
        entropy += sum(losses) / len(labels)
        finest += losses[-1] / len(labels)
        for coarse, fine in pairwise(losses):
            hinge += max(fine - coarse, 0.0) / len(labels)
    assert hinge > 0.1
    assert loss.item() == pytest.approx(entropy + weight * hinge, rel=1e-5)
    assert logged["train/loss"].item() == pytest.approx(loss.item())
    assert logged["train/consistency_hinge"].item() == pytest.approx(hinge, rel=1e-5)
    assert logged["train/loss_finest"].item() == pytest.approx(finest, rel=1e-5)


@every_network
def test_steps_of_gradient_descent_reduce_the_loss(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ScaleClassifier(network(name, torch.float32, head_dropout=0.0)).train()
    monkeypatch.setattr(model, "log", lambda *_, **__: None)
    batch = images(model.network.max_resolution, torch.float32, 8), torch.arange(8) % 5
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
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


def test_every_parameter_acts() -> None:
    """Some of the published network's never do; here each number has a gradient, those of every band included."""
    model = network("pools", activation="gelu")
    model(images(FINEST)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if not name.startswith("head.perceptron"):  # whose ReLU leaves units out
            assert (parameter.grad != 0).all(), name


def test_without_a_norm_before_the_activation_the_convolution_has_a_bias() -> None:
    assert all(block.convolution.bias is None for block in network().blocks)
    assert all(block.convolution.bias is not None for block in network("no norm").blocks)


def test_nothing_in_the_state_is_complex() -> None:
    for name in NETWORKS:
        assert not any(value.is_complex() for value in network(name).state_dict().values())


def test_the_weights_of_bands_grow_at_least_as_asked() -> None:
    growing, free = network(head_growth=0.25), network(head_growth=None)
    for model in (growing, free):
        nn.init.normal_(model.head.log_weight, std=5.0)
    x = images(FINEST)
    logits, own = growing(x), free(x) / free.head.log_weight.exp()
    weights = (logits / own).mean((0, 2))
    assert_same(logits, own * weights[:, None])
    assert (weights.log().diff() >= 0.25 - 1e-12).all()
    assert (free.head.weights().diff(dim=0) < 0).any()  # without it a band may count for less


def test_bfloat16_autocast_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NETWORKS:
        model = ScaleClassifier(network(name, torch.float32)).eval()
        monkeypatch.setattr(model, "log", lambda *_, **__: None)
        x = images(model.network.max_resolution, torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model.training_step((x, torch.arange(3)), 0)
        loss.backward()
        assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
        expected = model.training_step((x, torch.arange(3)), 0)
        assert loss.item() == pytest.approx(expected.item(), rel=0.1)


def test_copies_and_state() -> None:
    model, x = network("pools"), images(FINEST)
    expected = model(x)
    fresh = network("pools")
    nn.init.zeros_(fresh.head.perceptron[1].weight)
    fresh.load_state_dict(model.state_dict())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), fresh):
        assert torch.equal(twin(x), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be a positive integer, got 0"),
        ({"classes": 0}, "classes must be a positive integer, got 0"),
        ({"base_resolution": 17}, r"base_resolution must lie in 1..max_resolution \(16\), got 17"),
        ({"pools": [2]}, r"pools must have one entry per block, 2 as widths, got \[2\]"),
        (
            {"kernel_size": [3, 3, 3]},
            r"kernel_size must have one entry per block, 2 as widths, got \[3, 3, 3\]",
        ),
        (
            {"head_stem": [3], "head_cells": 6},
            "head.stem of 1 convolutions must pool a grid that holds the images' 15 pixels to head.cells, "
            "got 6 cells of 12 pixels; more cells or more widths would do",
        ),
        ({"head_stem": [0], "head_cells": 8}, r"head.stem must be positive integers, got \[0\]"),
        ({"widths": [], "kernel_size": 3}, r"widths must name the channels of at least one block, got \[\]"),
        ({"kernel_size": 4}, "kernel_size must be odd .* got 4"),
        ({"kernel_size": [3, 9], "pools": [2, 1]}, r"kernel_size must be odd and at most .* \(8\), got 9"),
        ({"pools": [0, 1]}, r"pools must be positive integers, got \[0, 1\]"),
        ({"layer_base_resolution": 7}, "layer_base_resolution must be an integer from 1 to 6, got 7"),
        ({"activation": "rectify"}, "activation must be one of .relu., .* got 'rectify'"),
        ({"head_pool": "median"}, "pool must be 'max' or 'mean', got 'median'"),
        ({"head_cells": 0}, "cells must be a positive integer, got 0"),
        ({"head_growth": -0.1}, "head.growth must be a finite number of at least 0, got -0.1"),
        ({"head_widths": [4, 0]}, r"head.widths must be positive integers, got \[4, 0\]"),
        ({"head_widths": [4, 4], "head_cells": 3}, "head.cells must be at least 4 for 2 head.widths, got 3"),
        ({"oversampling": 0.5}, r"oversampling must be a finite number of at least 1, got 0\.5"),
        ({"norm": "layer"}, "norm must be .* got 'layer'"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**arguments)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 2, 9, 10), r"images must be square, .* got shape \(1, 2, 9, 10\)"),
        ((2, 9, 9), r"images must be square, .* got shape \(2, 9, 9\)"),
        ((1, 3, 9, 9), "images must have in_channels=2, got 3"),
        ((1, 2, 5, 5), "images of resolution 5 are outside .* base_resolution 6 to max_resolution 16"),
        ((1, 2, 17, 17), "images of resolution 17 are outside .* base_resolution 6 to max_resolution 16"),
    ],
)
def test_images_that_do_not_fit(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(dtype=torch.float32)(torch.zeros(shape))


def test_resolutions_that_the_images_do_not_hold() -> None:
    model = network()
    for wrong in (5, 11):
        with pytest.raises(
            ValueError, match=rf"between base_resolution 6 and the images' 10, got \[{wrong}\]"
        ):
            model.predict_all_resolutions(images(10), [7, wrong])


def test_a_weight_of_the_hinge_out_of_range() -> None:
    with pytest.raises(
        ValueError, match=r"consistency_weight must be a finite number of at least 0, got -1\.0"
    ):
        ScaleClassifier(network(), -1.0)
