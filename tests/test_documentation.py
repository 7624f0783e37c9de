"""What the pages of the documentation and the READMEs tell a reader to type is run, or parsed by its command."""

import re
import subprocess
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sefl.networks.saved import shipped

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", *ROOT.glob("configs/**/README.md"), *ROOT.glob("sefl/*/README.md")]
PAGES = [*sorted(ROOT.glob(".github/docs/**/*.md")), *sorted(set(READMES))]
HELD_ELSEWHERE = ROOT / "sefl/escnn/README.md"
"""Its blocks of Python run in ``tests/with_escnn/test_networks.py``."""

RECORD = r"""
python() { printf '%s\0' "$@"; printf '\1'; }
uv() { [[ $1 != run ]] || "${@:2}"; }
srun() { "$@"; }
torchrun() { python "${@:3}"; }
wandb() { test -f "${!#}"; }
pip() { [[ $1 == install ]]; }
pytest() { :; }
"""
"""What stands in for the programs that a page starts: those that start ours hand their arguments on."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def with_blocks(language: str) -> list[pytest.param]:
    pages = [page for page in PAGES if blocks(page, language)]
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's working directory: the configurations, and images to predict."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    noise = np.random.default_rng(0).integers(0, 256, (120, 100, 3), dtype=np.uint8)
    for name in ("photo.jpg", "digit.png"):
        Image.fromarray(noise).save(name)
    return tmp_path


@pytest.mark.parametrize("page", with_blocks("python"))
def test_python_runs(page: Path, folder: Path) -> None:
    """Block after block, as a reader would in one session."""
    if page == HELD_ELSEWHERE:
        pytest.skip("held by tests/with_escnn")
    left = {"__name__": "session"}
    for block in blocks(page, "python"):
        if "escnn" not in block or find_spec("escnn"):
            exec(compile(block, str(page), "exec"), left)


@pytest.mark.parametrize("page", with_blocks("bash"))
def test_commands_are_understood(page: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = RECORD + "\n".join(["set -eu", *blocks(page, "bash")])
    ran = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    typed = {
        re.sub(r"(?:(?<=seed\0)|(?<=everything\0))\d+", "0", command)
        for command in ran.stdout.split("\1")[:-1]
    }
    assert typed
    for command in sorted(typed):
        dash_m, module, *arguments = command.split("\0")[:-1]
        assert dash_m == "-m"
        check(module, arguments, capsys)


def check(module: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Have a command read its arguments; it predicts, too, where the network comes with the package.

    A run that is to be evaluated is not there: the configuration of its name stands in for the one stored with it.
    """
    if module in ("sefl.fit", "sefl.evaluate"):
        if "--name" in arguments and "--config" not in arguments:
            arguments = [*arguments, "--config", f"configs/{arguments[arguments.index('--name') + 1]}.yaml"]
        shows_help = any(each.endswith(".help") for each in arguments)
        status = run(module, arguments if shows_help else [*arguments, "--print_config"])
    elif module == "sefl.predict" and set(arguments) & set(shipped()):
        status = run(module, arguments)
    else:
        status = run(module, ["--help"])
        known = set(re.findall(r"--\w+", capsys.readouterr().out))
        assert {each for each in arguments if each.startswith("--")} <= known, arguments
        if module == "sefl.sweep":
            assert Path(arguments[0]).is_file()  # tests/sweep plans each
    said = capsys.readouterr()
    assert status == 0, f"python -m {module} {' '.join(arguments)}\n{said.err}"


def run(module: str, arguments: list[str]) -> object:
    """The exit status of a command in this process."""
    made = import_module(module if module in ("sefl.fit", "sefl.evaluate") else f"{module}.__main__")
    try:
        made.main(arguments)
    except SystemExit as end:
        return end.code or 0
    return 0


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("sefl.fit", ["--config", "configs/quickstart.yaml", "--trainer.max_epoch", "3"]),
        ("sefl.evaluate", ["--config", "configs/quickstrat.yaml"]),
        ("sefl.sweep", ["configs/sweeps/none.yaml"]),
        ("sefl.report", ["runs", "--outputs", "there"]),
    ],
)
def test_what_no_command_understands(
    module: str, arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The control: a wrong option, and files that are not there."""
    with pytest.raises(AssertionError):
        check(module, arguments, capsys)
