"""The baselines keep to the interface of ScaleClassifier, do what their papers say, and are not scale-equivariant."""

from typing import Any

import pytest
import torch
from flat_settings import made
from scale_equivariance import (
    assert_same,
    assert_scale_equivariant,
    on_images,
    relative_squared_error,
    scale_equivariance_errors,
)
from torch import Tensor
from torch.nn import functional as F

from models import ScaleClassifier
from sefl.fourier import downsample, upsample
from sefl.networks import SESN, ConvNetwork, FourierCNN, PerResolutionNetwork, ScaleNetwork, WideResNet
from sefl.networks.padding import pad

BASE, FINEST = 6, 13

BASELINES: dict[str, tuple[type[ScaleNetwork], dict[str, Any]]] = {
    "CNN": (ConvNetwork, {"widths": [3, 4], "head_hidden": 5, "head_dropout": 0.0}),
    "SESN": (
        SESN,
        {"widths": [3, 4], "scales": [1.0, 1.5], "order": 2, "head_hidden": 5, "head_dropout": 0.0},
    ),
    "per resolution": (PerResolutionNetwork, {"widths": [3, 4], "head_hidden": 5, "head_dropout": 0.0}),
    "wide ResNet": (WideResNet, {"depth": 10, "width": 1, "dropout": 0.0}),
    "Fourier CNN": (FourierCNN, {"widths": [3, 4], "head_hidden": 5, "head_dropout": 0.0}),
    "global Fourier CNN": (
        FourierCNN,
        {"widths": [3, 4, 4], "kernel_size": None, "pools": [2, 1, 2], "head_dropout": 0.0},
    ),
}
every_baseline = pytest.mark.parametrize("name", BASELINES)


def network(name: str, **settings: Any) -> Any:
    torch.manual_seed(0)
    cls, small = BASELINES[name]
    small = {"in_channels": 2, "classes": 5, "base_resolution": BASE, "max_resolution": FINEST, **small}
    return made(cls, **{**small, **settings}).double().eval()


def images(resolution: int, batch: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(resolution)
    return torch.randn(batch, 2, resolution, resolution, generator=generator, dtype=torch.float64)


@every_baseline
def test_every_resolution_has_a_prediction_and_every_measured_layer_an_output(name: str) -> None:
    model = network(name)
    outputs: dict[str, Tensor] = {}
    for layer in model.measured_layers():
        model.get_submodule(layer).register_forward_hook(
            lambda module, inputs, output, layer=layer: outputs.update({layer: output})
        )
    for r in range(BASE, FINEST + 1):
        outputs.clear()
        logits = model(images(r))
        assert logits.shape == (3, 1, 5)
        assert logits.isfinite().all()
        assert set(outputs) == set(model.measured_layers())
        assert all(output.dim() in (2, 4) for output in outputs.values())


@every_baseline
def test_predictions_at_all_resolutions_are_those_of_the_downsampled_images(name: str) -> None:
    model, x = network(name), images(FINEST)
    found = model.predict_all_resolutions(x)
    assert found.shape == (3, FINEST - BASE + 1, 5)
    for r in range(BASE, FINEST + 1):
        assert_same(found[:, r - BASE], model(downsample(x, r))[:, 0])


@every_baseline
def test_a_baseline_is_not_scale_equivariant(name: str) -> None:
    logits = network(name).predict_all_resolutions(images(FINEST))
    for index in range(FINEST - 2 - BASE):
        assert relative_squared_error(logits[:, index], logits[:, -1]) > 1e-6


@every_baseline
def test_steps_of_gradient_descent_reduce_a_baselines_loss(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ScaleClassifier(network(name)).double().train()
    monkeypatch.setattr(model, "log", lambda *_, **__: None)
    batch = images(FINEST, 8), torch.arange(8) % 5
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(4):
        loss = model.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_each_resolution_has_a_network_that_it_alone_trains() -> None:
    model = network("per resolution")
    assert len(model.features.modules_by_resolution) == len(range(BASE, FINEST + 1))
    model(images(9)).square().sum().backward()
    trained = {
        name.split(".")[2] for name, parameter in model.named_parameters() if parameter.grad is not None
    }
    assert trained == {"9"}
    assert all(parameter.grad is not None for name, parameter in model.named_parameters() if ".9." in name)


@pytest.mark.parametrize(("depth", "width", "count"), [(28, 10, 36_479_194), (16, 8, 10_961_370)])
def test_wide_resnets_have_the_published_number_of_parameters(depth: int, width: int, count: int) -> None:
    """36.5 and 11.0 million in Zagoruyko & Komodakis, table 4; to the last one in the authors' PyTorch ports."""
    with torch.device("meta"):
        model = WideResNet(depth, width, in_channels=3, max_resolution=32)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_a_pre_activation_block_with_dead_convolutions_is_its_shortcut() -> None:
    model = network("wide ResNet", depth=16)
    for block in model.groups.modules():
        if hasattr(block, "second"):
            torch.nn.init.zeros_(block.second.weight)
    x = model.stem(images(FINEST))
    assert_same(model.groups[0](x), x)
    first = model.groups[1][0]
    assert_same(first(x), first.shortcut(F.relu(first.first_norm(x))))
    assert model.groups(x).shape == (3, 64, 4, 4)


@pytest.mark.parametrize("resize", ["ideal", "zero", "reflect"])
def test_a_wide_resnet_may_bring_images_to_the_finest_resolution(resize: Any) -> None:
    model, plain = network("wide ResNet", resize=resize), network("wide ResNet")
    for r in (BASE, FINEST - 1, FINEST):
        x = images(r)
        expected = upsample(x, FINEST) if resize == "ideal" else pad(x, FINEST, resize)
        assert_same(model(x), plain(expected))


def test_of_a_fourier_cnn_the_convolutions_are_equivariant_and_the_activations_are_not() -> None:
    model, x = network("Fourier CNN"), images(FINEST)
    block = model.blocks[0]
    assert_scale_equivariant(on_images(block.convolution), x, range(BASE, FINEST + 1))
    errors = scale_equivariance_errors(block, x, range(BASE, FINEST - 1))
    assert min(errors.values()) > 1e-3


def test_global_kernels_span_the_grid_of_their_block() -> None:
    model = network("global Fourier CNN", max_resolution=14)
    assert [block.convolution.kernel_size for block in model.blocks] == [13, 7, 7]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("per resolution", {"widths": []}, r"widths must name the channels of at least one block, got \[\]"),
        ("per resolution", {"kernel_size": 2}, "kernel_size must be odd and positive, got 2"),
        ("per resolution", {"head_hidden": 0}, "head.hidden must be a positive integer, got 0"),
        ("wide ResNet", {"depth": 12}, r"depth must be 6 n \+ 4 .* got 12"),
        ("wide ResNet", {"depth": 4}, r"depth must be 6 n \+ 4 .* got 4"),
        ("wide ResNet", {"width": 0}, "width must be a positive integer, got 0"),
        ("wide ResNet", {"resize": "mirror"}, "resize must be one of 'none', .* got 'mirror'"),
        ("Fourier CNN", {"widths": []}, r"widths must name the channels of at least one block, got \[\]"),
        ("Fourier CNN", {"pools": [2]}, r"pools must have one entry per block, 2 as widths, got \[2\]"),
        ("Fourier CNN", {"pools": [0, 1]}, r"pools must be positive integers, got \[0, 1\]"),
        ("Fourier CNN", {"kernel_size": 4}, "kernel_size must be odd .* got 4"),
        ("Fourier CNN", {"head_cells": 0}, "head.cells must be a positive integer, got 0"),
    ],
)
def test_a_baselines_arguments_out_of_range(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(name, **arguments)


@every_baseline
def test_images_outside_a_baselines_range(name: str) -> None:
    with pytest.raises(ValueError, match=r"images of resolution 14 are outside .* max_resolution 13"):
        network(name)(images(14))
