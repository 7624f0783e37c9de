"""The measurements as tables for a terminal: each a declaration of its columns."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table

from sefl.bench.comparisons import (
    AUTHORS,
    CONVOLUTION,
    ESCNN,
    GROUP_CONVOLUTION,
    OPTIMIZED,
    OURS,
    OWN_GRIDS,
    PLAIN,
    Part,
)
from sefl.bench.evaluation import EVALUATION, FORWARD
from sefl.bench.filters import DESIGNS, FILTER_TARGET, FILTERS, SEARCH
from sefl.bench.group_layers import BLUR_RATE, CONVOLUTIONS, ESCNN_IS_INSTALLED, GROUP_LAYERS
from sefl.bench.group_networks import FULL, NETWORKS, SUBGROUP
from sefl.bench.measurement import TRAFFIC, Row
from sefl.bench.pipelines import IMAGES, PIPELINES, WORKERS
from sefl.bench.scaling import BLOCK, LENGTHS, PIXELS, exponents
from sefl.bench.timing import Spread

ABSENT = "-"
_SHORT = {"forward": "fwd", "forward + backward": "+bwd", "construction": "make"}


@dataclass(frozen=True)
class Column:
    """What stands below a heading, of each entry."""

    heading: str
    shown: Callable[[Any], str | None]


@dataclass(frozen=True)
class Declaration:
    """A table: one line for each row, or for each of several entries of a row."""

    title: str
    caption: str | Callable[[Sequence[Row]], str]
    columns: tuple[Column, ...]
    entries: Callable[[Row], Iterable[Any]] = lambda row: [row]

    def filled(self, rows: Sequence[Row]) -> Table:
        caption = self.caption if isinstance(self.caption, str) else self.caption(rows)
        headings = (column.heading for column in self.columns)
        shown = Table(*headings, title=self.title, caption=caption, box=SIMPLE_HEAD)
        for row in rows:
            for entry in self.entries(row):
                shown.add_row(*(column.shown(entry) or ABSENT for column in self.columns))
        return shown


def tables(part: Part, rows: Sequence[Row]) -> list[Table]:
    """All rows of one part."""
    names = dict.fromkeys(row.table for row in rows)
    return [_TABLES[part, name].filled([row for row in rows if row.table == name]) for name in names]


def _work(heading: str) -> Column:
    return Column(heading, lambda row: row.work)


def _time(heading: str, name: str) -> Column:
    return Column(heading, lambda row: _seconds(row.time(name)) if name in row.seconds else None)


def _ratio(heading: str, name: str, other: str, unit: str = "") -> Column:
    """Of times; none where one of the two was not measured."""

    def shown(row: Row) -> str | None:
        measured = {*row.seconds, TRAFFIC} >= {name, other}
        return _spread(row.ratio(name, other)) + unit if measured else None

    return Column(heading, shown)


def _rate(heading: str, name: str) -> Column:
    return Column(heading, lambda row: _number(row.rate(name), ".0f"))


def _peak(heading: str, name: str) -> Column:
    return Column(
        heading, lambda row: f"{row.peak_bytes[name] / 2**20:.0f} MiB" if name in row.peak_bytes else None
    )


def _memory(heading: str, name: str, other: str, before: str = "") -> Column:
    def shown(row: Row) -> str | None:
        ratio = row.memory_ratio(name, other)
        return f"{before}{ratio:.1f}" if ratio else None

    return Column(heading, shown)


def _design(fact: str) -> Column:
    return Column(fact, lambda row: " | ".join(f"{row.facts[name][fact]:.2g}" for name in (OURS, OPTIMIZED)))


class _Pair(NamedTuple):
    """A loader and a training step, and the ratio of their rates."""

    work: str
    loader: str
    loads: float
    step: str
    trains: float
    ratio: Spread


def _pairs(row: Row) -> Iterator[_Pair]:
    handled = {name: facts[IMAGES] for name, facts in row.facts.items()}
    rates = {name: number / row.time(name).median for name, number in handled.items()}
    loaders = [name for name in handled if name.endswith(WORKERS)]
    for loader, step in product(loaders, (name for name in handled if name not in loaders)):
        times = row.ratio(step, loader)
        scale = handled[loader] / handled[step]
        ratio = Spread(times.median * scale, times.low * scale, times.high * scale, times.count)
        yield _Pair(row.work, loader, rates[loader], step, rates[step], ratio)


def _slowest(row: Row) -> str:
    return max(row.seconds, key=lambda name: row.time(name).median)


def _median(row: Row) -> Spread:
    return Spread.of([statistics.median(row.time(name).median for name in row.seconds)])


def _bandwidth(rows: Sequence[Row]) -> str:
    measured = [row.bandwidth.median for row in rows if row.bandwidth is not None]
    return f"{min(measured) / 1e9:.0f} to {max(measured) / 1e9:.0f} GB/s"


_PASS = Column("pass", lambda row: _SHORT[row.passes])
_ESCNN_WARM = (
    "escnn's with the Clebsch-Gordan coefficients that it has left on disk, at the latest when warmed up."
)
_ESCNN_MISSING = (
    "escnn is not installed: uv run brings it; so does pip install -e '.\\[escnn]' beside a Fortran compiler."
)

_SCALING = Declaration(
    "The non-linearity at growing sizes, or a block, of one image, compared with convolution + ReLU",
    lambda rows: (
        f"{exponents(rows)}traffic: three times input, parameters and output, at {_bandwidth(rows)}."
    ),
    (
        _work("work"),
        _time("shared grids", OURS),
        _time("a grid per band", OWN_GRIDS),
        _ratio("faster", OWN_GRIDS, OURS, " x"),
        _ratio("/ plain", OURS, PLAIN),
        _ratio("/ traffic", OURS, TRAFFIC),
        _rate("GFLOP/s", OURS),
        _peak("peak", OURS),
        _memory("/ plain", OURS, PLAIN),
    ),
)
_TABLES: dict[tuple[Part, str], Declaration] = {
    ("layers", ""): Declaration(
        "Layers of sefl.fourier, compared with layers on the pixel grid",
        lambda rows: (
            "Median ratios of times taken in turns ± half their interquartile range; peak memory. plain: Conv2d, "
            "ReLU, InstanceNorm2d + ReLU, ReLU + MaxPool2d, AdaptiveMaxPool2d. traffic: input, parameters and output "
            f"once, three times that with the backward pass, at the {_bandwidth(rows)} of a large copy."
        ),
        (
            _work("layer"),
            _PASS,
            _time("time", OURS),
            _ratio("/ plain", OURS, PLAIN),
            _ratio("/ conv+ReLU", OURS, CONVOLUTION),
            _ratio("/ traffic", OURS, TRAFFIC),
            _rate("GFLOP/s", OURS),
            _peak("peak", OURS),
            _memory("/ plain", OURS, PLAIN),
        ),
    ),
    ("steps", ""): Declaration(
        "FourierNetwork, compared with ConvNetwork of the same widths",
        "Forward, loss, backward and AdamW. GFLOP: products and convolutions alone.",
        (
            _work("work"),
            _time("time", OURS),
            _ratio("/ plain", OURS, PLAIN),
            Column("images/s", lambda row: f"{row.items / row.time(OURS).median:.0f}"),
            Column("GFLOP", lambda row: _number(row.flop.get(OURS, 0) / 1e9, ".1f")),
            _rate("GFLOP/s", OURS),
            _rate("plain's", PLAIN),
            _peak("peak", OURS),
            _memory("/ plain", OURS, PLAIN),
        ),
    ),
    **{("scaling", name): _SCALING for name in (PIXELS, LENGTHS, BLOCK)},
    ("steps", EVALUATION): Declaration(
        "A test, compared with the training's forward passes on as many images",
        "Every image at its own resolution, then all bands of each at the finest. Median ratio of times taken in turns "
        "± half its interquartile range.",
        (
            _work("work"),
            _time("test", OURS),
            _time("forward passes", FORWARD),
            _ratio("/ forward", OURS, FORWARD),
        ),
    ),
    ("data", PIPELINES): Declaration(
        "Loaders without training, compared with training steps without loading",
        "On random images. Median ratio of rates taken in turns ± half its interquartile range: a loader below "
        "1 is the bottleneck; on a processor that also trains, one below 2 or so delays the training.",
        (
            _work("datamodule"),
            Column("loader", lambda pair: pair.loader),
            Column("images/s", lambda pair: f"{pair.loads:.0f}"),
            Column("training step", lambda pair: pair.step),
            Column("images/s", lambda pair: f"{pair.trains:.0f}"),
            Column("loader / step", lambda pair: _spread(pair.ratio)),
        ),
        _pairs,
    ),
    ("groups", FILTERS): Declaration(
        "Making filters in closed form, nothing cached",
        "One subgroup of each conjugacy class; of each the median of several times. Making a group and the "
        "search of its subgroups, once per group, are no part of a filter's time.",
        (
            _work("groups"),
            Column("equivariance", lambda row: row.passes),
            Column("filters", lambda row: str(len(row.seconds))),
            Column("median", lambda row: _seconds(_median(row))),
            Column("worst", lambda row: _seconds(row.time(_slowest(row)))),
            Column("of", _slowest),
            Column(
                f"worst / {1e3 * FILTER_TARGET:.0f} ms",
                lambda row: (
                    None if row.passes == SEARCH else f"{row.time(_slowest(row)).median / FILTER_TARGET:.2f}"
                ),
            ),
        ),
    ),
    ("groups", DESIGNS): Declaration(
        "Filters in closed form, compared with the optimised design",
        "Closed form | optimised. Errors relative to |P|: reconstruction |U S P - P|, equivariance the largest "
        "|L_g P - P L_g|.",
        (
            _work("filter"),
            _time("closed form", OURS),
            _time("optimised", OPTIMIZED),
            _ratio("slower", OPTIMIZED, OURS, " x"),
            *map(_design, ("dimension", "reconstruction", "equivariance")),
        ),
    ),
    ("groups", GROUP_LAYERS): Declaration(
        "Layers of sefl.groups, compared with the convolution whose field they take",
        lambda rows: (
            f"Median ratios of times taken in turns ± half their interquartile range. The kernel is part of "
            f"GroupConv's time: its share. Pooling at rate {BLUR_RATE}. traffic: input, parameters and output once, "
            f"three times that with the backward pass, at the {_bandwidth(rows)} of a large copy."
        ),
        (
            _work("layer"),
            _PASS,
            _time("time", OURS),
            _ratio("/ GroupConv", OURS, GROUP_CONVOLUTION),
            _ratio("/ AvgPool2d", OURS, PLAIN),
            _ratio("/ traffic", OURS, TRAFFIC),
            _rate("GFLOP/s", OURS),
            _peak("peak", OURS),
        ),
    ),
    ("groups", CONVOLUTIONS): Declaration(
        "Making a lifting and two regular convolutions, compared with escnn's R2Conv",
        lambda rows: _ESCNN_WARM if ESCNN_IS_INSTALLED else _ESCNN_MISSING,
        (
            _work("convolutions"),
            _time("ours", OURS),
            _time("escnn", ESCNN),
            _ratio("faster", ESCNN, OURS, " x"),
        ),
    ),
    ("groups", NETWORKS): Declaration(
        "Networks that keep the whole group at the cost of a subgroup, compared with others of the same widths",
        lambda rows: (
            "Median ratios of times taken in turns ± half their interquartile range: full, all of the group; subgroup, "
            "anti-aliased subsampling behind the first stage, then convolutions of the subgroup; escnn, R2Conv and "
            "FourierPointwise of the same band and grid. "
            + (_ESCNN_WARM if ESCNN_IS_INSTALLED else _ESCNN_MISSING)
        ),
        (
            _work("network"),
            _PASS,
            _time("time", OURS),
            *(_ratio(f"{name} /", name, OURS) for name in (FULL, SUBGROUP, ESCNN)),
            _peak("peak", OURS),
            *(_memory(f"{name} /", name, OURS) for name in (FULL, SUBGROUP, ESCNN)),
        ),
    ),
    ("authors", ""): Declaration(
        "Compared with the authors' implementation on the same work",
        "faster: median ratio of times taken in turns ± half its interquartile range.",
        (
            _work("work"),
            _PASS,
            _time("ours", OURS),
            _time("theirs", AUTHORS),
            _ratio("faster", AUTHORS, OURS, " x"),
            _peak("peak", OURS),
            _peak("theirs", AUTHORS),
            _memory("memory", AUTHORS, OURS, "1/"),
        ),
    ),
}


def _seconds(seconds: Spread) -> str:
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


def _number(value: float | None, form: str) -> str | None:
    return format(value, form) if value else None
