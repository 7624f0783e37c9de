"""Measure how far from equivariant every layer of a network is, while it trains."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch.distributed as dist
from matplotlib.figure import Figure
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from sefl.arguments import require_positive
from sefl.equivariance.agreement import MEAN, PAIRS, AgreementRow, class_scores
from sefl.equivariance.measuring import Measurement, Reason, is_full_pass, require_different
from sefl.equivariance.table import EquivarianceRow, combined, is_floor, scalars
from sefl.equivariance.transformations import IdealDownsampling, Transformation
from sefl.figures.agreement import agreements
from sefl.figures.depth import propagation
from sefl.figures.equivariance import curves, heat_map
from sefl.runs.folder import EQUIVARIANCE
from sefl.runs.logged_figures import figure_folder, save_figure
from sefl.runs.metrics_file import append_csv
from sefl.training.places_in_epoch import chosen_images, require_whole_model
from sefl.training.step_progress import counted


class EquivarianceMonitor(pl.Callback):
    """Measures the equivariance error of a network's layers at every validation (and test) step.

    For layer ``f``, transformation ``T`` and image ``x``, in float64,

        ``|| T f(x) - f(T x) ||^2 / || T f(x) ||^2``

    where ``f`` is the network up to and including the layer: mean and maximum over all samples of the epoch,
    the same numbers on any number of processes. The network runs as in validation, in the Trainer's
    precision, so that 32-bit networks show about 1e-13 where they are exact. Training goes on bit for bit as
    without the callback.

    It works on any LightningModule whose ``forward`` takes images alone, or volumes, or signals of one axis. Where
    features transform in another way than pixel grids, coefficients of a ``sefl.fourier.CoefficientModule`` or
    invariant vectors do, such as regular fields of a group, a module declares ``output_type`` (see
    ``sefl.equivariance.layer_outputs.OutputType``). A layer that cannot be measured is reported once, with the
    reason, and the others are measured.

    Beside a transformation ``T`` that interpolates, such as a rotation by 45 degrees, the table has its floor,
    ``<T>_floor``: the relative squared error of ``T^-1 T f(x)`` for ``f(x)``, what interpolation alone costs.

    Where the model puts out class scores (:meth:`predictions`), the agreement of predictions is measured beside: the
    fraction of images of which the predicted class stays under a transformation, the same for pairs of its parameters
    (:class:`sefl.metrics.ShiftConsistency`). Under circular shifts that is shift consistency.

    After each epoch :attr:`results` and :attr:`agreement` hold the rows of the two tables, and rank zero

    * logs ``equivariance/<layer>/<transformation>/<parameter>`` (mean), ``.../mean`` and ``.../max``, and over all
      layers ``equivariance/<transformation>/mean`` and ``.../max``, which other callbacks can monitor;
      ``equivariance_test/...`` in ``trainer.test``;
    * logs ``agreement/<transformation>/<parameter>``, ``.../mean`` and, of several parameters, ``.../pairs``;
      ``agreement_test/...`` in ``trainer.test``;
    * writes ``equivariance/<fit, validate or test>.csv`` and ``...-agreement.csv`` of all epochs and, with ``figures``,
      PNGs of the latest one into the run folder (``trainer.log_dir``), and sends the figures to W&B where that is a
      logger.

    Args:
        layers: module names as in ``named_modules()``, or :mod:`fnmatch` patterns of them. By default those that the
            model's ``measured_layers()`` lists, or its top-level blocks if it has no such method.
        transformations: by default all elements of the model's group, if it declares one as ``symmetry_group``, such as
            ``"D4"``; else ideal downsampling to every resolution from its ``base_resolution``.
        samples_per_step: at most how many images of each batch are measured.
        every_n_steps: measure every n-th batch of an epoch. Batches are those that one process would have: on any
            number of processes the same images are measured (:func:`sefl.training.places_in_epoch.chosen_images`).
        figures: whether to draw heat map, curves, and the errors over depth of three layers and more.

    Raises:
        ValueError: for counts below one or transformations of one name; when the Trainer starts, before any
            training, if a name in ``layers`` matches no module, or if a strategy such as FSDP spreads the weights over
            several processes, which run the model together or not at all.
    """

    def __init__(
        self,
        layers: list[str] | None = None,
        transformations: list[Transformation] | None = None,
        samples_per_step: int = 8,
        every_n_steps: int = 1,
        figures: bool = True,
    ) -> None:
        super().__init__()
        self.layers = layers
        self.choose_transformations = transformations is None
        self.transformations: list[Transformation] = (
            [IdealDownsampling()] if transformations is None else require_different(transformations)
        )
        self.samples_per_step = require_positive("samples_per_step", samples_per_step)
        self.every_n_steps = require_positive("every_n_steps", every_n_steps)
        self.figures = figures

        self.results: list[EquivarianceRow] = []
        """The table of the latest epoch: by layer in the model's order, transformation, parameter."""
        self.unmeasured: dict[Reason, str] = {}
        """Why a layer could not be measured under a transformation, by ``(layer, transformation)``."""
        self.agreement: list[AgreementRow] = []
        """Of the latest epoch: by transformation and parameter; empty if the model puts out no class scores."""
        self._reported: set[Reason] = set()
        self._measurement: Measurement | None = None
        self._waiting: list[Tensor] = []

    def images(self, batch: Any) -> Tensor:
        """The images of a batch: itself, its first item, or its item ``"image"``. Override it for others.

        Raises:
            TypeError: if that is no floating-point tensor ``(batch, channels, height, width)``, ``(batch,
                channels, depth, height, width)`` or ``(batch, channels, length)``.
        """
        if isinstance(batch, Mapping):
            batch = batch.get("image")
        elif isinstance(batch, Sequence):
            batch = batch[0]
        if not isinstance(batch, Tensor) or batch.dim() not in (3, 4, 5) or not batch.is_floating_point():
            tensor = isinstance(batch, Tensor)
            found = f"{batch.dtype} {tuple(batch.shape)}" if tensor else type(batch).__name__
            raise TypeError(
                "batch: EquivarianceMonitor wants floating-point images (batch, channels, height, width), volumes "
                "(batch, channels, depth, height, width) or signals (batch, channels, length), as its first item or "
                f"item 'image', got {found}; override the method images(batch)"
            )
        return batch

    def predictions(self, output: Any) -> Tensor | None:
        """The class scores ``(batch, classes)`` in what the model puts out, or ``None``. Override it for others.

        By default logits ``(batch, classes)`` of two classes or more, or the last band of ``(batch, bands, classes)``.
        """
        return class_scores(output)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        require_whole_model(trainer, self)

    # Layers are selected when the Trainer starts rather than in setup(), which runs before the model's own
    # setup() and configure_model() have built them.

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        chosen = None if self.choose_transformations else self.transformations
        self._measurement = Measurement(pl_module, chosen, self.layers, self.predictions)
        self.transformations = self._measurement.transformations
        self._waiting = []

    on_validation_start = on_test_start = on_fit_start

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        images = self.images(batch)
        if trainer.sanity_checking:
            return
        of_batch = trainer, batch_idx, dataloader_idx, len(images)
        chosen = chosen_images(*of_batch, self.samples_per_step, self.every_n_steps)
        if len(chosen):
            self._waiting.append(images[chosen.to(images.device)])
            if is_full_pass(self._waiting):
                self._measure(trainer)

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(trainer, pl_module, "")

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(trainer, pl_module, "_test")

    def _measure(self, trainer: pl.Trainer) -> None:
        """Measure the images that wait for others, with which a pass through the model is full."""
        assert self._measurement is not None
        self._measurement.update(
            self._waiting,
            trainer.precision_plugin.forward_context,
            lambda applied: counted(applied, len(applied), "Equivariance", trainer),
        )
        self._waiting = []

    def _finish(self, trainer: pl.Trainer, pl_module: pl.LightningModule, suffix: str) -> None:
        if trainer.sanity_checking:
            return
        prefix = f"equivariance{suffix}"
        self._measure(trainer)
        self._gather(trainer)
        self._report()
        for name in dict.fromkeys(row.transformation for row in self.results):
            mean, largest = combined(row for row in self.results if row.transformation == name)
            # Every process has the same value; the reduction only keeps Lightning from asking for one.
            pl_module.log(f"{prefix}/{name}/mean", mean, sync_dist=True)
            pl_module.log(f"{prefix}/{name}/max", largest, sync_dist=True, reduce_fx="max")
        of_parameters: dict[str, float] = {}
        for row in self.agreement:
            logged = f"agreement{suffix}/{row.transformation}/{row.parameter}"
            if row.parameter in (MEAN, PAIRS):
                pl_module.log(logged, row.agreement, sync_dist=True)
            else:
                of_parameters[logged] = row.agreement
        folder = figure_folder(trainer, EQUIVARIANCE)
        if trainer.is_global_zero and self.results:
            named = scalars(self.results, prefix) | of_parameters | {"epoch": trainer.current_epoch}
            step = trainer.fit_loop.epoch_loop._batches_that_stepped  # of the epoch's other numbers
            for logger in trainer.loggers:
                logger.log_metrics(named, step=step)
                logger.save()
            if not trainer.fast_dev_run:  # type: ignore[attr-defined]  # Lightning sets it from outside
                self._write(trainer, folder, prefix)

    def _gather(self, trainer: pl.Trainer) -> None:
        """Add up what all processes measured; each says what it has, as their batches may differ in size."""
        measurement = self._measurement
        assert measurement is not None
        states = [measurement.state()]
        if trainer.world_size > 1:
            states *= trainer.world_size
            dist.all_gather_object(states, measurement.state())
        table = measurement.table(states)
        self.unmeasured = {**table.unmeasured, **self.unmeasured}
        self.results, self.agreement = list(table.rows), list(table.agreement)
        measurement.clear()

    def _report(self) -> None:
        """Say once what could not be measured, and why."""
        layers_by_reason: dict[str, list[str]] = {}
        for (layer, transformation), reason in self.unmeasured.items():
            if (layer, transformation) not in self._reported:
                layers = layers_by_reason.setdefault(reason, [])
                layers += [] if layer in layers else [layer]
        if layers_by_reason:
            lines = [f"{', '.join(layers)}: {reason}" for reason, layers in layers_by_reason.items()]
            rank_zero_warn("EquivarianceMonitor does not measure\n  " + "\n  ".join(lines))
        elif not self.results and not self._reported:
            names = [transformation.name for transformation in self.transformations]
            layers = [] if self._measurement is None else self._measurement.layers
            rank_zero_warn(
                f"EquivarianceMonitor measured nothing: none of {names} applied to the images it saw, "
                f"or there was nothing to measure among the layers {layers}"
            )
        self._reported |= set(self.unmeasured)

    def _write(self, trainer: pl.Trainer, folder: Path, prefix: str) -> None:
        stage = str(trainer.state.fn.value) if trainer.state.fn else "fit"
        epoch, step = trainer.current_epoch, trainer.global_step
        append_csv(folder / f"{stage}.csv", self.results, epoch, step)
        if self.agreement:
            append_csv(folder / f"{stage}-agreement.csv", self.agreement, epoch, step)
        if not self.figures:
            return
        stages = {"fit": f"validation in epoch {epoch}", "validate": "validation"}
        of_model = f"of {type(trainer.lightning_module).__name__}, {stages.get(stage, stage)}"
        title = f"Equivariance error {of_model}"
        names = {row.transformation for row in self.results if not is_floor(row.transformation)}
        # over depth where there is one, and more to show than the curves over the resolution do
        deep = len({row.layer for row in self.results}) > 2 and not names <= {IdealDownsampling.name}
        drawn: dict[str, Figure | None] = {
            "heatmap": heat_map(self.results, title),
            "curves": curves(self.results, title),
            "depth": propagation(self.results, title) if deep else None,
            "agreement": agreements(self.agreement, f"Agreement of predictions {of_model}"),
        }
        for kind, figure in drawn.items():
            if figure is not None:
                save_figure(figure, folder / f"{stage}-{kind}.png", trainer, f"{prefix}/{kind}")
