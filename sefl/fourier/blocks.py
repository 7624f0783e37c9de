"""Blocks of columns that stay in cache, and scratch memory that is written over instead of allocated anew.

Fresh memory costs more than the arithmetic on it: on a CPU each new page is a fault and a fill. The layers
therefore walk over their columns (batch x channels) in blocks and reuse one workspace.
"""

from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor

_CPU_BLOCK_BYTES = 2 * 2**20  # one grid of a block; a handful of them share two cores' second-level caches
_ACCELERATOR_BLOCK_BYTES = 256 * 2**20  # large enough to fill the device, small beside its memory
_LEAST_COLUMNS = 64


class Workspace:
    """Named scratch tensors of one dtype and device; asking again for a name gives the same memory."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._memory: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """Uninitialised memory of this shape, valid until the same name is taken again."""
        size = prod(shape)
        memory = self._memory.get(name)
        if memory is None or memory.numel() < size:
            memory = self._memory[name] = self._like.new_empty(size)
        return memory[:size].view(shape)


def column_blocks(x: Tensor, values_per_column: int, together: int = 1) -> Iterator[slice]:
    """Slices over the last axis of ``x`` such that a block of ``values_per_column`` values per column fits a cache.

    So many columns as stay ``together``, of which there is a whole number, are in one block in any case.
    """
    if not isinstance(x.shape[-1], int):  # an exported graph is for any number of them
        yield slice(0, x.shape[-1])
        return
    columns = x.shape[-1] // max(1, together)
    budget = _CPU_BLOCK_BYTES if x.device.type == "cpu" else _ACCELERATOR_BLOCK_BYTES
    width = max(_LEAST_COLUMNS, budget // (values_per_column * x.element_size()))
    width = max(1, width // max(1, together))
    blocks = max(1, -(-columns // width))
    width = max(1, -(-columns // blocks))
    for start in range(0, columns, width):
        yield slice(start * together, min(start + width, columns) * together)


def row_blocks(rows: int, bytes_per_row: int, device: torch.device) -> Iterator[slice]:
    """Slices over ``rows`` such that a block of them fits a cache."""
    budget = _CPU_BLOCK_BYTES if device.type == "cpu" else _ACCELERATOR_BLOCK_BYTES
    # An exported graph, which is for any number of them, has one block.
    height = max(1, budget // max(1, bytes_per_row) if isinstance(bytes_per_row, int) else rows)
    for start in range(0, rows, height):
        yield slice(start, min(start + height, rows))
