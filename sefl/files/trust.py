"""Whose code runs when a stored run is read: this project's and that of installed distributions.

The configuration in a run's folder names classes, and making its model or data runs what it names. Somebody else's
folder must not thereby choose what is run, also not from the working directory, which is where Python looks first.
"""

import inspect
import json
import re
import site
import sys
import sysconfig
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.machinery import ModuleSpec
from importlib.metadata import distributions
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from jsonargparse import Namespace

from sefl.files.own_packages import OURS, ROOT, find_ours_first

OPTION = "--trust"
HELP = "Run whatever classes the stored configuration names, also from the working directory."

HOLDS_FUNCTIONS = (*OURS, "sefl", "torch", "torchvision")
"""Packages whose functions may be given to a network, say as an activation."""


class UntrustedCode(ValueError):
    """A stored configuration names what reading it must not run."""


class _Refused(BaseException):
    """A module and where it is; passes through whatever catches exceptions of an import."""


@dataclass(frozen=True)
class Reading:
    """A stored configuration that is read.

    Args:
        file: the configuration.
        trust: whether all that it names may run.
        arguments: the command line: what the user names there may run.
    """

    file: Path
    trust: bool = False
    arguments: Sequence[str] = ()

    @contextmanager
    def imports(self) -> Iterator[None]:
        """Within, no module is executed that is neither this project's nor an installed distribution's.

        Raises:
            UntrustedCode: if one should be, however deep in what reads the configuration.
            ShadowedPackage: if another package of the name of one of ours was imported before.
        """
        find_ours_first()
        if self.trust:
            yield
            return
        guard = _Guard(self._named_by_user)
        sys.meta_path.insert(0, guard)
        try:
            yield
        except _Refused as refused:
            module, place = refused.args
            raise self._refusal(self._spelled(module), place) from None
        finally:
            sys.meta_path.remove(guard)

    def check(self, config: Any) -> None:
        """Refuse what making the objects of a parsed configuration must not call.

        Args:
            config: the configuration with its modules imported, under :meth:`imports`, and nothing made of it yet.

        Raises:
            UntrustedCode: if it would make something else than :func:`made`, or hand on another's function.
        """
        if self.trust:
            return
        for is_made, value in _named(config):
            name = value if isinstance(value, str) else f"{_module(value)}.{value.__qualname__}"
            if any(name in argument for argument in self.arguments):
                continue
            found = resolve_name(name) if isinstance(value, str) else value
            if not (_may_be_made(found) or (not is_made and _package(found) in HOLDS_FUNCTIONS)):
                raise self._refusal(name, "which is no network, data, callback or part of a training")

    def _named_by_user(self, module: str) -> bool:
        named = re.compile(rf"(?<![\w.]){re.escape(module)}\.")
        return any(named.search(argument) for argument in self.arguments)

    def _spelled(self, module: str) -> str:
        """The class for whose sake a module was to be imported, as the file has it."""
        found = re.search(rf"(?<![\w.]){re.escape(module)}(\.\w+)+", self.file.read_text(errors="replace"))
        return found[0] if found else module

    def _refusal(self, name: str, place: str) -> UntrustedCode:
        return UntrustedCode(
            f"{self.file}: names {name}, {place}: refused, as reading a run would execute it. "
            f"{OPTION} reads it nevertheless, if you trust whoever wrote the file."
        )


class _Guard:
    """A finder before all others: finds what they find, and refuses what lies outside."""

    def __init__(self, named_by_user: typing.Callable[[str], bool]) -> None:
        self._named_by_user = named_by_user

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        others = [finder for finder in sys.meta_path if finder is not self]
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is None or spec.origin is None or not spec.has_location:  # none, a namespace, built in
            return spec
        if not _is_known(name, Path(spec.origin)) and not self._named_by_user(name):
            raise _Refused(name, f"of {spec.origin}, which is neither this project's nor installed")
        return spec


def _is_known(module: str, origin: Path) -> bool:
    """Whether a module's file is this project's, Python's own or an installed distribution's."""
    origin, package = origin.resolve(), module.partition(".")[0]
    if package in (*OURS, "sefl") and origin.is_relative_to(ROOT / package):
        return True
    return any(map(origin.is_relative_to, (*_installed(), *_editable().get(package, ()))))


@cache
def _installed() -> list[Path]:
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths += [*site.getsitepackages(), site.getusersitepackages()]
    return [Path(path).resolve() for path in paths]


@cache
def _editable() -> Mapping[str, list[Path]]:
    """Where the sources of packages lie that were installed to be edited."""
    roots: dict[str, list[Path]] = {}
    for distribution in distributions():
        source = json.loads(distribution.read_text("direct_url.json") or "{}")
        if source.get("dir_info", {}).get("editable"):
            root = Path(url2pathname(urlparse(source["url"]).path)).resolve()
            for package in (distribution.read_text("top_level.txt") or "").split():
                names = (package, f"{package}.py")
                roots[package] = [folder / name for folder in (root, root / "src") for name in names]
    return roots


def _named(config: Any) -> Iterator[tuple[bool, Any]]:
    """What a parsed configuration names: class paths, which it makes, and functions and classes, which it hands on."""
    if isinstance(config, Namespace):
        config = vars(config)
    if isinstance(config, Mapping):
        if isinstance(config.get("class_path"), str):
            yield True, config["class_path"]
        for value in config.values():
            yield from _named(value)
    elif isinstance(config, list | tuple | set):
        for value in config:
            yield from _named(value)
    elif isinstance(config, partial):
        yield from _named(config.func)
    elif isinstance(config, type) or inspect.isroutine(config):
        yield False, config


@cache
def made() -> tuple[type, ...]:
    """What may be made, of whatever distribution: of these the options say what they take.

    Options that take any value or any function would make anything of what they are given, ``os.system`` too.
    """
    from pytorch_lightning import Callback, LightningDataModule
    from pytorch_lightning.accelerators import Accelerator
    from pytorch_lightning.loggers import Logger
    from pytorch_lightning.plugins import CheckpointIO, ClusterEnvironment, LayerSync, Precision
    from pytorch_lightning.profilers import Profiler
    from pytorch_lightning.strategies import Strategy
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    of_models = (nn.Module, Optimizer, LRScheduler, LightningDataModule, Callback, Logger, Profiler)
    return *of_models, Accelerator, Strategy, Precision, CheckpointIO, ClusterEnvironment, LayerSync


def _may_be_made(found: Any) -> bool:
    """Whether it is a class of ours or of :func:`made`, or a function that says it returns one of :func:`made`."""
    if isinstance(found, type):
        ours = _package(found) in OURS or _module(found).startswith("sefl.equivariance.")
        return ours or issubclass(found, made())
    try:
        returned = typing.get_type_hints(found).get("return")
    except (NameError, TypeError, AttributeError):
        return False
    return isinstance(returned, type) and issubclass(returned, made())


def _package(found: Any) -> str:
    return _module(found).partition(".")[0]


def _module(found: Any) -> str:
    """Where something is defined; of a function in C without a module where that is which it belongs to."""
    of_owner = getattr(getattr(found, "__self__", None), "__module__", None)
    return getattr(found, "__module__", None) or of_owner or ""
