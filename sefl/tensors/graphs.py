"""Two decorators of torch.compile, with the types that torch does not give them: what they decorate keeps its own."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch

_Function = TypeVar("_Function", bound=Callable[..., Any])

constant_in_graphs: Callable[[_Function], _Function] = torch.compiler.assume_constant_result
"""A compiled graph holds what the function returned, not how it is computed."""

outside_of_graphs: Callable[[_Function], _Function] = torch.compiler.disable
"""A compiled graph ends before the function, which runs as it is written, and another begins after it."""
