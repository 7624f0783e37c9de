"""Constants as tensors: NumPy computes them, all layers share them, and none is ever a tensor of a trace.

A layer asks for its constants in each pass, in the dtype and on the device of what it works on. It holds none itself:
nothing is left to be rounded by ``half()``, to be averaged with weights, or to stay uninitialised where a module that
was made on the meta device is filled by ``to_empty``.
"""

from collections.abc import Callable, Hashable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from sefl.tensors.graphs import constant_in_graphs

_MOST = 8192  # tensors that are kept, the oldest goes first
_kept: dict[Hashable, Tensor] = {}


@constant_in_graphs
def constant(
    make: Callable[..., NDArray[Any]], *arguments: Hashable, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """``make(*arguments)`` as a tensor. It is shared: do not write to it.

    The array is computed once for each dtype and device, and rounded once. Under tracing (``torch.export``, fake
    tensors) and where ``torch.func`` wraps what it computes, a tensor belongs to its trace: it is made anew and not
    kept.

    >>> import numpy
    >>> constant(numpy.eye, 2, dtype=torch.float32, device=torch.device("cpu"))
    tensor([[1., 0.],
            [0., 1.]])
    """
    key = (make, arguments, dtype, device)
    if _is_plain(torch.empty(0, device="cpu")) and key in _kept:
        return _kept[key]
    # A tensor born under inference_mode could never be saved for a later backward pass. On the CPU first, whatever the
    # default device is: accelerators may lack float64, and "meta" has no values.
    with torch.inference_mode(False):
        made = torch.tensor(make(*arguments), device="cpu").to(device=device, dtype=dtype)
    if _is_plain(made):
        if len(_kept) >= _MOST:
            del _kept[next(iter(_kept))]
        _kept[key] = made
    return made


def forget_constants() -> None:
    """Free the memory of all constants; they are made again when they are asked for."""
    _kept.clear()


def _is_plain(tensor: Tensor) -> bool:
    """Whether it belongs to no mode: neither fake nor a wrapper of a functional transformation."""
    return (
        type(tensor) is Tensor
        and torch.func.debug_unwrap(tensor) is tensor
        and not torch._is_functional_tensor(tensor)
    )
