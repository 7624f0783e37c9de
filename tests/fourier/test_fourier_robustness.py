"""What training asks of every layer beside exactness: dtypes, devices, inference mode, copies, odd batches, blocks."""

import copy
import doctest
import importlib
import pickle
from collections.abc import Callable, Iterator

import pytest
import torch
from scale_equivariance import TOLERANCE, assert_same, relative_squared_error
from torch import Tensor, nn
from torch.nn import functional as F

import sefl.fourier.basis
import sefl.fourier.blocks
from sefl.fourier import (
    BandPooling1d,
    BandPooling2d,
    ScaleEquivariantMaxPool1d,
    ScaleEquivariantMaxPool2d,
    ScaleEquivariantNonlinearity1d,
    ScaleEquivariantNonlinearity2d,
    SpectralConv1d,
    SpectralConv2d,
    downsample,
    to_coefficients,
    to_grid,
    upsample,
)
from sefl.tensors.constants import forget_constants

CHANNELS = 3
FINEST = 9


class OnGrid(nn.Module):
    """The functions between grids and coefficients as one layer on coefficients."""

    def forward(self, coefficients: Tensor) -> Tensor:
        return to_coefficients(upsample(downsample(to_grid(coefficients, FINEST), 7), 8))


class OnFirstRow(nn.Module):
    """A layer on signals, applied to the first row of coefficients; what it gives is a row again, or bands."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, coefficients: Tensor) -> Tensor:
        outcome = self.layer(coefficients[0])
        return outcome if isinstance(self.layer, BandPooling1d) else outcome.unsqueeze(0)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "sampling": OnGrid,
    "convolution": lambda: SpectralConv2d(CHANNELS, 4, 3, FINEST, residual=True),
    "pointwise convolution": lambda: SpectralConv2d(CHANNELS, 4, 1, FINEST),
    "relu": lambda: ScaleEquivariantNonlinearity2d(F.relu, 4, FINEST),
    "norm and relu": lambda: ScaleEquivariantNonlinearity2d(F.relu, 4, FINEST, channels=CHANNELS),
    "norm and gelu": lambda: ScaleEquivariantNonlinearity2d(F.gelu, 4, FINEST, CHANNELS, oversampling=1.5),
    "PReLU": lambda: ScaleEquivariantNonlinearity2d(nn.PReLU(), 4, FINEST, channels=CHANNELS),
    "max-pool": lambda: ScaleEquivariantMaxPool2d(2, nn.ReLU(), 4, FINEST, channels=CHANNELS),
    "max pooling of bands": lambda: BandPooling2d(4, FINEST, 2),
    "mean pooling of bands": lambda: BandPooling2d(4, FINEST, 2, pool="mean"),
    "convolution of signals": lambda: OnFirstRow(SpectralConv1d(CHANNELS, 4, 3, FINEST, residual=True)),
    "norm and ReLU of signals": lambda: OnFirstRow(
        ScaleEquivariantNonlinearity1d(nn.ReLU(), 4, FINEST, CHANNELS)
    ),
    "max-pool of signals": lambda: OnFirstRow(ScaleEquivariantMaxPool1d(2, nn.PReLU(), 4, FINEST, CHANNELS)),
    "max pooling of bands of signals": lambda: OnFirstRow(BandPooling1d(4, FINEST, 2)),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


def layer_of(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    """A layer with random parameters."""
    torch.manual_seed(0)
    layer = LAYERS[name]().to(dtype)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return layer


def coefficients(
    dtype: torch.dtype = torch.float64, batch: int = 2, channels: int = CHANNELS, seed: int = 0
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(FINEST, FINEST, batch, channels, generator=generator, dtype=torch.float64).to(dtype)


@pytest.fixture
def cold() -> Iterator[None]:
    """No constant matrix is known before the test, and none that it made stays."""
    forget_constants()
    yield
    forget_constants()


def outcome_and_gradients(layer: nn.Module, x: Tensor) -> list[Tensor]:
    leaf = x.detach().clone().requires_grad_()
    outcome = layer(leaf)
    generator = torch.Generator().manual_seed(1)
    towards = torch.randn(outcome.shape, generator=generator, dtype=torch.float64).to(outcome)
    gradients = torch.autograd.grad((outcome * towards).sum(), [leaf, *layer.parameters()])
    return [outcome.detach(), *gradients]


@every_layer
def test_autocast_to_bfloat16(name: str, cold: None) -> None:
    layer, x = layer_of(name, torch.float32), coefficients(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        outcome = layer(x.requires_grad_())
        outcome.float().square().sum().backward()
    expected = layer(x.detach())
    assert relative_squared_error(outcome.float(), expected) < 1e-3
    for tensor in (x, *layer.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.dtype == torch.float32
        assert tensor.grad.isfinite().all()


@every_layer
def test_activations_in_bfloat16_with_parameters_in_float32(name: str) -> None:
    """As in a network under autocast, where the layer before gave bfloat16."""
    layer, x = layer_of(name, torch.float32), coefficients(torch.bfloat16).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        outcome = layer(x)
        assert outcome.dtype == torch.bfloat16
        outcome.float().square().sum().backward()
    for tensor in (x, *layer.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


@every_layer
def test_constants_made_under_autocast_are_exact(name: str, cold: None) -> None:
    layer, x = layer_of(name), coefficients()
    expected = outcome_and_gradients(layer, x)
    forget_constants()
    with torch.autocast("cpu", torch.bfloat16):
        layer.float()(coefficients(torch.float32))
        layer(coefficients(torch.bfloat16))
    for one, other in zip(outcome_and_gradients(layer_of(name), x), expected, strict=True):
        assert_same(one, other)


@every_layer
def test_a_module_in_bfloat16(name: str) -> None:
    layer = layer_of(name, torch.float32)
    expected = layer(coefficients(torch.float32))
    found = outcome_and_gradients(layer.to(torch.bfloat16), coefficients(torch.bfloat16))
    assert relative_squared_error(found[0].float(), expected) < 1e-3
    for tensor in found:
        assert tensor.dtype == torch.bfloat16
        assert tensor.isfinite().all()


@every_layer
def test_float32_and_back_to_float64(name: str) -> None:
    layer, x = layer_of(name, torch.float32), coefficients(torch.float32)
    single = outcome_and_gradients(layer, x)
    exact = outcome_and_gradients(layer.double(), x.double())
    for one, other in zip(single, exact, strict=True):
        assert one.dtype == torch.float32
        assert relative_squared_error(one, other) < TOLERANCE[torch.float32]


@every_layer
def test_inference_first_and_training_after(name: str, cold: None) -> None:
    layer, x = layer_of(name), coefficients()
    expected = outcome_and_gradients(layer, x)
    forget_constants()
    with torch.inference_mode():
        assert_same(layer(x), expected[0])
    for one, other in zip(outcome_and_gradients(layer, x), expected, strict=True):
        assert_same(one, other)


@every_layer
def test_a_default_device_elsewhere_changes_nothing(name: str, cold: None) -> None:
    layer, x = layer_of(name), coefficients()
    expected = outcome_and_gradients(layer, x)
    forget_constants()
    leaf = x.clone().requires_grad_()
    towards = torch.ones_like(expected[0])
    for _constants in ("made", "known"):
        with torch.device("meta"):
            outcome = layer(leaf)
            gradients = torch.autograd.grad(outcome, [leaf, *layer.parameters()], towards)
        assert {tensor.device.type for tensor in (outcome, *gradients)} == {"cpu"}
        assert_same(outcome.detach(), expected[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@every_layer
def test_an_accelerator_gives_the_same(name: str) -> None:
    layer, x = layer_of(name), coefficients()
    expected = outcome_and_gradients(layer, x)
    for found, one in zip(outcome_and_gradients(layer.cuda(), x.cuda()), expected, strict=True):
        assert found.device.type == "cuda"
        assert_same(found.cpu(), one)


@every_layer
def test_uninitialised_memory_never_shows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``use_deterministic_algorithms`` fills what ``torch.empty`` gives with NaN."""
    layer, x = layer_of(name), coefficients()
    expected = outcome_and_gradients(layer, x)
    coarser = outcome_and_gradients(layer, x[:5, :5])
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(1).isnan().all()
        found = outcome_and_gradients(layer, x)
        found_coarser = outcome_and_gradients(layer, x[:5, :5])
    finally:
        torch.use_deterministic_algorithms(False)
    for one, other in zip([*found, *found_coarser], [*expected, *coarser], strict=True):
        assert torch.equal(one, other)


@every_layer
def test_copies_and_state(name: str) -> None:
    layer, x = layer_of(name), coefficients()
    expected = outcome_and_gradients(layer, x)
    fresh = LAYERS[name]().double()
    fresh.load_state_dict(layer.state_dict())
    for twin in (copy.deepcopy(layer), pickled(layer), fresh):
        for one, other in zip(outcome_and_gradients(twin, x), expected, strict=True):
            assert torch.equal(one, other)
    assert set(layer.state_dict()) == {parameter for parameter, _ in layer.named_parameters()}


def pickled(layer: nn.Module) -> nn.Module:
    return pickle.loads(pickle.dumps(layer))


# Seconds each, and the layers on signals run the code of those on images.
@pytest.mark.parametrize("name", [name for name in LAYERS if not name.endswith("of signals")])
def test_torch_compile_gives_the_same(name: str, cold: None) -> None:
    layer, x = layer_of(name), coefficients()
    expected = outcome_and_gradients(layer, x)
    forget_constants()
    torch.compiler.reset()
    compiled = torch.compile(layer, backend="eager")
    leaf = x.clone().requires_grad_()
    outcome = compiled(leaf)
    assert_same(outcome.detach(), expected[0])
    outcome.square().sum().backward()
    assert leaf.grad is not None
    # What compiling left behind must serve an ordinary pass.
    for one, other in zip(outcome_and_gradients(layer, x), expected, strict=True):
        assert_same(one, other)


@every_layer
def test_batches_of_none_and_of_one(name: str) -> None:
    layer, x = layer_of(name), coefficients(batch=2)
    whole = layer(x)
    samples = whole.dim() - 2 if whole.dim() == 4 else 0
    assert_same(layer(x[:, :, 1:]), whole.narrow(samples, 1, 1))
    leaf = x[:, :, :0].clone().requires_grad_()
    nothing = layer(leaf)
    assert nothing.shape == whole.narrow(samples, 0, 0).shape
    nothing.sum().backward()
    assert leaf.grad is not None
    for parameter in layer.parameters():
        assert parameter.grad is not None
        assert (parameter.grad == 0).all()


def test_one_channel() -> None:
    x = coefficients(channels=CHANNELS)
    for name in ("sampling", "relu", "max pooling of bands", "mean pooling of bands"):
        layer = layer_of(name)
        assert torch.isfinite(layer(x[..., 1:2])).all()
    norm = ScaleEquivariantNonlinearity2d(F.relu, 4, FINEST, channels=1).double()
    of_all = ScaleEquivariantNonlinearity2d(F.relu, 4, FINEST, channels=CHANNELS).double()
    assert_same(norm(x[..., 1:2]), of_all(x)[..., 1:2])
    assert SpectralConv2d(1, 1, 3, FINEST).double()(x[..., :1]).shape == (FINEST, FINEST, 2, 1)


@every_layer
def test_results_do_not_depend_on_the_size_of_a_block(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = layer_of(name), coefficients(batch=11)
    expected = outcome_and_gradients(layer, x)
    for budget in (1, 20_000):
        monkeypatch.setattr(sefl.fourier.blocks, "_CPU_BLOCK_BYTES", budget)
        for least in (1, 4, 7):
            monkeypatch.setattr(sefl.fourier.blocks, "_LEAST_COLUMNS", least)
            for one, other in zip(outcome_and_gradients(layer, x), expected, strict=True):
                assert_same(one, other)


@every_layer
def test_memory_layout_of_input_and_gradient_is_free(name: str) -> None:
    layer, x = layer_of(name), coefficients()
    expected = layer(x)
    strided = x.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
    assert not strided.is_contiguous()
    assert_same(layer(strided), expected)
    leaf = x.clone().requires_grad_()
    towards = torch.randn(expected.shape[::-1], dtype=torch.float64).permute(*range(expected.dim())[::-1])
    (found,) = torch.autograd.grad(layer(leaf), leaf, towards)
    (contiguous,) = torch.autograd.grad(layer(leaf), leaf, towards.contiguous())
    assert_same(found, contiguous)
    layer(leaf).sum().backward()  # the gradient of a sum is an expanded number
    assert leaf.grad is not None


@every_layer
def test_two_passes_at_different_bands_before_one_backward(name: str) -> None:
    layer, fine, coarse = layer_of(name), coefficients(), coefficients(seed=1)[:7, :7]
    one, other = fine.clone().requires_grad_(), coarse.clone().requires_grad_()
    layer.zero_grad()
    first, second = layer(one), layer(other)
    (first.square().sum() + second.square().sum()).backward()
    found = [one.grad, other.grad, *(parameter.grad for parameter in layer.parameters())]
    layer.zero_grad()
    for leaf in (one, other):
        leaf.grad = None
        layer(leaf).square().sum().backward()
    expected = [one.grad, other.grad, *(parameter.grad for parameter in layer.parameters())]
    for gradient, alone in zip(found, expected, strict=True):
        assert_same(gradient, alone)


@pytest.mark.parametrize(
    "module", ["basis", "blocks", "convolution", "head", "nonlinearity", "sampling", "shells", "shellwise"]
)
def test_examples_in_docstrings(module: str) -> None:
    failures, _ = doctest.testmod(importlib.import_module(f"sefl.fourier.{module}"))
    assert failures == 0


def test_there_are_examples() -> None:
    assert doctest.testmod(sefl.fourier.basis).attempted > 0
