"""A GroupSampledNetwork with its data, callbacks and commands; the network itself is in tests/networks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml
from flat_settings import classifier
from side_by_side import SideBySide
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from callbacks import EquivarianceMonitor
from sefl.equivariance import GroupAction
from sefl.evaluate import main as evaluate
from sefl.fit import main as fit

ROUNDING = 1e-10

TINY = {
    "data": {
        "class_path": "datamodules.Glyphs",
        "init_args": {
            "image_size": 13,
            "resolutions": [13],
            "train_samples": 120,
            "val_samples": 43,
            "test_samples": 41,
            "batch_size": 10,
            "eval_batch_size": 7,
        },
    },
    "model": {
        "class_path": "models.Classifier",
        "init_args": {
            "network": {
                "class_path": "sefl.networks.GroupSampledNetwork",
                "init_args": {
                    "group": "D4",
                    "stages": {"widths": [3, 4, 4], "kernel_sizes": 3, "group_rates": [2, 1, 1]},
                },
            },
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}},
            "lr_scheduler": {"class_path": "models.OneCycle"},
        },
    },
    "trainer": {
        "accelerator": "cpu",
        "max_epochs": 2,
        "log_every_n_steps": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "callbacks": [
            {"class_path": "callbacks.EquivarianceMonitor"},
            {
                "class_path": "callbacks.OrbitEvaluation",
                "init_args": {"angles": 8, "reflections": True},
            },
            {"class_path": "callbacks.ReconstructionFigure"},
        ],
    },
    "wandb": {"mode": "disabled"},
}


@pytest.fixture
def tiny_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "group.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path


def evaluation(version: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(f"runs/group/0/evaluation/{version}/evaluation.json").read_text())
    return found


def errors(rows: list[dict[str, Any]], layer: str, parameters: list[str]) -> list[float]:
    return [row["max"] for row in rows if row["layer"] == layer and row["parameter"] in parameters]


def test_training_resuming_and_evaluating(tiny_group: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(["--config", str(tiny_group), "--trainer.max_epochs", "1"])
    fit(["--config", str(tiny_group), "--ckpt_path", "last"])
    capsys.readouterr()
    evaluate(["--ckpt_path", "last", "--name", "group", "--wandb.mode", "offline"])
    shown = capsys.readouterr().out
    folder = Path("runs/group/0/evaluation/0")
    for figure in ("orbit/accuracy.png", "reconstruction/network.stages.0.sampling.downsample.png"):
        assert (folder / figure).stat().st_size > 10_000
    assert list((folder / "wandb").glob("offline-run-*"))
    assert "accuracy over all transformed copies" in shown
    result = evaluation()
    metrics = result["metrics"]
    assert metrics["test/orbit/0"] == pytest.approx(metrics["test/accuracy"])
    assert {"test/orbit_accuracy", "test/loc_accuracy", "test/orbit_error", "test/orbit/45_mirrored"} <= set(
        metrics
    )
    # Rotation by 180 degrees and the reflections of D2 are kept, which is exact on the lattice of pixels.
    for element in ("180", "0_mirrored", "180_mirrored"):
        assert metrics[f"test/orbit/{element}"] == metrics["test/orbit/0"]
    rows = result["equivariance"]
    assert {row["transformation"] for row in rows} == {"act_D4"}
    kept, others = ["r^2", "s", "r^2s"], ["r", "r^3", "rs", "r^3s"]
    for layer in ("stages.0.features", "stages.0.sampling", "stages.2.features"):
        assert max(errors(rows, f"network.{layer}", kept)) < ROUNDING
    assert max(errors(rows, "network.stages.0.sampling", others)) < ROUNDING
    assert min(errors(rows, "network.stages.2.features", others)) > 1e-6


def test_two_processes_train_and_give_the_same_numbers(
    tiny_group: Path, side_by_side: Callable[..., SideBySide]
) -> None:
    on_two = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    run = side_by_side("torchrun", fit, ["--config", str(tiny_group), "--trainer.max_epochs", "1", *on_two])
    assert run.end() == [0, 0], run.said
    last = ["--ckpt_path", "last", "--name", "group"]
    evaluate(last)
    run = side_by_side("torchrun", evaluate, [*last, *on_two])
    assert run.end() == [0, 0], run.said
    one, two = evaluation(0), evaluation(1)
    exact = [name for name in one["metrics"] if "accuracy" in name or "/orbit/" in name]
    assert {name: one["metrics"][name] for name in exact} == {name: two["metrics"][name] for name in exact}
    assert one["metrics"] == pytest.approx(two["metrics"], rel=1e-4, abs=1e-10)


def test_canonicalised_network_in_the_monitor(tiny_group: Path) -> None:
    fit(
        [
            "--config",
            str(tiny_group),
            "--model.network.sampling.canonicalize",
            "true",
            "--trainer.max_epochs",
            "1",
        ]
    )
    evaluate(["--ckpt_path", "last", "--name", "group"])
    rows = evaluation()["equivariance"]
    assert {row["layer"] for row in rows} >= {
        "network.stages.0.sampling",
        "network.stages.2.features",
        "head",
    } - {"head"}
    assert max(row["max"] for row in rows) < ROUNDING


def test_averaged_weights_stay_equivariant(tiny_group: Path) -> None:
    settings = yaml.safe_load(tiny_group.read_text())
    averaging = {"class_path": "pytorch_lightning.callbacks.EMAWeightAveraging"}
    settings["trainer"]["callbacks"].append(averaging)
    tiny_group.write_text(yaml.safe_dump(settings))
    fit(["--config", str(tiny_group), "--trainer.max_epochs", "1"])
    evaluate(["--ckpt_path", "last", "--name", "group"])
    rows = evaluation()["equivariance"]
    assert max(errors(rows, "network.stages.2.features", ["r^2", "s", "r^2s"])) < ROUNDING


def volumes(samples: int) -> tuple[Tensor, Tensor]:
    """Bars of one voxel's width and plates in random directions along an axis, and which of the two each is."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(samples) % 2
    axes = torch.randint(3, (samples,), generator=generator)
    images = 0.1 * torch.randn(samples, 1, 9, 9, 9, generator=generator)
    for image, label, axis in zip(images, labels, axes, strict=True):
        flat = image[0].movedim(int(axis), 0)
        if label:
            flat[4] += 1
        else:
            flat[:, 3:6, 3:6] += 1
    return images, labels


def test_volumes_are_learned_and_measured(tmp_path: Path) -> None:
    pl.seed_everything(0)
    model = classifier(
        "GroupSampledNetwork",
        group="O",
        classes=2,
        widths=[2, 4],
        kernel_sizes=3,
        subgroups=["T", None],
        spatial_rates=[2, 1],
        pooling="mean",
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=0.02),
    )
    monitor = EquivarianceMonitor(transformations=[GroupAction("O")], samples_per_step=2)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=4,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=[monitor],
    )
    data = TensorDataset(*volumes(64))
    trainer.fit(model, DataLoader(data, 8, shuffle=True), DataLoader(data, 32))
    assert float(trainer.callback_metrics["val/accuracy"]) == 1
    kept = {
        model.network.stages[0].output_type.group.labels[g]
        for g in model.network.stages[0].output_type.elements
    }
    of_head = {row.parameter: row.max for row in monitor.results if row.layer == "network.head"}
    assert len(of_head) == 23
    assert max(error for element, error in of_head.items() if element in kept) < ROUNDING
    assert max(error for element, error in of_head.items() if element not in kept) > 1e-6


def test_reconstruction_is_exact_for_bandlimited_features() -> None:
    from sefl.figures.reconstruction import reconstruction
    from sefl.groups import bandlimit, finite_group

    limit = bandlimit(finite_group("D6"), "D3")
    features = np.random.default_rng(0).normal(size=(2, 12, 5, 5))
    bandlimited = np.einsum("gh,fhij->fgij", limit.projector, features).reshape(24, 5, 5)
    rough = reconstruction(limit, features.reshape(24, 5, 5), "rough")
    smooth = reconstruction(limit, bandlimited, "smooth")

    def shown(figure: Any) -> list[float]:
        labels = [axes.get_ylabel() for axes in figure.axes]
        return [float(label.split("error ")[1]) for label in labels if "error" in label]

    assert max(shown(smooth)) < 1e-20
    naive, filtered = shown(rough)
    assert naive > filtered > 0.1
