"""python -m sefl.demo --readme: the pictures that the README and the tables of results show, by one command."""

import copy
import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from tiny_experiment import TINY

from sefl.demo.__main__ import main
from sefl.evaluate import main as evaluate
from sefl.fit import main as fit

ROOT = Path(__file__).parents[2]
QUICK = ["--readme", "true", "--coarsest", "10", "--finest", "11"]
OF_RUNS = {"features.png", "group_errors.png", "reconstruction.png"}
GROUP = {
    "class_path": "models.Classifier",
    "init_args": {
        "network": {
            "class_path": "sefl.networks.GroupSampledNetwork",
            "init_args": {
                "group": "C4",
                "stages": {"widths": [2, 2], "kernel_sizes": 3, "group_rates": [2, 1]},
            },
        }
    },
}


def shown() -> set[str]:
    """The pictures that the pages of the repository show."""
    pages = [ROOT / "README.md", *ROOT.glob("*/*/README.md")]
    found = {
        name for page in pages for name in re.findall(r"\.github/([\w.]+\.(?:png|gif))", page.read_text())
    }
    return found if find_spec("escnn") else found - {"escnn.png"}


def experiment(name: str, **changes: Any) -> list[str]:
    settings = copy.deepcopy(TINY) | changes
    settings["trainer"]["max_epochs"] = 1
    Path("tiny.yaml").write_text(yaml.safe_dump(settings))
    return ["--config", "tiny.yaml", "--name", name]


@pytest.fixture
def in_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path(".github").mkdir()
    return tmp_path


def test_it_writes_all_that_need_no_run_over_those_that_are_there(in_repository: Path) -> None:
    Path(".github/filter.png").write_bytes(b"of before")
    main(QUICK)
    written = {path.name for path in Path(".github").iterdir()}
    assert written == shown() - OF_RUNS
    for name in written:
        with Image.open(Path(".github", name)) as picture:
            assert np.asarray(picture.convert("L")).std() > 10


def test_those_of_runs(in_repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(experiment("stl10_scale/fourier_small"))
    cnn = {
        "class_path": "sefl.networks.ConvNetwork",
        "init_args": {"max_resolution": 12, "trunk": {"widths": [4]}},
    }
    fit(
        experiment(
            "stl10_scale/cnn_small",
            model={"class_path": "models.ScaleClassifier", "init_args": {"network": cnn}},
        )
    )
    with pytest.raises(SystemExit):
        main([*QUICK, "--runs", "runs"])
    assert "rotated_mnist/c12_to_c6_naive: there is no evaluated run" in capsys.readouterr().err
    options = experiment("rotated_mnist/c12_to_c6", model=GROUP)
    settings = yaml.safe_load(Path("tiny.yaml").read_text())
    settings["trainer"]["callbacks"].append({"class_path": "callbacks.ReconstructionFigure"})
    Path("tiny.yaml").write_text(yaml.safe_dump(settings))
    fit(options)
    evaluate([*options, "--ckpt_path", "last"])
    for name in ("c12", "c12_to_c6_naive", "c12_to_c6_whole_wide"):
        shutil.copytree("runs/rotated_mnist/c12_to_c6", f"runs/rotated_mnist/{name}")
    main([*QUICK, "--runs", "runs"])
    assert {path.name for path in Path(".github").iterdir()} == shown()


def test_out_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments, message in (
        (["--readme", "true"], "--readme: there is no folder .github here"),
        (["--runs", "runs"], "--runs runs: is for --readme true"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert message in capsys.readouterr().err
