"""A network per resolution, trained by several processes: ``python training_by_processes.py FOLDER DEVICES``."""

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from datamodules import DataSet, ScaleDataModule, ScaleSettings
from models import ScaleClassifier
from sefl.networks import ConvTrunk, PerResolutionNetwork, PooledHeadSettings, per_resolution

FINEST = 6
REFERENCE = "ddp_find_unused_parameters_true"


def images_of_noise() -> tuple[Tensor, Tensor]:
    images = torch.rand(56, 1, FINEST, FINEST, generator=torch.Generator().manual_seed(0))
    return images, torch.arange(56) % 2


def noise() -> ScaleDataModule:
    """Random images of two classes at the resolutions 4 to 6, of which 5 is held out of training."""
    parts = np.arange(32), np.arange(32, 44), np.arange(44, 56)
    data = DataSet("Noise", FINEST, 1, ["a", "b"], [0.5], [0.3], images_of_noise, draw_parts=lambda *_: parts)
    return ScaleDataModule(data, ScaleSettings(batch_size=4, resolutions=[4, 5, 6], held_out_resolutions=[5]))


class Steps(Callback):
    """Counts the training batches of each resolution."""

    def __init__(self) -> None:
        self.of_resolution = dict.fromkeys((4, 5, 6), 0)

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        self.of_resolution[batch[0].shape[-1]] += 1


def model_of_noise() -> ScaleClassifier:
    torch.manual_seed(0)
    network = PerResolutionNetwork(
        ConvTrunk(widths=[2, 3], kernel_size=3),
        PooledHeadSettings(hidden=3, dropout=0.0),
        classes=2,
        base_resolution=4,
        max_resolution=FINEST,
    )
    return ScaleClassifier(
        network,
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.5),
    )


def run(strategy: str, devices: int) -> dict[str, Any]:
    """Train, test with a single loader, and tell what came of it."""
    model, data, steps = model_of_noise(), noise(), Steps()
    trainer = Trainer(
        accelerator="cpu",
        strategy=strategy,
        devices=devices,
        max_epochs=1,
        logger=False,
        callbacks=[steps],
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(model, data)
        (optimizer,) = trainer.optimizers
        names = {parameter: name for name, parameter in model.named_parameters()}
        taken = {names[parameter]: int(state["step"]) for parameter, state in optimizer.state.items()}
        (results,) = trainer.test(model, data.test_dataloader()[:1])
    return {
        "parameters": {name: parameter.detach() for name, parameter in model.named_parameters()},
        "steps": taken,
        "batches": steps.of_resolution,
        "results": results,
        "warnings": [str(warning.message) for warning in caught],
        "rank": trainer.global_rank,
    }


def error_of_two_resolutions(model: ScaleClassifier) -> str:
    """What PyTorch's own wrapper, which needs no trainer, says of a batch of one resolution after one of another."""
    parallel = DistributedDataParallel(model)
    try:
        for resolution in (4, 6):
            parallel(torch.zeros(2, 1, resolution, resolution)).sum().backward()
    except RuntimeError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    folder, devices = Path(sys.argv[1]), int(sys.argv[2])
    found: dict[str, Any] = {"ddp": run("ddp", devices)}
    per_resolution._several_processes = lambda: False  # as if nothing were done about it
    found[REFERENCE] = run(REFERENCE, devices)
    found["control"] = error_of_two_resolutions(model_of_noise())
    torch.save(found, folder / f"found-{found['ddp']['rank']}.pt")
