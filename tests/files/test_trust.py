"""Whose code the commands run that read a stored run."""

import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_experiment import TINY

from models import ScaleClassifier
from sefl.evaluate import main as evaluate
from sefl.files.own_packages import ROOT
from sefl.files.trust import Reading, UntrustedCode, _is_known
from sefl.fit import main as fit
from sefl.runs.run import Run
from sefl.runs.stored_networks import NotLoadable, load_network, load_test_image

MARK = "open('executed', 'w').close()\n"
"""What a module of somebody else's does when it is imported."""
TOUCH = {"class_path": "os.system", "init_args": {"command": "touch executed"}}
NETWORK = "from models import *\nclass Net(ScaleClassifier): pass\nclass Data: pass\n"
RUN = Path("runs/theirs/0")


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where Python looks first, with code that nobody asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for package in ("theirs", "models"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(MARK + NETWORK)
        (tmp_path / package / "nets.py").write_text(NETWORK)
    for folder in (tmp_path, tmp_path / RUN):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sub.yaml").write_text("class_path: theirs.Net\n")
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "theirs"]:
        del sys.modules[name]


def store(*key: str | int, value: Any) -> Path:
    """A run folder whose configuration has this value at a place."""
    config: Any = deepcopy(TINY)
    config["model"]["init_args"].pop("lr_scheduler")
    *parents, last = key
    node = config
    for name in parents:
        node = node[name]
    node[last] = value
    (RUN / "checkpoints").mkdir(parents=True)
    (RUN / "checkpoints/best.ckpt").touch()
    (RUN / "config.yaml").write_text(yaml.safe_dump(config))
    return RUN / "config.yaml"


def executed() -> bool:
    """Whether there is a mark, wherever the working directory was just then."""
    return any(Path().rglob("executed"))


def by_evaluate(*further: str) -> None:
    evaluate(["--ckpt_path", str(RUN / "checkpoints/best.ckpt"), *further])


def by_fit(*further: str) -> None:
    fit(["--ckpt_path", str(RUN / "checkpoints/best.ckpt"), *further])


def by_report(*further: str) -> None:
    config = yaml.safe_load((RUN / "config.yaml").read_text())
    run = Run(RUN, trusted="--trust" in further)
    data = config["data"]["class_path"] != TINY["data"]["class_path"]
    (load_test_image if data else load_network)(run)


MODEL, DATA = ("model", "init_args"), ("data", "init_args")
NAMED = {
    "a model of the working directory": (("model", "class_path"), "theirs.Net", "theirs.Net"),
    "a module in a package": (("model", "class_path"), "theirs.nets.Net", "theirs.nets.Net"),
    "data": (("data", "class_path"), "theirs.Data", "theirs.Data"),
    "an optimiser": ((*MODEL, "optimizer"), "theirs.Net", "theirs.Net"),
    "another configuration": (("model",), "sub.yaml", "theirs"),
    "a function for an optimiser": ((*MODEL, "optimizer"), TOUCH, "os.system"),
    "a function that is called later": (
        (*MODEL, "lr_scheduler"),
        {"class_path": "torch.optim.lr_scheduler.LambdaLR", "init_args": {"lr_lambda": "os.system"}},
        "posix.system",
    ),
    "a class for a function": (
        (*MODEL, "lr_scheduler"),
        {"class_path": "torch.optim.lr_scheduler.LambdaLR", "init_args": {"lr_lambda": TOUCH}},
        "os.system",
    ),
}


ATTEMPTS = [
    # for a report a configuration whose model is another file is damaged
    *((by_report, what) for what in NAMED if what != "another configuration"),
    *product((by_evaluate, by_fit), ("another configuration", "a function for an optimiser")),
]


@pytest.mark.parametrize(("read", "what"), ATTEMPTS)
def test_reading_runs_nothing_of_others(
    read: Callable[..., None], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place, value, named = NAMED[what]
    file = store(*place, value=value)
    with pytest.raises((SystemExit, NotLoadable)) as stopped:
        read()
    assert not executed()
    said = capsys.readouterr().err + str(stopped.value)
    if named:
        (line,) = [line for line in said.splitlines() if "refused" in line]
        assert f"{file}: names {named}, " in line
        assert "--trust" in line


def test_a_folder_that_is_called_as_one_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    file = store("seed_everything", value=1)
    for name in [name for name in sys.modules if name.partition(".")[0] == "models"]:
        monkeypatch.delitem(sys.modules, name)
    with Reading(file).imports():
        found = __import__("models")
    assert Path(found.__file__) == ROOT / "models/__init__.py"
    assert not executed()


def test_what_is_trusted_or_named_by_the_user_runs(tmp_path: Path) -> None:
    file = store("model", "class_path", value="theirs.Net")
    for reading in (Reading(file, trust=True), Reading(file, arguments=["--model", "theirs.Other"])):
        with reading.imports():
            assert __import__("theirs").Net.__bases__ == (ScaleClassifier,)
            del sys.modules["theirs"]
        assert executed()
        Path("executed").unlink()
    with pytest.raises(UntrustedCode), Reading(file, arguments=["--model", "not_theirs.Net"]).imports():
        __import__("theirs")


@pytest.mark.parametrize("read", [by_evaluate, by_fit, by_report])
def test_the_option(read: Callable[..., None]) -> None:
    """Goes on to the checkpoint, which is empty."""
    store("model", "class_path", value="theirs.Net")
    with pytest.raises((SystemExit, NotLoadable)) as stopped:
        read("--trust")
    assert executed()
    assert "refused" not in str(stopped.value)


def test_a_file_that_says_trust_itself_is_not_trusted() -> None:
    store("model", "class_path", value="theirs.Net")
    config = yaml.safe_load((RUN / "config.yaml").read_text())
    (RUN / "config.yaml").write_text(yaml.safe_dump({**config, "trust": True}))
    with pytest.raises(SystemExit):
        by_evaluate()
    assert not executed()


def test_installed_means_installed(tmp_path: Path) -> None:
    assert _is_known("torch", Path(sys.modules["torch"].__file__))
    assert _is_known("json", Path(sys.modules["json"].__file__))
    assert _is_known("models", Path(sys.modules["models"].__file__))
    assert not _is_known("models", tmp_path / "models/__init__.py")
    assert not _is_known("tests", Path(__file__))
    assert not _is_known("theirs", Path(sys.modules["sefl"].__file__).parents[1] / "theirs.py")
