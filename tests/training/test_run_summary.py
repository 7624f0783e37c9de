"""What python -m sefl.fit says at its end, through its entry point."""

import csv
import re
import shlex
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from sefl.evaluate import main as evaluate
from sefl.fit import main
from sefl.report.__main__ import main as report
from sefl.runs.metrics_file import iterate_rows

Start = Callable[..., subprocess.Popen[str]]

ROOT = Path(__file__).parents[2]
RUN = Path("runs/tiny/0")
PROGRAMS = {"python -m sefl.evaluate": evaluate, "python -m sefl.report": report}


def of_measure(output: str, name: str) -> tuple[float, str]:
    """A row of the table: its number, and what that is of."""
    found = re.search(rf"│ {name} +│ (\S+) +│ (.*?) +│", output)
    assert found is not None, output
    return float(found[1]), found[2]


def of_line(output: str, name: str) -> str:
    found = re.search(rf"^{name}: (.*)$", output, re.MULTILINE)
    assert found is not None, output
    return found[1]


def run_as_printed(command: str) -> None:
    program = next(program for program in PROGRAMS if command.startswith(program))
    PROGRAMS[program](shlex.split(command.removeprefix(program)))


def worst_layer(table: Path, epoch: int) -> tuple[float, str]:
    with table.open() as file:
        rows = [row for row in csv.DictReader(file) if int(row["epoch"]) == epoch]
    means = {}
    for layer in {row["layer"] for row in rows}:
        here = [row for row in rows if row["layer"] == layer]
        counts = [int(row["count"]) for row in here]
        means[layer] = sum(float(row["mean"]) * int(row["count"]) for row in here) / sum(counts)
    worst = max(means, key=means.__getitem__)
    return means[worst], f"{worst}, the worst of {len(means)}"


def test_quickstart_ends_with_what_was_measured_and_the_next_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = [
        "--trainer.max_epochs",
        "2",
        "--trainer.limit_train_batches",
        "3",
        "--trainer.limit_val_batches",
        "2",
        "--trainer.callbacks.samples_per_step",
        "2",
    ]
    process = start("sefl.fit", "--config", str(ROOT / "configs/quickstart.yaml"), *sizes)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    for noise in ("Tip", "FLOPs", "Metric", "Consistency", "deprecated", "already configured", "Loading"):
        assert noise not in output
    run = Path("runs/quickstart/0")
    accuracies = {
        int(float(row["epoch"])): float(row["val/accuracy"])
        for row in iterate_rows(run / "metrics.csv")
        if row["val/accuracy"]
    }
    best = max(accuracies, key=accuracies.__getitem__)
    assert of_measure(output, "validation accuracy, best") == (round(accuracies[best], 4), f"epoch {best}")
    assert of_measure(output, "validation accuracy, last") == (round(accuracies[1], 4), "epoch 1")
    error, layer = worst_layer(run / "equivariance/fit.csv", epoch=1)
    assert of_measure(output, "equivariance error, downsample") == (float(f"{error:.1e}"), layer)
    assert of_line(output, "Best checkpoint") == str(run / "checkpoints/best.ckpt")
    assert of_line(output, "Figures") == str(run / "equivariance")

    with warnings.catch_warnings(record=True) as caught:
        run_as_printed(of_line(output, "Evaluate it") + " --trainer.limit_test_batches 1")
    assert [str(each.message) for each in caught] == []
    assert (run / "evaluation/0/evaluation.json").is_file()
    run_as_printed(of_line(output, "Report"))
    assert str(run) in Path("reports/0/report.md").read_text()


def test_a_run_that_stops_early_or_goes_on_says_the_same(
    tiny: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = yaml.safe_load(tiny.read_text())
    stopping = {"monitor": "val/accuracy", "mode": "max", "stopping_threshold": 0.0}
    settings["trainer"]["callbacks"].append(
        {"class_path": "pytorch_lightning.callbacks.EarlyStopping", "init_args": stopping}
    )
    tiny.write_text(yaml.safe_dump(settings))
    main(["--config", str(tiny)])
    output = capfd.readouterr().out
    first = of_measure(output, "validation accuracy, best")
    assert first[1] == "epoch 0"
    assert of_measure(output, "validation accuracy, last") == first

    # of the whole run: the best epoch may lie before the resumption, as it does here, where nothing is learnt any more
    arguments = ["--ckpt_path", str(RUN / "checkpoints/last.ckpt"), "--trainer.max_epochs", "2"]
    main([*arguments, "--model.optimizer.init_args.lr", "0"])
    output = capfd.readouterr().out
    rows = [float(row["val/accuracy"]) for row in iterate_rows(RUN / "metrics.csv") if row["val/accuracy"]]
    assert len(rows) == 2
    assert of_measure(output, "validation accuracy, best")[0] == round(max(rows), 4)
    assert of_measure(output, "validation accuracy, last") == (round(rows[-1], 4), "epoch 1")
    assert torch.load(RUN / "checkpoints/last.ckpt")["epoch"] == 1


def test_max_time(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    main(["--config", str(tiny), "--trainer.max_epochs", "100000", "--trainer.max_time", "00:00:00:05"])
    output = capfd.readouterr().out
    last, epoch = of_measure(output, "validation accuracy, last")
    rows = [row for row in iterate_rows(RUN / "metrics.csv") if row["val/accuracy"]]
    assert last == round(float(rows[-1]["val/accuracy"]), 4)
    assert epoch == f"epoch {float(rows[-1]['epoch']):.0f}"


def test_one_cycle_needs_an_end(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--config", str(tiny), "--trainer.max_epochs", "-1", "--trainer.max_time", "00:00:00:05"])
    assert "--trainer.max_epochs: OneCycle needs an end" in capfd.readouterr().err


def test_what_was_not_measured_is_left_out(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    without = [
        "--trainer.logger",
        "false",
        "--trainer.enable_checkpointing",
        "false",
        "--trainer.callbacks",
        "null",
    ]
    main(["--config", str(tiny), "--trainer.max_epochs", "1", *without, "--trainer.limit_val_batches", "0"])
    output = capfd.readouterr().out
    for absent in (
        "validation accuracy",
        "equivariance error",
        "checkpoint:",
        "Figures",
        "Evaluate",
        "Report",
    ):
        assert absent not in output
    main(["--config", str(tiny), "--trainer.max_epochs", "1", "--trainer.limit_val_batches", "0"])
    output = capfd.readouterr().out
    last = "runs/tiny/1/checkpoints/last.ckpt"
    assert of_line(output, "Last checkpoint") == last
    assert of_line(output, "Evaluate it") == f"python -m sefl.evaluate --ckpt_path {last}"
    assert "Report" not in output
    assert "validation accuracy" not in output


def test_a_checkpoint_elsewhere_is_evaluated_with_the_configuration(
    tiny: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = yaml.safe_load(tiny.read_text())
    elsewhere = {"dirpath": "else where", "filename": "mine", "monitor": "val/loss"}
    settings["trainer"]["callbacks"].append(
        {"class_path": "pytorch_lightning.callbacks.ModelCheckpoint", "init_args": elsewhere}
    )
    tiny.write_text(yaml.safe_dump(settings))
    main(["--config", str(tiny), "--trainer.max_epochs", "1"])
    command = of_line(capfd.readouterr().out, "Evaluate it")
    assert command == f"python -m sefl.evaluate --config {RUN}/config.yaml --ckpt_path 'else where/mine.ckpt'"
    run_as_printed(command)
