"""python -m sefl.report: on made-up run folders, and on what sefl.fit and sefl.evaluate leave."""

import csv
import json
import re
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
import yaml

from sefl.evaluate import main as evaluate
from sefl.fit import main as fit
from sefl.report import document
from sefl.report.__main__ import main
from sefl.report.document import FIGURES
from sefl.report.published import PUBLISHED, number
from sefl.runs.commands import recorded_commands
from sefl.runs.resources import Resources

MNIST_SCALE = {
    "class_path": "datamodules.MNISTScale",
    "init_args": {
        "protocol": "pool",
        "train_size": None,
        "downsampling": "ideal",
        "resolutions": None,
        "held_out_resolutions": None,
        "split_file": None,
        "seed": 0,
    },
}
UPRIGHT = {
    "class_path": "datamodules.RotatedMNIST",
    "init_args": {"protocol": "upright", "train_size": None, "seed": 0},
}
NETWORK = {"class_path": "models.ScaleClassifier", "init_args": {"widths": [4]}}


def make_run(
    name: str,
    version: int,
    accuracy: float | None = 0.9,
    data: dict[str, Any] = MNIST_SCALE,
    error: float = 1e-13,
    orbit: bool = False,
    model: dict[str, Any] = NETWORK,
) -> Path:
    """A run folder in ``runs/`` whose numbers follow from its accuracy; not evaluated if that is ``None``."""
    path = Path("runs") / name / str(version)
    path.mkdir(parents=True)
    data = {**data, "init_args": {**data["init_args"], "seed": version}}
    config = {"seed_everything": version, "model": model, "data": data, "name": name, "runs": "runs"}
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    (path / "command.txt").write_text(f"python -m sefl.fit --config {name}.yaml --data.seed {version}\n")
    seconds = {0: 9.0, 1: 2.0, 2: 2.0 + version}
    resources = Resources("cpu (AVX2)", 1, 2, 1234, epoch_seconds=seconds, peak_memory_bytes=2**29)
    resources.save(path / "resources.json")
    if accuracy is not None:
        write_evaluation(path, 0, accuracy, error, orbit)
    return path


def write_evaluation(run: Path, version: int, accuracy: float, error: float, orbit: bool = False) -> None:
    metrics = {"test/accuracy": accuracy, "test/loss": 0.1}
    if orbit:
        metrics |= {"test/orbit_accuracy": accuracy - 0.2, "test/loc_accuracy": accuracy - 0.1}
        metrics |= {"test/orbit_error": 0.1, "test/orbit_accuracy_all": 0.3}
        metrics |= {
            f"test/orbit/{angle}": accuracy - 0.001 * min(angle, 360 - angle) for angle in range(0, 360, 30)
        }
        metrics |= {f"test/orbit/{angle}_mirrored": accuracy - 0.2 for angle in range(0, 360, 30)}
    else:
        metrics |= {f"test/accuracy_{r}": accuracy - 0.2 / r for r in range(8, 29)}
        metrics["test/scale_consistency"] = accuracy
    names = ("rotate", "flip_horizontal") if orbit else ("downsample",)
    rows = [
        {
            "layer": layer,
            "transformation": name,
            "parameter": at,
            "mean": error * at,
            "max": 1.0,
            "count": count,
        }
        for name in names
        for layer in ("blocks.0", "blocks.1", "head")
        for at, count in ((1, 30), (2, 10))
    ]
    content = {"checkpoint": "best.ckpt", "epoch": 2, "metrics": metrics, "equivariance": rows}
    folder = run / "evaluation" / str(version)
    folder.mkdir(parents=True)
    (folder / "evaluation.json").write_text(json.dumps(content))


def validate(run: Path) -> None:
    """Three validated epochs, the second the best; it was trained twice, as a kill made it."""
    lines = ["step,epoch,val/accuracy,val/loss,train/loss", "9,0,0.5,1.0,", "9,0,,,2.0"]
    lines += ["19,1,0.9,0.3,", "19,1,0.8,0.4,", "29,2,0.7,0.5,", "39,3,0.99"]
    (run / "metrics.csv").write_text("\n".join(lines))
    (run / "equivariance").mkdir()
    rows = ["epoch,step,layer,transformation,parameter,mean,max,count"]
    rows += [f"{epoch},9,head,downsample,8,0.{epoch + 1},1,4" for epoch in range(3)]
    (run / "equivariance/fit.csv").write_text("\n".join(rows) + "\n")


def written(version: int = 0) -> dict[tuple[str, str, str], dict[str, str]]:
    """The lines of results.csv by experiment, origin and measure."""
    with Path(f"reports/{version}/results.csv").open() as file:
        return {(row["experiment"], row["from"], row["measure"]): row for row in csv.DictReader(file)}


def markdown(version: int = 0) -> str:
    """What a report says, without its escapes."""
    return re.sub(r"\\([][\\`*#~|_])", r"\1", Path(f"reports/{version}/report.md").read_text())


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a test runs, and without figures, which take most of the time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(document, "FIGURES", {})


@pytest.fixture
def figures(empty_folder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "FIGURES", FIGURES)


def test_seeds_are_one_row_beside_the_published_ones(
    figures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    accuracies = [0.98, 0.99, 0.97]
    for seed, accuracy in enumerate(accuracies):
        make_run("mnist_scale/fourier", seed, accuracy)
    make_run("mnist_scale/cnn", 0, 0.95, error=0.5)
    main(["runs"])

    rows = written()
    ours = rows["mnist_scale/fourier", "test", "accuracy"]
    assert float(ours["mean"]) == pytest.approx(mean(accuracies))
    assert float(ours["spread"]) == pytest.approx(stdev(accuracies))
    assert ours["n"] == ours["runs"] == "3"
    assert rows["mnist_scale/cnn", "test", "accuracy"]["spread"] == ""
    assert float(rows["mnist_scale/cnn", "test", "accuracy_8"]["mean"]) == pytest.approx(0.95 - 0.2 / 8)
    # over parameters 1 and 2 with 30 and 10 samples
    error = rows["mnist_scale/cnn", "test", "equivariance/downsample"]
    assert float(error["mean"]) == pytest.approx(0.5 * 1.25)
    assert float(rows["mnist_scale/cnn", "test", "epoch_seconds"]["mean"]) == 2.0
    assert float(rows["paper's", "published", "accuracy"]["mean"]) == 0.9889

    text, shown = markdown(), capsys.readouterr().out
    assert "| mnist_scale/fourier | test | 3 | 0.9800 ± 0.0100 |" in text
    assert "| paper's | published | - | 0.9889 | 0.9716 | 0.00 |" in text
    assert "512 MiB" in text
    for expected in ("0.9800 ± 0.0100", "per-resolution CNN", "MNIST-scale, 10,000 training images"):
        assert expected in shown
    for seed in range(3):
        assert f"python -m sefl.fit --config mnist_scale/fourier.yaml --data.seed {seed}" in text
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert len(pictures) == 2
    assert all(Path("reports/0", name).stat().st_size > 10_000 for name in pictures)


def test_a_network_on_groups(figures: None, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(2):
        make_run("rotated_mnist/c8", seed, 0.97 + 0.01 * seed, UPRIGHT, orbit=True)
    main(["runs/rotated_mnist", "--output", "reports"])
    assert float(written()["rotated_mnist/c8", "test", "orbit_accuracy"]["mean"]) == pytest.approx(0.775)
    text = markdown()
    assert "## MNIST, 5,000 upright training images" in text
    assert "C24, no subsampling | published | - | 0.9767 | 0.8346 | - | 0.8234" in text
    names = {path.name for path in Path("reports/0").iterdir() if path.suffix == ".png"}
    beginning = "1-mnist-5000-upright-training-images-"
    assert names == {f"{beginning}accuracy-over-angle.png", f"{beginning}equivariance-error-per-layer.png"}


def test_nothing_is_overwritten_and_no_run_counts_twice() -> None:
    run = make_run("fourier", 0)
    main(["runs"])
    before = markdown()
    main(["runs", str(run), str(run.parent)])
    assert markdown(0) == before
    assert written(1)["fourier", "test", "accuracy"]["n"] == "1"


def test_the_newest_evaluation_counts() -> None:
    run = make_run("fourier", 0, 0.5)
    for version in (2, 10):
        write_evaluation(run, version, version / 20, 0.0)
    (run / "evaluation/11").mkdir()  # one that was killed
    main([str(run)])
    assert written()["fourier", "test", "accuracy"]["mean"] == "0.5"
    assert "runs/fourier/0/evaluation/10" in markdown()


def test_other_configurations_are_other_rows(capsys: pytest.CaptureFixture[str]) -> None:
    make_run("fourier", 0)
    make_run("fourier", 1, model={**NETWORK, "init_args": {"widths": [8]}})
    make_run("fourier", 2)
    main(["runs"])
    assert {name for name, origin, _ in written() if origin == "test"} == {"fourier (0, 2)", "fourier (1)"}
    assert "model.init_args.widths.0 4 and 8" in capsys.readouterr().out
    assert "runs/fourier/0 and runs/fourier/1 differ in more than their seed" in markdown()


def record_data(run: Path, **options: Any) -> None:
    """As an evaluation does that was given other options of the data than the run."""
    path = run / "evaluation/0/evaluation.json"
    data = yaml.safe_load((run / "config.yaml").read_text())["data"]
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "data": {**data, "init_args": {**data["init_args"], **options}}}))


def test_an_evaluation_on_other_data_stands_apart_and_says_so() -> None:
    for seed, accuracy in enumerate((0.9, 0.8, 0.5)):
        run = make_run("fourier", seed, accuracy)
        record_data(
            run, **({"resolutions": [8, 16]} if seed == 2 else {"split_file": "a.npz", "batch_size": 7})
        )
    main(["runs"])
    assert written()["fourier (0, 1)", "test", "accuracy"]["n"] == "2"
    assert written()["fourier (2)", "test", "accuracy"]["mean"] == "0.5"
    said = "runs/fourier/2 was evaluated on other data than it was trained on: resolutions [8, 16]"
    assert said in markdown()
    assert markdown().count("was evaluated on other data") == 1
    assert "## MNISTScale, resolutions [8, 16]" in markdown()


def test_the_stored_split_of_a_resumed_run_is_no_difference() -> None:
    for seed in range(2):
        run = make_run("fourier", seed)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["init_args"]["split_file"] = str(run.absolute() / "split.npz")
    (run / "config_1.yaml").write_text(yaml.safe_dump(config))
    main(["runs"])
    assert written()["fourier", "test", "accuracy"]["n"] == "2"


def test_runs_that_recorded_no_command() -> None:
    run = make_run("fourier", 0)
    (run / "command.txt").unlink()
    (run / "resources.json").unlink()
    (run / "config_1.yaml").write_text((run / "config.yaml").read_text())
    main(["runs"])
    for expected in (
        "python -m sefl.fit --config runs/fourier/0/config.yaml\n",
        "python -m sefl.fit --config runs/fourier/0/config_1.yaml --ckpt_path last --run_dir runs/fourier/0\n",
        "python -m sefl.evaluate --ckpt_path runs/fourier/0/checkpoints/best.ckpt\n",
    ):
        assert expected in markdown()


def test_infinite_and_undefined_errors(figures: None) -> None:
    for seed, error in enumerate((float("inf"), 0.1, float("nan"))):
        make_run("fourier", seed, error=error)
    make_run("exact", 0, error=0.0)
    main(["runs"])
    assert written()["fourier", "test", "equivariance/downsample"]["mean"] == "nan"
    assert "| 0 | 1,234 |" in markdown()


def test_validation_where_there_is_no_evaluation() -> None:
    make_run("fourier", 0, 0.9)
    validate(make_run("fourier", 1, None))
    main(["runs"])
    rows = written()
    assert rows["fourier", "test", "accuracy"]["n"] == "1"
    assert float(rows["fourier", "validation", "accuracy"]["mean"]) == 0.8
    assert float(rows["fourier", "validation", "equivariance/downsample"]["mean"]) == 0.2
    assert "| fourier | validation | 1 |" in markdown()


def test_runs_without_results_and_damaged_ones_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    make_run("good", 0)
    make_run("empty", 0, None)
    damaged = make_run("damaged", 0) / "evaluation/0/evaluation.json"
    damaged.write_text(damaged.read_text()[:100])
    (make_run("other", 0) / "config.yaml").write_text("{")
    (make_run("resources", 0) / "resources.json").write_text("{}")
    main(["runs"])
    notes = capsys.readouterr().out
    for expected in (
        "runs/empty/0 has been neither evaluated nor validated",
        "runs/damaged/0/evaluation/0/evaluation.json is damaged",
        "runs/other/0/config.yaml is damaged",
        "runs/resources/0/resources.json is damaged",
    ):
        assert expected in notes
        assert expected in markdown()
    assert {name for name, origin, _ in written() if origin == "test"} == {"good", "resources"}


def test_another_protocol_is_marked() -> None:
    options = {**MNIST_SCALE["init_args"], "train_size": 2000}  # type: ignore[dict-item]
    make_run("small", 0, data={**MNIST_SCALE, "init_args": options})
    make_run("fewer", 0, data={**MNIST_SCALE, "init_args": {**options, "train_size": 1000}})
    make_run("letters", 0, data={"class_path": "datamodules.Glyphs", "init_args": {}})
    main(["runs"])
    headings = re.findall(r"^## (.*)", markdown(), re.MULTILINE)
    assert headings == ["MNIST-scale, 1,000 training images", "MNISTScale, train_size 2000", "Glyphs"]
    assert "published under another protocol (MNIST-scale, 10,000 training images)" in markdown()
    assert "| CNN | published | - | 0.8577 |" in markdown()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["absent"], "no such folder"), (["."], "no run in it"), ([".", "--output", "file"], "it is a file")],
)
def test_a_mistake_is_one_message(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").touch()
    with pytest.raises(SystemExit) as exit_status:
        main(arguments)
    assert exit_status.value.code == 2
    assert message in capsys.readouterr().err
    assert not Path("reports").exists()


def test_published_numbers_are_numbers() -> None:
    for table in PUBLISHED:
        for row in table.rows.values():
            assert row
            for measure, printed in row.items():
                assert 0 <= number(printed) <= (1 if "accuracy" in measure else 2e6)


def test_a_real_run(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(["--config", str(tiny), "--trainer.max_epochs", "1"])
    fit(["--ckpt_path", "last", "--name", "tiny", "--trainer.max_epochs", "2"])
    run = Path("runs/tiny/0")
    resources = Resources.load(run / "resources.json")
    assert list(resources.epoch_seconds) == [0, 1]
    assert min(resources.epoch_seconds.values()) > 0
    assert resources.peak_memory_bytes > 2**26
    assert [line.split()[:4] for line in recorded_commands(run)] == [
        ["python", "-m", "sefl.fit", "--config"],
        ["python", "-m", "sefl.fit", "--ckpt_path"],
    ]
    main(["runs"])
    assert ("tiny", "validation", "accuracy") in written(0)
    evaluate(["--ckpt_path", "best", "--name", "tiny"])
    main(["runs"])
    rows = written(1)
    parameters = float(rows["tiny", "test", "parameters"]["mean"])
    assert parameters == resources.parameters
    assert float(rows["tiny", "test", "equivariance/downsample"]["mean"]) < 1e-8
    assert "python -m sefl.evaluate --ckpt_path best --name tiny" in markdown(1)


def test_epochs_that_end_early_have_no_time(tiny: Path) -> None:
    fit(["--config", str(tiny), "--trainer.max_steps", "3"])
    resources = Resources.load(Path("runs/tiny/0/resources.json"))
    assert resources.seconds_per_epoch is None
    assert resources.parameters > 0


def test_a_damaged_record_stops_before_training(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fit(["--config", str(tiny), "--trainer.max_epochs", "1"])
    Path("runs/tiny/0/resources.json").write_text("{")
    with pytest.raises(SystemExit) as exit_status:
        fit(["--ckpt_path", "last", "--name", "tiny", "--trainer.max_epochs", "2"])
    assert exit_status.value.code == 2
    assert "resources.json is damaged" in capfd.readouterr().err
