"""Class paths of this project mean this project, also where folders called as its packages lie beside a script.

Python looks for ``models`` first in the folder that a command is started in, where a user may have one too.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

OURS = ("models", "datamodules", "callbacks")
"""Packages of this project that lie beside :mod:`sefl`."""

ROOT = Path(__file__).resolve().parents[2]
"""Where they lie."""


class ShadowedPackage(ValueError):
    """Another package of the name was imported before: class paths of this project cannot be resolved."""


class _OursFirst(MetaPathFinder):
    """Finds our packages before others of their names, whose modules are found behind ours."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, [str(ROOT)]) if name in OURS else None
        if spec is not None and spec.submodule_search_locations is not None:
            spec.submodule_search_locations.extend(map(str, others(name)))
        return spec


def find_ours_first() -> None:
    """From here on ``import models`` and its like give this project's; ``models.FILE`` may be a user's own.

    Raises:
        ShadowedPackage: if another one was imported before.
    """
    for name in OURS:
        loaded = sys.modules.get(name)
        places = (
            [] if loaded is None else [Path(place).resolve() for place in getattr(loaded, "__path__", [])]
        )
        if loaded is not None and ROOT / name not in places:
            raise ShadowedPackage(
                f"{name}: {getattr(loaded, '__file__', None) or places} was imported under this name, so that "
                f"{name}.* of sefl in {ROOT} cannot be; rename it, or run python -m sefl.fit and its like instead"
            )
    if not any(isinstance(finder, _OursFirst) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OursFirst())


def others(name: str) -> list[Path]:
    """The folders of the name on Python's path that are not this project's."""
    folders = [Path(entry or ".").resolve() / name for entry in sys.path]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir() and folder != ROOT / name]
