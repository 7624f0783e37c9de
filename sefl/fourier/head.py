"""Features of a fixed size from every band at once, for classifiers (NeurIPS 2023, section 4.3)."""

from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sefl.fourier.basis import band, band_of_count, coefficient_count, synthesis_matrix
from sefl.fourier.blocks import Workspace, column_blocks
from sefl.fourier.sampling import to_grid
from sefl.fourier.shells import analyse, analyse_shell, band_in_range, synthesise, synthesise_shell


class BandPooling(nn.Module):
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

    Shapes: ``(K, K, batch, channels)`` to ``(batch, bands, channels * cells^2)``, bands from coarse to fine.

    Raises:
        ValueError: if an argument is out of its range, and in ``forward`` for coefficients that are not square,
            lie below the base or above the maximum.
    """

    # Read by callbacks.EquivarianceMonitor: axis 1 runs over bands, downsampling keeps the leading ones.
    output_signal = "bands"

    def __init__(
        self,
        base_resolution: int = 8,
        max_resolution: int = 28,
        cells: int = 2,
        grid: int | None = None,
        pool: Literal["max", "mean"] = "max",
    ) -> None:
        super().__init__()
        if not 1 <= base_resolution <= max_resolution:
            raise ValueError(
                f"base_resolution must lie in 1..max_resolution ({max_resolution}), got {base_resolution}"
            )
        if cells < 1:
            raise ValueError(f"cells must be a positive integer, got {cells}")
        if grid is None:
            grid = -(-max_resolution // cells) * cells
        least = coefficient_count(band(max_resolution))
        if grid % cells or grid < least:
            raise ValueError(
                f"grid must be a multiple of cells ({cells}) and hold {least} pixels for the finest band, got {grid}"
            )
        if pool not in ("max", "mean"):
            raise ValueError(f"pool must be 'max' or 'mean', got {pool!r}")
        self.base_resolution = base_resolution
        self.max_resolution = max_resolution
        self.cells = cells
        self.grid = grid
        self.pool = pool

    def forward(self, coefficients: Tensor) -> Tensor:
        finest = band_in_range(coefficients, self.base_resolution, self.max_resolution, of="head")
        base = band(self.base_resolution)
        if self.pool == "max":
            learning = torch.is_grad_enabled() and coefficients.requires_grad
            return cast(Tensor, _PooledBands.apply(coefficients, base, self.grid, self.cells, learning))
        pooled = [
            F.avg_pool2d(to_grid(coefficients[:count, :count], self.grid), self.grid // self.cells).flatten(1)
            for count in map(coefficient_count, range(base, finest + 1))
        ]
        return torch.stack(pooled, dim=1)

    def extra_repr(self) -> str:
        return (
            f"resolutions={self.base_resolution}..{self.max_resolution}, cells={self.cells}, grid={self.grid}, "
            f"pool={self.pool!r}"
        )


class _PooledBands(torch.autograd.Function):
    """Max-pooled grids of all bands; the places of the maxima are kept for a backward pass, if one may follow."""

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, base: int, points: int, cells: int, learning: bool) -> Tensor:
        count, _, batch, channels = coefficients.shape
        flat = coefficients.contiguous().view(count, count, batch * channels)
        bands = range(base, band_of_count(count) + 1)
        pooled = flat.new_empty(len(bands), cells * cells, batch * channels)
        places = torch.empty(pooled.shape, dtype=torch.int64, device=flat.device) if learning else None
        workspace = Workspace(flat)
        with torch.autocast(flat.device.type, enabled=False):
            for block in column_blocks(flat, points * points):
                values = workspace.take("values", points, points, block.stop - block.start)
                # (rows, columns, N) in memory is one image of N channels, channels last.
                image = values.unsqueeze(0).permute(0, 3, 1, 2)
                for index, shell in enumerate(bands):
                    synthesis = synthesis_matrix(shell, points, flat.dtype, flat.device)
                    add = synthesise_shell if index else synthesise
                    add(synthesis, flat[:, :, block], values)
                    if places is None:
                        best = F.max_pool2d(image, points // cells)
                    else:
                        best, place = F.max_pool2d(image, points // cells, return_indices=True)
                        places[index, :, block] = place[0].flatten(1).T
                    pooled[index, :, block] = best[0].flatten(1).T
        ctx.bands, ctx.points, ctx.shape = bands, points, coefficients.shape
        ctx.save_for_backward(places)
        by_sample = pooled.view(len(bands), cells * cells, batch, channels).permute(2, 0, 3, 1)
        return by_sample.reshape(batch, len(bands), channels * cells * cells)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        (places,) = ctx.saved_tensors
        bands, points = ctx.bands, ctx.points
        count, _, batch, channels = ctx.shape
        cell_count = places.shape[1]
        upstream = gradient.view(batch, len(bands), channels, cell_count).permute(1, 3, 0, 2)
        upstream = upstream.reshape(len(bands), cell_count, batch * channels)
        downstream = gradient.new_empty(count, count, batch * channels)
        workspace = Workspace(gradient)
        with torch.autocast(gradient.device.type, enabled=False):
            for block in column_blocks(downstream, points * points):
                columns = block.stop - block.start
                held = workspace.take("held", points, points, columns).zero_()
                # From fine to coarse: a shell is in the grids of its own band and of all finer ones.
                for index in reversed(range(len(bands))):
                    held.view(points * points, columns).scatter_add_(
                        0, places[index, :, block], upstream[index, :, block]
                    )
                    synthesis = synthesis_matrix(bands[index], points, held.dtype, held.device)
                    read = analyse_shell if index else analyse
                    read(synthesis.T, held, downstream[:, :, block])
        return downstream.view(ctx.shape), None, None, None, None
