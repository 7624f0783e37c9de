"""Checkpoints that survive a kill at any moment, and a check of what is in them before training starts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule
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


class BestCheckpoint(ModelCheckpoint):
    """Keeps the epoch of the highest validation accuracy as ``best.ckpt``.

    A class of its own, as the next: Lightning tells the stored states of callbacks apart by their classes and options,
    which a ModelCheckpoint of the configuration may share.
    """

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(
            folder.checkpoints, filename="best", monitor=MONITOR, mode="max", enable_version_counter=False
        )


class LastCheckpoint(ModelCheckpoint):
    """Keeps the latest epoch as ``last.ckpt``, whether it was validated or not.

    ``save_last=True`` of the other would not do: since Lightning 2.6 it is written only in the epochs that improve.
    """

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(
            folder.checkpoints,
            filename="last",
            monitor=None,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )


def require_files_of_their_own(callbacks: Sequence[Callback], folder: RunFolder) -> None:
    """Refuse callbacks that write the same checkpoint, each over the other's.

    Raises:
        ValueError: if a file has two writers.
    """
    writers: dict[Path, str] = {}
    for callback in callbacks:
        if isinstance(callback, ModelCheckpoint):
            # Files that Lightning numbers, or names after epoch and step, do not meet.
            fixed = callback.filename is not None and "{" not in callback.filename
            names = [callback.filename] if fixed else []
            names += [callback.CHECKPOINT_NAME_LAST] if callback.save_last else []
            for name in dict.fromkeys(names):
                file = Path(callback.dirpath or folder.checkpoints).absolute() / f"{name}.ckpt"
                writer = type(callback).__name__
                if file in writers:
                    raise ValueError(
                        f"--trainer.callbacks: {writers[file]} and {writer} both write {file.name}. Give the second "
                        "another filename, and no save_last: last.ckpt is of the latest epoch in any case."
                    )
                writers[file] = writer


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
