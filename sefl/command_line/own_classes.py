"""The classes of this project that options may name, by the option that takes them."""

import inspect
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

from sefl.command_line.typed import Typed
from sefl.files.own_packages import find_ours_first

PACKAGES = {
    "model": "models",
    "model.network": "sefl.networks",
    "data": "datamodules",
    "trainer.callbacks": "callbacks",
    "monitor": "callbacks",
}
"""Of the classes that an option takes; what is imported is known by its name alone too."""

_ROLE = re.compile(r":\w+:`~?([^`]+)`")
"""Of Sphinx, around a name."""


def import_own_packages() -> None:
    """Make the classes known by their names alone, as ``--model ScaleClassifier``; see :mod:`sefl.files.own_packages`.

    Raises:
        ShadowedPackage: if another package of the name of one was imported before.
    """
    find_ours_first()
    for package in set(PACKAGES.values()):
        # a project of another layout has some of these only
        with suppress(ModuleNotFoundError):
            import_module(package)


def asked_for(arguments: Sequence[str]) -> str | None:
    """The classes to choose from, one a line, if a command line asks for them: ``--model.help`` without one.

    >>> asked_for(["--model.help", "models.ScaleClassifier"])
    """
    for name, value in Typed(arguments).options:
        option = name.removesuffix(".help")
        if name == f"{option}.help" and option in PACKAGES and (not value or value.startswith("-")):
            classes = exported(option)
            width = max(map(len, classes), default=0)
            lines = [f"  {path:{width}}  {first_line}" for path, first_line in classes.items()]
            before, after = (
                f"--{name} CLASS shows the options of one:",
                "or any other, by its path: package.Class",
            )
            return "\n".join([before, *lines, after, ""])
    return None


def of_some_model(arguments: Sequence[str]) -> list[str]:
    """A command line that asks about a network names a model that takes it.

    >>> of_some_model(["--model.network.help", "FourierNetwork"])
    ['--model', 'models.Classifier', '--model.network.help', 'FourierNetwork']
    """
    names = {name for name, _ in Typed(arguments).options}
    if "model.network.help" not in names or names & {"model", "config"}:
        return list(arguments)
    return ["--model", "models.Classifier", *arguments]


def exported(option: str) -> dict[str, str]:
    """The class paths of this project that an option takes, and what each is for: its first line.

    >>> exported("name")
    {}
    """
    package = PACKAGES.get(option, "")
    classes = {name: found for name, found in public_classes(package).items() if _is_for(option, found)}
    first_lines = (
        (name, (inspect.getdoc(found) or "").partition("\n")[0]) for name, found in classes.items()
    )
    return {f"{package}.{name}": _ROLE.sub(r"\1", line) for name, line in first_lines}


def public_classes(module: str) -> dict[str, type]:
    """The classes in a module; none if it can't be imported."""
    try:
        content = import_module(module)
    except Exception:  # whatever code of others raises: there is then nothing to tell of it
        return {}
    names = getattr(content, "__all__", None) or [name for name in vars(content) if not name.startswith("_")]
    return {name: found for name in sorted(names) if inspect.isclass(found := getattr(content, name, None))}


def _is_for(option: str, found: type) -> bool:
    """Whether a class is a model, data or callback, not what one is made of."""
    lightning = sys.modules["pytorch_lightning"]
    base = {
        "model": lightning.LightningModule,
        "model.network": import_module("sefl.networks").Network,
        "data": lightning.LightningDataModule,
    }
    return issubclass(found, base.get(option, lightning.Callback)) and not inspect.isabstract(found)
