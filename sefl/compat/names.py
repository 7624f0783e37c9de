"""Names that are looked up when they are asked for: only what needs escnn or Lightning imports it."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def finder(
    package: str, modules: Mapping[str, Sequence[str]], left_out: Mapping[str, str]
) -> Callable[[str], Any]:
    """A ``__getattr__`` for a package.

    Args:
        package: its name.
        modules: which names each of its modules has.
        left_out: names that there are not, and what to take instead.

    Returns:
        A function from a name to what it is. It raises ``ImportError`` of a name that is left out, saying why, and
        ``AttributeError`` of any other.
    """
    places = {name: module for module, names in modules.items() for name in names}

    def find(name: str) -> Any:
        if name in places:
            return getattr(import_module(f"{package}.{places[name]}"), name)
        if name in left_out:
            raise ImportError(f"{package} has no {name}: {left_out[name]}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find
