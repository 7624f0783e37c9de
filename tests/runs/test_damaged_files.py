"""One damaged file of one run costs the report of the others nothing, and one line says what is lost."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from test_report import make_run, markdown, validate, written
from tiny_experiment import TINY

from sefl.report.__main__ import main
from sefl.sweep.plan import Trial
from sefl.sweep.trials import FitParser, find_run

Damage = Callable[[Path], object]


def replaced(content: bytes) -> Damage:
    return lambda path: path.write_bytes(content)


def by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: Mapping[str, Damage] = {
    "empty": replaced(b""),
    "truncated": lambda path: os.truncate(path, max(1, path.stat().st_size // 2)),
    "undecodable": lambda path: path.write_bytes(
        path.read_bytes()[:40] + b"\xff\xfe\n" + path.read_bytes()[40:]
    ),
    "binary zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "over-long field": lambda path: path.write_bytes(
        path.read_bytes() + b"1," + b"9" * 200_000 + b",1,1,1,1,1,1\n"
    ),
    "a folder": by_a_folder,
    "no permission": lambda path: path.chmod(0),
    "a list": replaced(b"[1, 2]"),
    "a number": replaced(b"5"),
    "deep": replaced(b"[" * 100_000),
    "another's": replaced(
        b'{"data": 5, "model": {"init_args": [1]}, "name": [1], "checkpoint": {}, "epoch": "x", "metrics": {"a": []}, '
        b'"equivariance": 3, "epoch_seconds": {"0": 1}, "peak_memory_bytes": "much", "parameters": [1]}'
    ),
    "not a number": replaced(b"step,epoch,val/accuracy\n9,nan,nan\n"),
}
FILES = (
    "config.yaml",
    "config_1.yaml",
    "command.txt",
    "metrics.csv",
    "equivariance/fit.csv",
    "resources.json",
    "evaluation/0/evaluation.json",
    "evaluation/0/command.txt",
    "split.npz",
    "checkpoints/best.ckpt",
    "checkpoints/last.ckpt",
)


def whole_run(name: str, evaluated: bool) -> Path:
    run = make_run(name, 0, 0.9 if evaluated else None)
    shutil.copy(run / "config.yaml", run / "config_1.yaml")
    validate(run)
    np.savez(run / "split.npz", train=np.arange(3))
    (run / "checkpoints").mkdir()
    for name in ("best", "last"):
        torch.save({"state_dict": {}}, run / f"checkpoints/{name}.ckpt")
    if evaluated:
        (run / "evaluation/0/command.txt").write_text("python -m sefl.evaluate\n")
    return run


@pytest.mark.parametrize("file", FILES)
def test_the_report_goes_on(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run("whole", 0)
    evaluated = file.startswith("evaluation") or file == "command.txt"
    damaged = {name: whole_run(name.replace(" ", "-"), evaluated) for name in DAMAGES}
    for name, run in damaged.items():
        DAMAGES[name](run / file)
    main(["runs"])
    shown = capsys.readouterr().out
    assert ("whole", "test", "accuracy") in written()
    reported = {experiment for experiment, _, _ in written()}
    text = markdown()
    for run in damaged.values():
        lines = [line for line in shown.splitlines() if line.startswith("note ") and f"{run}/" in line]
        # Nothing of it is lost, or one line says what is.
        assert len(lines) <= 1, lines
        assert run.parts[1] in reported or lines, run
        if lines:
            assert f"{run}/{file}" in lines[0]
    assert "\0" not in text + shown


def test_the_sweep_goes_on(tiny: Path) -> None:
    """A run whose configuration can't be read is none of the experiment; it is said, and the next is looked at."""
    parser = FitParser()
    planned = parser.plan(Trial(str(tiny)))
    loops = {"fit_loop": {"epoch_progress": {"current": {"processed": 2}}}}
    checkpoint = {"loops": loops, "callbacks": {}, "global_step": 24, "epoch": 1, "state_dict": {}}
    numbers = {name: number for number, name in enumerate(DAMAGES, 1)}
    for number in (0, *numbers.values()):
        run = Path("runs/tiny") / str(number)
        (run / "checkpoints").mkdir(parents=True)
        (run / "config.yaml").write_text(yaml.safe_dump(TINY))
        torch.save(checkpoint, run / "checkpoints/last.ckpt")
    for name, number in numbers.items():
        DAMAGES[name](Path("runs/tiny") / str(number) / "config.yaml")
    said: list[str] = []
    found = find_run(planned, Path("runs"), parser, said.append)
    assert found is not None
    assert found.finished
    if os.geteuid():
        assert found.folder.path == Path("runs/tiny/0")
    for name, number in numbers.items():
        # Half of a configuration may be one, and a folder is none.
        if name not in ("no permission", "a folder", "truncated"):
            (line,) = [line for line in said if f"runs/tiny/{number}/" in line]
            assert "left aside" in line
