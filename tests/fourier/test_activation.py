"""Activations: parameters per channel are trained exactly, and what a layer would compute wrongly is refused."""

from functools import partial

import naive_fourier
import pytest
import torch
from scale_equivariance import assert_same
from torch import Tensor, nn
from torch.nn import functional as F

from sefl.fourier import (
    ScaleEquivariantMaxPool1d,
    ScaleEquivariantMaxPool2d,
    ScaleEquivariantNonlinearity1d,
    ScaleEquivariantNonlinearity2d,
    blocks,
    to_coefficients,
    to_grid,
)

CHANNELS = 3


class Shift(nn.Module):
    """A parameter and a buffer per channel, and one for all."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.linspace(-0.5, 0.5, CHANNELS).view(-1, 1, 1))
        self.slope = nn.Parameter(torch.tensor(0.3))
        self.register_buffer("factor", torch.linspace(1, 2, CHANNELS).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * torch.tanh(self.slope * x + self.shift)


def prelu(channels: int = CHANNELS) -> nn.PReLU:
    made = nn.PReLU(channels)
    nn.init.uniform_(made.weight, -1, 1)
    return made


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many blocks of columns as there are samples."""
    monkeypatch.setattr(blocks, "_CPU_BLOCK_BYTES", 1)
    monkeypatch.setattr(blocks, "_LEAST_COLUMNS", 1)


@pytest.mark.parametrize("make", [prelu, Shift, lambda: nn.Sequential(nn.Tanh(), prelu())])
@pytest.mark.parametrize("window", [1, 2])
def test_parameters_of_a_channel_act_on_it_alone(make, window: int, small_blocks: None) -> None:
    """Against torch's own layout and gradients."""
    torch.manual_seed(window)
    layer = ScaleEquivariantMaxPool2d(window, make(), 3, 7, CHANNELS, grid_sharing=1).double()
    images = torch.randn(2, CHANNELS, 7, 7).double().requires_grad_()
    outcome = to_grid(layer(to_coefficients(images)), -(-7 // window))
    expected = naive_fourier.nonlinearity(
        images, layer.activation, 3, window, 1, layer.weight, layer.bias, layer.eps
    )
    assert_same(outcome, expected)
    weights = torch.randn_like(expected)
    inputs = [images, *layer.parameters()]
    found, reference = (torch.autograd.grad((y * weights).sum(), inputs) for y in (outcome, expected))
    for one, other in zip(found, reference, strict=True):
        assert_same(one, other)


def test_parameters_per_channel_along_one_axis_and_of_unknown_number() -> None:
    """As many channels as the grid has points, so that a slope for each point would pass unseen."""
    slopes = torch.linspace(-1, 1, 5)
    layer = ScaleEquivariantNonlinearity1d(nn.PReLU(5), 5, 5)
    layer.activation.weight.data.copy_(slopes)
    values = torch.zeros(5, 2, 5)
    values[0] = -1.0
    # A constant signal of -1 becomes the slope's negative.
    assert_same(layer(values)[0], -slopes.expand(2, 5))
    values.requires_grad_()
    layer(values)[0].sum().backward()
    assert_same(layer.activation.weight.grad, torch.full((5,), -2.0))


def test_gradients_of_half_parameters_are_summed_in_single_precision(small_blocks: None) -> None:
    """A block for each of 512 samples that add one: bfloat16 counts to 256."""
    layer = ScaleEquivariantNonlinearity2d(nn.PReLU(), 3, 3).bfloat16()
    values = torch.zeros(3, 3, 512, 1, dtype=torch.bfloat16)
    values[0, 0] = -1
    layer(values)[0, 0].sum().backward()
    assert layer.activation.weight.grad == -512


def test_features_of_small_variance_have_finite_gradients_in_half_precision() -> None:
    """The gradient is a float16, which its factor, the deviation's inverse cube, is not."""
    generator = torch.Generator().manual_seed(0)
    values = (torch.randn(7, 7, 4, CHANNELS, generator=generator) * 2e-4).half()
    weights = 4 * torch.randn(values.shape, generator=generator)
    gradients = []
    for dtype in (torch.float16, torch.float32):
        layer = ScaleEquivariantNonlinearity2d(F.relu, 3, 7, CHANNELS).to(dtype)
        leaf = values.detach().to(dtype).requires_grad_()
        (layer(leaf) * weights.to(dtype)).sum().backward()
        gradients.append(leaf.grad.float())
    error = (gradients[0] - gradients[1]).norm() / gradients[1].norm()
    assert error < 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_made_anywhere(dtype: torch.dtype) -> None:
    """On meta, in inference mode, with another default type: and random numbers go on as if nothing had been tried."""
    before = torch.get_rng_state()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"), torch.inference_mode():
            layer = ScaleEquivariantNonlinearity2d(nn.PReLU(CHANNELS), channels=CHANNELS)
    finally:
        torch.set_default_dtype(torch.float32)
    assert layer.activation.weight.is_meta
    assert torch.equal(torch.get_rng_state(), before)
    evaluated = nn.Softplus().eval()
    assert not ScaleEquivariantNonlinearity2d(evaluated).activation.training


class Hidden:
    """No module, but it has something to train."""

    def __init__(self) -> None:
        self.slope = torch.tensor(0.1, requires_grad=True)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.maximum(x, self.slope * x)


slope = nn.Parameter(torch.tensor([0.1]))
counter = iter(range(100))


class Remembering(nn.Module):
    """Its value depends on how often it has been called."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls


REFUSED = {
    "bound method": (prelu().forward, "hold what it trains"),
    "partial": (partial(F.prelu, weight=slope), "hold what it trains"),
    "closure": (lambda x: torch.maximum(x, slope * x), "hold what it trains"),
    "object": (Hidden(), "hold what it trains"),
    "in place": (nn.ReLU(inplace=True), "not work in place"),
    "in place inside": (nn.Sequential(nn.ReLU(inplace=True), nn.Tanh()), "not work in place"),
    "in place, a function": (torch.relu_, "not work in place"),
    "in place, a partial": (partial(F.leaky_relu, inplace=True), "not work in place"),
    "dropout": (nn.Sequential(nn.ReLU(), nn.Dropout(1e-4)), "be deterministic"),
    "dropout in evaluation": (nn.Dropout().eval(), "be deterministic"),
    "random slopes": (nn.RReLU(), "be deterministic"),
    "another generator": (
        lambda x: x * torch.rand((), generator=torch.Generator().manual_seed(next(counter))),
        "be det",
    ),
    "counts": (lambda x: x * next(counter), "be deterministic"),
    "batch norm": (nn.BatchNorm2d(CHANNELS), "not change its buffers"),
    "buffers": (Remembering(), "not change its buffers"),
    "statistics of the batch": (nn.BatchNorm2d(CHANNELS, track_running_stats=False), "be pointwise"),
    "statistics of an image": (nn.InstanceNorm2d(CHANNELS), "be pointwise"),
    "neighbours": (nn.MaxPool2d(3, 1, 1), "be pointwise"),
    "place": (lambda x: x + torch.arange(x.shape[-1]), "be pointwise"),
    "other channels": (nn.PReLU(CHANNELS + 1), "fails on 3 channels"),
    "half the channels": (lambda x: x.chunk(2, 1)[0], "fails on 3 channels"),
    "no tensor": (lambda x: None, "fails on 3 channels"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    activation, message = REFUSED[name]
    for make in (ScaleEquivariantNonlinearity2d, partial(ScaleEquivariantMaxPool2d, 2)):
        with pytest.raises(ValueError, match=f"activation must .*{message}"):
            make(activation, channels=CHANNELS)


@pytest.mark.parametrize("activation", ["relu", nn.ReLU, None])
def test_no_function(activation: object) -> None:
    with pytest.raises(TypeError, match="activation must be a function, or an instance of a module, got"):
        ScaleEquivariantMaxPool1d(2, activation)


def test_accepted() -> None:
    """The control: what is pointwise passes, also if it works in place on what is its own."""
    accepted = [
        F.relu, F.gelu, torch.sin, torch.log, nn.ReLU().forward, partial(F.leaky_relu, negative_slope=0.1),
        nn.Sequential(nn.Softplus(), nn.Hardtanh()), lambda x: (x * 2).relu_(), nn.Identity(), nn.Softmax2d(),
        nn.Sequential(nn.Tanh(), nn.ReLU(inplace=True)),
    ]  # fmt: skip
    for activation in accepted:
        ScaleEquivariantNonlinearity2d(activation, channels=CHANNELS)
