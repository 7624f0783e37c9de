"""The measurements as tables for a terminal."""

import statistics
from collections.abc import Callable, Sequence
from itertools import product

from rich.box import SIMPLE_HEAD
from rich.table import Table

from sefl.bench.comparisons import (
    AUTHORS,
    CONVOLUTION,
    ESCNN,
    GROUP_CONVOLUTION,
    LOADER,
    OPTIMIZED,
    OURS,
    PLAIN,
    Part,
)
from sefl.bench.filters import DESIGNS, FILTER_TARGET, FILTERS, SEARCH
from sefl.bench.group_layers import BLUR_RATE, CONVOLUTIONS, ESCNN_IS_INSTALLED, GROUP_LAYERS
from sefl.bench.measurement import TRAFFIC, Row
from sefl.bench.pipelines import IMAGES, PIPELINES, WORKERS
from sefl.bench.timing import Spread

ABSENT = "-"
_SHORT = {"forward": "fwd", "forward + backward": "+bwd", "construction": "make"}


def tables(part: Part, rows: Sequence[Row]) -> list[Table]:
    """All rows of one part."""
    names = dict.fromkeys(row.table for row in rows)
    return [_TABLES[part, name]([row for row in rows if row.table == name]) for name in names]


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
        title="FourierNetwork, compared with ConvNetwork of the same widths",
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


def _pipelines(rows: Sequence[Row]) -> Table:
    shown = Table(
        *("datamodule", "loader", "images/s", "training step", "images/s", "loader / step"),
        title="Loaders without training, compared with training steps without loading",
        caption="On random images. Median ratio of rates taken in turns ± half its interquartile range: a loader below "
        "1 is the bottleneck; on a processor that also trains, one below 2 or so delays the training.",
        box=SIMPLE_HEAD,
    )
    for row in rows:
        handled = {name: facts[IMAGES] for name, facts in row.facts.items()}
        rates = {name: f"{number / row.time(name).median:.0f}" for name, number in handled.items()}
        loaders = [name for name in handled if name.endswith(WORKERS)]
        for loader, step in product(loaders, (name for name in handled if name not in loaders)):
            times = row.ratio(step, loader)
            scale = handled[loader] / handled[step]
            ratio = Spread(times.median * scale, times.low * scale, times.high * scale, times.count)
            shown.add_row(row.work, loader, rates[loader], step, rates[step], _spread(ratio))
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


def _filters(rows: Sequence[Row]) -> Table:
    shown = Table(
        *(
            "groups",
            "equivariance",
            "filters",
            "median",
            "worst",
            "of",
            f"worst / {1e3 * FILTER_TARGET:.0f} ms",
        ),
        title="Making filters in closed form, nothing cached",
        caption="One subgroup of each conjugacy class; of each the median of several times. Making a group and the "
        "search of its subgroups, once per group, are no part of a filter's time.",
        box=SIMPLE_HEAD,
    )
    for row in rows:
        times = {name: row.time(name).median for name in row.seconds}
        worst = max(times, key=lambda name: times[name])
        shown.add_row(
            row.work,
            row.passes,
            str(len(times)),
            _time(Spread.of([statistics.median(times.values())])),
            _time(row.time(worst)),
            worst,
            ABSENT if row.passes == SEARCH else f"{times[worst] / FILTER_TARGET:.2f}",
        )
    return shown


def _designs(rows: Sequence[Row]) -> Table:
    facts = "dimension", "reconstruction", "equivariance"
    shown = Table(
        *("filter", "closed form", "optimised", "slower", *facts),
        title="Filters in closed form, compared with the optimised design",
        caption="Closed form | optimised. Errors relative to |P|: reconstruction |U S P - P|, equivariance the largest "
        "|L_g P - P L_g|.",
        box=SIMPLE_HEAD,
    )
    for row in rows:
        shown.add_row(
            row.work,
            *(_time(row.time(name)) for name in (OURS, OPTIMIZED)),
            _spread(row.ratio(OPTIMIZED, OURS)) + " x",
            *(" | ".join(f"{row.facts[name][fact]:.2g}" for name in (OURS, OPTIMIZED)) for fact in facts),
        )
    return shown


def _group_layers(rows: Sequence[Row]) -> Table:
    shown = Table(
        *("layer", "pass", "time", "/ GroupConv", "/ AvgPool2d", "/ traffic", "GFLOP/s", "peak"),
        title="Layers of sefl.groups, compared with the convolution whose field they take",
        caption=f"Median ratios of times taken in turns ± half their interquartile range. The kernel is part of "
        f"GroupConv's time: its share. Pooling at rate {BLUR_RATE}. traffic: input, parameters and output once, three "
        f"times that with the backward pass, at the {_bandwidth(rows)} of a large copy.",
        box=SIMPLE_HEAD,
    )
    for row in rows:
        shown.add_row(
            row.work,
            _SHORT[row.passes],
            _time(row.time(OURS)),
            _spread(row.ratio(OURS, GROUP_CONVOLUTION)),
            _spread(row.ratio(OURS, PLAIN)) if PLAIN in row.seconds else ABSENT,
            _spread(row.ratio(OURS, TRAFFIC)),
            _number(row.rate(OURS), ".0f"),
            _memory(row, OURS),
        )
    return shown


_ESCNN_WARM = (
    "escnn's with the Clebsch-Gordan coefficients that it has left on disk, at the latest when warmed up."
)
_ESCNN_MISSING = (
    "escnn is not installed: uv run brings it; so does pip install -e '.\\[escnn]' beside a Fortran compiler."
)


def _convolutions(rows: Sequence[Row]) -> Table:
    shown = Table(
        *("convolutions", "ours", "escnn", "faster"),
        title="Making a lifting and two regular convolutions, compared with escnn's R2Conv",
        caption=_ESCNN_WARM if ESCNN_IS_INSTALLED else _ESCNN_MISSING,
        box=SIMPLE_HEAD,
    )
    for row in rows:
        known = ESCNN in row.seconds
        shown.add_row(
            row.work,
            _time(row.time(OURS)),
            _time(row.time(ESCNN)) if known else ABSENT,
            _spread(row.ratio(ESCNN, OURS)) + " x" if known else ABSENT,
        )
    return shown


_TABLES: dict[tuple[Part, str], Callable[[Sequence[Row]], Table]] = {
    ("layers", ""): _layers,
    ("steps", ""): _steps,
    ("data", ""): _data,
    ("data", PIPELINES): _pipelines,
    ("groups", FILTERS): _filters,
    ("groups", DESIGNS): _designs,
    ("groups", GROUP_LAYERS): _group_layers,
    ("groups", CONVOLUTIONS): _convolutions,
    ("authors", ""): _authors,
}


def _bandwidth(rows: Sequence[Row]) -> str:
    measured = [row.bandwidth.median for row in rows if row.bandwidth is not None]
    return f"{min(measured) / 1e9:.0f} to {max(measured) / 1e9:.0f} GB/s"


def _time(seconds: Spread) -> str:
    if seconds.median >= 1:
        return f"{seconds.median:.2f} s"
    return f"{1e3 * seconds.median:.{1 if seconds.median >= 0.01 else 2}f} ms"


def _spread(ratio: Spread) -> str:
    digits = 4 if ratio.median < 0.1 else 2 if ratio.median < 10 else 1
    middle = f"{ratio.median:.{digits}f}"
    if ratio.count == 1:
        return f"{middle} (once)"
    half = 50 * (ratio.high - ratio.low) / ratio.median
    return f"{middle} ±{half:.0f}%" if half >= 0.5 else f"{middle} ±<1%"


def _number(value: float | None, form: str) -> str:
    return format(value, form) if value else ABSENT


def _memory(row: Row, name: str) -> str:
    peak = row.peak_bytes.get(name)
    return ABSENT if peak is None else f"{peak / 2**20:.0f} MiB"
