"""Every file in configs/ through python -m sefl.fit, for a few batches."""

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from scipy.io import wavfile
from side_by_side import SideBySide

from sefl.fit import main

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
QUICKSTART = CONFIGS / "quickstart.yaml"
FEW_BATCHES = [
    *("--trainer.max_epochs", "1"),
    *("--trainer.limit_train_batches", "2"),
    *("--trainer.limit_val_batches", "2"),
    *("--trainer.num_sanity_val_steps", "0"),
    *("--trainer.check_val_every_n_epoch", "1"),
    *("--trainer.log_every_n_steps", "1"),
    *("--trainer.enable_progress_bar", "false"),
    *("--wandb.mode", "disabled"),
    # there are networks and images that take a CPU seconds per sample
    *("--data.batch_size", "2", "--data.eval_batch_size", "2"),
]

FRAGMENTS = sorted(path for path in (CONFIGS / "trainer").glob("*.yaml") if path.stem not in ("ddp", "slurm"))
DATA_FRAGMENTS = sorted(CONFIGS.glob("*/data/*.yaml"))
NOT_EXPERIMENTS = ("trainer", "data", "sweeps")
EXPERIMENTS = sorted(path for path in CONFIGS.rglob("*.yaml") if path.parent.name not in NOT_EXPERIMENTS)


def name(path: Path) -> str:
    return str(path.relative_to(CONFIGS))


def photos(folder: Path) -> Path:
    """Noise in colours, of two classes."""
    for number in range(40):
        (folder / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (24, 30, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "ab"[number % 2] / f"{number}.png")
    return folder


def sounds(folder: Path) -> Path:
    """Noise of two classes."""
    for number in range(40):
        (folder / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).uniform(-1, 1, 2000).astype(np.float32)
        wavfile.write(folder / "ab"[number % 2] / f"{number}.wav", 2000, noise)
    return folder


def check_run(folder: Path) -> None:
    assert (folder / "checkpoints/last.ckpt").is_file()
    assert (folder / "metrics.csv").is_file()


def skip_without_data(data: str) -> None:
    for dataset, folder in {"MNIST": "MNIST", "STL10": "stl10_binary"}.items():
        if dataset in data and not (ROOT / "data" / folder).exists():
            pytest.skip(f"data/{folder} is not there")


@pytest.mark.parametrize("config", EXPERIMENTS, ids=name)
def test_experiment(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = yaml.safe_load(config.read_text())["data"]["class_path"]
    skip_without_data(data)
    # the configurations name data/ from the root of the checkout
    monkeypatch.chdir(ROOT)
    own = []
    if config.parent.name == "own_data":
        of_sounds = data == "datamodules.WavFolder"
        own = ["--data.root", str((sounds if of_sounds else photos)(tmp_path / "own"))]
        # equivariance is measured at every length from a quarter of this on
        own += ["--data.length", "128"] if of_sounds else []
    if config.parent.name == "imagenet":
        for part in ("train", "val"):
            photos(tmp_path / "own" / part)
        own = ["--data.root", str(tmp_path / "own"), "--data.image_size", "64", "--data.resize", "72"]
        own += ["--data.num_workers", "0"]
    main(["--config", str(config), "--run_dir", str(tmp_path / "run"), *FEW_BATCHES, *own])
    check_run(tmp_path / "run")


@pytest.mark.parametrize("fragment", DATA_FRAGMENTS, ids=name)
def test_data_fragment(fragment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command that it names, of its second line."""
    skip_without_data(
        {"mnist_scale": "MNIST", "rotated_mnist": "MNIST", "stl10_scale": "STL10"}[fragment.parents[1].name]
    )
    monkeypatch.chdir(ROOT)
    command = fragment.read_text().splitlines()[1].partition("python -m sefl.fit ")[2]
    main([*shlex.split(command), "--run_dir", str(tmp_path), *FEW_BATCHES])
    check_run(tmp_path)


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=name)
def test_trainer_fragment(fragment: Path, tmp_path: Path) -> None:
    main(["--config", str(QUICKSTART), "--config", str(fragment), "--run_dir", str(tmp_path), *FEW_BATCHES])
    check_run(tmp_path)


@pytest.mark.parametrize(("how", "fragment"), [("torchrun", "ddp"), ("slurm", "slurm")])
def test_fragment_for_several_processes(
    tmp_path: Path, side_by_side: Callable[..., SideBySide], how: str, fragment: str
) -> None:
    merged = ["--config", str(QUICKSTART), "--config", str(CONFIGS / f"trainer/{fragment}.yaml")]
    options = [*merged, "--run_dir", "run", *FEW_BATCHES, "--trainer.accelerator", "cpu"]
    run = side_by_side(how, main, options)
    assert run.end() == [0, 0], run.said
    check_run(tmp_path / "run")
