"""The authors' test and example files with their imports changed, from checkouts that ``SEFL_AUTHORS`` names.

``SEFL_AUTHORS`` is a folder that has both, ``Scale_Equivarinat_Fourier_Layer`` and ``Group_Sampling``.
"""

import os
import re
from pathlib import Path

FOURIER, GROUPS = "Scale_Equivarinat_Fourier_Layer", "Group_Sampling"
OWN_MODULES = {
    r"scale_eq\.thirdparty_complex\.\w+": "sefl.compat.fourier.complex_layers",
    r"scale_eq\.layers\.complex_modules": "sefl.compat.fourier.complex_modules",
    r"scale_eq\.(?!tests)[\w.]+": "sefl.compat.fourier",
    r"gsampling\.[\w.]+": "sefl.compat.groups",
    r"models\.\w+": "sefl.compat.groups",
    r"testing_models\.\w+": "sefl.compat.groups",
}


def checkouts() -> Path | None:
    """The folder that has both, if it is given."""
    folder = os.environ.get("SEFL_AUTHORS")
    return Path(folder) if folder else None


def with_imports_changed(source: str) -> str:
    """Of ``from theirs import name`` only the module is another."""
    for theirs, ours in OWN_MODULES.items():
        source = re.sub(
            rf"^(\s*from )(?:{theirs})( import )", rf"\g<1>{ours}\g<2>", source, flags=re.MULTILINE
        )
    return source


def copy_files(checkout: Path, folder: str, target: Path) -> None:
    """The Python files of a folder of theirs, which becomes a package, with their imports changed."""
    copied = target / folder
    copied.mkdir(parents=True)
    for parent in (copied, *list(copied.parents)[: len(Path(folder).parts) - 1]):
        (parent / "__init__.py").touch()
    for file in (checkout / folder).glob("*.py"):
        (copied / file.name).write_text(with_imports_changed(file.read_text()))
