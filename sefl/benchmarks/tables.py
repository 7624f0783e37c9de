"""The measurements as tables for a terminal."""

from collections.abc import Callable, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from sefl.benchmarks.comparisons import AUTHORS, CONVOLUTION, LOADER, OURS, PLAIN, Part
from sefl.benchmarks.measurement import TRAFFIC, Row
from sefl.benchmarks.timing import Spread

ABSENT = "-"
_SHORT = {"forward": "fwd", "forward + backward": "+bwd"}


def table(part: Part, rows: Sequence[Row]) -> Table:
    """All rows of one part."""
    return _TABLES[part](rows)


def _layers(rows: Sequence[Row]) -> Table:
    shown = Table(
        *("layer", "pass", "time", "/ plain", "/ conv+ReLU", "/ traffic", "GFLOP/s", "peak", "/ plain"),
        title="Layers of sefl.fourier, compared with layers on the pixel grid",
        caption="Median ratios of times taken in turns ± half their interquartile range; peak memory. plain: Conv2d, "
        "ReLU, InstanceNorm2d + ReLU, ReLU + MaxPool2d, AdaptiveMaxPool2d. traffic: input, parameters and output "
        f"once, three times that with the backward pass, at the {_bandwidth(rows)} of a large copy.",
        box=SIMPLE_HEAD,
    )
    for row in rows:
        shown.add_row(
            row.work,
            _SHORT[row.passes],
            _time(row.time(OURS)),
            *(_spread(row.ratio(OURS, other)) for other in (PLAIN, CONVOLUTION, TRAFFIC)),
            _number(row.rate(OURS), ".0f"),
            _memory(row, OURS),
            _number(row.memory_ratio(OURS, PLAIN), ".1f"),
        )
    return shown


def _steps(rows: Sequence[Row]) -> Table:
    shown = Table(
        *("work", "time", "/ plain", "images/s", "GFLOP", "GFLOP/s", "plain's", "peak", "/ plain"),
        title="FourierClassifier, compared with ConvClassifier of the same widths",
        caption="Forward, loss, backward and AdamW. GFLOP: products and convolutions alone.",
        box=SIMPLE_HEAD,
    )
    for row in rows:
        shown.add_row(
            row.work,
            _time(row.time(OURS)),
            _spread(row.ratio(OURS, PLAIN)),
            f"{row.items / row.time(OURS).median:.0f}",
            _number(row.flop.get(OURS, 0) / 1e9, ".1f"),
            *(_number(row.rate(name), ".0f") for name in (OURS, PLAIN)),
            _memory(row, OURS),
            _number(row.memory_ratio(OURS, PLAIN), ".1f"),
        )
    return shown


def _data(rows: Sequence[Row]) -> Table:
    shown = Table(
        *("datamodule", "loader images/s", "training images/s", "waiting for data"),
        title="Training loaders, compared with the training step on their batches",
        caption="waiting: the loader's share of the time of both.",
        box=SIMPLE_HEAD,
    )
    for row in rows:
        loading, training = sum(row.seconds[LOADER]), sum(row.seconds[OURS])
        shown.add_row(
            row.work,
            *(f"{row.items * len(row.seconds[OURS]) / seconds:.0f}" for seconds in (loading, training)),
            f"{100 * loading / (loading + training):.1f} %",
        )
    return shown


def _authors(rows: Sequence[Row]) -> Table:
    shown = Table(
        *("work", "pass", "ours", "theirs", "faster", "peak", "theirs", "memory"),
        title="Compared with the authors' implementation on the same work",
        caption="faster: median ratio of times taken in turns ± half its interquartile range.",
        box=SIMPLE_HEAD,
    )
    for row in rows:
        memory = row.memory_ratio(AUTHORS, OURS)
        shown.add_row(
            row.work,
            _SHORT[row.passes],
            *(_time(row.time(name)) for name in (OURS, AUTHORS)),
            _spread(row.ratio(AUTHORS, OURS)) + " x",
            *(_memory(row, name) for name in (OURS, AUTHORS)),
            ABSENT if memory is None else f"1/{memory:.1f}",
        )
    return shown


_TABLES: dict[Part, Callable[[Sequence[Row]], Table]] = {
    "layers": _layers,
    "steps": _steps,
    "data": _data,
    "authors": _authors,
}


def _bandwidth(rows: Sequence[Row]) -> str:
    measured = [row.bandwidth.median for row in rows if row.bandwidth is not None]
    return f"{min(measured) / 1e9:.0f} to {max(measured) / 1e9:.0f} GB/s"


def _time(seconds: Spread) -> str:
    if seconds.median >= 1:
        return f"{seconds.median:.2f} s"
    return f"{1e3 * seconds.median:.{1 if seconds.median >= 0.01 else 2}f} ms"


def _spread(ratio: Spread) -> str:
    half = 50 * (ratio.high - ratio.low) / ratio.median
    return f"{ratio.median:.{2 if ratio.median < 10 else 1}f} ±{half:.0f}%"


def _number(value: float | None, form: str) -> str:
    return format(value, form) if value else ABSENT


def _memory(row: Row, name: str) -> str:
    peak = row.peak_bytes.get(name)
    return ABSENT if peak is None else f"{peak / 2**20:.0f} MiB"
