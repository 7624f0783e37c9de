"""Names that are looked up when they are asked for: only what needs escnn or Lightning imports it."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def each(table: Mapping[str, str]) -> dict[str, str]:
    """Of each name what several, separated by spaces, have in common.

    >>> each({"one two": "even", "three": "odd"})
    {'one': 'even', 'two': 'even', 'three': 'odd'}
    """
    return {name: value for names, value in table.items() for name in names.split()}


def finder(package: str, modules: Mapping[str, str], left_out: Mapping[str, str]) -> Callable[[str], Any]:
    """A ``__getattr__`` for a package, by the module that has each name.

    It raises ``ImportError`` of a name that is left out, saying why, and ``AttributeError`` of any other.
    """

    def find(name: str) -> Any:
        if name in modules:
            return getattr(import_module(f"{package}.{modules[name]}"), name)
        if name in left_out:
            raise ImportError(f"{package} has no {name}: {left_out[name]}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find
