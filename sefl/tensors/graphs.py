"""Two decorators of torch.compile that do not import it, which takes longer than torch itself.

``torch.compiler.assume_constant_result`` and ``disable`` import ``torch._dynamo`` where they are written, the first to
set an attribute. ``tests/tensors/test_graphs.py`` holds that the compiler heeds these.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch

_Function = TypeVar("_Function", bound=Callable[..., Any])


def constant_in_graphs(function: _Function) -> _Function:
    """A compiled graph holds what the function returned, not how it is computed."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


outside_of_graphs: Callable[[_Function], _Function] = torch._disable_dynamo  # type: ignore[assignment]
"""A compiled graph ends before the function, which runs as it is written, and another begins after it."""
