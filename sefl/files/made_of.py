"""What an object was made of: its constructor's arguments, kept as plain values that files can hold."""

import dataclasses
import inspect
import sys
from functools import partial
from pkgutil import resolve_name
from typing import Any, Self

import torch

PLAIN = (type(None), bool, int, float, str, torch.dtype)
KIND = "kind"
ITSELF, PARTIAL, INSTANCE, LOST = "itself", "partial", "instance", "lost"


class MadeOf:
    """Base of classes whose objects remember the arguments that they were made with, as plain values.

    Classes and functions among them are kept by their import path; ``functools.partial`` of them, instances of
    dataclasses, and objects that remember theirs, with their arguments. Nothing else can be kept, such as a lambda.
    """

    _arguments: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = object.__new__(cls)
        try:
            bound = inspect.signature(cls.__init__).bind(made, *args, **kwargs)
        except TypeError:  # of which the constructor says more; or the object is a copy, with nothing given
            return made
        bound.apply_defaults()
        object.__setattr__(made, "_arguments", encoded(_flattened(bound)))
        return made

    def arguments_to_store(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """What to make the object of anew, before its weights are loaded.

        Args:
            arguments: what it was made with, by name, as it is stored.
        """
        return arguments

    def made_of(self) -> dict[str, Any]:
        """Its class and :meth:`arguments_to_store`."""
        arguments = self.arguments_to_store(dict(self._arguments))
        return {"class_path": import_path(type(self)), "init_args": arguments}


def import_path(found: Any) -> str | None:
    """The shortest path by which a class or function is imported, ``None`` if it isn't.

    >>> from torch.nn import functional
    >>> import_path(torch.optim.AdamW), import_path(functional.relu), import_path(lambda x: x)
    ('torch.optim.AdamW', 'torch.nn.functional.relu', None)
    """
    parts = (getattr(found, "__module__", None) or "").split(".")
    modules = [".".join(parts[: end + 1]) for end in range(len(parts))]
    names = [str(getattr(found, name)) for name in ("__qualname__", "__name__") if hasattr(found, name)]
    for module in [*modules, "torch", "torch.nn.functional"]:
        for name in names:
            owner: Any = sys.modules.get(module)
            for part in name.split("."):
                owner = getattr(owner, part, None)
            if owner is found:
                return f"{module}.{name}"
    return None


def encoded(value: Any) -> Any:
    """A value as plain values, lists, tuples and dictionaries; what cannot be stored as a note of what it was."""
    if isinstance(value, PLAIN) and type(value) in PLAIN:
        return value
    if type(value) in (list, tuple):
        return type(value)(map(encoded, value))
    if type(value) is dict and all(isinstance(key, str | int) for key in value) and KIND not in value:
        return {key: encoded(each) for key, each in value.items()}
    if isinstance(value, partial):
        # jsonargparse puts functions of its own in front of the class
        parts = ((getattr(each, "__module__", None) or "", each) for each in (value.func, *value.args))
        function, *given = (each for module, each in parts if module.partition(".")[0] != "jsonargparse")
        if not given and (path := import_path(function)) is not None:
            return {KIND: PARTIAL, "class_path": path, "init_args": encoded(dict(value.keywords))}
    elif isinstance(value, MadeOf):
        if (made_of := value.made_of())["class_path"] is not None:
            return {KIND: INSTANCE, **made_of}
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        if (path := import_path(type(value))) is not None:
            fields = (field.name for field in dataclasses.fields(value) if field.init)
            arguments = {name: encoded(getattr(value, name)) for name in fields}
            return {KIND: INSTANCE, "class_path": path, "init_args": arguments}
    elif (isinstance(value, type) or inspect.isroutine(value)) and (path := import_path(value)) is not None:
        return {KIND: ITSELF, "class_path": path}
    return {KIND: LOST, "what": repr(value).partition("\n")[0]}


def has_lost(value: Any) -> bool:
    """Whether :func:`encoded` could not store it, or something in it.

    >>> has_lost(encoded([1, "a"])), has_lost(encoded([lambda x: x]))
    (False, True)
    """
    if isinstance(value, dict):
        return value.get(KIND) == LOST or any(map(has_lost, value.values()))
    return isinstance(value, list | tuple) and any(map(has_lost, value))


def plain(value: Any) -> Any:
    """What :func:`encoded` gave, as JSON holds it: dataclasses as their fields alone, objects as class and arguments.

    >>> plain(encoded((1, {"seconds": 2.0})))
    [1, {'seconds': 2.0}]
    """
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, dict) and value.get(KIND) == INSTANCE:
        found = resolve_name(value["class_path"])
        arguments = plain(value["init_args"])
        if dataclasses.is_dataclass(found):
            return arguments
        return {"class_path": value["class_path"], "init_args": arguments}
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value


def _flattened(bound: inspect.BoundArguments) -> dict[str, Any]:
    """The arguments by name, without ``self`` and with those of ``**others``."""
    arguments: dict[str, Any] = {}
    for parameter in list(bound.signature.parameters.values())[1:]:
        if parameter.name in bound.arguments:
            value = bound.arguments[parameter.name]
            arguments |= value if parameter.kind is parameter.VAR_KEYWORD else {parameter.name: value}
    return arguments
