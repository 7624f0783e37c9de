"""``A relu(S c)`` of bandlimited signals, a few images at a time: what it takes is memory traffic, not arithmetic.

The values of all signals on all of ``G`` are several times their coefficients, and are never in memory at once.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sefl.groups.sampling import multiply_fibres
from sefl.tensors.differentiation import differentiated_again, plain_gradients, transformed

_VALUES = 2**18  # of a block: a megabyte of float32, about what the caches of a core hold


def rectified_signals(coefficients: Tensor, synthesis: Tensor, analysis: Tensor) -> Tensor:
    """``A relu(S c)`` of every fibre, on processors in blocks whose values are recomputed in the backward pass.

    Args:
        coefficients: ``(batch, fields d, *space)``.
        synthesis: ``S``, ``(points, d)``.
        analysis: ``A``, ``(d, points)``.

    Returns:
        ``(batch, fields d, *space)``.
    """
    blockwise = (
        coefficients.device.type == "cpu"
        and coefficients.dtype in (torch.float32, torch.float64)
        and coefficients.dim() > 2
        and not torch.is_autocast_enabled("cpu")
        and not (transformed() or torch.compiler.is_compiling() or torch.jit.is_tracing())
    )
    if not blockwise:
        return _plain(coefficients, synthesis, analysis)
    outcome: Tensor = _RectifiedSignals.apply(coefficients, synthesis, analysis)
    return outcome


def _plain(coefficients: Tensor, synthesis: Tensor, analysis: Tensor) -> Tensor:
    return multiply_fibres(F.relu(multiply_fibres(coefficients, synthesis)), analysis)


class _RectifiedSignals(torch.autograd.Function):
    """:func:`rectified_signals` in blocks; the matrices have no gradient."""

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, synthesis: Tensor, analysis: Tensor) -> Tensor:
        ctx.save_for_backward(coefficients, synthesis, analysis)
        fibres = _fibres(coefficients, synthesis)
        outcome = torch.empty_like(fibres)
        (values,) = _workspace(fibres, synthesis, 1)
        for block in _blocks(fibres, values):
            inside = _product(synthesis, fibres[block], values).relu_()
            _product(analysis, inside, outcome[block])
        return outcome.view(coefficients.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None]:
        coefficients, synthesis, analysis = ctx.saved_tensors
        if differentiated_again(gradient):
            inputs = coefficients, synthesis, analysis
            return plain_gradients(_plain, inputs, gradient)[0], None, None
        fibres, upstream = _fibres(coefficients, synthesis), _fibres(gradient, synthesis)
        outcome = torch.empty_like(fibres)
        values, gradients = _workspace(fibres, synthesis, 2)
        for block in _blocks(fibres, values):
            inside = _product(synthesis, fibres[block], values)
            passed = _product(analysis.T, upstream[block], gradients)
            torch.ops.aten.threshold_backward.grad_input(passed, inside, 0, grad_input=passed)
            _product(synthesis.T, passed, outcome[block])
        return outcome.view(coefficients.shape), None, None


def _fibres(features: Tensor, synthesis: Tensor) -> Tensor:
    """``(batch * fields, d, points of space)``."""
    batch, channels = features.shape[:2]
    size = synthesis.shape[1]
    return features.reshape(batch * channels // size, size, math.prod(features.shape[2:]))


def _workspace(fibres: Tensor, synthesis: Tensor, count: int) -> list[Tensor]:
    """For the values of a block of fibres."""
    of_one = len(synthesis) * fibres.shape[2]
    block = min(len(fibres), max(1, _VALUES // max(1, of_one)))
    return [fibres.new_empty(block, len(synthesis), fibres.shape[2]) for _ in range(count)]


def _blocks(fibres: Tensor, values: Tensor) -> Iterator[slice]:
    for start in range(0, len(fibres), max(1, len(values))):
        yield slice(start, start + len(values))


def _product(matrix: Tensor, fibres: Tensor, out: Tensor) -> Tensor:
    """``matrix`` times every fibre, into the first of ``out``."""
    out = out[: len(fibres)]
    return torch.bmm(matrix.expand(len(fibres), *matrix.shape), fibres, out=out)
