"""What group subsampling keeps: the discarded group elements, reconstructed from the kept ones."""

from contextlib import ExitStack
from functools import partial
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn

from sefl.arguments import require_integer
from sefl.equivariance.evaluating import undisturbed
from sefl.figures.reconstruction import reconstruction
from sefl.groups import SubgroupDownsample
from sefl.runs.logged_figures import figure_folder, save_figure
from sefl.training.places_in_epoch import require_whole_model

FOLDER = "reconstruction"


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
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, SubgroupDownsample)}
    found: dict[str, tuple[SubgroupDownsample, Tensor]] = {}

    def record(name: str, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found[name] = layers[name], inputs[0].detach()

    with ExitStack() as hooks:
        for name, layer in layers.items():
            hooks.callback(layer.register_forward_pre_hook(partial(record, name)).remove)
        model(images)
    return found
