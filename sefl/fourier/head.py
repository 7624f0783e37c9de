"""Features of a fixed size from every band at once, for classifiers (NeurIPS 2023, section 4.3)."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sefl.arguments import require_positive
from sefl.fourier import native
from sefl.fourier.basis import band, coefficient_count, synthesis_matrix
from sefl.fourier.blocks import Workspace, column_blocks
from sefl.fourier.sampling import Center, along_last_axes, resolution_range, sample_shift, to_grid
from sefl.fourier.shells import Shells, fast
from sefl.tensors.differentiation import differentiated_again, plain_gradients, transformed
from sefl.tensors.graphs import outside_of_graphs
from sefl.tensors.output_types import Bands

_POOLS: dict[tuple[str, int], Callable[[Tensor, int], Tensor]] = {
    ("max", 1): F.max_pool1d,
    ("max", 2): F.max_pool2d,
    ("mean", 1): F.avg_pool1d,
    ("mean", 2): F.avg_pool2d,
}


class _BandPoolingNd(nn.Module):
    """What :class:`BandPooling2d` does, along ``axes`` axes."""

    output_type = Bands()

    axes: ClassVar[int]

    def __init__(
        self,
        base_resolution: int = 8,
        max_resolution: int = 28,
        cells: int = 2,
        grid: int | None = None,
        pool: Literal["max", "mean"] = "max",
        center: Center = "pixel",
    ) -> None:
        super().__init__()
        self.center, self.shift = center, sample_shift(center)
        self.base_resolution, self.max_resolution = resolution_range(base_resolution, max_resolution)
        self.cells = require_positive("cells", cells)
        if grid is None:
            grid = -(-self.max_resolution // self.cells) * self.cells
        self.grid = require_positive("grid", grid)
        least = coefficient_count(band(self.max_resolution))
        if self.grid % self.cells or self.grid < least:
            raise ValueError(
                f"grid must be a multiple of cells ({cells}) and hold {least} pixels for the finest band, got {grid}"
            )
        if pool not in ("max", "mean"):
            raise ValueError(f"pool must be 'max' or 'mean', got {pool!r}")
        self.pool = pool

    @outside_of_graphs
    def forward(self, coefficients: Tensor, places: Sequence[int] | None = None) -> Tensor:
        shells = Shells(self.axes)
        finest = shells.band_in_range(coefficients, self.base_resolution, self.max_resolution, of="head")
        base = band(self.base_resolution)
        bands = [base + place for place in (range(finest - base + 1) if places is None else places)]
        ascending = bands == sorted(set(bands))
        if self.pool == "max" and ascending and self.grid > self.cells and not transformed():
            learning = torch.is_grad_enabled() and coefficients.requires_grad
            pooled = _PooledBands.apply(
                fast(coefficients), shells, bands, self.grid, self.cells, learning, self.shift
            )
            return cast(Tensor, pooled).to(coefficients.dtype)
        counts = map(coefficient_count, bands)
        pooled = [self._cells(coefficients[shells.whole(count)]).flatten(1) for count in counts]
        return torch.stack(pooled, dim=1)

    def _cells(self, coefficients: Tensor) -> Tensor:
        """``(batch, channels, cells, ...)``."""
        values, window = to_grid(coefficients, self.grid, self.center), self.grid // self.cells
        return values if window == 1 else _POOLS[self.pool, self.axes](values, window)

    def extra_repr(self) -> str:
        return (
            f"resolutions={self.base_resolution}..{self.max_resolution}, cells={self.cells}, grid={self.grid}, "
            f"pool={self.pool!r}, center={self.center!r}"
        )


class BandPooling2d(_BandPoolingNd):
    """Sample the features of every band on one fixed grid and pool it to ``cells x cells`` values per channel.

    Entry ``b`` of the result sees the input's frequencies up to band ``b`` and nothing above, so that one pass at
    the finest band holds what a pass at each coarser resolution would give. Neighbouring bands differ by one shell,
    which is added to the grid: no band is synthesised from scratch.

    Args:
        base_resolution: the coarsest band is the one of this resolution.
        max_resolution: the finest band that is accepted is the one of this resolution.
        cells: cells per axis into which the grid is divided.
        grid: pixels per side of the grid, a multiple of ``cells`` that holds the finest band; by default the least
            one that is at least ``max_resolution``.
        pool: ``"max"`` or ``"mean"`` over each cell.
        center: where the grid lies, see :func:`sefl.fourier.to_coefficients`. About the ``"image"``'s middle the cells
            of a flipped or turned image are the flipped or turned cells; those of a grid from the first pixel on are
            not.

    Shapes: ``(K, K, batch, channels)`` to ``(batch, bands, channels * cells^2)``, bands from coarse to fine, or those
    at the ``places`` among these that ``forward`` is given.

    Raises:
        ValueError: if an argument is out of its range, and in ``forward`` for coefficients that are not square,
            lie below the base or above the maximum.
    """

    axes = 2


class BandPooling1d(_BandPoolingNd):
    """:class:`BandPooling2d` of signals, with its arguments and errors: resolutions are lengths.

    ``grid`` counts points.

    Shapes: ``(K, batch, channels)`` to ``(batch, bands, channels * cells)``, bands from coarse to fine.
    """

    axes = 1


class _PooledBands(torch.autograd.Function):
    """Max-pooled grids of bands, from coarse to fine; the places of the maxima are kept for a backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        coefficients: Tensor,
        shells: Shells,
        bands: Sequence[int],
        points: int,
        cells: int,
        learning: bool,
        shift: float,
    ) -> Tensor:
        batch, channels = coefficients.shape[-2:]
        flat = coefficients.contiguous().flatten(-2)
        cell_count = cells**shells.axes
        ctx.shells, ctx.bands, ctx.points, ctx.shift, ctx.cells = shells, bands, points, shift, cells
        ctx.shape = coefficients.shape
        if shells.axes == 2 and native.takes(flat):
            finest = synthesis_matrix(bands[-1], points, flat.dtype, flat.device, shift)
            pooled, places = native.pool_bands(flat, finest, cells, bands, learning)
            ctx.save_for_backward(places)
            return _by_sample(pooled, batch, channels)
        pooled = flat.new_empty(len(bands), cell_count, batch * channels)
        places = torch.empty(pooled.shape, dtype=torch.int64, device=flat.device) if learning else None
        workspace = Workspace(flat)
        with torch.autocast(flat.device.type, enabled=False):
            for block in column_blocks(flat, points**shells.axes):
                values = workspace.take("values", *shells.extent(points), block.stop - block.start)
                image, window = shells.image(values), shells.window(points // cells)
                for index, added in enumerate(_added(bands)):
                    for shell in added:
                        synthesis = synthesis_matrix(shell, points, flat.dtype, flat.device, shift)
                        if index:
                            shells.synthesise_shell(synthesis, flat[..., block], values)
                        else:
                            shells.synthesise(synthesis, flat[..., block], values, workspace)
                    if places is None:
                        best = F.max_pool2d(image, window)
                    else:
                        best, place = F.max_pool2d(image, window, return_indices=True)
                        places[index, :, block] = place[0].flatten(1).T
                    pooled[index, :, block] = best[0].flatten(1).T
        ctx.save_for_backward(places)
        return _by_sample(pooled, batch, channels)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (places,) = ctx.saved_tensors
        shells, bands, points, shift = ctx.shells, ctx.bands, ctx.points, ctx.shift
        if differentiated_again(gradient):
            anywhere = torch.zeros(
                ctx.shape, dtype=gradient.dtype, device=gradient.device, requires_grad=True
            )
            plain = partial(_at_places, shells=shells, bands=bands, points=points, shift=shift, places=places)
            return *plain_gradients(plain, (anywhere,), gradient), None, None, None, None, None, None
        batch, channels = ctx.shape[-2:]
        cell_count = places.shape[1]
        upstream = gradient.view(batch, len(bands), channels, cell_count).permute(1, 3, 0, 2)
        upstream = upstream.reshape(len(bands), cell_count, batch * channels).contiguous()
        if shells.axes == 2 and native.takes(upstream):
            finest = synthesis_matrix(bands[-1], points, upstream.dtype, upstream.device, shift)
            found = native.pool_bands_backward(upstream, places, ctx.shape[0], finest, ctx.cells, bands)
            return found.view(ctx.shape), None, None, None, None, None, None
        # No band that was asked for may hold the finest coefficients.
        downstream = gradient.new_zeros(*ctx.shape[:-2], batch * channels)
        workspace = Workspace(gradient)
        with torch.autocast(gradient.device.type, enabled=False):
            for block in column_blocks(downstream, points**shells.axes):
                columns = block.stop - block.start
                held = workspace.take("held", *shells.extent(points), columns).zero_()
                # From fine to coarse: a shell is in the grids of its own band and of all finer ones.
                for index, added in reversed(list(enumerate(_added(bands)))):
                    held.view(-1, columns).scatter_add_(0, places[index, :, block], upstream[index, :, block])
                    for shell in added:
                        analysis = synthesis_matrix(shell, points, held.dtype, held.device, shift).T
                        if index:
                            shells.analyse_shell(analysis, held, downstream[..., block])
                        else:
                            base = (*shells.whole(len(analysis)), block)
                            downstream[base] = shells.analyse(analysis, held, workspace)
        return downstream.view(ctx.shape), None, None, None, None, None, None


def _by_sample(pooled: Tensor, batch: int, channels: int) -> Tensor:
    """``(bands, cells, batch * channels)`` as ``(batch, bands, channels * cells)``."""
    bands, cells = pooled.shape[:2]
    by_sample = pooled.view(bands, cells, batch, channels).permute(2, 0, 3, 1)
    return by_sample.reshape(batch, bands, channels * cells)


def _at_places(
    coefficients: Tensor, shells: Shells, bands: Sequence[int], points: int, shift: float, places: Tensor
) -> Tensor:
    """What the bands' grids have at these places: linear in the coefficients, as the maxima are around them."""
    batch, channels = coefficients.shape[-2:]
    held = []
    for finest, place in zip(bands, places, strict=True):
        synthesis = synthesis_matrix(finest, points, coefficients.dtype, coefficients.device, shift)
        own = coefficients[shells.whole(coefficient_count(finest))].movedim((-2, -1), (0, 1))
        values = along_last_axes(own, [synthesis] * shells.axes).flatten(2)
        held.append(values.gather(2, place.T.view(batch, channels, -1)).flatten(1))
    return torch.stack(held, dim=1)


def _added(bands: Sequence[int]) -> list[range]:
    """What each band adds to the one before: shells; the first is added as a whole."""
    return [range(bands[0], bands[0] + 1), *(range(a + 1, b + 1) for a, b in pairwise(bands))]
