"""python -m sefl.report: the features of one image, of an equivariant and an ordinary network with checkpoints."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from flat_settings import classifier

from models import ScaleClassifier
from sefl.figures import features as feature_figure
from sefl.figures.features import NetworkMaps, features_of_networks
from sefl.networks import ConvNetwork, FourierNetwork, ScaleNetwork
from sefl.report import document
from sefl.report.__main__ import main

DATA = {
    "class_path": "datamodules.Glyphs",
    "init_args": {
        "image_size": 12,
        "resolutions": [8, 9, 10, 11, 12],
        "train_samples": 20,
        "val_samples": 10,
        "test_samples": 10,
        "split_file": None,
    },
}
SIZES: dict[str, Any] = {
    "trunk": {"widths": [3, 2], "kernel_size": 3},
    "max_resolution": 12,
    "head": {"hidden": 8},
}


def small(network: type[ScaleNetwork]) -> ScaleClassifier:
    return classifier(network, widths=[3, 2], kernel_size=3, max_resolution=12, head_hidden=8)


def make_run(
    name: str,
    network: type[ScaleNetwork],
    error: float,
    accuracy: float = 0.9,
    checkpoint: str | None = "best",
) -> Path:
    """A run folder that is evaluated, with random weights."""
    path = Path("runs") / name / "0"
    (path / "evaluation/0").mkdir(parents=True)
    of_network = {"class_path": f"sefl.networks.{network.__name__}", "init_args": SIZES}
    model = {"class_path": "models.ScaleClassifier", "init_args": {"network": of_network}}
    (path / "config.yaml").write_text(yaml.safe_dump({"model": model, "data": DATA, "name": name}))
    row = {
        "layer": "head",
        "transformation": "downsample",
        "parameter": 8,
        "mean": error,
        "max": 1,
        "count": 4,
    }
    metrics = {"test/accuracy": accuracy}
    content = {"checkpoint": "best.ckpt", "epoch": 2, "metrics": metrics, "equivariance": [row]}
    (path / "evaluation/0/evaluation.json").write_text(json.dumps(content))
    if checkpoint is not None:
        (path / "checkpoints").mkdir()
        torch.manual_seed(0)
        torch.save({"state_dict": small(network).state_dict()}, path / f"checkpoints/{checkpoint}.ckpt")
    return path


def report() -> str:
    """The text of the next report."""
    before = len(list(Path("reports").glob("*")))
    main(["runs"])
    return Path(f"reports/{before}/report.md").read_text()


@pytest.fixture(autouse=True)
def this_figure_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(document, "FIGURES", {"Features of one image": features_of_networks})


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[NetworkMaps]:
    """The networks that are drawn."""
    networks: list[NetworkMaps] = []
    draw = feature_figure.draw
    monkeypatch.setattr(
        feature_figure, "draw", lambda image, maps: (networks.extend(maps), draw(image, maps))[1]
    )
    return networks


def test_both_networks_are_drawn(drawn: list[NetworkMaps]) -> None:
    make_run("ours", FourierNetwork, 1e-13)
    make_run("cnn", ConvNetwork, 0.5, checkpoint="last")
    (name,) = re.findall(r"!\[Features of one image\]\(([^)]+)\)", report())
    assert Path("reports/0", name).stat().st_size > 10_000
    ours, ordinary = drawn
    assert [(each.label, each.layer) for each in drawn] == [
        ("ours", "network.blocks.0"),
        ("cnn", "network.blocks.0"),
    ]
    assert list(ours.maps) == list(ordinary.maps) == [8, 9, 10, 11, 12]
    assert all(at.error.max() < 1e-9 for at in ours.maps.values())
    assert all(ordinary.maps[resolution].error.min() > 1e-2 for resolution in (8, 9, 10, 11))


def test_the_most_accurate_network_that_loads(drawn: list[NetworkMaps]) -> None:
    make_run("ours", FourierNetwork, 1e-13)
    make_run("worse", ConvNetwork, 0.5, accuracy=0.5)
    make_run("good", ConvNetwork, 0.5, accuracy=0.7)
    make_run("lost", ConvNetwork, 0.5, accuracy=0.9, checkpoint=None)
    report()
    assert [network.label for network in drawn] == ["ours", "good"]


@pytest.mark.parametrize(("error", "other"), [(1e-13, 1e-12), (0.1, 0.5)])
def test_it_takes_both_kinds(error: float, other: float) -> None:
    make_run("one", FourierNetwork, error)
    make_run("two", ConvNetwork, other)
    assert "Features of one image" not in report()


def test_one_line_says_why_it_is_not_drawn() -> None:
    make_run("ours", FourierNetwork, 1e-13)
    cnn = make_run("cnn", ConvNetwork, 0.5, checkpoint=None)
    assert "Features of one image: not drawn, runs/cnn/0 has no checkpoint.\n" in report()

    checkpoint = cnn / "checkpoints/best.ckpt"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"cut off")
    assert f"not drawn, {checkpoint} does not load: " in report()
    torch.save({"state_dict": classifier(ConvNetwork, widths=[2]).state_dict()}, checkpoint)
    text = report()
    assert f"not drawn, {checkpoint} does not load: Error(s) in loading" in text
    assert max(len(line) for line in text.splitlines() if "not drawn" in line) < 500

    config = yaml.safe_load((cnn / "config.yaml").read_text())
    config["model"]["init_args"]["forgotten_option"] = 1
    (cnn / "config.yaml").write_text(yaml.safe_dump(config))
    text = report()
    assert "not drawn, the model of runs/cnn/0 cannot be made: " in text
    assert "Option 'forgotten_option' is not accepted" in text


def test_data_that_are_gone() -> None:
    ours = make_run("ours", FourierNetwork, 1e-13)
    make_run("cnn", ConvNetwork, 0.5)
    (ours / "split.npz").write_bytes(b"cut off")
    assert f"not drawn, the data of runs/ours/0 do not load: split_file {ours}/split.npz" in report()
