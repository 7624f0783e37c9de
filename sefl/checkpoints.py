"""Checkpoints that survive a kill at any moment, and a check of what is in them before training starts."""

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from sefl.run_folder import RunFolder, write_atomically

MONITOR = "val/accuracy"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the target, then rename.

    Lightning writes into the system's temporary folder and moves the file, which is a copy where that
    folder is another file system: a kill meanwhile leaves neither the old checkpoint nor the new.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
        else:
            write_atomically(Path(path), lambda file: torch.save(checkpoint, file))


def best_checkpoint(folder: RunFolder) -> ModelCheckpoint:
    """Keep the epoch of the highest validation accuracy as ``best.ckpt``."""
    return ModelCheckpoint(
        folder.checkpoints, filename="best", monitor=MONITOR, mode="max", enable_version_counter=False
    )


def last_checkpoint(folder: RunFolder) -> ModelCheckpoint:
    """Keep the latest epoch as ``last.ckpt``, whether it was validated or not.

    ``save_last=True`` of ``best_checkpoint`` would not do: since Lightning 2.6 it is written only in the
    epochs that improve.
    """
    return ModelCheckpoint(
        folder.checkpoints,
        filename="last",
        monitor=None,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )


def check_weights(model: LightningModule, checkpoint: Path) -> None:
    """Refuse a checkpoint of another model before anything starts.

    Raises:
        ValueError: the file is no checkpoint, or its weights have other names or shapes than the model's.
    """
    try:
        weights = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["state_dict"]
    except (RuntimeError, KeyError, EOFError, OSError) as error:
        raise ValueError(f"--ckpt_path {checkpoint}: is not a Lightning checkpoint ({error}).") from error
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    stored = {name: tuple(value.shape) for name, value in weights.items()}
    if expected != stored:
        name = next(name for name in [*expected, *stored] if expected.get(name) != stored.get(name))
        raise ValueError(
            f"--ckpt_path {checkpoint}: was written by another model: {name} is "
            f"{stored.get(name, 'absent')} in the checkpoint and {expected.get(name, 'absent')} in the "
            "configuration. Use the configuration stored with the run (leave out --config)."
        )
