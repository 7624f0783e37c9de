"""The compiler heeds the decorators; that layers import none of it is held by ``test_house``."""

import pytest
import torch
from torch import Tensor, nn

from sefl.tensors.graphs import constant_in_graphs, outside_of_graphs


class Adds(nn.Module):
    """Adds what a function gives whose inside no graph can hold."""

    def __init__(self, decorate) -> None:
        super().__init__()
        self.calls = 0

        def made(x: float) -> Tensor:
            self.calls += 1
            return torch.tensor([float(str(x).encode().decode()) + id(self) * 0])

        self.made = decorate(made)

    def forward(self, x: Tensor) -> Tensor:
        return x.sin() + self.made(2.0)


@pytest.mark.parametrize(
    ("decorate", "graphs"), [(constant_in_graphs, 1), (outside_of_graphs, 2)], ids=["constant", "outside"]
)
def test_the_compiler_heeds_it(decorate, graphs: int) -> None:
    seen = []

    def backend(graph, _):
        seen.append(graph)
        return graph.forward

    torch._dynamo.reset()
    module = Adds(decorate)
    compiled = torch.compile(module, backend=backend)
    x = torch.randn(3)
    for _ in range(3):
        assert torch.equal(compiled(x), x.sin() + 2)
    assert len(seen) == graphs
    calls = module.calls
    compiled(x)
    assert module.calls == calls + (decorate is outside_of_graphs)
