"""Decorators of torch.compile that do not import it, which takes longer than torch itself.

``torch.compiler.assume_constant_result`` and ``disable`` import ``torch._dynamo`` where they are written, the first to
set an attribute. ``tests/tensors/test_graphs.py`` holds that the compiler heeds these.
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch

_Function = TypeVar("_Function", bound=Callable[..., Any])


def constant_in_graphs(function: _Function) -> _Function:
    """A compiled graph holds what the function returned, not how it is computed."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def outside_of_graphs(function: _Function) -> _Function:
    """A compiled graph ends before the function, which runs as it is written, and another begins after it."""
    return _disabled(function, recursive=True)


def in_pieces(function: _Function) -> _Function:
    """The function runs as it is written, and each module that it calls is compiled by itself.

    For a function of how many bands there are: a graph of it would be for one resolution alone.
    """
    return _disabled(function, recursive=False)


def _disabled(function: _Function, recursive: bool) -> _Function:
    disabled = torch._disable_dynamo(function, recursive)

    def as_written(*args: Any, **options: Any) -> Any:
        # Nothing can, before the compiler is imported; and torch.export traces what runs as it is written.
        compiling = "torch._dynamo" in sys.modules and not torch.compiler.is_compiling()
        return (disabled if compiling else function)(*args, **options)

    # The compiler leaves alone what is in torch's own files.
    as_written.__code__ = as_written.__code__.replace(co_filename=torch._compile.__file__)
    return cast(_Function, wraps(function)(as_written))
