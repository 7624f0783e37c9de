"""What no memory of this machine holds is refused before any of it is taken."""

import math
import os
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

GIB = 2**30
_MAKERS = (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full)


def require_memory(what: str, needed: int, advice: str) -> None:
    """Refuse what takes more bytes than the machine has memory.

    Args:
        what: the arguments that it follows from, and their values.
        needed: bytes.
        advice: what would do.

    Raises:
        ValueError: if it takes more.
    """
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > available:
        raise ValueError(
            f"{what} takes {needed / GIB:,.0f} GiB of memory, the machine has {available / GIB:.0f}; {advice}"
        )


class _Measured(TorchFunctionMode):
    """Looks at the size of each tensor that is to be made."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in _MAKERS:
            _check_size(args, kwargs)
        try:
            return function(*args, **kwargs)
        except RuntimeError as error:
            if not (refused := re.search(r"you tried to allocate (\d+) bytes", str(error))):
                raise
            raise ValueError(
                f"{int(refused[1]) / GIB:,.0f} GiB of memory for one tensor are more than the machine gives; make what "
                "it follows from smaller"
            ) from error


def sizes_checked() -> AbstractContextManager[object]:
    """Within, a tensor larger than this machine's memory, made or computed, is a ``ValueError`` with its size."""
    return _Measured()


def _check_size(args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    size = kwargs.get("size", args[0] if args and isinstance(args[0], list | tuple) else args)
    if not all(isinstance(length, int) for length in size):
        return
    dtype = kwargs.get("dtype") or torch.get_default_dtype()
    needed = math.prod(size) * dtype.itemsize
    require_memory(f"a tensor of {' x '.join(map(str, size))}", needed, "make what it follows from smaller")
