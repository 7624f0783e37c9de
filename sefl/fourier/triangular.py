"""Products with block lower triangular and banded matrices, of which nothing above the diagonal is stored.

A linear map whose output block ``b`` (a frequency, a band) reads the input blocks up to ``b`` is a block lower
triangular matrix. Its entries lie row block by row block in one vector, so that the map of the leading blocks is a
prefix of that vector. The product goes over panels of neighbouring row blocks,

    out[rows] = T[rows, first : last] x[first : last],

each one dense product that ends at its own last column: half the work of a full matrix in the limit of many panels.
Tall panels are fast and short ones save work; the heights here are those that were fastest on a CPU.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import accumulate
from math import prod
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sefl.arguments import require_integer
from sefl.tensors.constants import constant
from sefl.tensors.differentiation import differentiated_again, plain_gradients, transformed

_PANEL_ROWS = 32
_BANDED_PANEL_ROWS = 16


@dataclass(frozen=True)
class BlockTriangle:
    """Which entries a block lower triangular matrix has.

    Args:
        rows: heights of the row blocks.
        columns: widths of the column blocks, as many.
        bandwidth: row block ``b`` reads the column blocks ``b - bandwidth .. b``; all up to ``b`` by default.

    Raises:
        ValueError: if there are not as many row as column blocks, or the bandwidth is negative.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    bandwidth: int | None = None

    def __post_init__(self) -> None:
        if len(self.rows) != len(self.columns):
            raise ValueError(
                f"columns must have one width per row block, {len(self.rows)}, got {len(self.columns)}"
            )
        if self.bandwidth is not None:
            object.__setattr__(self, "bandwidth", require_integer("bandwidth", self.bandwidth, least=0))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        return sum(self.rows), sum(self.columns)

    @cached_property
    def size(self) -> int:
        """Entries of the matrix that are not zero by construction."""
        return sum(block.size for block in self.row_blocks())

    def leading(self, blocks: int) -> "BlockTriangle":
        """The triangle of the leading blocks; its entries are the first of this one's."""
        return _leading(self, blocks)

    def row_blocks(self) -> "tuple[RowBlock, ...]":
        """Where each row block lies in the matrix and in the vector of its entries."""
        return _row_blocks(self)


@dataclass(frozen=True)
class RowBlock:
    """``height`` rows from ``row`` on, non-zero in ``width`` columns from ``column`` on, stored from ``entry`` on."""

    row: int
    height: int
    column: int
    width: int
    entry: int

    @property
    def size(self) -> int:
        return self.height * self.width


def triangular_product(entries: Tensor, x: Tensor, triangle: BlockTriangle) -> Tensor:
    """``T x`` with a block lower triangular ``T``, for each matrix of a batch.

    Args:
        entries: ``(batch, triangle.size)``, row block by row block, each in row-major order; or ``(1, size)`` for one
            ``T`` on the whole batch.
        x: ``(batch, columns, N)`` in the dtype of ``entries``.
        triangle: which entries these are.

    Returns:
        ``(batch, rows, N)``.
    """
    product = _plain_product if transformed() else _TriangularProduct.apply
    return cast(Tensor, product(entries, x, triangle))


def reset_triangle(entries: Tensor, triangle: BlockTriangle, decay: float = 0.0) -> None:
    """Fill ``(..., triangle.size)`` uniformly in ``+-((1 + j) / (1 + k))^decay / sqrt(fan in)``, for blocks ``(k, j)``.

    Without ``decay`` as ``torch.nn.Linear``. With it, inputs whose amplitude falls as ``(1 + j)^-decay`` over the
    blocks give outputs that fall likewise.
    """
    place = torch.arange(1, len(triangle.columns) + 1, device=entries.device, dtype=entries.dtype)
    repeats = torch.tensor(triangle.columns, device=entries.device)
    growth = place.pow(decay).repeat_interleave(repeats, output_size=triangle.shape[1])
    with torch.no_grad():
        for index, block in enumerate(triangle.row_blocks()):
            own = entries[..., block.entry : block.entry + block.size].unflatten(-1, (-1, block.width))
            bound = (1 + index) ** -decay / block.width**0.5
            own.uniform_(-bound, bound).mul_(growth[block.column : block.column + block.width])


@lru_cache(maxsize=1024)
def _leading(triangle: BlockTriangle, blocks: int) -> BlockTriangle:
    return BlockTriangle(triangle.rows[:blocks], triangle.columns[:blocks], triangle.bandwidth)


@lru_cache(maxsize=1024)
def _row_blocks(triangle: BlockTriangle) -> tuple[RowBlock, ...]:
    row_starts = list(accumulate(triangle.rows, initial=0))
    column_starts = list(accumulate(triangle.columns, initial=0))
    blocks: list[RowBlock] = []
    entry = 0
    for index, height in enumerate(triangle.rows):
        nearest = 0 if triangle.bandwidth is None else max(0, index - triangle.bandwidth)
        first = column_starts[nearest]
        block = RowBlock(row_starts[index], height, first, column_starts[index + 1] - first, entry)
        blocks.append(block)
        entry += block.size
    return tuple(blocks)


class _Panel:
    """Neighbouring row blocks, as one dense matrix over the columns that any of them reads."""

    def __init__(self, blocks: tuple[RowBlock, ...]) -> None:
        first, last = blocks[0], blocks[-1]
        self.blocks = blocks
        self.rows = slice(first.row, last.row + last.height)
        self.columns = slice(first.column, last.column + last.width)
        self.entries = slice(first.entry, last.entry + last.size)
        self.shape = (self.rows.stop - self.rows.start, self.columns.stop - self.columns.start)

    def expand(self, entries: Tensor) -> Tensor:
        """``(batch, size)`` to ``(batch, *shape)``, zero where the triangle is; a view if it is nowhere."""
        own = entries[:, self.entries]
        if len(self.blocks) == 1:
            return own.view(-1, *self.shape)
        matrix = own.new_zeros(len(own), prod(self.shape))
        places = self._places(own.device)
        full = (
            matrix.scatter(1, places.expand_as(own), own)
            if transformed()
            else matrix.index_copy_(1, places, own)
        )
        return full.view(-1, *self.shape)

    def gather(self, matrix: Tensor, out: Tensor) -> None:
        """The entries of ``(batch, *shape)`` that the triangle has, into their places of ``out (batch, size)``."""
        flat = matrix.flatten(1)
        inside = flat if len(self.blocks) == 1 else flat.index_select(1, self._places(matrix.device))
        out[:, self.entries] = inside

    def _places(self, device: torch.device) -> Tensor:
        return constant(_places, self, dtype=torch.int64, device=device)


@lru_cache(maxsize=1024)
def _panels(triangle: BlockTriangle) -> tuple[_Panel, ...]:
    """About equally many row blocks per panel, and two panels at least."""
    blocks = triangle.row_blocks()
    height = _PANEL_ROWS if triangle.bandwidth is None else _BANDED_PANEL_ROWS
    count = min(len(blocks), max(2, round(triangle.shape[0] / height)))
    cuts = [len(blocks) * index // count for index in range(count + 1)]
    return tuple(_Panel(blocks[cuts[index] : cuts[index + 1]]) for index in range(count))


def _places(panel: _Panel) -> NDArray[np.int64]:
    """Where in the flattened matrix of a panel each of its entries goes."""
    width = panel.shape[1]
    places = [
        (np.arange(block.height)[:, None] + (block.row - panel.rows.start)) * width
        + np.arange(block.width)
        + (block.column - panel.columns.start)
        for block in panel.blocks
    ]
    return np.concatenate([place.ravel() for place in places])


def _plain_product(entries: Tensor, x: Tensor, triangle: BlockTriangle) -> Tensor:
    panels = _panels(triangle)
    return torch.cat([panel.expand(entries) @ x[:, panel.columns] for panel in panels], dim=1)


class _TriangularProduct(torch.autograd.Function):
    """Panel by panel; the backward pass likewise, so that it does half of the dense work too."""

    @staticmethod
    def forward(ctx: Any, entries: Tensor, x: Tensor, triangle: BlockTriangle) -> Tensor:
        ctx.triangle = triangle
        ctx.save_for_backward(entries, x)
        out = x.new_empty(x.shape[0], triangle.shape[0], x.shape[2])
        with torch.autocast(x.device.type, enabled=False):
            for panel in _panels(triangle):
                matrix = panel.expand(entries).expand(x.shape[0], -1, -1)
                torch.bmm(matrix, x[:, panel.columns], out=out[:, panel.rows])
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        entries, x = ctx.saved_tensors
        if differentiated_again(gradient):
            plain = partial(_plain_product, triangle=ctx.triangle)
            return *plain_gradients(plain, (entries, x), gradient), None
        wants_entries, wants_input, _ = ctx.needs_input_grad
        gradient = gradient.contiguous()
        with torch.autocast(x.device.type, enabled=False):
            downstream = _input_gradient(entries, gradient, ctx.triangle) if wants_input else None
            learned = _entries_gradient(entries, x, gradient, ctx.triangle) if wants_entries else None
        return learned, downstream, None


def _input_gradient(entries: Tensor, gradient: Tensor, triangle: BlockTriangle) -> Tensor:
    """``T^T gradient``."""
    shape = (gradient.shape[0], triangle.shape[1], gradient.shape[2])
    # The last rows of a triangle that is not banded read every column: they overwrite, and need no zeros.
    full = triangle.bandwidth is None
    downstream = gradient.new_empty(shape) if full else gradient.new_zeros(shape)
    for index, panel in enumerate(reversed(_panels(triangle))):
        matrix = panel.expand(entries).transpose(1, 2).expand(shape[0], -1, -1)
        target = downstream[:, panel.columns]
        target.baddbmm_(matrix, gradient[:, panel.rows], beta=0 if full and not index else 1)
    return downstream


def _entries_gradient(entries: Tensor, x: Tensor, gradient: Tensor, triangle: BlockTriangle) -> Tensor:
    """The entries within the triangle of ``gradient x^T``, summed over the batch where it shares them.

    Transposed, with the wider factor first, the product is faster.
    """
    learned = torch.empty_like(entries)
    for panel in _panels(triangle):
        matrix = torch.bmm(x[:, panel.columns], gradient[:, panel.rows].transpose(1, 2)).transpose(1, 2)
        panel.gather(matrix if len(entries) == len(matrix) else matrix.sum(0, keepdim=True), learned)
    return learned
