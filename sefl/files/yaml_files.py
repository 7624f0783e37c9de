"""Reading YAML: one loader for configurations, sweeps, stored runs and values on the command line.

It is PyYAML's safe one, and refuses what that takes without a word or for ever: a key that is there twice, aliases that
hold themselves or that multiply to millions of values, and files deeper or larger than any configuration is.
"""

import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonargparse
import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

MOST_BYTES = 4 * 2**20
MOST_VALUES = 200_000
"""Of all values, those behind aliases counted at every place: what a reader of the result walks over."""
MOST_LEVELS = 64

_EXPONENT_WITHOUT_DOT = re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$")
"""YAML 1.1 takes 1e-3 for a text, which nobody means."""
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_WITHOUT_VALUE_OF_THEIR_OWN = ("tag:yaml.org,2002:merge", "tag:yaml.org,2002:value")

_READ_BY_JSONARGPARSE = jsonargparse.get_loader("yaml")


class YamlMistake(ValueError):
    """What no configuration holds: the message has file, line and column."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads numbers and dates as jsonargparse's does."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT_WITHOUT_DOT, list("-+0123456789"))


def load_yaml(path: Path) -> Any:
    """What a file holds; ``None`` if nothing.

    Raises:
        ValueError: there is no such file, it can't be read, or it is not YAML as :func:`parse_yaml` takes it.
    """
    return parse_yaml(_text(path), str(path))


def load_configuration(path: Path) -> dict[str, Any]:
    """What a file with keys and values holds.

    Raises:
        ValueError: as :func:`load_yaml`, or if it is empty or holds something else.
    """
    content = load_yaml(path)
    if content is None:
        raise YamlMistake(f"{path}: is empty; keys with values belong into it")
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise YamlMistake(f"{path}, line 1, column 1: keys with values belong here, got a {kind}")
    return content


def parse_yaml(text: str, where: str = "YAML") -> Any:
    """The value of a text.

    Args:
        text: the YAML.
        where: the file or option that it is from, for messages.

    Raises:
        YamlMistake: it is no YAML, has a key twice, or is too large, too deep or without end.
    """
    try:
        node = _composed(text, where)
        return None if node is None else _constructed(node)
    except YamlMistake:
        raise
    except yaml.YAMLError as error:
        raise YamlMistake(_located(error, text, where)) from error
    except (ValueError, ArithmeticError, AttributeError, TypeError, LookupError) as error:
        # a constructor of PyYAML's met a value that its tag does not fit, as !!int x
        raise YamlMistake(f"{where}: holds a value that does not fit its tag ({error})") from error


@dataclass(frozen=True)
class Position:
    """Where in a file a key, or an entry of a list, stands.

    Args:
        path: the keys, and the numbers of entries of lists, that lead to it.
        value: its text, if it is not a collection.
        class_path: the class whose argument it is, if one is named beside it.
        place: line and column, in words.
    """

    path: tuple[str | int, ...]
    value: str | None
    class_path: str | None
    place: str

    @property
    def key(self) -> str:
        return ".".join(map(str, self.path))


def positions(path: Path) -> list[Position]:
    """Where everything in a file stands, in its order.

    Raises:
        YamlMistake: as :func:`load_yaml`.
    """
    text = _text(path)
    try:
        node = _composed(text, str(path))
    except yaml.YAMLError as error:
        raise YamlMistake(_located(error, text, str(path))) from error
    return list(_positions(node, (), None))


def _positions(node: Node | None, path: tuple[str | int, ...], class_path: str | None) -> Iterator[Position]:
    if isinstance(node, MappingNode):
        named = {key.value: value.value for key, value in node.value if isinstance(value, ScalarNode)}
        of_class = named.get("class_path", class_path if path[-1:] == ("init_args",) else None)
        entries = [((*path, *str(key.value).split(".")), key, value) for key, value in node.value]
    elif isinstance(node, SequenceNode):
        of_class = None
        entries = [((*path, number), value, value) for number, value in enumerate(node.value)]
    else:
        return
    for below, key, value in entries:
        text = value.value if isinstance(value, ScalarNode) else None
        yield Position(below, text, of_class, _place(key.start_mark))
        yield from _positions(value, below, of_class)


def _read_value(text: str, path: object = "") -> Any:
    """Stands in for jsonargparse's loader. What is no YAML stays an error of PyYAML's there: it takes it for text."""
    _composed(text, str(path) or "the value")
    return _READ_BY_JSONARGPARSE(text)


jsonargparse.set_loader("yaml", _read_value, (yaml.YAMLError,))


def _text(path: Path) -> str:
    """The text of a file."""
    try:
        if path.is_dir():
            raise YamlMistake(f"{path}: is a folder; a YAML file is needed")
        if path.stat().st_size > MOST_BYTES:
            raise YamlMistake(f"{path}: has {path.stat().st_size} bytes; a YAML file may have {MOST_BYTES}")
        content = path.read_bytes()
    except FileNotFoundError:
        raise YamlMistake(f"{path}: there is no such file") from None
    except OSError as error:
        raise YamlMistake(f"{path}: can't be read ({error.strerror})") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise YamlMistake(f"{path}, line {line}, column {column}: is no UTF-8 text") from error


def _composed(text: str, where: str) -> Node | None:
    """The nodes of a text, once they are known to be few, of few levels, and without a key twice."""
    if len(text) > MOST_BYTES:
        raise YamlMistake(f"{where}: has {len(text)} characters; YAML may have {MOST_BYTES}")
    _require_few_levels(text, where)
    node = yaml.compose(text, Loader=_Loader)
    if node is not None:
        _count(node, where, {}, set())
    return node


def _require_few_levels(text: str, where: str) -> None:
    """Read no more than the beginnings and ends of collections: composing them recurses."""
    levels = 0
    for event in yaml.parse(text, Loader=_Loader):
        levels += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if levels > MOST_LEVELS:
            place = _place(event.start_mark)
            raise YamlMistake(f"{where}, {place}: is nested deeper than {MOST_LEVELS} levels")


def _count(node: Node, where: str, counted: dict[int, int], open_nodes: set[int]) -> int:
    """The values below a node, one behind several aliases as often as it is reached."""
    if isinstance(node, ScalarNode):
        return 1
    if id(node) in open_nodes:
        raise YamlMistake(f"{where}, {_place(node.start_mark)}: holds an alias of itself")
    if id(node) not in counted:
        open_nodes.add(id(node))
        if isinstance(node, MappingNode):
            _refuse_repeated_keys(node, where)
            children = [child for pair in node.value for child in pair]
        else:
            children = node.value
        counted[id(node)] = 1 + sum(_count(child, where, counted, open_nodes) for child in children)
        open_nodes.remove(id(node))
        if counted[id(node)] > MOST_VALUES:
            place = _place(node.start_mark)
            raise YamlMistake(f"{where}, {place}: its aliases make more than {MOST_VALUES} values of it")
    return counted[id(node)]


def _refuse_repeated_keys(node: MappingNode, where: str) -> None:
    """Before ``<<`` is merged: its keys may be there again."""
    first: dict[Hashable, Node] = {}
    for key, _ in node.value:
        if not isinstance(key, ScalarNode):
            continue
        # 1 and 0x1 are one, 1 and '1' are two
        name = key.tag if key.tag in _WITHOUT_VALUE_OF_THEIR_OWN else _constructed(key)
        if name in first:
            raise YamlMistake(
                f"{where}, {_place(key.start_mark)}: the key {key.value} is there twice, "
                f"before in {_place(first[name].start_mark)}; the first would be dropped"
            )
        first[name] = key


def _constructed(node: Node) -> Any:
    loader: Any = _Loader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _located(error: yaml.YAMLError, text: str, where: str) -> str:
    """PyYAML's message in one line, behind the place."""
    if isinstance(error, yaml.reader.ReaderError):
        before = text.encode()[: error.position].decode(errors="ignore")
        place = f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"
        return f"{where}, {place}: is no YAML ({error.reason})"
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = f", {_place(mark)}" if mark else ""
    problem = getattr(error, "problem", None) or str(error)
    return f"{where}{place}: is no YAML ({' '.join(problem.split())})"
