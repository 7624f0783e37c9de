"""MixerNetwork: one pass predicts at every resolution, blocks are exact, magnitudes keep shifts, and it learns."""

import copy
from typing import Any

import pytest
import torch
from flat_settings import classifier, made
from scale_equivariance import (
    assert_same,
    assert_scale_equivariant,
    on_images,
    randomised,
    relative_squared_error,
    scale_equivariance_errors,
)
from torch import Tensor
from torch.nn import functional as F

from datamodules import Glyphs
from models import ScaleClassifier
from sefl.fourier import band, downsample, to_coefficients
from sefl.networks import MixerNetwork

BASE, FINEST = 6, 14

# Every option at a value that it does not have by default.
NETWORKS: dict[str, dict[str, Any]] = {
    "by default": {},
    "banded, no norm": {"bandwidth": 1, "norm": "none", "activation": "gelu", "groups": 1},
    "magnitudes": {"mixing": "magnitude", "depth": 1, "oversampling": 1.5, "head_growth": None},
    "triangular head": {"mixes_bands": True, "groups": 4, "head_pool": "mean", "head_cells": 1},
    "signals": {"dimensions": 1, "max_resolution": 31, "layer_base_resolution": 4},
    "magnitudes of signals": {"dimensions": 1, "mixing": "magnitude", "mixes_bands": True},
    "batch norm": {"norm": "batch"},
    "convolutions in the head": {"head_cells": 4, "head_widths": [3, 4]},
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def network(name: str = "by default", dtype: torch.dtype = torch.float64, **settings: Any) -> MixerNetwork:
    """A small network with random parameters throughout, in evaluation mode."""
    torch.manual_seed(0)
    small = {"in_channels": 2, "classes": 5, "width": 4, "depth": 2, "groups": 2, "head_hidden": 8}
    small |= {"base_resolution": BASE, "max_resolution": FINEST}
    return randomised(made(MixerNetwork, **{**small, **NETWORKS[name], **settings}).to(dtype).eval())


def inputs_of(
    model: MixerNetwork, resolution: int | None = None, dtype: torch.dtype = torch.float64
) -> Tensor:
    resolution = resolution or model.max_resolution
    generator = torch.Generator().manual_seed(resolution)
    return torch.randn(3, 2, *([resolution] * model.dimensions), generator=generator, dtype=dtype)


def coarser(model: MixerNetwork, x: Tensor, resolution: int) -> Tensor:
    return downsample(x, resolution)


def resolutions_of(model: MixerNetwork) -> range:
    return range(model.base_resolution, model.max_resolution + 1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-24), (torch.float32, 1e-8)])
@every_network
def test_one_pass_predicts_what_separate_passes_do(name: str, dtype: torch.dtype, tolerance: float) -> None:
    model = network(name, dtype)
    x = inputs_of(model, dtype=dtype)
    together, logits = model.predict_all_resolutions(x), model(x)
    assert together.shape == (3, len(resolutions_of(model)), 5)
    for index, r in enumerate(resolutions_of(model)):
        alone = model(coarser(model, x, r))
        assert relative_squared_error(together[:, index], alone[:, -1]) < tolerance
        assert relative_squared_error(logits[:, : alone.shape[1]], alone) < tolerance


@every_network
def test_chosen_resolutions(name: str) -> None:
    model = network(name)
    x = inputs_of(model)
    chosen = model.predict_all_resolutions(x, [BASE + 3, BASE])
    assert_same(chosen, model.predict_all_resolutions(x)[:, [3, 0]])
    with pytest.raises(ValueError, match=r"resolutions must lie between .*, got \[5\]"):
        model.predict_all_resolutions(x, [5])


def test_other_resolutions_do_get_other_predictions() -> None:
    """The control: the equalities above are not those of constants."""
    for name in NETWORKS:
        model = network(name)
        logits = model.predict_all_resolutions(inputs_of(model))
        for r in resolutions_of(model)[1:]:
            error = relative_squared_error(logits[:, r - BASE], logits[:, r - BASE - 1])
            assert (error < 1e-24) if band(r) == band(r - 1) else (error > 1e-7)


@every_network
def test_coefficients_of_every_block_are_nested(name: str) -> None:
    model = network(name)
    x = inputs_of(model)
    for depth in range(1, len(model.blocks) + 1):

        def upto(images: Tensor, depth: int = depth) -> Tensor:
            coefficients = model.embedding(to_coefficients(images))
            return model.blocks[:depth](coefficients)

        whole = upto(x)
        for r in resolutions_of(model):
            leading = (slice(2 * band(r) + 1),) * model.dimensions
            assert_same(upto(coarser(model, x, r)), whole[leading])


def test_blocks_are_equivariant_on_images() -> None:
    model = network()
    whole = on_images(lambda coefficients: model.blocks(model.embedding(coefficients)))
    assert_scale_equivariant(whole, inputs_of(model), resolutions_of(model))


def test_with_relu_on_the_grid_it_would_not_be_equivariant() -> None:
    """The control: the same mixers, with the activation on the pixels."""
    model = network()

    def careless(x: Tensor) -> Tensor:
        x = on_images(model.embedding)(x)
        for block in model.blocks:
            x = F.relu(on_images(block.frequencies)(x))
        return x

    errors = scale_equivariance_errors(careless, inputs_of(model), range(BASE, FINEST - 1))
    assert min(errors.values()) > 1e-3


def test_only_magnitudes_keep_circular_shifts() -> None:
    """Up to the activation, which commutes with those shifts alone that move its sub-grids to themselves."""

    def missed(name: str) -> float:
        model = network(name, norm="none")

        def linear_part(coefficients: Tensor) -> Tensor:
            return model.blocks[0].frequencies(model.embedding(coefficients))

        x = inputs_of(model)
        return relative_squared_error(
            on_images(linear_part)(x.roll((3, 1), (2, 3))), on_images(linear_part)(x).roll((3, 1), (2, 3))
        )

    assert missed("magnitudes") < 1e-24
    assert missed("by default") > 1e-2


@every_network
def test_every_parameter_learns(name: str) -> None:
    model = network(name, head_dropout=0.0).train()
    model(inputs_of(model)).square().sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.any(), parameter_name


@every_network
def test_measured_layers_exist(name: str) -> None:
    model = network(name)
    for layer in model.measured_layers():
        model.get_submodule(layer)
    assert len(model.measured_layers()) == len(model.blocks) + 1


@every_network
def test_copies_and_state(name: str) -> None:
    model, fresh = network(name), network(name)
    x = inputs_of(model)
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.zero_()
    fresh.load_state_dict(model.state_dict())
    for twin in (copy.deepcopy(model), fresh):
        assert torch.equal(twin(x), model(x))


@every_network
def test_bfloat16_autocast_trains(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ScaleClassifier(network(name, torch.float32)).eval()
    monkeypatch.setattr(model, "log", lambda *_, **__: None)
    batch = inputs_of(model.network, dtype=torch.float32), torch.arange(3)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.training_step(batch, 0)
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert loss.item() == pytest.approx(model.training_step(batch, 0).item(), rel=0.15)


@pytest.mark.parametrize("mixing", ["linear", "magnitude"])
def test_learns_glyphs_in_seconds(mixing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    data = Glyphs(16, train_samples=300, val_samples=200, test_samples=1, batch_size=30)
    data.prepare_data()
    data.setup("fit")
    model = classifier(
        MixerNetwork, width=8, mixing=mixing, max_resolution=16, head_hidden=64, head_dropout=0.0
    ).train()
    monkeypatch.setattr(model, "log", lambda *_, **__: None)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(14):
        for batch in data.train_dataloader():
            optimizer.zero_grad()
            model.training_step(batch, 0).backward()
            optimizer.step()
    model.eval()
    correct = [(model(x)[:, -1].argmax(1) == labels) for x, labels in data.val_dataloader()]
    assert torch.cat(correct).float().mean() > 0.2  # by chance 0.1, with a standard error of 0.02


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 0}, "depth must be an integer from 1 to 10000, got 0"),
        ({"groups": 3}, r"groups must divide channels \(4\), got 3"),
        ({"width": 0}, "out_channels must be a positive integer, got 0"),
        ({"mixing": "phase"}, "mixing must be one of 'linear', 'magnitude', got 'phase'"),
        ({"activation": "rectify"}, "activation must be one of 'relu', .* got 'rectify'"),
        ({"norm": "layer"}, "norm must be one of 'instance', 'batch', 'none', got 'layer'"),
        (
            {"mixes_bands": True, "head_widths": [4]},
            r"head.widths are for a head that does not mix bands, got \[4\]",
        ),
        ({"layer_base_resolution": 7}, "layer_base_resolution must be an integer from 1 to 6, got 7"),
        ({"dimensions": 3}, "dimensions must be 1 for signals or 2 for images, got 3"),
        ({"bandwidth": -1}, "bandwidth must be an integer of at least 0, got -1"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**arguments)


@pytest.mark.parametrize("shape", [(1, 2, 9, 10), (1, 3, 9, 9), (1, 2, 5, 5), (1, 2, 15, 15)])
def test_images_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="images"):
        network(dtype=torch.float32)(torch.zeros(shape))


def test_the_linear_part_of_a_block_is_what_the_formula_says() -> None:
    model = network()
    block, x = model.blocks[0], model.embedding(to_coefficients(inputs_of(model)))
    assert_same(block(x), block.nonlinearity(block.channels(block.frequencies(x)) + block.shortcut(x)))
