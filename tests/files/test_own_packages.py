"""Folders called as packages of this project do not shadow them."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from sefl.files.own_packages import OURS, ShadowedPackage, find_ours_first

Start = Callable[..., subprocess.Popen[str]]
DEADLINE = 120.0


@pytest.fixture
def shadows(tmp_path: Path) -> Path:
    """A folder of each name, whose import fails, and a class of a user's own that derives from one of ours."""
    for name in OURS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('imported in place of ours')\n")
    (tmp_path / "models/layers.py").write_text("WEIGHT = 1\n")
    mine = "from models import ScaleClassifier\nfrom models.layers import WEIGHT\n\n\n"
    mine += 'class Mine(ScaleClassifier):\n    """What is mine."""\n'
    (tmp_path / "models/mine.py").write_text(mine)
    return tmp_path


@pytest.mark.parametrize("path", ["models.ScaleClassifier", "models.mine.Mine"])
def test_ours_are_found_and_modules_of_the_users_behind_them(shadows: Path, start: Start, path: str) -> None:
    said, _ = start("sefl.fit", "--model.help", path).communicate(timeout=DEADLINE)
    assert "--model.consistency_weight" in said, said


def test_what_a_users_package_itself_holds_is_not_found_and_said(shadows: Path, start: Start) -> None:
    said, _ = start("sefl.fit", "--config", "quickstart", "--model", "models.Mine").communicate(
        timeout=DEADLINE
    )
    expected = (
        rf"models.Mine: there is no such class; models is sefl's, and of your {shadows}/models modules alone"
    )
    assert re.search(expected, said), said


def test_where_another_was_imported_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    find_ours_first()
    other = ModuleType("models")
    other.__file__ = "other/models/__init__.py"
    monkeypatch.setitem(sys.modules, "models", other)
    with pytest.raises(
        ShadowedPackage, match=r"models: other/models/__init__.py was imported under this name"
    ):
        find_ours_first()
