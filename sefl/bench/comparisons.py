"""What is compared with what: for each part of the benchmark a list of comparisons, ours first."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pkgutil import resolve_name
from types import MappingProxyType
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from sefl.bench.authors import MAX_RESOLUTION, AuthorsCode, network_loss
from sefl.bench.timing import Action
from sefl.bench.work import (
    CopyWork,
    LayerWork,
    StepWork,
    Work,
    complex_coefficients,
    images,
    lightning_loss,
    nested_coefficients,
)
from sefl.fourier import (
    BandPooling2d,
    FrequencyMixer2d,
    ScaleEquivariantMaxPool2d,
    ScaleEquivariantNonlinearity2d,
    SpectralConv2d,
)

Part = Literal["layers", "steps", "scaling", "data", "groups", "authors"]

OURS, OWN_GRIDS, PLAIN, AUTHORS, COPY = "ours", "own grids", "plain", "authors", "copy"
CONVOLUTION = "convolution + ReLU"
OPTIMIZED, GROUP_CONVOLUTION, ESCNN = "optimized", "GroupConv", "escnn"
PASSES = {False: "forward", True: "forward + backward"}

LAYER_BASE = 6
HEAD_BASE = 8
KERNEL_SIZE, LARGE_KERNEL = 5, 15
HEAD_CELLS = 2
POOL = 2
"""The published network's base resolutions, kernel and head cells; a pool as in its STL10 variant."""

_FOURIER, _PLAIN = "Fourier", "Conv"
"""Of which kind the networks are, by their names in :mod:`sefl.networks`."""


@dataclass(frozen=True)
class GroupSizes:
    """How large the measured work of ``sefl.groups`` is.

    Args:
        families: the groups whose filters are made, by family.
        designs: groups and subgroups for which the closed form is compared with the optimised design.
        group, subgroup: of the layers.
        fields: regular fields of the layers' input.
        batch, resolution: of the layers' input.
        kernel_size: of the convolutions.
        escnn: whether to make escnn's convolutions and networks too.
        widths: fields of the three stages of networks.
        networks: groups and subgroups of the networks.
    """

    families: Mapping[str, tuple[str, ...]]
    designs: tuple[tuple[str, str], ...]
    group: str
    subgroup: str
    fields: int
    batch: int
    resolution: int
    kernel_size: int = KERNEL_SIZE
    escnn: bool = True
    widths: tuple[int, int, int] = (6, 10, 20)
    networks: tuple[tuple[str, str], ...] = (("C12", "C6"), ("D12", "D6"))


UP_TO_60 = GroupSizes(
    families={
        "cyclic, C2 to C60": tuple(f"C{n}" for n in range(2, 61)),
        "dihedral, D1 to D30": tuple(f"D{n}" for n in range(1, 31)),
        "T, O, Oh, I": ("T", "O", "Oh", "I"),
        "S3, S4, products": (
            *("S3", "S4", "C2xC2xC2xC2", "C4xC4", "C6xC10"),
            *("D4xC4", "D5xC6", "S4xC2", "TxC5"),
        ),
    },
    designs=(("C24", "C8"), ("D12", "D6"), ("D24", "D8")),
    group="D12",
    subgroup="D6",
    fields=10,
    batch=32,
    resolution=32,
)
"""Every named group of up to 60 elements, with some of the products; layers as in the README of the ICLR 2025 paper."""

A_FEW = GroupSizes(
    families={"cyclic, C2 to C6": tuple(f"C{n}" for n in range(2, 7)), "S3, products": ("S3", "C2xC2")},
    designs=(("C6", "C3"),),
    group="D4",
    subgroup="D2",
    fields=1,
    batch=2,
    resolution=8,
    escnn=False,
    widths=(1, 1, 2),
    networks=(("C6", "C3"),),
)


@dataclass(frozen=True)
class PipelineSizes:
    """How much is loaded, and trained on, at a time.

    Args:
        resolutions: how many of a data set's resolutions, from the lowest to the highest.
        images: in an epoch, of each resolution.
        workers: numbers of loader processes.
        batch: images in a batch; by default as configured.
    """

    resolutions: int = 3
    images: int = 160
    workers: tuple[int, ...] = (0, 2)
    batch: int | None = None


@dataclass(frozen=True)
class ScalingSizes:
    """At which sizes growth is measured, of how many channels; and pixels per side and channels of a block."""

    pixels: tuple[int, ...] = (49, 73, 97, 145, 225)
    lengths: tuple[int, ...] = (256, 512, 1024, 2048, 4096, 8192)
    channels: int = 16
    block: tuple[int, int] = (224, 64)


@dataclass(frozen=True)
class PhotographSizes:
    """Training steps of networks that pool, by default those of ``configs/stl10_scale/fourier_small.yaml``.

    Args:
        batch: images in a batch, of three channels.
        resolutions: pixels per side, the finest first.
        widths, pools: of the blocks.
        layer_base: resolution from which on the layers are equivariant.
    """

    batch: int = 16
    resolutions: tuple[int, ...] = (97, 73, 49)
    widths: tuple[int, ...] = (16, 64, 128)
    pools: tuple[int, ...] = (2, 2, 1)
    layer_base: int = 40


@dataclass(frozen=True)
class Sizes:
    """How large the measured work is."""

    batch: int
    channels: int
    resolution: int
    resolutions: tuple[int, ...]
    widths: tuple[int, ...]
    groups: GroupSizes
    copy_bytes: int = CopyWork.size
    pipelines: PipelineSizes = PipelineSizes()
    scaling: ScalingSizes = ScalingSizes()
    photographs: PhotographSizes = PhotographSizes()


PAPER = Sizes(
    batch=128,
    channels=32,
    resolution=28,
    resolutions=(28, 20, 14, 8),
    widths=(32, 64, 100, 100),
    groups=UP_TO_60,
)
TINY = Sizes(
    batch=2,
    channels=2,
    resolution=8,
    resolutions=(8,),
    widths=(2, 2, 2, 2),
    groups=A_FEW,
    copy_bytes=2**20,
    pipelines=PipelineSizes(resolutions=1, images=20, workers=(0, 1), batch=2),
    scaling=ScalingSizes(pixels=(9, 13), lengths=(16, 1040), channels=2, block=(9, 2)),
    photographs=PhotographSizes(2, (13,), (2, 2), (2, 1), 9),
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Contestants that do the same work.

    Args:
        part: the part of the benchmark that it belongs to.
        work: what is done.
        passes: whether with a backward pass, in words.
        contestants: who does it; the first is the one that the others are compared with.
        items: images that it handles at a time.
        counted: contestants whose arithmetic consists of products and convolutions, which can be counted.
        weighed: contestants whose peak memory is measured.
        table: which of the part's tables shows it, where there are several.
        known: of contestants, besides time, memory and arithmetic: ``{name: {fact: number}}``.
    """

    part: Part
    work: str
    passes: str
    contestants: Mapping[str, Work]
    items: int
    counted: tuple[str, ...] = (OURS, PLAIN)
    weighed: tuple[str, ...] = (OURS, PLAIN, CONVOLUTION, AUTHORS)
    table: str = ""
    known: dict[str, dict[str, float]] = field(default_factory=dict)

    def build(self, device: torch.device) -> dict[str, Action]:
        """The actions to time, by contestant."""
        return {name: work.build(device) for name, work in self.contestants.items()}

    def facts(self) -> dict[str, dict[str, float]]:
        """What is known of contestants, or follows from them when they have been measured."""
        return self.known


def layers(sizes: Sizes) -> list[Comparison]:
    """Every layer of ``sefl.fourier`` against its plain counterpart and against convolution and ReLU."""
    c, r = sizes.channels, sizes.resolution
    base, large = min(LAYER_BASE, r), min(LARGE_KERNEL, r - 1 + r % 2)
    coefficients = partial(nested_coefficients, sizes.batch, c, r)
    grid = partial(images, sizes.batch, c, r)
    pairs: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
        "SpectralConv2d": (
            partial(SpectralConv2d, c, 2 * c, KERNEL_SIZE, r),
            partial(_convolution, c, 2 * c),
        ),
        f"... of {large} x {large} taps": (
            partial(SpectralConv2d, c, 2 * c, large, r),
            partial(_convolution, c, 2 * c, large),
        ),
        "ScaleEquivariantNonlinearity2d": (
            partial(ScaleEquivariantNonlinearity2d, base_resolution=base, max_resolution=r),
            nn.ReLU,
        ),
        "... with norm": (
            partial(ScaleEquivariantNonlinearity2d, base_resolution=base, max_resolution=r, channels=c),
            partial(_normed_relu, c),
        ),
        "... with a grid per band": (
            partial(ScaleEquivariantNonlinearity2d, base_resolution=base, max_resolution=r, grid_sharing=1.0),
            nn.ReLU,
        ),
        "ScaleEquivariantMaxPool2d": (
            partial(ScaleEquivariantMaxPool2d, POOL, base_resolution=base, max_resolution=r),
            _pooled_relu,
        ),
        "BandPooling2d": (
            partial(BandPooling2d, min(HEAD_BASE, r), r, HEAD_CELLS),
            partial(nn.AdaptiveMaxPool2d, HEAD_CELLS),
        ),
        "FrequencyMixer2d": (partial(FrequencyMixer2d, c, r), partial(_FullMatrices, r)),
    }
    return [
        Comparison(
            part="layers",
            work=name,
            passes=PASSES[backward],
            contestants={
                OURS: LayerWork(ours, coefficients, backward),
                PLAIN: LayerWork(plain, grid, backward),
                CONVOLUTION: LayerWork(partial(_convolution_and_relu, c), grid, backward),
                COPY: CopyWork(sizes.copy_bytes),
            },
            items=sizes.batch,
        )
        for name, (ours, plain) in pairs.items()
        for backward in PASSES
    ]


def steps(sizes: Sizes) -> list[Comparison]:
    """A training step of the Fourier network against one of the plain network of the same widths."""
    photographs = sizes.photographs
    compared = [
        (f"training step, {r} x {r}", sizes.batch, _step(_FOURIER, sizes, r), _step(_PLAIN, sizes, r))
        for r in sizes.resolutions
    ]
    for r in photographs.resolutions:
        ours, plain = (_photographs_step(kind, photographs, r) for kind in (_FOURIER, _PLAIN))
        compared.append((f"... that pools, {r} x {r}", photographs.batch, ours, plain))
    return [
        Comparison(
            part="steps",
            work=work,
            passes=PASSES[True],
            contestants={OURS: ours, PLAIN: plain},
            items=batch,
        )
        for work, batch, ours, plain in compared
    ]


def against_authors(sizes: Sizes, code: AuthorsCode) -> list[Comparison]:
    """The non-linearity, the convolution and the training step against the authors' implementation.

    Raises:
        ValueError: if their code does not take these sizes.
    """
    c, r = sizes.channels, sizes.resolution
    if max(sizes.resolutions) > MAX_RESOLUTION:
        raise ValueError(
            f"resolutions must be at most {MAX_RESOLUTION} with against, whose network takes no finer ones, "
            f"got {list(sizes.resolutions)}"
        )
    if r % 2:
        raise ValueError(f"resolution must be even with against, whose convolution takes no other, got {r}")
    if len(sizes.widths) != len(PAPER.widths):
        raise ValueError(
            f"widths must be {len(PAPER.widths)} with against, whose network has so many blocks, "
            f"got {list(sizes.widths)}"
        )
    pairs: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
        f"non-linearity, {c} channels, {r} x {r}": (
            partial(ScaleEquivariantNonlinearity2d, base_resolution=LAYER_BASE, max_resolution=r),
            partial(code.nonlinearity, LAYER_BASE, r),
        ),
        f"convolution, {c} to {2 * c} channels, {r} x {r}": (
            partial(SpectralConv2d, c, 2 * c, KERNEL_SIZE, r, bias=False),
            partial(code.convolution, c, 2 * c, KERNEL_SIZE, r),
        ),
    }
    compared = [
        Comparison(
            part="authors",
            work=name,
            passes=PASSES[backward],
            contestants={
                OURS: LayerWork(ours, partial(nested_coefficients, sizes.batch, c, r), backward),
                AUTHORS: LayerWork(theirs, partial(complex_coefficients, sizes.batch, c, r), backward),
            },
            items=sizes.batch,
            counted=(OURS,),
        )
        for name, (ours, theirs) in pairs.items()
        for backward in PASSES
    ]
    network = partial(code.network, sizes.widths)
    compared += [
        Comparison(
            part="authors",
            work=f"training step, {r} x {r}",
            passes=PASSES[True],
            contestants={
                OURS: _step(_FOURIER, sizes, r),
                AUTHORS: StepWork(network, network_loss, sizes.batch, r),
            },
            items=sizes.batch,
            counted=(OURS,),
        )
        for r in sizes.resolutions
    ]
    return compared


def _step(kind: str, sizes: Sizes, resolution: int) -> StepWork:
    return StepWork(_model(kind, sizes), lightning_loss, sizes.batch, resolution)


def _model(kind: str, sizes: Sizes) -> partial[Any]:
    return partial(_made, kind, list(sizes.widths), max(PAPER.resolution, *sizes.resolutions))


def _photographs_step(kind: str, sizes: PhotographSizes, resolution: int) -> StepWork:
    options: dict[str, Any] = {"pools": list(sizes.pools)}
    if kind == _FOURIER:
        options["layer_base_resolution"] = sizes.layer_base
    common = {"in_channels": 3, "base_resolution": min(sizes.resolutions)}
    make = partial(_made, kind, list(sizes.widths), max(sizes.resolutions), options, common)
    return StepWork(make, lightning_loss, sizes.batch, resolution, channels=3)


def _made(
    kind: str,
    widths: list[int],
    finest: int,
    options: Mapping[str, Any] = MappingProxyType({}),
    common: Mapping[str, Any] = MappingProxyType({}),
) -> Any:
    network, trunk = (resolve_name(f"sefl.networks.{kind}{part}") for part in ("Network", "Trunk"))
    made = network(trunk(widths, **options), max_resolution=finest, **common)
    return resolve_name("models.ScaleClassifier")(made)


def _convolution(inputs: int, outputs: int, kernel_size: int = KERNEL_SIZE) -> nn.Module:
    return nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2)


def _convolution_and_relu(channels: int) -> nn.Module:
    return nn.Sequential(_convolution(channels, channels), nn.ReLU())


def _normed_relu(channels: int) -> nn.Module:
    return nn.Sequential(nn.InstanceNorm2d(channels, affine=True), nn.ReLU())


class _FullMatrices(nn.Module):
    """A matrix along the rows and one along the columns of images: a mixer without its triangles."""

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.rows = nn.Linear(resolution, resolution, bias=False)
        self.columns = nn.Linear(resolution, resolution, bias=False)

    def forward(self, grid: Tensor) -> Tensor:
        return cast(Tensor, self.columns(self.rows(grid.mT).mT))


def _pooled_relu() -> nn.Module:
    return nn.Sequential(nn.ReLU(), nn.MaxPool2d(POOL, ceil_mode=True))
