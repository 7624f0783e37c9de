"""What may be an activation of the layers that go from band to band, and what its parameters are.

They apply it to the grid of every band, and once more in the backward pass, from memory that they write over. So it
must be a function of one pixel at a time, deterministic, out of place, and what it trains must be known beforehand.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call

Activation = Callable[[Tensor], Tensor]

_SIZE = 4  # samples and pixels per axis of what an activation is tried on


def parameters_of(activation: Activation) -> tuple[Tensor, ...]:
    return tuple(activation.parameters()) if isinstance(activation, nn.Module) else ()


def require_activation(activation: Activation, channels: int | None, axes: int) -> None:
    """Refuse an activation with which a layer would compute, or train, something else.

    It is tried on a few numbers, in training mode; its state and the random numbers of others stay as they are.

    Args:
        activation: a function, or a module whose parameters are trained, of ``(batch, channels, *space)``.
        channels: those of the features, if they are known.
        axes: of space.

    Raises:
        TypeError: if it is no function, or a class.
        ValueError: if it fails on such features, changes their shape, works in place, draws random numbers, changes
            its buffers, depends on parameters that are not its own, or on other pixels or samples.
    """
    if not callable(activation) or isinstance(activation, type):
        raise TypeError(f"activation must be a function, or an instance of a module, got {activation!r}")

    def refuse(reason: str, instead: str) -> ValueError:
        return ValueError(f"activation must {reason}, got {activation!r}; {instead}")

    # Whatever the surroundings are in which the network is made: on meta say, or without gradients.
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.device("cpu"),
        torch.random.fork_rng(devices=[]),
        _in_training(activation),
    ):
        trial = _Trial(activation)
        x, outcome = trial.fitting(channels, axes)
        if x._version:
            raise refuse("not work in place", "use inplace=False")
        if trial.state_has_changed():
            raise refuse("not change its buffers", "put batch norms and their like in front of the layer")
        if outcome.requires_grad:
            raise refuse(
                "hold what it trains as its own parameters",
                "those of a closure, a partial or a bound method get no gradient: pass the module itself",
            )
        before = torch.get_rng_state()
        again = trial.on(x)
        if not (torch.equal(before, torch.get_rng_state()) and _same(again, outcome, exactly=True)):
            raise refuse(
                "be deterministic", "the backward pass computes it again: put dropout behind the layer"
            )
        rest = slice(_SIZE // 2, None)
        for axis in (0, *range(2, x.dim())):
            part = (slice(None),) * axis + (rest,)
            if not _same(trial.on(x[part]), outcome[part]):
                raise refuse("be pointwise", "its value at a pixel depends on other pixels or samples")


class _Trial:
    """An activation with a copy of its state: on the CPU, in one precision, apart from what trains."""

    def __init__(self, activation: Activation) -> None:
        self.activation = activation
        held = {}
        if isinstance(activation, nn.Module):
            held = {**dict(activation.named_parameters()), **dict(activation.named_buffers())}
        self.dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
        for tensor in held.values():
            if tensor.is_floating_point():
                self.dtype = torch.promote_types(self.dtype, tensor.dtype)
        self.state = {name: self._copied(tensor) for name, tensor in held.items()}

    def _copied(self, tensor: Tensor) -> Tensor:
        dtype = self.dtype if tensor.is_floating_point() else tensor.dtype
        if tensor.is_meta:
            return torch.ones(tensor.shape, dtype=dtype)
        # A new tensor in any case, whose version counts from 0.
        return tensor.detach().to("cpu", dtype, copy=True)

    def on(self, x: Tensor) -> Tensor:
        if isinstance(self.activation, nn.Module):
            outcome = functional_call(self.activation, self.state, (x,))
        else:
            outcome = self.activation(x)
        if not isinstance(outcome, Tensor) or outcome.shape != x.shape or outcome.is_complex():
            shape = tuple(outcome.shape) if isinstance(outcome, Tensor) else outcome
            raise ValueError(f"features of shape {tuple(x.shape)} gave {shape}")
        return outcome

    def fitting(self, channels: int | None, axes: int) -> tuple[Tensor, Tensor]:
        """Features that it accepts, and what it makes of them; with unknown channels of as many as its tensors have."""
        sizes = {1}.union(*(tensor.shape for tensor in self.state.values()))
        candidates = sorted(sizes, reverse=True) if channels is None else [channels]
        failure: Exception | None = None
        for count in candidates:
            shape = (_SIZE, count, *[_SIZE] * axes)
            order = torch.randperm(math.prod(shape), generator=torch.Generator().manual_seed(0))
            x = torch.linspace(-2, 2, len(order), dtype=self.dtype)[order].view(shape).clone()
            try:
                return x, self.on(x)
            except Exception as error:  # whatever somebody's function raises
                failure = error
        raise ValueError(
            f"activation must take features (batch, channels, *space) to as many, got {self.activation!r}, which fails "
            f"on {' or '.join(map(str, candidates))} channels: {failure}"
        ) from failure

    def state_has_changed(self) -> bool:
        return any(tensor._version for tensor in self.state.values())


@contextmanager
def _in_training(activation: Activation) -> Iterator[None]:
    modules = list(activation.modules()) if isinstance(activation, nn.Module) else []
    modes = [module.training for module in modules]
    for module in modules:
        module.training = True
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


def _same(one: Tensor, other: Tensor, exactly: bool = False) -> bool:
    tolerance = 0.0 if exactly else 1e-4  # a processor's vectors and what is left over round differently
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True)
