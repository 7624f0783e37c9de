"""Accuracy of a classifier over the transformed copies of the test images."""

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from sefl.arguments import require_positive
from sefl.equivariance.evaluating import undisturbed
from sefl.figures.orbit import accuracy_over_angle
from sefl.groups.orbit import Orbit, black
from sefl.groups.spatial import Region
from sefl.metrics import OrbitAccuracy, OrbitError
from sefl.networks import ScaleNetwork
from sefl.runs.logged_figures import figure_folder, save_figure
from sefl.training.places_in_epoch import chosen_images, require_whole_model
from sefl.training.step_progress import counted

FOLDER = "orbit"


class OrbitEvaluation(pl.Callback):
    """Evaluates any classifier of images on rotated (and mirrored) copies of every test image.

    Logged in ``trainer.test`` over all processes (Rahman & Yeh, ICLR 2025):

    * ``test/orbit_accuracy``: correct on average over all copies; ``test/orbit_accuracy_all``: on every copy;
    * ``test/loc_accuracy``: on average over rotations below 60 degrees either way;
    * ``test/orbit_error``, ``test/orbit_error_max``: ``||f(g x) - f(x)||^2 / ||f(x)||^2`` of the logits, mean and
      maximum over copies and samples;
    * ``test/orbit/<element>``: accuracy at each element; and the figure ``orbit/accuracy.png`` in the run's folder.

    The model is called with images alone; of logits ``(batch, bands, classes)`` the last band counts. Of several test
    loaders the first counts, without ``all_resolutions``.

    Args:
        angles: how many rotations, evenly spaced over the circle, or the angles in degrees; 0 is among them.
        reflections: whether mirrored copies count too.
        background: what lies outside of an image, for each channel or for all; by default black as the datamodule's
            ``mean`` and ``std`` normalise it, or 0 if it has none.
        all_resolutions: of every copy, the predictions at all resolutions of a :class:`models.ScaleClassifier` count,
            each as a sample of its own. Copies are those of the second test loader, images at the finest resolution.
        every_n_steps: transform every n-th batch of the test images, as :class:`callbacks.EquivarianceMonitor`.
        region: all of the ``"image"``, or of every copy its inscribed ``"disc"``, for images whose corners are not
            black; see :class:`sefl.groups.orbit.Orbit`.

    Raises:
        ValueError: if there are no angles, two are the same, or 0 is not among them, ``background`` is not finite, or
            ``every_n_steps`` is below one; when the Trainer starts, if its strategy spreads the weights over several
            processes, or a model has no predictions at several resolutions for ``all_resolutions``.
    """

    def __init__(
        self,
        angles: int | list[float] = 24,
        reflections: bool = False,
        background: float | list[float] | None = None,
        all_resolutions: bool = False,
        every_n_steps: int = 1,
        region: Region = "image",
    ) -> None:
        super().__init__()
        self.every_n_steps = require_positive("every_n_steps", every_n_steps)
        self.all_resolutions = all_resolutions
        self.orbit = Orbit(angles, reflections, region=region)
        self.background = background
        self._start(torch.device("cpu"))

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        require_whole_model(trainer, self)
        network = getattr(pl_module, "network", None)
        if self.all_resolutions and not isinstance(network, ScaleNetwork):
            raise ValueError(
                f"all_resolutions must be false for a {type(network or pl_module).__name__}, got true: it does not "
                "predict at several resolutions"
            )

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.orbit.background = self._background(trainer)
        self._start(pl_module.device)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if dataloader_idx != int(self.all_resolutions):
            return
        images, labels = batch
        chosen = chosen_images(
            trainer, batch_idx, dataloader_idx, len(images), every_n_steps=self.every_n_steps
        )
        if not len(chosen):
            return
        images, labels = images[chosen.to(images.device)], labels[chosen.to(labels.device)]
        with undisturbed(pl_module):
            copies = counted(self.orbit.copies(images), len(self.orbit), "Transformed copies", trainer)
            logits = torch.stack([self._logits(trainer, pl_module, copy) for copy in copies])
        labels = labels.repeat_interleave(logits.shape[1] // len(labels))
        self.accuracy.update(logits, labels)
        self.error.update(logits)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        accuracy, error = self.accuracy.compute(), self.error.compute()
        measured = {
            "test/orbit_accuracy": accuracy["orbit"],
            "test/orbit_accuracy_all": accuracy["orbit_all"],
            "test/loc_accuracy": accuracy["loc"],
            "test/orbit_error": error["mean"],
            "test/orbit_error_max": error["max"],
        }
        of_elements = dict(
            zip(self.orbit.elements, accuracy["per_element"].reshape(-1).tolist(), strict=True)
        )
        measured |= {f"test/orbit/{element.name}": value for element, value in of_elements.items()}
        for name, value in measured.items():
            # Every process has the same value; the reduction only keeps Lightning from asking for one.
            pl_module.log(name, torch.as_tensor(value).float(), sync_dist=True)
        folder = figure_folder(trainer, FOLDER)
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            figure = accuracy_over_angle(of_elements)
            save_figure(figure, folder / "accuracy.png", trainer, "orbit/accuracy")

    def _start(self, device: torch.device) -> None:
        self.accuracy = OrbitAccuracy(self.orbit.angles, self.orbit.mirrored).to(device)
        self.error = OrbitError(self.orbit.angles, self.orbit.mirrored).to(device)

    def _logits(self, trainer: pl.Trainer, pl_module: pl.LightningModule, images: Tensor) -> Tensor:
        """``(batch, classes)``, or of all resolutions ``(batch * resolutions, classes)``."""
        with trainer.precision_plugin.forward_context():
            network = getattr(pl_module, "network", None)
            if not isinstance(network, ScaleNetwork):
                logits: Tensor = pl_module(images)
            elif self.all_resolutions:
                logits = network.predict_all_resolutions(images).flatten(0, 1)
            else:
                logits = network.predict(images)
        return (logits[:, -1] if logits.dim() == 3 else logits).float()

    def _background(self, trainer: pl.Trainer) -> float | Sequence[float]:
        if self.background is not None:
            return self.background
        data = trainer.datamodule  # type: ignore[attr-defined]  # Lightning attaches it
        mean, std = getattr(data, "mean", None), getattr(data, "std", None)
        return 0.0 if mean is None or std is None else black(mean, std)
