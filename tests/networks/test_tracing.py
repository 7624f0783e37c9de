"""What torch.compile, torch.export and ONNX make of the networks."""

from io import BytesIO

import pytest
import torch
from every_layer import EVERY_LAYER
from flat_settings import made
from torch import Tensor, nn

from sefl import networks

NETWORKS = [name for name in EVERY_LAYER if hasattr(networks, name.split()[0])]
SCALES = {"classes": 3, "base_resolution": 8, "max_resolution": 20, "head_hidden": 5}
ON_BANDS = {
    "FourierNetwork": {"widths": [3, 4], "kernel_size": 3, "head_dropout": 0.0},
    "FourierNetwork of batch norm": {
        "widths": [3, 4],
        "kernel_size": 3,
        "norm": "batch",
        "pools": [1, 2],
        "head_widths": [4],
        "head_cells": 4,
    },
    "MixerNetwork": {"width": 4, "depth": 1, "groups": 2},
    "FourierCNN": {"widths": [3, 4]},
}


@pytest.mark.parametrize("name", ON_BANDS)
def test_compiled_networks_train_at_all_resolutions_without_compiling_anew(name: str) -> None:
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    ordinary, traced = (network_of(name) for _ in range(2))
    compiled = torch.compile(traced, backend=backend)
    counts = []
    for resolution in (8, 11, 9, 10, *range(12, 21)):
        x = torch.randn(2, 1, resolution, resolution, generator=torch.Generator().manual_seed(resolution))
        for one, other in zip(
            outcome_and_gradients(compiled, x), outcome_and_gradients(ordinary, x), strict=True
        ):
            torch.testing.assert_close(one, other)
        counts.append(len(graphs))
    assert counts[0] > 0
    # Once for the first resolution, once for any.
    assert counts[-1] == counts[1] <= 2 * counts[0] + 1, counts


def network_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    network = made(name.split()[0], **SCALES, **ON_BANDS[name])
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network


def outcome_and_gradients(network: nn.Module, x: Tensor) -> list[Tensor]:
    network.zero_grad()
    outcome = network(x)
    outcome.square().sum().backward()
    return [outcome.detach(), *(p.grad.clone() for p in network.parameters() if p.grad is not None)]


def exported(network: nn.Module, x: Tensor) -> torch.export.ExportedProgram:
    with torch.no_grad():
        return torch.export.export(
            network, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False
        )


@pytest.mark.parametrize("name", NETWORKS)
def test_exported_networks_take_any_batch(name: str) -> None:
    case = EVERY_LAYER[name]
    network = case.make().eval()
    graph = exported(network, case.example(3)).module()
    for batch in (2, 5):
        x = case.example(batch, seed=batch)
        with torch.no_grad():
            torch.testing.assert_close(graph(x), network(x))


ON_ONNX = {
    "ConvNetwork": {"widths": [3]},
    "FourierNetwork": {"widths": [2], "kernel_size": 3, "layer_base_resolution": 5},
}


@pytest.mark.parametrize("name", ON_ONNX)
def test_onnx_predicts_the_same_on_any_batch(name: str) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    network = made(name, **{**SCALES, **ON_ONNX[name], "base_resolution": 5, "max_resolution": 7}).eval()
    file = BytesIO()
    torch.onnx.export(exported(network, torch.randn(3, 1, 7, 7)), (), dynamo=True, verbose=False).save(file)
    session = runtime.InferenceSession(file.getvalue())
    for batch in (2, 5):
        x = torch.randn(batch, 1, 7, 7)
        (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), network(x).detach(), rtol=1e-4, atol=1e-5)
