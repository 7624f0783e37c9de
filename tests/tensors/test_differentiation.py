"""torch.func, forward mode and second derivatives of every layer, beside the fast passes of the first derivative."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import (
    functional_call,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    replace_all_batch_norm_modules_,
    stack_module_state,
    vmap,
)

from sefl import fourier, groups
from sefl.fourier.triangular import BlockTriangle, triangular_product
from tests.every_layer import EVERY_LAYER

NAMES = sorted(name for name in EVERY_LAYER if "Torchvision" not in name)  # no layers of ours, and a minute
TRAINED = [name for name in NAMES if any(True for _ in EVERY_LAYER[name].make().parameters())]
# Of torch's own batch norm in training second derivatives inside of torch.func are no Hessian.
NORM_OF_TORCH = ["scaleEqNonlin"]  # its instance norm, likewise
OURS_IN_TRAINING = ["BandlimitedNorm", "GridBatchNorm", "SpectralBatchNorm"]
STEP = 1e-6
Parameters = dict[str, Tensor]


class Moved:
    """A layer in float64 as a scalar function of ``t (2,)``, which moves parameters and input in two directions."""

    def __init__(self, name: str, training: bool = False) -> None:
        case = EVERY_LAYER[name]
        self.axis = case.shape.index(0)
        # Other weights may be at a kink of some ReLU, where differences are no derivative.
        torch.manual_seed(0)
        self.layer = case.make().double().train(training)
        replace_all_batch_norm_modules_(self.layer) if training else None
        torch.manual_seed(0)
        self.x = case.example(3).to(torch.complex128 if case.complex else torch.float64)
        self.parameters = {
            key: value.detach() + torch.randn_like(value) / 10 for key, value in self.layer.named_parameters()
        }
        self.directions = torch.randn(2, *self.x.shape, dtype=self.x.dtype)
        self.parameter_directions = {
            key: torch.randn(2, *value.shape, dtype=value.dtype) for key, value in self.parameters.items()
        }
        self.projection = torch.randn_like(self(self.parameters, self.x)) / 10

    def __call__(self, parameters: Parameters, x: Tensor) -> Tensor:
        return _real(functional_call(self.layer, parameters, (x,)))

    def output(self, t: Tensor) -> Tensor:
        moved = {
            key: value + torch.tensordot(t.to(value.dtype), self.parameter_directions[key], 1)
            for key, value in self.parameters.items()
        }
        return self(moved, self.x + torch.tensordot(t.to(self.x.dtype), self.directions, 1))

    def scalar(self, t: Tensor) -> Tensor:
        return (self.output(t) * self.projection).sum()

    def fast(self, t: Tensor) -> Tensor:
        """The gradient by the ordinary passes."""
        t = t.clone().requires_grad_()
        return torch.autograd.grad(self.scalar(t), t)[0]

    def differences(self) -> Tensor:
        """The Hessian at 0, by differences of ordinary gradients."""
        steps = STEP * torch.eye(2, dtype=torch.float64)
        return torch.stack([(self.fast(step) - self.fast(-step)) / (2 * STEP) for step in steps])


def _real(outcome: Tensor | tuple[Tensor, ...]) -> Tensor:
    first = outcome[0] if isinstance(outcome, tuple) else outcome
    return torch.view_as_real(first) if first.is_complex() else first


def zero() -> Tensor:
    return torch.zeros(2, dtype=torch.float64)


def axes() -> Tensor:
    return torch.eye(2, dtype=torch.float64)


def by_dual_numbers(moved: Moved) -> Tensor:
    tangents = []
    for axis in axes():
        with forward_ad.dual_level():
            outcome = moved.scalar(forward_ad.make_dual(zero(), axis))
            tangents.append(forward_ad.unpack_dual(outcome).tangent)
    return torch.stack(tangents)


def by_a_batch_of_gradients(moved: Moved) -> Tensor:
    t = zero().requires_grad_()
    batch = torch.stack([moved.projection, -moved.projection])
    (found,) = torch.autograd.grad(moved.output(t), t, batch, is_grads_batched=True)
    return (found[0] - found[1]) / 2


def by_a_second_backward_pass(moved: Moved) -> Tensor:
    t = zero().requires_grad_()
    (gradient,) = torch.autograd.grad(moved.scalar(t), t, create_graph=True)
    if not gradient.requires_grad:  # of a linear layer without parameters
        return torch.zeros(2, 2, dtype=torch.float64)
    return torch.stack([torch.autograd.grad(one, t, retain_graph=True)[0] for one in gradient])


FIRST: dict[str, Callable[[Moved], Tensor]] = {
    "grad": lambda moved: grad(moved.scalar)(zero()),
    "jvp": lambda moved: torch.stack([jvp(moved.scalar, (zero(),), (axis,))[1] for axis in axes()]),
    "jacrev": lambda moved: jacrev(moved.scalar)(zero()),
    "jacfwd": lambda moved: jacfwd(moved.scalar)(zero()),
    "dual numbers": by_dual_numbers,
    "a batch of gradients": by_a_batch_of_gradients,
}
SECOND: dict[str, Callable[[Moved], Tensor]] = {
    "hessian": lambda moved: hessian(moved.scalar)(zero()),
    "jacrev of jacrev": lambda moved: jacrev(jacrev(moved.scalar))(zero()),
    "jacfwd of jacfwd": lambda moved: jacfwd(jacfwd(moved.scalar))(zero()),
    "a second backward pass": by_a_second_backward_pass,
}


def assert_close(found: Tensor, expected: Tensor, what: str, tolerance: float) -> None:
    scale = tolerance * max(1e-3, float(expected.abs().max()))
    torch.testing.assert_close(found, expected, rtol=0, atol=scale, msg=lambda text: f"{what}: {text}")


@pytest.mark.parametrize(
    ("name", "training"), [(name, False) for name in NAMES] + [(name, True) for name in OURS_IN_TRAINING]
)
def test_derivatives(name: str, training: bool) -> None:
    moved = Moved(name, training)
    first, second = moved.fast(zero()), moved.differences()
    for what, found in FIRST.items():
        assert_close(found(moved), first, what, 1e-9)
    for what, found in SECOND.items():
        if name not in NORM_OF_TORCH or what == "a second backward pass":
            assert_close(found(moved), second, what, 1e-5)


@pytest.mark.parametrize("name", TRAINED)
def test_gradients_of_each_sample(name: str) -> None:
    moved = Moved(name)
    samples = moved.x.movedim(moved.axis, 0)

    def alone(parameters: Parameters, sample: Tensor) -> Tensor:
        return moved(parameters, sample.unsqueeze(moved.axis))

    weights = torch.randn_like(alone(moved.parameters, samples[0]))

    def loss(parameters: Parameters, sample: Tensor) -> Tensor:
        return (alone(parameters, sample) * weights).sum()

    outputs = vmap(alone, (None, 0))(moved.parameters, samples)
    gradients = vmap(grad(loss), (None, 0))(moved.parameters, samples)
    for index, sample in enumerate(samples):
        assert_close(outputs[index], alone(moved.parameters, sample), "output", 1e-10)
        leaves = {key: value.clone().requires_grad_() for key, value in moved.parameters.items()}
        expected = torch.autograd.grad(loss(leaves, sample), list(leaves.values()), materialize_grads=True)
        for key, one in zip(leaves, expected, strict=True):
            assert_close(gradients[key][index], one, key, 1e-9)


@pytest.mark.parametrize("name", ["SpectralConv2d", "ScaleEquivariantMaxPool2d", "FourierNetwork"])
def test_an_ensemble(name: str) -> None:
    case = EVERY_LAYER[name]
    layers = [case.make().double().eval() for _ in range(3)]
    state, buffers = stack_module_state(layers)
    x = case.example().double()
    outputs = vmap(lambda *own: functional_call(layers[0], own, (x,)))(state, buffers)
    for layer, output in zip(layers, outputs, strict=True):
        assert_close(output, layer(x), "output", 1e-10)


SIZES = {"base_resolution": 4, "max_resolution": 9}
VARIANTS: dict[str, tuple[nn.Module, int]] = {
    "PReLU": (fourier.ScaleEquivariantNonlinearity2d(nn.PReLU(2), channels=2, **SIZES), 2),
    "GELU, oversampled": (fourier.ScaleEquivariantNonlinearity1d(nn.GELU(), oversampling=1.5, **SIZES), 1),
    "shared grids": (fourier.ScaleEquivariantNonlinearity2d(channels=2, grid_sharing=1.5, **SIZES), 2),
    "skipped bands": (fourier.ScaleEquivariantNonlinearity2d(channels=2, band_step=2, **SIZES), 2),
    "window of 3": (
        fourier.ScaleEquivariantMaxPool2d(3, nn.SiLU(), channels=2, grid_sharing=1.5, **SIZES),
        2,
    ),
    "window of signals": (fourier.ScaleEquivariantMaxPool1d(2, torch.tanh, channels=2, **SIZES), 1),
    "cells of signals": (fourier.BandPooling1d(cells=3, **SIZES), 1),
    "kernel of even grids": (fourier.SpectralConv2d(2, 1, 5, 10), 2),
    "kernel of signals": (fourier.SpectralConv1d(2, 3, 9, 9), 1),
    "banded mixer": (fourier.FrequencyMixer2d(2, 9, bandwidth=1, groups=2), 2),
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("band", [2, 4])
def test_variants(name: str, band: int) -> None:
    """The output for a batch, and the second derivative by each argument alone."""
    torch.manual_seed(0)
    layer, space = VARIANTS[name]
    layer = layer.double()
    x = torch.randn(*[2 * band + 1] * space, 2, 2, dtype=torch.float64)
    batched = vmap(lambda one: layer(one.unsqueeze(space)).squeeze(0 if "cells" in name else space), space)(x)
    expected = layer(x) if "cells" in name else layer(x).movedim(space, 0)
    torch.testing.assert_close(batched, expected, rtol=1e-10, atol=1e-10)
    if band == 4:
        return
    names, values = zip(*layer.named_parameters(), strict=True) if list(layer.parameters()) else ((), ())

    def function(x: Tensor, *parameters: Tensor) -> Tensor:
        return functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    moved = [(value + torch.randn_like(value) / 10).detach() for value in values]
    inputs = [one.requires_grad_() for one in (x, *moved)]
    assert gradcheck(function, inputs, check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(function, inputs, check_fwd_over_rev=True, fast_mode=True)


def test_triangular_product_twice() -> None:
    torch.manual_seed(0)
    triangle = BlockTriangle((1, 2, 2), (2, 1, 2))
    for batch in (1, 3):
        entries = torch.randn(batch, triangle.size, dtype=torch.float64, requires_grad=True)
        x = torch.randn(3, 5, 2, dtype=torch.float64, requires_grad=True)
        assert gradgradcheck(lambda *own: triangular_product(*own, triangle), (entries, x))


@pytest.mark.parametrize(
    ("room", "name"),
    [
        ("convolution", "SpectralConv2d"),
        ("shellwise", "ScaleEquivariantNonlinearity2d"),
        ("head", "BandPooling2d"),
        ("triangular", "FrequencyMixer2d"),
    ],
)
def test_without_the_plain_formulation_it_fails(
    room: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = Moved(name)
    monkeypatch.setattr(f"sefl.fourier.{room}.transformed", lambda: False)
    with pytest.raises(RuntimeError, match="setup_context"):
        grad(moved.scalar)(zero())


def test_parameters_of_an_activation_that_were_given_for_one_call() -> None:
    """Which are back in their module when the backward pass applies it again."""
    torch.manual_seed(0)
    layer = fourier.ScaleEquivariantNonlinearity2d(nn.PReLU(), **SIZES).double()
    x = torch.randn(9, 9, 2, 2, dtype=torch.float64)
    slope = torch.full((1,), 0.7, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(
        functional_call(layer, {"activation.weight": slope}, (x,)).square().sum(), slope
    )
    nn.init.constant_(layer.activation.weight, 0.7)
    layer(x).square().sum().backward()
    torch.testing.assert_close(found, layer.activation.weight.grad)
    assert found.abs() > 0.1


def test_group_layers_by_all_of_torch_func() -> None:
    """They are made of PyTorch's own operations; the restriction of their weights to a subgroup, too."""
    convolution = groups.GroupConv(groups.cyclic(4), 1, 1, 3).double()
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)

    def function(weight: Tensor) -> Tensor:
        return functional_call(convolution, {"weight": weight}, (x,)).flatten()[:7]

    weight = convolution.weight.detach()
    torch.testing.assert_close(jacfwd(function)(weight), jacrev(function)(weight))
