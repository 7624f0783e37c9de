"""Every file in configs/ through python -m sefl.fit, for a few batches."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from sefl.fit import main

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
QUICKSTART = CONFIGS / "quickstart.yaml"
DEADLINE = 180.0
FEW_BATCHES = [
    *("--trainer.max_epochs", "1"),
    *("--trainer.limit_train_batches", "2"),
    *("--trainer.limit_val_batches", "2"),
    *("--trainer.num_sanity_val_steps", "0"),
    *("--trainer.check_val_every_n_epoch", "1"),
    *("--trainer.log_every_n_steps", "1"),
    *("--trainer.enable_progress_bar", "false"),
    *("--wandb.mode", "disabled"),
]
SMALL_BATCHES = ["--data.batch_size", "2", "--data.eval_batch_size", "2"]
"""For networks and images that take a CPU seconds per sample."""

FRAGMENTS = sorted(path for path in (CONFIGS / "trainer").glob("*.yaml") if path.stem != "ddp")
DATA_FRAGMENTS = sorted(CONFIGS.glob("*/data/*.yaml"))
NOT_EXPERIMENTS = ("trainer", "data", "sweeps")
EXPERIMENTS = sorted(path for path in CONFIGS.rglob("*.yaml") if path.parent.name not in NOT_EXPERIMENTS)


def name(path: Path) -> str:
    return str(path.relative_to(CONFIGS))


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
    small = SMALL_BATCHES if "STL10" in data else []
    main(["--config", str(config), "--run_dir", str(tmp_path), *FEW_BATCHES, *small])
    check_run(tmp_path)


@pytest.mark.parametrize("fragment", DATA_FRAGMENTS, ids=name)
def test_data_fragment(fragment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without_data("MNIST")
    monkeypatch.chdir(ROOT)
    base = fragment.parents[1] / "per_resolution.yaml"
    main(["--config", str(base), "--config", str(fragment), "--run_dir", str(tmp_path), *FEW_BATCHES])
    check_run(tmp_path)


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=name)
def test_trainer_fragment(fragment: Path, tmp_path: Path) -> None:
    main(["--config", str(QUICKSTART), "--config", str(fragment), "--run_dir", str(tmp_path), *FEW_BATCHES])
    check_run(tmp_path)


def test_ddp_fragment(tmp_path: Path, start: Callable[..., subprocess.Popen[str]]) -> None:
    fragment = CONFIGS / "trainer/ddp.yaml"
    cpu = ["--trainer.accelerator", "cpu", "--trainer.devices", "2"]
    run = ["--config", str(QUICKSTART), "--config", str(fragment), "--run_dir", "run", *FEW_BATCHES, *cpu]
    process = start("sefl.fit", *run)
    output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, output
    check_run(tmp_path / "run")
