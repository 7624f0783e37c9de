"""How the time of the non-linearity grows with resolution, beside an ordinary convolution with ReLU."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from sefl.bench.comparisons import (
    COPY,
    KERNEL_SIZE,
    LAYER_BASE,
    OURS,
    OWN_GRIDS,
    PASSES,
    PLAIN,
    Comparison,
    Sizes,
)
from sefl.bench.measurement import Row
from sefl.bench.work import CopyWork, LayerWork, Work
from sefl.figures.scaling import Times, fitted_exponent
from sefl.fourier import (
    ScaleEquivariantNonlinearity1d,
    ScaleEquivariantNonlinearity2d,
    SpectralConv2d,
    to_coefficients,
)
from sefl.fourier.nonlinearity import GRID_SHARING

SIZE = "size"
PIXELS, LENGTHS, BLOCK = "pixels per side", "length", "block"
LABELS = {OURS: f"shared grids, {GRID_SHARING}", OWN_GRIDS: "a grid per band", PLAIN: "convolution + ReLU"}
LONGEST_WITH_OWN_GRIDS = 1024
"""Samples; the matrices of so many grids take gigabytes beyond."""

_NONLINEARITIES = {1: ScaleEquivariantNonlinearity1d, 2: ScaleEquivariantNonlinearity2d}
_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d}


def scaling(sizes: Sizes) -> list[Comparison]:
    """The non-linearity of one image or signal, with a grid for each band and with shared ones; and a whole block."""
    compared, channels = [], sizes.scaling.channels
    for axes, table, every in ((2, PIXELS, sizes.scaling.pixels), (1, LENGTHS, sizes.scaling.lengths)):
        for size in every:
            layers = {OURS: partial(_nonlinearity, axes, size, GRID_SHARING)}
            if axes == 2 or size <= LONGEST_WITH_OWN_GRIDS:
                layers[OWN_GRIDS] = partial(_nonlinearity, axes, size, 1.0)
            plain = partial(_convolution, axes, channels)
            compared.append(_compared(f"{table} {size}", layers, plain, table, size, channels, sizes))
    size, channels = sizes.scaling.block
    layers, plain = {OURS: partial(_block, size, channels)}, partial(_plain_block, channels)
    work = f"block, {size} x {size}, {channels} channels"
    return [*compared, _compared(work, layers, plain, BLOCK, size, channels, sizes)]


def times(rows: Sequence[Row]) -> dict[str, Times]:
    """Median seconds by size, of each contestant: ``{table: {label: {size: seconds}}}``."""
    found: dict[str, Times] = {}
    for row in rows:
        if row.table in (PIXELS, LENGTHS):
            size = int(row.facts[OURS][SIZE])
            for name in row.seconds.keys() & LABELS.keys():
                found.setdefault(row.table, {}).setdefault(LABELS[name], {})[size] = row.time(name).median
    return found


def exponents(rows: Sequence[Row]) -> str:
    """What power of the size the times grow with, for a caption; nothing where there is a single size."""
    fitted = [
        f"{label} {fitted_exponent(points):.2f}"
        for curves in times(rows).values()
        for label, points in sorted(curves.items())
        if len(points) > 1
    ]
    return "Time grows with size to the power of: " + ", ".join(fitted) + ". " if fitted else ""


def _compared(
    work: str,
    layers: dict[str, partial[nn.Module]],
    plain: partial[nn.Module],
    table: str,
    size: int,
    channels: int,
    sizes: Sizes,
) -> Comparison:
    grid = partial(torch.randn, 1, channels, *[size] * (1 if table == LENGTHS else 2))
    contestants: dict[str, Work] = {
        **{name: LayerWork(make, partial(_coefficients, grid), True) for name, make in layers.items()},
        PLAIN: LayerWork(plain, grid, True),
        COPY: CopyWork(sizes.copy_bytes),
    }
    return Comparison(
        part="scaling",
        work=work,
        passes=PASSES[True],
        contestants=contestants,
        items=1,
        table=table,
        known={OURS: {SIZE: size}},
    )


def _coefficients(grid: partial[Tensor]) -> Tensor:
    return to_coefficients(grid())


def _nonlinearity(axes: int, size: int, sharing: float) -> nn.Module:
    base = min(LAYER_BASE, size)
    return _NONLINEARITIES[axes](base_resolution=base, max_resolution=size, grid_sharing=sharing)


def _convolution(axes: int, channels: int) -> nn.Module:
    return nn.Sequential(_CONVOLUTIONS[axes](channels, channels, KERNEL_SIZE, padding="same"), nn.ReLU())


def _plain_block(channels: int) -> nn.Module:
    convolution = nn.Conv2d(channels, channels, KERNEL_SIZE, padding="same", bias=False)
    return nn.Sequential(convolution, nn.InstanceNorm2d(channels, affine=True), nn.ReLU())


def _block(size: int, channels: int) -> nn.Module:
    nonlinearity = ScaleEquivariantNonlinearity2d(
        base_resolution=min(LAYER_BASE, size),
        max_resolution=size,
        channels=channels,
        grid_sharing=GRID_SHARING,
    )
    return nn.Sequential(SpectralConv2d(channels, channels, KERNEL_SIZE, size, bias=False), nonlinearity)
