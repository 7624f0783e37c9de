"""What needs no torch is said before torch is imported; what is no mistake is left to the command."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sefl.command_line.first_look import OF_COMMANDS, SECTIONS, exit_at_a_mistake
from sefl.command_line.options import ExperimentCLI
from sefl.evaluate import EvaluateCLI
from sefl.fit import FitCLI

ROOT = Path(__file__).parents[2]
WITHOUT_TORCH = """
import contextlib, io, json, runpy, sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        assert name.partition(".")[0] not in ("torch", "pytorch_lightning"), name
sys.meta_path.insert(0, NoTorch())
module, ended = sys.argv[1], []
for sys.argv[1:] in json.loads(sys.argv[2]):
    shown, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(said):
        try:
            runpy.run_module(module, run_name="__main__")
            status = None
        except SystemExit as end:
            status = end.code
    ended.append((status or 0, shown.getvalue(), said.getvalue()))
print(json.dumps(ended))
"""


def without_torch(module: str, commands: list[list[str]], folder: Path) -> list[tuple[int, str, str]]:
    """Exit status, output and errors of a module with each of these arguments, in one process."""
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, module, json.dumps(commands)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found: list[tuple[int, str, str]] = json.loads(ended.stdout)
    return found


@pytest.mark.parametrize("module", ["sefl.fit", "sefl.evaluate"])
def test_mistakes_before_torch(tiny: Path, module: str) -> None:
    tiny.with_name("twice.yaml").write_text("data: {}\ndata: {}\n")
    tiny.with_name("broken.yaml").write_text("data: [\n")
    tiny.with_name("latin.yaml").write_bytes("name: für\n".encode("latin-1"))
    tiny.with_name("unknown.yaml").write_text("trainers: {}\n")
    tiny.with_name("empty.yaml").write_text("")
    tiny.with_name("named.yaml").write_text("name: ../x\n")
    mistakes: list[tuple[list[str], str]] = [
        ([], "--model: needed, but not given; name a configuration with --config FILE"),
        (["--config", "absent.yaml"], "--config absent.yaml: there is no such file"),
        (["--config=absent.yaml"], "--config absent.yaml: there is no such file"),
        (["--config", "empty.yaml"], "--config empty.yaml: is empty"),
        (["--config", "twice.yaml"], "--config twice.yaml, line 2, column 1: the key data is there twice"),
        (["--config", "broken.yaml"], "--config broken.yaml, line 2, column 1: is no YAML"),
        (["--config", "latin.yaml"], "--config latin.yaml, line 1, column 8: is no UTF-8 text"),
        (
            ["--config", "unknown.yaml"],
            "unknown.yaml, line 1, column 1: trainers: there is no such option; did you",
        ),
        (
            ["--config", "tiny.yaml", "--trainers.max_epochs", "1"],
            "--trainers.max_epochs: there is no such option",
        ),
        (["--config", "tiny.yaml", "--nam", "x"], "--nam: there is no such option; did you mean --name?"),
        (["--config", "tiny.yaml", "--name", "../x"], "--name '../x': must be a path below"),
        (["--config", "tiny.yaml", "--config", "named.yaml"], "--name '../x': must be a path below"),
        (["--config", "tiny.yaml", "--run_dir", "tiny.yaml/x"], "--run_dir 'tiny.yaml/x': can't be made"),
        (["--config", "tiny.yaml", "--seed", "-1"], "--seed must be an integer from 0 to"),
    ]
    found = without_torch(module, [arguments for arguments, _ in mistakes], tiny.parent)
    for (_, expected), (status, _, said) in zip(mistakes, found, strict=True):
        assert status == 2, said
        assert said.startswith(f"python -m {module}: error: {expected}")
        assert said.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [
            "--config",
            "tiny.yaml",
            "--name",
            "a/b",
            "--seed",
            "1",
            "--model.network.trunk.widths",
            "[4]",
            "--trust",
        ],
        ["-c", "tiny.yaml", "--trainer.callbacks+=callbacks.OrbitEvaluation", "--data.val_size", "-1"],
        ["--ckpt_path", "last", "--name", "a"],
        ["--model", "models.ScaleClassifier", "--config", "{data: datamodules.Glyphs}"],
        ["--model.help", "ScaleClassifier"],
        ["--help"],
    ],
)
def test_what_is_right_goes_on(tiny: Path, arguments: list[str]) -> None:
    exit_at_a_mistake("fit", arguments)


@pytest.mark.parametrize(("command", "further"), [(FitCLI, ()), (EvaluateCLI, ("monitor",))])
def test_it_knows_every_option_of_the_commands(
    command: Callable[[list[str]], ExperimentCLI],
    further: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    roots: set[str] = set()

    def note(cli: ExperimentCLI, *_: object) -> None:
        options = [option for action in cli.parser._actions for option in action.option_strings]
        roots.update(option[2:].split(".")[0] for option in options if option.startswith("--"))
        raise InterruptedError

    monkeypatch.setattr(ExperimentCLI, "parse_arguments", note)
    with pytest.raises(InterruptedError):
        command([])
    assert roots == {*SECTIONS, *OF_COMMANDS, *further}


@pytest.mark.parametrize("module", ["sefl.report", "sefl.sweep", "sefl.demo"])
def test_help_and_mistakes_of_options_need_no_torch(tmp_path: Path, module: str) -> None:
    commands = [["--help"], ["runs", "--outt", "x"]]
    (status, shown, said), mistaken = without_torch(module, commands, tmp_path)
    assert status == 0, said
    assert f"usage: python -m {module}" in shown
    assert mistaken[0] == 2
    assert f"python -m {module}: error: " in mistaken[2]
    assert mistaken[2].count("\n") == 1
