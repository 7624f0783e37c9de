"""A network gets channels, classes and resolutions of the data, unless somebody said others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from scipy.io import wavfile

from sefl.fit import FitCLI
from sefl.sweep.plan import Trial
from sefl.sweep.trials import FitParser

QUIET = ["--wandb.mode", "disabled", "--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Grey images of three classes, of 20 pixels or more, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    for part in ("cat", "dog", "owl"):
        (tmp_path / "photos" / part).mkdir(parents=True)
        for number in range(6):
            Image.new("L", (20, 24 + number), 40 * number).save(tmp_path / "photos" / part / f"{number}.png")
    return tmp_path / "photos"


def network_of(*arguments: str) -> Any:
    made = FitCLI([*arguments, *QUIET])
    stored = yaml.safe_load(made.parser.dump(made.config))["model"]["init_args"]["network"]["init_args"]
    assert stored["classes"] == made.model.network.classes
    return made.model.network


IMAGES = ["--data", "datamodules.ImageFolderScale", "--data.root", "photos"]


@pytest.mark.parametrize("before", [[], ["--config", "quickstart"], ["--config", "own_data/images"]])
def test_own_data_in_one_command(photos: Path, before: list[str]) -> None:
    network = network_of(*before, *IMAGES)
    found = (network.in_channels, network.classes, network.base_resolution, network.max_resolution)
    assert found == (1, 3, 10, 20)


def test_what_is_said_is_kept_or_refused(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--model.network.classes", "5", "--model.network.base_resolution", "8"]
    network = network_of("--config", "quickstart", *IMAGES, *given)
    assert (network.classes, network.base_resolution, network.max_resolution) == (5, 8, 20)
    with pytest.raises(SystemExit):
        FitCLI(["--config", "quickstart", *IMAGES, "--model.network.in_channels", "3"])
    assert (
        "--model.network.in_channels: must be 1, the channels of the data, got 3" in capsys.readouterr().err
    )


def test_of_data_of_one_resolution_coarser_predictions_stay(photos: Path) -> None:
    network = network_of("--config", "quickstart", *IMAGES, "--data.resolutions", "[20]")
    assert (network.base_resolution, network.max_resolution) == (8, 20)


def test_colours_are_found_and_sizes_have_a_limit(photos: Path) -> None:
    for part in ("cat", "dog", "owl"):
        for number in range(9):
            Image.new("RGB", (200, 300)).save(photos / part / f"large_{number}.jpg")
    network = network_of(*IMAGES)
    assert (network.in_channels, network.max_resolution) == (3, 128)


def test_signals_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for part in ("high", "low"):
        (tmp_path / "sounds" / part).mkdir(parents=True)
        for number in range(6):
            wavfile.write(tmp_path / f"sounds/{part}/{number}.wav", 100, np.ones(100, np.float32))
    network = network_of("--data", "datamodules.WavFolder", "--data.root", "sounds", "--data.length", "64")
    assert (network.dimensions, network.classes, network.max_resolution) == (1, 2, 64)


def test_a_sweep_plans_what_a_run_stores(photos: Path) -> None:
    planned = FitParser().plan(Trial("quickstart", options=tuple(IMAGES))).config
    assert planned["model"]["init_args"]["network"]["init_args"]["classes"] == 3
