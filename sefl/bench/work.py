"""Pieces of work to measure: descriptions that can be sent to another process and built there."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sefl.bench.timing import Action
from sefl.fourier import to_coefficients

COPIED_BYTES = 256 * 2**20
BACKWARD_TRAFFIC = 3
"""Forward and backward together move three times the forward's bytes.

The backward pass reads the gradient of the output and what the forward pass kept, as large as the input, and writes
the gradient of the input: as much as the forward pass moves and once the input more, rounded up.
"""

_LEARNING_RATE = 1e-3
_SEED = 0
_aten = torch.ops.aten

Made = TypeVar("Made")


class Work(Protocol):
    """Something that is done again and again."""

    def build(self, device: torch.device) -> Action:
        """Make what it needs on the device; the action does the work once."""


@dataclass(frozen=True)
class LayerWork:
    """A layer on a random input, without gradients or with those of input and parameters.

    Args:
        make: makes the layer.
        signal: makes the input.
        backward: whether to run the backward pass too.
    """

    make: Callable[[], nn.Module]
    signal: Callable[[], Tensor]
    backward: bool

    def build(self, device: torch.device) -> Action:
        layer, signal = seeded(self.make).to(device), seeded(self.signal).to(device)
        if not self.backward:

            def forward() -> None:
                with torch.no_grad():
                    layer(signal)

            return forward
        signal.requires_grad_()
        with torch.no_grad():
            upstream = torch.randn_like(layer(signal))

        def forward_and_backward() -> None:
            signal.grad = None
            layer.zero_grad()
            layer(signal).backward(upstream)

        return forward_and_backward

    def least_traffic(self, device: torch.device) -> int:
        """The bytes that have to move: input, parameters and output once, or :data:`BACKWARD_TRAFFIC` times."""
        layer, signal = seeded(self.make).to(device), seeded(self.signal).to(device)
        with torch.no_grad():
            output = layer(signal)
        forward: int = sum(tensor.nbytes for tensor in (signal, output, *layer.parameters()))
        return forward * (BACKWARD_TRAFFIC if self.backward else 1)


@dataclass(frozen=True)
class StepWork:
    """A training step: forward, loss, backward, AdamW, on one random batch.

    Args:
        make: makes the model.
        loss: the loss of a model and a batch ``(images, labels)``.
        batch: images in a batch.
        resolution: pixels per side.
        channels: of the images.
    """

    make: Callable[[], nn.Module]
    loss: Callable[[Any, tuple[Tensor, Tensor]], Tensor]
    batch: int
    resolution: int
    channels: int = 1

    def build(self, device: torch.device) -> Action:
        step = training_step(self.make, self.loss, device)
        pictures = seeded(partial(images, self.batch, self.channels, self.resolution)).to(device)
        labels = (torch.arange(self.batch) % 10).to(device)
        return lambda: step((pictures, labels))


@dataclass(frozen=True)
class MakeWork:
    """Making something, which is thrown away.

    Args:
        make: makes it.
    """

    make: Callable[[], Any]

    def build(self, device: torch.device) -> Action:
        return self.make


@dataclass(frozen=True)
class CopyWork:
    """A copy of more memory than caches hold: the measure of bandwidth. It reads and writes each byte."""

    size: int = COPIED_BYTES

    @property
    def moved(self) -> int:
        return 2 * self.size

    def build(self, device: torch.device) -> Action:
        source, target = (torch.ones(self.size, dtype=torch.uint8, device=device) for _ in range(2))
        return lambda: target.copy_(source)


def training_step(
    make: Callable[[], nn.Module],
    loss: Callable[[Any, tuple[Tensor, Tensor]], Tensor],
    device: torch.device,
) -> Callable[[tuple[Tensor, Tensor]], None]:
    """A model in training and AdamW: one step per batch."""
    model = seeded(make).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE)

    def step(batch: tuple[Tensor, Tensor]) -> None:
        optimizer.zero_grad()
        loss(model, batch).backward()
        optimizer.step()

    return step


def lightning_loss(model: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The loss of a LightningModule's own training step."""
    with warnings.catch_warnings():
        # Here is no trainer to log to.
        warnings.filterwarnings("ignore", message=".*self.log.*")
        loss: Tensor = model.training_step(batch, 0)
    return loss


def images(batch: int, channels: int, resolution: int) -> Tensor:
    """Random images ``(batch, channels, resolution, resolution)``."""
    return torch.randn(batch, channels, resolution, resolution)


def nested_coefficients(batch: int, channels: int, resolution: int) -> Tensor:
    """Our coefficients of random images: ``(K, K, batch, channels)``."""
    return to_coefficients(images(batch, channels, resolution))


def complex_coefficients(batch: int, channels: int, resolution: int) -> Tensor:
    """Complex Fourier coefficients of random images, normalised forward: ``(batch, channels, r, r)``."""
    coefficients: Tensor = torch.fft.fft2(images(batch, channels, resolution), norm="forward")
    return coefficients


def seeded(make: Callable[[], Made]) -> Made:
    """What ``make`` returns, drawn from a fixed seed; the random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return make()


def flops(action: Action) -> int:
    """Floating-point operations of the products and convolutions in an action, two per multiply-add.

    Elementwise passes, sums and Fourier transforms are not counted.
    """
    in_place = {_aten.addmm_: _addmm_flops, _aten.baddbmm_: _baddbmm_flops}
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        action()
    return int(counter.get_total_flops())


def _addmm_flops(target: list[int], a: list[int], b: list[int], *_: Any, **__: Any) -> int:
    return 2 * a[0] * a[1] * b[1]


def _baddbmm_flops(target: list[int], a: list[int], b: list[int], *_: Any, **__: Any) -> int:
    return 2 * a[0] * a[1] * a[2] * b[2]
