"""One line for a mistake in the options of a command: where it stands, what it is, and what was meant.

jsonargparse tells mistakes in many lines: the types of a union one by one, inside the class whose argument it is,
inside the union of the option that takes the class. Here the innermost of them is read back. A message of another form,
of a later version say, is left as it is, in one line.
"""

import json
import os
import re
from ast import literal_eval
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import reduce
from operator import or_
from pathlib import Path
from types import UnionType
from typing import Any, NoReturn, Union, get_args, get_origin

import jsonargparse
from jsonargparse import ArgumentParser

from sefl.command_line.first_look import USAGE_ERROR
from sefl.command_line.own_classes import exported, public_classes
from sefl.command_line.typed import WRAPPING, Typed
from sefl.files.own_packages import OURS, others
from sefl.files.yaml_files import Position, YamlMistake, positions

LONGEST_VALUE = 80
MOST_LISTED = 12

_KEY = re.compile(r'(?:Type .* expects a function or a callable class: )?Parser key "([^"]+)": ?(.*)')
_PROBLEM = re.compile(r"Problem with given class_path '([^']+)':")
_UNKNOWN = re.compile(r"(?:Group '(?P<group>[^']+)' does not accept option|Option) '(?P<option>[^']+)'")
_UNKNOWN_PART = re.compile(r"unrecognized arguments: --(?P<group>[\w.]+)\.(?P<option>\w+)\b.*")
_NO_CLASS = re.compile(
    r"has no attribute '|No module named|Expected a dot import path|does not correspond to|Unexpected import path"
    r"|Expected an instantiatable class|is not a subclass of"
)
_NO_SETTINGS = re.compile(r'Unable to load config "(.*)"')
_CLASS_PATH = re.compile(r"class_path='([^']+)'")
_EXPECTED = re.compile(r"Expected an? (.+?)(?:\. Got value: (.*))?$")
_PLAIN = re.compile(r"<class '(?:int|float|bool|str)'>|\blist\[(?:int|float|str)\]|Literal\[")
_NOT_SAID = ("Expected a <class 'NoneType'>", "Expected a path but", "Given value type:", "Errors:")
_IN_WORDS = {
    "NoneType": "null",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "list": "a list",
    "collections.abc.Sequence": "a list",
    "tuple": "a list",
    "dict": "keys with values",
}


class OneLineParser(ArgumentParser):
    """jsonargparse's parser; options are written in full, and a mistake is one line."""

    def __init__(self, *args: Any, allow_abbrev: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, allow_abbrev=allow_abbrev, **kwargs)

    def add_class_arguments(self, *args: Any, **kwargs: Any) -> Any:
        added = super().add_class_arguments(*args, **kwargs)
        for action in self._actions:
            if hasattr(action, "_typehint"):
                action._typehint = integers_first(action._typehint)
        return added

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, *further: Any, **options: Any
    ) -> Any:
        # the option of a class is handed on to an inner parser as Python writes it, whose None is no null
        if args and getattr(self, "_inner_parser", False):
            args = [as_json(argument) for argument in args]
        return super().parse_args(args, *further, **options)

    def _check_value_key(self, action: Any, value: Any, key: str, cfg: Any, append: bool = False) -> Any:
        # Asked of an empty configuration: whether another class than the one before takes this argument too. To that of
        # settings jsonargparse says yes whatever they are, and fails later, with those of the class before.
        unset = jsonargparse.Namespace()
        if cfg == unset and isinstance(value, jsonargparse.Namespace) and key in (self.groups or {}):
            self.validate(jsonargparse.Namespace({key: value}), skip_required=True)
        return super()._check_value_key(action, value, key, cfg, append)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        # jsonargparse asks parsers of its own, made of this class, about the arguments of a class
        if getattr(self, "_inner_parser", False):
            super().error(message, ex)
        line = one_line(message, self)
        if not self.exit_on_error:
            raise jsonargparse.ArgumentError(None, line) from ex
        from jsonargparse._common import debug_mode_active

        if debug_mode_active():
            super().error(line, ex)
        self.exit(USAGE_ERROR, f"{self.prog}: error: {line}\n")


def as_json(argument: str) -> str:
    """An option with ``None``, a list or a mapping as Python writes it, with that in JSON; others as they are.

    >>> as_json("--subgroups=['C4', None]"), as_json("--pools=None"), as_json("--paths=[a, b]")
    ('--subgroups=["C4", null]', '--pools=null', '--paths=[a, b]')
    """
    option, _, value = argument.partition("=")
    try:
        written = literal_eval(value)
        return f"{option}={json.dumps(written)}" if isinstance(written, list | dict | None) else argument
    except (ValueError, SyntaxError, TypeError):
        return argument


def integers_first(kind: Any) -> Any:
    """A union in which ``int`` is tried before ``float``, so that one batch does not become 1.0, all of them.

    ``typing`` gives ``Optional[Union[int, float]]`` as any module before wrote it, the other way round too.

    >>> integers_first(float | int | None)
    int | float | None
    """
    kinds = get_args(kind)
    union = get_origin(kind) in (Union, UnionType)
    if not union or int not in kinds or float not in kinds or kinds.index(int) < kinds.index(float):
        return kind
    swapped = {int: float, float: int}
    return reduce(or_, (swapped.get(each, each) for each in kinds))


@dataclass(frozen=True)
class Mistake:
    """What a line of jsonargparse says.

    Args:
        text: the line.
        keys: of which option, less the ``init_args`` of classes.
        owner: the class whose argument that is, or the class that is not one.
        unknown: the option that there is not.
        given: the value that does not fit.
        wanted: the types that would.
        of_class: whether the class is the mistake.
        depth: how many keys and classes it lies in.
        group: the last of the keys, of the settings of ``owner`` that it is among.
    """

    text: str
    keys: tuple[str, ...]
    owner: str | None = None
    unknown: str | None = None
    given: str | None = None
    wanted: str | None = None
    of_class: bool = False
    depth: int = 0
    group: tuple[str, ...] = ()

    @property
    def weight(self) -> tuple[int, bool, bool, bool]:
        """The innermost line says most, then one with all types if some are plain, then one about a class."""
        plain = bool(_PLAIN.search(self.wanted or ""))
        return self.depth, plain, self.of_class or self.unknown is not None, self.given is not None

    @property
    def path(self) -> tuple[str, ...]:
        """Of the option that is wrong."""
        return self.keys if self.unknown is None else (*self.keys, *self.unknown.split("."))


def one_line(message: str, parser: ArgumentParser) -> str:
    """A message of jsonargparse's in one line: where, what, and what was meant."""
    arguments = list(getattr(parser, "args", None) or [])
    if message.startswith("unrecognized arguments: "):
        return _unrecognized(message.removeprefix("unrecognized arguments: ").split(), parser)
    if message.startswith("the following arguments are required: "):
        return _required(message.removeprefix("the following arguments are required: ").split(", "), parser)
    if found := re.fullmatch(r"argument ([^:]+): (.*)", message, re.DOTALL):
        # of several ways to write an option the first, in full
        return f"{found[1].split('/')[0]}: {_joined(found[2])}"
    if found := re.match(r"--([\w.]+)\.help: ", message):  # of what was asked about only the place is missing
        message = f'Parser key "{found[1]}": {message.removeprefix(found[0])}'
    mistakes = list(_mistakes(message))
    if not mistakes:
        return _joined(message)
    mistake = _outermost(max(mistakes, key=lambda one: one.weight), parser)
    where = _where(mistake, arguments)
    # what is meant is written as what was given: as an option, or as a key beside it
    beside = f"--{'.'.join(mistake.path[:-1])}." if where == f"--{'.'.join(mistake.path)}: " else ""
    return where + _what(mistake, parser, beside)


def refuse_nulls(config: Any, parser: ArgumentParser) -> None:
    """Refuse null for an argument of a class that takes none: jsonargparse leaves it to the class, which says nothing.

    Raises:
        ValueError: naming the place.
    """
    for keys, class_path, arguments in _classes(config, ()):
        takers = {action.dest: action for action in _class_actions(class_path)}
        for name, value in arguments.items():
            hint = getattr(takers.get(name), "_typehint", None)
            # a type admits None, or is none that says
            says = isinstance(hint, type) or get_args(hint)
            takes_null = hint is Any or type(None) in get_args(hint) or not says
            if value is None and not takes_null and takers[name].default is not None:
                mistake = Mistake("", (*keys, name), class_path, given="null", wanted=str(hint))
                where = _where(mistake, list(getattr(parser, "args", None) or []))
                raise ValueError(f"{where}must be {_in_words(mistake.wanted or '')}, got null")


def _classes(config: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, dict[str, Any]]]:
    """The classes that a configuration names: where, which, and with what arguments."""
    if isinstance(config, list):
        for entry in config:
            yield from _classes(entry, keys)
    elif isinstance(config, jsonargparse.Namespace):
        content = vars(config)
        init_args = content.get("init_args")
        if isinstance(content.get("class_path"), str) and isinstance(init_args, jsonargparse.Namespace):
            yield keys, content["class_path"], vars(init_args)
        for key, value in content.items():
            yield from _classes(value, keys if key in WRAPPING else (*keys, key))


def _mistakes(message: str) -> Iterator[Mistake]:
    """What the lines say, each with the keys and classes that it is indented below."""
    above: list[tuple[int, str, str]] = []
    unions: dict[int, str] = {}
    for line in message.splitlines():
        text = line.strip().removeprefix("- ").strip()
        level = len(line) - len(line.lstrip())
        while above and above[-1][0] >= level and text:
            above.pop()
        if found := _KEY.match(text):
            above.append((level, "key", found[1]))
            text = found[2]
        if found := _PROBLEM.match(text):
            above.append((level, "class", found[1]))
            text = ""
        keys = tuple(part for _, kind, key in above if kind == "key" for part in key.split("."))
        owner = next((name for _, kind, name in reversed(above) if kind == "class"), None)
        place: dict[str, Any] = {"keys": keys, "owner": owner, "depth": len(above)}
        if not text or text.startswith(_NOT_SAID) or text.startswith("Does not validate against any"):
            continue
        if text.startswith("Subtypes: "):
            unions[level] = text.removeprefix("Subtypes: ")
        elif text.startswith("Given value: "):
            shown = text.removeprefix("Given value: ").partition(". Got value: Namespace(")[0]
            yield Mistake(text, given=shown, wanted=unions.get(level, ""), **place)
        elif found := _NO_SETTINGS.fullmatch(text):
            yield Mistake(text, given=found[1], wanted="<class 'dict'>", **place)
        elif ("not accept" in text and (found := _UNKNOWN.search(text))) or (
            found := _UNKNOWN_PART.fullmatch(text)
        ):
            inside = _CLASS_PATH.search(text)
            group = tuple(found["group"].split(".")) if found["group"] else ()
            place |= {"keys": keys + group, "owner": inside[1] if inside else owner, "group": group}
            yield Mistake(text, unknown=found["option"].removesuffix(".class_path"), **place)
        elif _NO_CLASS.search(text):
            given = text.rpartition("Got value: ")[2] if "Got value: " in text else None
            if text.startswith("Expected a dot import path string: "):
                given = text.rpartition(": ")[2]
            place["owner"] = given or owner
            yield Mistake(text.partition(". Got value: ")[0], **place, of_class=True)
        elif found := _EXPECTED.fullmatch(text):
            yield Mistake(text, given=found[2], wanted=found[1] if found[2] else None, **place)
        elif above:
            yield Mistake(text, **place)


def _outermost(mistake: Mistake, parser: ArgumentParser) -> Mistake:
    """Of an unknown option its first part that there is not: trainers of trainers.max_epochs."""
    if mistake.unknown is None or mistake.owner is not None:
        return mistake
    known = {".".join(name.split(".")[:size]) for name in _options(parser) for size in range(1, 4)}
    parts = mistake.path
    size = next((n for n in range(1, len(parts)) if ".".join(parts[:n]) not in known), len(parts))
    return replace(mistake, keys=parts[: size - 1], unknown=parts[size - 1])


def _where(mistake: Mistake, arguments: Sequence[str]) -> str:
    """The option of the command line, or the place in the file, that a mistake is in."""
    given = set(Typed(arguments).keys)
    name = ".".join(mistake.path)
    if mistake.path in given:
        return f"--{name}: "
    for file in reversed(_files(arguments)):
        try:
            found = _position(file, mistake)
        except YamlMistake:
            continue
        if found is not None:
            return f"{file}, {found.place}: {found.key}: "
    for prefix in (mistake.path[:size] for size in range(len(mistake.path), 0, -1)):
        if prefix in given:
            return f"--{'.'.join(prefix)}: {'' if prefix == mistake.path else name + ': '}"
    return f"--{name}: " if name else ""


def _what(mistake: Mistake, parser: ArgumentParser, beside: str) -> str:
    """What is wrong, and what was meant."""
    if (name := mistake.unknown) is not None:
        if mistake.owner is None:
            known = _options(parser, ".".join(mistake.path[:-1]))
            return f"there is no such option{_meant(name.rpartition('.')[2], known, beside)}"
        shown = mistake.owner
        if re.fullmatch(r"pytorch_lightning\.(.*\.)?Lightning(Data)?Module", shown):
            if _files(list(getattr(parser, "args", None) or [])):
                return "stands before what names its class; write it behind --config FILE"
            return f"needs a class: give --{mistake.keys[0]} CLASS or a --config that names one"
        has = class_options(shown, mistake.group)
        listed = ", ".join(has) if len(has) <= MOST_LISTED else f"{', '.join(has[:MOST_LISTED])}, ..."
        meant = _meant(name, has, beside) or (f"; it has {listed}" if has else "")
        return f"{shown} has no argument {name}{meant}"
    if mistake.of_class:
        if "does not correspond" in mistake.text or "instantiatable" in mistake.text:
            return _joined(mistake.text)
        missing = re.search(r"module '([^']+)' has no attribute '([^']+)'", mistake.text)
        name = mistake.owner or (".".join(missing.groups()) if missing else mistake.text.rpartition(": ")[2])
        meant = _own_folder(name) or _meant(name, _classes_like(name, mistake.keys))
        return f"{_shortened(name)}: there is no such class{meant}"
    if mistake.given is not None and mistake.wanted is not None:
        return f"must be {_in_words(mistake.wanted)}, got {_shortened(_given_value(mistake.given))}"
    return _joined(mistake.text)


def _unrecognized(words: Sequence[str], parser: ArgumentParser) -> str:
    option = next((word for word in words if word.startswith("-")), None)
    if option is None:
        return f"{_shortened(words[0])}: is no option and no value of one; options are written --key value"
    name = option.partition("=")[0].lstrip("-")
    return f"--{name}: there is no such option{_meant(name, _options(parser), '--')}"


def _required(names: Sequence[str], parser: ArgumentParser) -> str:
    """What to say of arguments that are missing: with dashes, unless they stand alone."""
    alone = {each.dest: str(each.metavar or each.dest) for each in parser._actions if not each.option_strings}
    written = (alone.get(name, f"--{name.split('/')[0].lstrip('-')}") for name in names)
    how = "; name a configuration with --config FILE" if "config" in _options(parser) else ""
    return f"{', '.join(written)}: needed, but not given{how}"


def _options(parser: ArgumentParser, below: str = "") -> list[str]:
    """The options of a parser, less the beginning that they share."""
    prefix = f"--{below}." if below else "--"
    names = (option for action in parser._actions for option in action.option_strings)
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


def class_options(class_path: str, group: Sequence[str] = ()) -> list[str]:
    """The arguments of a class, or of a group of its settings, those of its bases that it hands on included."""
    prefix = "".join(f"{part}." for part in group)
    names = [action.dest for action in _class_actions(class_path) if action.dest.startswith(prefix)]
    names = [name.removeprefix(prefix) for name in names if name.rpartition(".")[2] != "help"]
    return [name for name in names if not any(other.startswith(f"{name}.") for other in names)]


def _class_actions(class_path: str) -> list[Any]:
    module, _, name = class_path.rpartition(".")
    found = public_classes(module).get(name)
    if found is None:
        return []
    parser = ArgumentParser(exit_on_error=False)
    # what an optimiser or schedule works on, its first argument, is no option
    works_on = {"Optimizer", "LRScheduler"} & {base.__name__ for base in found.__mro__}
    parser.add_class_arguments(found, fail_untyped=False, skip={1} if works_on else None)
    return list(parser._actions)


def _classes_like(name: str, keys: Sequence[str]) -> list[str]:
    """The classes that one of a wrong name may have been meant for."""
    module, _, _ = name.rpartition(".")
    own = exported(".".join(keys))
    beside = [f"{module}.{one}" for one in public_classes(module)] if module else []
    short = [] if module else [path.rpartition(".")[2] for path in own]
    return [*beside, *short, *own]


def _own_folder(name: str) -> str:
    """What to say where a class may have been meant of a user's package that is called as one of ours."""
    package = name.partition(".")[0]
    folders = (
        [each for each in others(package) if (each / "__init__.py").is_file()] if package in OURS else []
    )
    if not folders:
        return ""
    return (
        f"; {package} is sefl's, and of your {folders[0]} modules alone are found, under names that it has not: "
        f"{package}.FILE.CLASS"
    )


def _meant(name: str, options: Sequence[str], before: str = "") -> str:
    begun = [option for option in options if len(name) > 2 and option.rpartition(".")[2].startswith(name)]
    close = get_close_matches(name, options, n=1) or begun
    return f"; did you mean {before}{close[0]}?" if close else ""


def _in_words(types: str) -> str:
    """Types as jsonargparse writes them, in the words of YAML.

    >>> _in_words("[list[int], <class 'NoneType'>]")
    'a list of integers or null'
    >>> _in_words("typing.Literal['a', 'b']")
    "one of 'a', 'b'"
    """
    union = re.fullmatch(r"(?:typing\.Union)?\[(.*)\]", types, re.DOTALL)
    inner = union[1] if union else types.replace(" | ", ", ")
    # tensors and classes are no values to type
    parts = [_type_in_words(part) for part in _split(inner) if part != "<class 'torch.Tensor'>"]
    return " or ".join(dict.fromkeys(parts))


def _type_in_words(name: str) -> str:
    plain = re.sub(r"<class '([^']+)'>", r"\1", name).removeprefix("typing.")
    if plain.startswith("Literal["):
        return f"one of {plain.removeprefix('Literal[').removesuffix(']')}"
    of_numbers = r"(?:list|tuple|(?:collections\.abc\.)?Sequence)\[(int|float|str)(?:, \.\.\.)?\]"
    if found := re.fullmatch(of_numbers, plain):
        return {"int": "a list of integers", "float": "a list of numbers", "str": "a list of texts"}[found[1]]
    if found := re.fullmatch(r"list\[([\w.]+)\]", plain):
        return f"a list of {found[1].rpartition('.')[2]}"
    return _IN_WORDS.get(plain, plain.rpartition(".")[2] if re.fullmatch(r"[\w.]+", plain) else plain)


def _split(types: str) -> list[str]:
    """At the commas outside of brackets."""
    parts, level = [""], 0
    for character in types:
        level += (character == "[") - (character == "]")
        if character == "," and level == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _given_value(text: str) -> str:
    """A value as it was typed, where jsonargparse shows what it made of it."""
    found = re.fullmatch(r"NestedArg\(key='[^']*', val='?(.*?)'?\)", text, re.DOTALL)
    return found[1] if found else text


def _shortened(text: str) -> str:
    text = _joined(text) or "nothing"
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _joined(text: str) -> str:
    return " ".join(text.split())


def _files(arguments: Sequence[str]) -> list[Path]:
    """The configuration files of a command line."""
    return [Path(name) for name in Typed(arguments).configs if os.path.isfile(name)]


def _position(file: Path, mistake: Mistake) -> Position | None:
    """Where in a file a mistake stands."""

    def keys(one: Position) -> tuple[str, ...]:
        return tuple(part for part in one.path if isinstance(part, str) and part not in WRAPPING)

    wanted = [one for one in positions(file) if keys(one) == mistake.path]
    if mistake.of_class:
        return next((one for one in wanted if one.value == mistake.owner), None)
    if mistake.owner is not None and mistake.unknown is not None:
        # a class is written in full, or by its name alone
        name = mistake.owner.rpartition(".")[2]
        wanted = [one for one in wanted if (one.class_path or "").rpartition(".")[2] == name] or wanted
    given = None if mistake.given is None else _given_value(mistake.given)
    same = [one for one in wanted if given is not None and one.value == given]
    return next(iter(same or wanted), None)
