"""A command line as it was typed, before any parser has read it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

WRAPPING = ("init_args", "class_path", "dict_kwargs")
"""What the options of a class are wrapped in, which a command line may leave out."""


@dataclass(frozen=True)
class Typed:
    """The options of a command line, as far as they are written ``--key value`` or ``--key=value``.

    >>> typed = Typed(["-c", "tiny.yaml", "--seed=3", "--name", "a", "--trainer.callbacks+=Mine"])
    >>> typed.options
    [('config', 'tiny.yaml'), ('seed', '3'), ('name', 'a'), ('trainer.callbacks+', 'Mine')]
    >>> typed.last("name"), typed.last("runs"), typed.keys[-1], typed.configs
    ('a', None, ('trainer', 'callbacks'), ['tiny.yaml'])
    """

    arguments: Sequence[str]

    @cached_property
    def options(self) -> list[tuple[str, str]]:
        """Names and values; of one without a value whatever follows it."""
        found = []
        for argument, following in zip(self.arguments, [*self.arguments[1:], ""], strict=False):
            if argument == "-c":
                found.append(("config", following))
            elif argument.startswith("--") and argument != "--":
                name, equals, value = argument[2:].partition("=")
                found.append((name, value if equals else following))
        return found

    def last(self, name: str) -> str | None:
        """The value that wins of those that an option was given."""
        return dict(self.options).get(name)

    @property
    def configs(self) -> list[str]:
        """What ``--config`` names, files or configurations themselves, in their order."""
        return [value for name, value in self.options if name == "config"]

    @property
    def keys(self) -> list[tuple[str, ...]]:
        """Of the options, less what classes are wrapped in."""
        names = (name.removesuffix("+") for name, _ in self.options)
        return [tuple(part for part in name.split(".") if part not in WRAPPING) for name in names]
