"""Orbit accuracy over the copies at every resolution, of a network that is exact under both and of one that is not."""

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from flat_settings import made
from torch.utils.data import DataLoader, TensorDataset

from callbacks import OrbitEvaluation
from models import Classifier, ScaleClassifier
from sefl.groups.orbit import Orbit
from sefl.networks import PyramidNetwork

SAMPLES, FINEST, RESOLUTIONS = 6, 12, 5


class Data(pl.LightningDataModule):
    """Noise at two resolutions, and the same samples at the finest."""

    def test_dataloader(self) -> list[Any]:
        return [self._loader(9), self._loader(FINEST)]

    def _loader(self, resolution: int) -> Any:
        generator = torch.Generator().manual_seed(resolution)
        images = torch.randn(SAMPLES, 1, resolution, resolution, generator=generator)
        return DataLoader(TensorDataset(images, torch.arange(SAMPLES) % 3), batch_size=4)


@pytest.mark.parametrize("center", ["image", "pixel"])
def test_all_resolutions_of_all_copies_count(center: Any, tmp_path) -> None:
    torch.manual_seed(0)
    scales = {"base_resolution": 8, "max_resolution": FINEST, "classes": 3}
    inner = made("GroupScaleNetwork", widths=[2, 3], kernel_sizes=3, **scales)
    classifier = ScaleClassifier(PyramidNetwork(inner, center=center), trained_bands="own")
    evaluation = OrbitEvaluation(4, reflections=True, all_resolutions=True)
    trainer = pl.Trainer(
        default_root_dir=tmp_path,
        logger=False,
        callbacks=[evaluation],
        enable_progress_bar=False,
        accelerator="cpu",
    )
    trainer.test(classifier, datamodule=Data(), verbose=False)
    measured = trainer.callback_metrics
    classifier.eval()

    images, labels = Data().test_dataloader()[1].dataset.tensors
    with torch.inference_mode():
        of_copies = [
            classifier.network.predict_all_resolutions(copy) for copy in Orbit(4, True).copies(images)
        ]
        logits = torch.stack(of_copies)
    assert logits.shape == (8, SAMPLES, RESOLUTIONS, 3)
    correct = (logits.argmax(-1) == labels[:, None]).float()
    assert float(measured["test/orbit_accuracy"]) == pytest.approx(float(correct.mean()))
    assert float(measured["test/orbit_accuracy_all"]) == pytest.approx(float(correct.amin(0).mean()))
    assert float(measured["test/orbit/90_mirrored"]) == pytest.approx(float(correct[5].mean()))
    if center == "image":
        assert float(measured["test/orbit_error_max"]) < 1e-9
    else:
        assert float(measured["test/orbit_error_max"]) > 1e-6


def test_a_model_of_one_resolution_is_refused_before_it_runs(tmp_path) -> None:
    classifier = Classifier(made("GroupSampledNetwork", group="C2", widths=[2]))
    evaluation = OrbitEvaluation(4, all_resolutions=True)
    trainer = pl.Trainer(default_root_dir=tmp_path, logger=False, callbacks=[evaluation], accelerator="cpu")
    with pytest.raises(ValueError, match="all_resolutions must be false for a GroupSampledNetwork, got true"):
        trainer.test(classifier, datamodule=Data(), verbose=False)


@pytest.mark.parametrize("region", ["image", "disc"])
def test_a_corner_counts_in_the_image_alone(region: Any, tmp_path) -> None:
    class Corner(pl.LightningModule):
        """Class 1 where the first pixel is bright."""

        def test_step(self, batch: Any, batch_index: int) -> None: ...

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            bright = images[:, 0, 0, 0]
            return torch.stack([1 - bright, bright], 1)

    data = DataLoader(TensorDataset(torch.ones(4, 1, 9, 9), torch.ones(4, dtype=torch.int64)), batch_size=4)
    options = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = pl.Trainer(default_root_dir=tmp_path, callbacks=[OrbitEvaluation(8, region=region)], **options)
    trainer.test(Corner(), data, verbose=False)
    measured = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert measured["test/orbit_accuracy"] == (0.5 if region == "image" else 0)
    assert (measured["test/orbit_error"] > 0.1) == (region == "image")


def test_every_second_batch(tmp_path) -> None:
    class Threes(pl.LightningModule):
        """Puts out the class that an image's brightest pixel names, where it was not turned."""

        def test_step(self, batch: Any, batch_index: int) -> None: ...

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images[:, 0, 4, :3]

    images, labels = torch.zeros(10, 1, 9, 9), torch.arange(10) % 3
    labels[4:8] = 2  # of a batch that is left out, of which nothing is right
    images[torch.arange(10), 0, 4, torch.where(torch.arange(10) % 8 < 4, labels, 0)] = 1
    evaluation = OrbitEvaluation(1, every_n_steps=2)
    options = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu", "callbacks": [evaluation]}
    trainer = pl.Trainer(default_root_dir=tmp_path, **options)
    trainer.test(Threes(), DataLoader(TensorDataset(images, labels), batch_size=4), verbose=False)
    assert float(trainer.callback_metrics["test/orbit_accuracy"]) == 1
    with pytest.raises(ValueError, match=r"every_n_steps must be .*, got 0"):
        OrbitEvaluation(every_n_steps=0)
