"""One comparison, measured: times in turns, peak memory, arithmetic, least memory traffic."""

from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from sefl.bench.comparisons import COPY, OURS, Comparison
from sefl.bench.memory import peak_bytes
from sefl.bench.timing import Effort, Spread, interleaved, ratios, synchroniser
from sefl.bench.work import CopyWork, LayerWork, flops

TRAFFIC = "traffic"
"""Stands for the time that the least memory traffic takes at the bandwidth of the same round's copy."""


@dataclass(frozen=True)
class Row:
    """What was measured of a comparison.

    Args:
        part, work, passes: of the comparison.
        items: images handled at a time.
        seconds: of each contestant, one per round.
        peak_bytes: memory of each contestant beyond what it holds at rest.
        flop: multiply-adds, twice, of the contestants that can be counted.
        traffic: least bytes that ours has to move.
        copied: bytes that a copy moves.
        table: of the comparison.
        facts: what else there is to know of contestants.
    """

    part: str
    work: str
    passes: str
    items: int
    seconds: dict[str, list[float]]
    peak_bytes: dict[str, int]
    flop: dict[str, int]
    traffic: int | None = None
    copied: int | None = None
    table: str = ""
    facts: dict[str, dict[str, float]] = field(default_factory=dict)

    def time(self, name: str) -> Spread:
        return Spread.of(self._rounds(name))

    def ratio(self, of: str, to: str) -> Spread:
        """How often longer one takes than another, round by round."""
        return ratios(self._rounds(of), self._rounds(to))

    def memory_ratio(self, of: str, to: str) -> float | None:
        """How often more memory one takes than another; ``None`` where one takes none or was not measured."""
        if not self.peak_bytes.get(of) or not self.peak_bytes.get(to):
            return None
        return self.peak_bytes[of] / self.peak_bytes[to]

    def rate(self, name: str) -> float | None:
        """GFLOP per second, where the operations could be counted."""
        return self.flop[name] / self.time(name).median / 1e9 if self.flop.get(name) else None

    @property
    def bandwidth(self) -> Spread | None:
        """Bytes per second of the copies."""
        return None if self.copied is None else Spread.of([self.copied / s for s in self.seconds[COPY]])

    def as_dict(self) -> dict[str, Any]:
        """Everything, with what follows from it: medians and quartiles."""
        names = list(self.seconds) + ([TRAFFIC] if self.traffic else [])
        others = [name for name in names if name not in (OURS, COPY)] if OURS in names else []
        return {
            **asdict(self),
            "time": {name: asdict(self.time(name)) for name in names},
            "ours_over": {name: asdict(self.ratio(OURS, name)) for name in others},
            "memory_ours_over": {name: self.memory_ratio(OURS, name) for name in others if name != TRAFFIC},
            "gflop_per_second": {name: self.rate(name) for name in self.flop},
        }

    def _rounds(self, name: str) -> list[float]:
        if name != TRAFFIC:
            return self.seconds[name]
        assert self.traffic is not None
        assert self.copied is not None
        return [self.traffic * seconds / self.copied for seconds in self.seconds[COPY]]


def measure(
    comparison: Comparison, device: torch.device, effort: Effort, threads: int, memory: bool = True
) -> Row:
    """Measure all contestants: times in one process and in turns, then memory one by one."""
    actions = comparison.build(device)
    operations = {name: flops(actions[name]) for name in comparison.counted if name in comparison.contestants}
    seconds = interleaved(actions, effort, synchroniser(device))
    del actions
    ours, copy = comparison.contestants.get(OURS), comparison.contestants.get(COPY)
    weighed = [name for name in comparison.weighed if memory and name in comparison.contestants]
    return Row(
        part=comparison.part,
        work=comparison.work,
        passes=comparison.passes,
        items=comparison.items,
        seconds=seconds,
        peak_bytes={name: peak_bytes(comparison.contestants[name], device, threads) for name in weighed},
        flop={name: count for name, count in operations.items() if count},
        traffic=ours.least_traffic(device) if isinstance(ours, LayerWork) and copy is not None else None,
        copied=copy.moved if isinstance(copy, CopyWork) else None,
        table=comparison.table,
        facts=comparison.facts(),
    )
