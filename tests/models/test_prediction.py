"""``trainer.predict`` of every model, on the batches that the datamodules give."""

from pathlib import Path
from typing import Any

import pytest
import torch
from flat_settings import classifier, made
from pytorch_lightning import LightningModule, Trainer
from torch.utils.data import DataLoader

import datamodules
from datamodules import Glyphs, ScaleDataModule, Waveforms
from sefl import networks
from sefl.networks import Network

SCALES = {"base_resolution": 10, "max_resolution": 12, "head_hidden": 5}
BANDS = {**SCALES, "layer_base_resolution": 10}
SMALL: dict[str, dict[str, Any]] = {
    "AntialiasedTorchvisionNetwork": {"in_channels": 1, "base_resolution": 10, "max_resolution": 12},
    "ConvNetwork": {**SCALES, "widths": [3, 4]},
    "FourierCNN": {**SCALES, "widths": [3, 4]},
    "FourierNetwork": {**BANDS, "widths": [4], "kernel_size": 3},
    "GroupAveragedNetwork": {
        "network": made("FourierNetwork", **BANDS, widths=[4], kernel_size=3, center="image"),
        "group": "D1",
    },
    "GroupFourierNetwork": {**BANDS, "group": "C2", "widths": [2], "kernel_size": 3},
    "GroupSampledNetwork": {"group": "C2", "widths": [2]},
    "GroupScaleNetwork": {"base_resolution": 10, "max_resolution": 12, "group": "C2", "widths": [2]},
    "MixerNetwork": {**BANDS, "width": 4, "depth": 1, "groups": 2},
    "PerResolutionNetwork": {**SCALES, "widths": [3, 4]},
    "PyramidNetwork": {"network": made("ConvNetwork", **SCALES, widths=[3, 4])},
    "SESN": {**SCALES, "widths": [3, 4], "scales": [1.0, 1.5], "order": 2},
    "TorchvisionNetwork": {"in_channels": 1, "base_resolution": 10, "max_resolution": 12},
    "WideResNet": {"base_resolution": 10, "max_resolution": 12, "depth": 10, "width": 1},
}


def exported(package: Any, base: type) -> set[str]:
    found = {name: getattr(package, name) for name in package.__all__}
    return {name for name, each in found.items() if isinstance(each, type) and issubclass(each, base)}


def predict(folder: Path, model: LightningModule, data: Any) -> list[Any]:
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    predictions = trainer.predict(model, data)
    assert predictions is not None
    return predictions


@pytest.mark.parametrize("name", SMALL)
def test_every_network_predicts_the_test_samples_of_a_datamodule(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    model = classifier(name, **SMALL[name]).eval()
    sizes = {"train_samples": 20, "val_samples": 20, "test_samples": 20}
    data = Glyphs(image_size=12, resolutions=[10, 12], eval_batch_size=8, **sizes)
    predictions = predict(tmp_path, model, data)
    batches = list(data.test_dataloader()[0])
    with torch.no_grad():
        for logits, (images, _) in zip(predictions, batches, strict=True):
            torch.testing.assert_close(logits, model(images).view(len(images), -1, 10)[:, -1])
    unlabelled = DataLoader(torch.cat([images for images, _ in batches[:1]]), batch_size=20)
    torch.testing.assert_close(predict(tmp_path, model, unlabelled)[0], predictions[0])


@pytest.mark.parametrize("name", SMALL)
def test_every_network_may_be_for_one_resolution(name: str) -> None:
    settings = dict(SMALL[name])
    for key in settings.keys() & {"base_resolution", "layer_base_resolution"}:
        settings[key] = 12
    model = classifier(name, **settings)
    images, labels = torch.rand(4, settings.get("in_channels", 1), 12, 12), torch.arange(4)
    loss = model.training_step((images, labels), 0)
    assert loss.isfinite()
    assert model.eval()(images).view(4, -1, 10).isfinite().all()


def test_signals_are_predicted_too_and_nothing_is_left_out(tmp_path: Path) -> None:
    data = Waveforms(length=64, train_samples=20, val_samples=20, test_samples=20, resolutions=[60, 64])
    model = classifier(
        "FourierNetwork",
        **{**BANDS, "layer_base_resolution": 60, "base_resolution": 60, "max_resolution": 64},
        widths=[4],
        kernel_size=3,
        dimensions=1,
        classes=data.num_classes,
    )
    assert sum(len(logits) for logits in predict(tmp_path, model, data)) == 20
    bases = {"Network", "ScaleNetwork", "BandNetwork", "SinglePredictionNetwork"}
    assert exported(networks, Network) - bases == set(SMALL)
    for name in exported(datamodules, ScaleDataModule):
        assert getattr(datamodules, name).predict_dataloader is ScaleDataModule.predict_dataloader
