"""python -m sefl.evaluate, through its entry point: what it writes, what it leaves alone, two processes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from matplotlib.collections import LineCollection
from side_by_side import SideBySide

from sefl.evaluate import EvaluateCLI, main
from sefl.figures.evaluation import accuracies
from sefl.fit import main as fit
from sefl.runs.evaluation import Evaluation

RUN = Path("runs/tiny/0")
BEST = str(RUN / "checkpoints/best.ckpt")


@pytest.fixture
def trained(tiny: Path) -> Path:
    """A run of one epoch with a network of other width than its configuration file says."""
    fit(
        [
            "--config",
            str(tiny),
            "--trainer.max_epochs",
            "1",
            "--model.network.trunk.widths",
            "[3]",
            "--data.seed",
            "5",
        ]
    )
    return tiny


def evaluation(version: int = 0) -> dict[str, Any]:
    content = json.loads((RUN / "evaluation" / str(version) / "evaluation.json").read_text())
    assert isinstance(content, dict)
    return content


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_evaluate_with_the_stored_configuration(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(RUN)
    capsys.readouterr()
    main(["--ckpt_path", BEST, "--trainer.callbacks.figures", "true"])
    assert {path: content for path, content in contents(RUN).items() if path in before} == before

    result = evaluation()
    assert set(result["accuracy_by_resolution"]) == {"8", "11", "12"}
    tested = result["samples_by_resolution"]
    right = sum(n * result["accuracy_by_resolution"][resolution] for resolution, n in tested.items())
    assert right / sum(tested.values()) == pytest.approx(result["accuracy"])
    assert 0 <= result["accuracy"] <= 1
    stored = yaml.safe_load((RUN / "config.yaml").read_text())["data"]
    stored["init_args"]["split_file"] = str((RUN / "split.npz").absolute())
    assert result["data"] == stored
    assert 0 <= result["scale_consistency"] <= 1
    rows = result["equivariance"]
    assert {row["layer"] for row in rows} == {"network.blocks.0", "network.head"}
    assert {row["parameter"] for row in rows} == {8, 9, 10, 11}
    assert max(row["max"] for row in rows) < 1e-8
    output = capsys.readouterr().out
    for expected in (
        "Accuracy per resolution",
        "scale consistency",
        "Equivariance error",
        "network.blocks.0",
    ):
        assert expected in output
    written = {path.name for path in (RUN / "evaluation/0").rglob("*.png")}
    assert {"accuracy.png", "test-heatmap.png", "test-curves.png"} <= written

    first = contents(RUN)
    main(["--ckpt_path", "best", "--name", "tiny"])
    assert {path: content for path, content in contents(RUN).items() if path in first} == first
    assert evaluation(1) == result


def test_the_figure_shows_one_standard_error() -> None:
    metrics = {"test/accuracy": 0.85, "test/accuracy_8": 0.8, "test/accuracy_12": 0.9}
    measured = Evaluation(None, None, None, 0, metrics, [], samples_by_resolution={8: 100, 12: 400})
    (bars,) = accuracies(measured).axes[0].collections
    assert isinstance(bars, LineCollection)
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(ends, [[0.76, 0.84], [0.885, 0.915]])

    without = Evaluation(None, None, None, 0, metrics, [])
    assert not accuracies(without).axes[0].collections


def test_a_part_of_the_test_samples_is_not_counted(trained: Path) -> None:
    main(["--ckpt_path", BEST, "--trainer.limit_test_batches", "1"])
    assert evaluation()["samples_by_resolution"] == {}


def test_stored_split_is_used(trained: Path) -> None:
    cli = EvaluateCLI(["--ckpt_path", BEST])
    assert cli.config.data.init_args.split_file == str((RUN / "split.npz").absolute())
    cli = EvaluateCLI(["--ckpt_path", BEST, "--data.split_file", "other.npz"])
    assert cli.config.data.init_args.split_file == "other.npz"


def test_a_stored_split_that_is_gone_or_damaged_is_said(
    trained: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    split = RUN / "split.npz"
    kept = split.rename("kept.npz")
    for damage, message in [
        (
            None,
            "split.npz is gone, which says what the checkpoint was trained on. Put it back, or name another",
        ),
        (b"", "split.npz is damaged or is no split"),
        (kept.read_bytes()[:200], "split.npz is damaged or is no split"),
    ]:
        if damage is not None:
            split.write_bytes(damage)
        with pytest.raises(SystemExit):
            main(["--ckpt_path", BEST])
        assert message in capfd.readouterr().err
    main(["--ckpt_path", BEST, "--data.split_file", str(kept)])
    assert evaluation()


def test_default_monitor_and_given_configuration(trained: Path) -> None:
    settings = yaml.safe_load(trained.read_text())
    del settings["trainer"]["callbacks"]
    settings["model"]["init_args"]["network"]["init_args"]["trunk"]["widths"] = [3]
    settings["data"]["init_args"]["seed"] = 5
    trained.write_text(yaml.safe_dump(settings))
    flip = '[{"class_path": "sefl.equivariance.Flip", "init_args": {"center": "pixel"}}]'
    main(["--config", str(trained), "--ckpt_path", BEST, "--monitor.transformations", flip])
    assert {row["transformation"] for row in evaluation()["equivariance"]} == {"flip_horizontal_about_pixel"}
    main(["--config", str(trained), "--ckpt_path", BEST, "--monitor", "null"])
    assert evaluation(1)["equivariance"] == []


def test_two_processes_give_the_same_numbers(trained: Path, side_by_side: Callable[..., SideBySide]) -> None:
    main(["--ckpt_path", BEST])
    options = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    run = side_by_side("torchrun", main, ["--ckpt_path", BEST, *options])
    assert run.end() == [0, 0], run.said
    assert [path.name for path in sorted((RUN / "evaluation").iterdir())] == ["0", "1"]
    one, two = evaluation(0), evaluation(1)
    for measure in ("accuracy", "accuracy_by_resolution", "scale_consistency"):
        assert one[measure] == two[measure]
    assert one["metrics"] == pytest.approx(two["metrics"], rel=1e-6)
    for row, other in zip(one["equivariance"], two["equivariance"], strict=True):
        errors = {measure: pytest.approx(row[measure], rel=1e-12) for measure in ("mean", "max")}
        assert other == {**row, **errors}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "tiny.yaml"], "--ckpt_path: is needed"),
        (["--ckpt_path", "absent.ckpt"], "absent.ckpt"),
        (["--ckpt_path", "alone.ckpt"], "Name the configuration with --config"),
        (["--config", "tiny.yaml", "--ckpt_path", "alone.ckpt"], "alone.ckpt: is no file of torch.save"),
    ],
)
def test_a_mistake_is_one_message(
    tiny: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    Path("alone.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(SystemExit) as exit_status:
        main(arguments)
    error = capfd.readouterr().err
    assert exit_status.value.code == 2
    assert message in error
    assert "Traceback" not in error
    assert sorted(path.name for path in Path().iterdir()) == ["alone.ckpt", "tiny.yaml"]
