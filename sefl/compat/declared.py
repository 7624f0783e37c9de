"""Modules whose arguments are declared as those of a dataclass, for the long argument lists of the authors."""

from dataclasses import dataclass, fields
from typing import Any, Self, cast, dataclass_transform

from torch import nn


@dataclass_transform(eq_default=False)
class Declared(nn.Module):
    """A module whose annotations are its arguments, kept as attributes; ``__post_init__`` makes the layers.

    ``class Layer(Declared, kw_only=True)`` for arguments that go by name. An argument may be a module.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made: Self = super().__new__(cls)
        super(Declared, made).__init__()  # before the arguments are set, which may be modules
        return made

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__()
        dataclass(eq=False, repr=False, **options)(cls)
        for field in fields(cast(Any, cls)):  # a default left on the class would hide a module of its name
            if field.name in vars(cls):
                delattr(cls, field.name)
