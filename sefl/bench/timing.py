"""Times of several actions taken in turns, so that what a noisy machine does to one it does to all."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sefl.arguments import require_number, require_positive

Action = Callable[[], Any]


@dataclass(frozen=True)
class Effort:
    """How often to measure: rounds go on until ``seconds`` have passed, within ``least`` and ``most``.

    Of these the larger one counts where they contradict each other.

    Raises:
        ValueError: if a number is out of its range.
    """

    warmups: int = 1
    least: int = 3
    most: int = 50
    seconds: float = 3.0

    def __post_init__(self) -> None:
        require_positive("least", self.least)
        require_positive("most", self.most)
        require_number("seconds", self.seconds, least=0)


@dataclass(frozen=True)
class Spread:
    """The median and the quartiles of a few measurements.

    Args:
        median: of them.
        low: the first quartile.
        high: the third quartile.
        count: how many measurements; one has no spread.
    """

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high, len(values))


def interleaved(
    actions: Mapping[str, Action],
    effort: Effort,
    synchronise: Action = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Run the actions in turns, A, B, A, B, ..., and time each: ``{name: seconds in each round}``.

    Args:
        actions: what to time, by name; each is warmed up first.
        effort: how many rounds.
        synchronise: waits until the device has done what it was given.
        clock: seconds that only grow.
    """
    for action in actions.values():
        for _ in range(effort.warmups):
            action()
    synchronise()
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    begin = clock()
    for done in range(max(effort.least, effort.most)):
        if done >= effort.least and clock() - begin >= effort.seconds:
            break
        for name, action in actions.items():
            start = clock()
            action()
            synchronise()
            seconds[name].append(clock() - start)
    return seconds


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """The spread of the ratios of what was measured in the same round."""
    return Spread.of([a / b for a, b in zip(numerators, denominators, strict=True)])


def synchroniser(device: torch.device) -> Action:
    """What waits for a device: for CUDA its queue, on a CPU nothing."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None
