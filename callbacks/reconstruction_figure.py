"""What group subsampling keeps: the discarded group elements, reconstructed from the kept ones."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from sefl.arguments import require_integer
from sefl.equivariance.evaluating import undisturbed
from sefl.groups import Bandlimit, SubgroupDownsample
from sefl.runs.logged_figures import figure_folder, save_figure
from sefl.training.places_in_epoch import require_whole_model

FOLDER = "reconstruction"
MOST_COLUMNS = 8


class ReconstructionFigure(pl.Callback):
    """Draws, when testing, how well the discarded group elements come back from the kept ones.

    For every ``sefl.groups.SubgroupDownsample`` in the model, ``reconstruction/<layer>.png`` shows the feature maps
    of one image at elements of ``G`` outside ``H``: as they are, reconstructed from naive samples, and reconstructed
    from anti-aliased samples, each with its relative squared error over all discarded elements and fields (ICLR 2025).
    The anti-aliased one is the nearest bandlimited signal at best: what is lost is what the subgroup cannot hold.

    Args:
        sample: which image of the first test batch; the last one if there are fewer.

    Raises:
        ValueError: if ``sample`` is no integer of at least 0; when the Trainer starts, if its strategy spreads the
            weights over several processes.
    """

    def __init__(self, sample: int = 0) -> None:
        super().__init__()
        self.sample = require_integer("sample", sample, 0)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        require_whole_model(trainer, self)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        folder = figure_folder(trainer, FOLDER)
        first = batch_idx == 0 and dataloader_idx == 0
        if not first or not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        images = batch[0][: self.sample + 1][-1:]
        with undisturbed(pl_module):
            inputs = downsampling_inputs(pl_module, images)
        for name, (layer, features) in inputs.items():
            if features.dim() == 4:
                figure = reconstruction(layer.bandlimit, features[0].double().cpu().numpy(), name)
                save_figure(figure, folder / f"{name}.png", trainer, f"reconstruction/{name}")


def downsampling_inputs(model: nn.Module, images: Tensor) -> dict[str, tuple[SubgroupDownsample, Tensor]]:
    """What every subgroup subsampling of ``model(images)`` gets, by the name of the layer."""
    found: dict[str, tuple[SubgroupDownsample, Tensor]] = {}
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, SubgroupDownsample):

            def record(layer: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
                assert isinstance(layer, SubgroupDownsample)
                found[name] = (layer, inputs[0].detach())

            hooks.append(module.register_forward_pre_hook(record))
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def reconstruction(filter: Bandlimit, features: NDArray[np.float64], title: str) -> Figure:
    """Feature maps at discarded elements: original, from naive samples, from anti-aliased samples.

    Args:
        filter: the bandlimit of the subsampling.
        features: its input for one image, ``(fields * |G|, h, w)``; the field with the most energy is shown.
        title: what the figure is of.
    """
    group, subgroup = filter.subgroup.parent, filter.subgroup
    fields = features.reshape(-1, len(group), *features.shape[1:])
    discarded = np.flatnonzero(subgroup.position < 0)
    from_naive = filter.reconstruction @ filter.restriction
    from_filtered = from_naive @ filter.projector
    rows = {
        "original": fields,
        "from naive samples": np.einsum("gh,fhij->fgij", from_naive, fields),
        "from anti-aliased samples": np.einsum("gh,fhij->fgij", from_filtered, fields),
    }
    strongest = int(np.square(fields).sum(axis=(1, 2, 3)).argmax())
    shown = discarded[:MOST_COLUMNS]
    limit = float(np.abs(fields[strongest][shown]).max()) or 1.0
    energy = np.square(fields[:, discarded]).sum() or 1.0
    figure = Figure(figsize=(1.9 + 1.25 * len(shown), 4.6), dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), len(shown), squeeze=False)
    for axes_row, (name, values) in zip(grid, rows.items(), strict=True):
        error = np.square(values[:, discarded] - fields[:, discarded]).sum() / energy
        label = (
            name
            if name == "original"
            else f"{name.replace(' samples', chr(10) + 'samples')}\nerror {error:.2g}"
        )
        axes_row[0].set_ylabel(label, fontsize=8.5, rotation=0, ha="right", va="center", labelpad=8)
        for axes, element in zip(axes_row, shown, strict=True):
            axes.imshow(values[strongest, element], cmap="RdBu_r", vmin=-limit, vmax=limit)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_color("0.8")
    for axes, element in zip(grid[0], shown, strict=True):
        axes.set_title(group.labels[element], fontsize=9)
    more = f" ({len(shown)} of {len(discarded)})" if len(discarded) > len(shown) else ""
    figure.suptitle(
        f"{title}: {group.name} to {subgroup.group.name}, features at the discarded elements{more}",
        fontsize=10,
        x=0.01,
        ha="left",
    )
    return figure
