"""Lightning's checkpoints, which survive a kill at any moment, and a check of them before training starts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import CheckpointIO, TorchCheckpointIO

from sefl.files.torch_files import UnreadableFile, read_checkpoint
from sefl.files.writing import write_atomically
from sefl.runs.folder import MONITOR, RunFolder

VERSION = "pytorch-lightning_version"
"""What every checkpoint of Lightning holds."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the target, then rename.

    Lightning writes into the system's temporary folder and moves the file, which is a copy where that
    folder is another file system: a kill meanwhile leaves neither the old checkpoint nor the new. What it
    reads may be damaged or hold code: here neither is loaded.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
        else:
            write_atomically(Path(path), lambda file: torch.save(checkpoint, file))

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """A checkpoint, its checksums compared, on the CPU; ``weights_only`` in any case.

        Raises:
            UnreadableFile: if it is damaged, no checkpoint, or holds code.
        """
        if "://" in str(path):
            return super().load_checkpoint(path, weights_only=True)
        return read_checkpoint(Path(path))


def with_checkpoint_io(plugins: list[Any]) -> list[Any]:
    """The plugins of a trainer and :class:`AtomicCheckpointIO`, unless one of them reads and writes checkpoints."""
    has_own = any(isinstance(plugin, CheckpointIO) for plugin in plugins)
    return plugins if has_own else [*plugins, AtomicCheckpointIO()]


class BestCheckpoint(ModelCheckpoint):
    """Keeps the epoch of the highest validation accuracy as ``best.ckpt``.

    A class of its own, as the next: Lightning tells the stored states of callbacks apart by their classes and options,
    which a ModelCheckpoint of the configuration may share.
    """

    def __init__(self, folder: RunFolder) -> None:
        options: dict[str, Any] = {"filename": "best", "enable_version_counter": False}
        super().__init__(folder.checkpoints, monitor=MONITOR, mode="max", **options)


class LastCheckpoint(ModelCheckpoint):
    """Keeps the latest epoch as ``last.ckpt``, whether it was validated or not.

    ``save_last=True`` of the other would not do: since Lightning 2.6 it is written only in the epochs that improve.
    """

    def __init__(self, folder: RunFolder) -> None:
        options: dict[str, Any] = {"filename": "last", "enable_version_counter": False}
        super().__init__(folder.checkpoints, monitor=None, save_on_train_epoch_end=True, **options)


def require_files_of_their_own(callbacks: Sequence[Callback], folder: RunFolder) -> None:
    """Refuse callbacks that write the same checkpoint, each over the other's.

    Raises:
        ValueError: if a file has two writers.
    """
    writers: dict[Path, str] = {}
    for callback in callbacks:
        if isinstance(callback, ModelCheckpoint):
            # Files that Lightning numbers, or names after epoch and step, do not meet.
            names = {callback.filename} if callback.filename and "{" not in callback.filename else set()
            for name in sorted(names | ({callback.CHECKPOINT_NAME_LAST} if callback.save_last else set())):
                file = Path(callback.dirpath or folder.checkpoints).absolute() / f"{name}.ckpt"
                writer = type(callback).__name__
                if file in writers:
                    raise ValueError(
                        f"--trainer.callbacks: {writers[file]} and {writer} both write {file.name}. Give the second "
                        "another filename, and no save_last: last.ckpt is of the latest epoch in any case."
                    )
                writers[file] = writer


def check_weights(model: LightningModule, checkpoint: Path, to_train: bool = False) -> None:
    """Refuse a checkpoint of another model, or, ``to_train``, one without the optimiser, before anything starts.

    Raises:
        ValueError: the file is no checkpoint, or its weights have other names or shapes than the model's.
    """
    content = read_checkpoint(checkpoint, "--ckpt_path", mmap=True)
    if VERSION not in content:
        raise UnreadableFile(
            f"--ckpt_path {checkpoint}: is not a Lightning checkpoint: it holds a state_dict, and no {VERSION}."
        )
    if to_train and "optimizer_states" not in content:
        raise UnreadableFile(
            f"--ckpt_path {checkpoint}: holds weights without the state of the optimiser (save_weights_only): training "
            "cannot go on from it. It can be evaluated; a run goes on from last.ckpt."
        )
    expected, stored = (
        {name: tuple(getattr(value, "shape", ())) for name, value in weights.items()}
        for weights in (model.state_dict(), content["state_dict"])
    )
    if expected != stored:
        name = next(name for name in [*expected, *stored] if expected.get(name) != stored.get(name))
        raise ValueError(
            f"--ckpt_path {checkpoint}: was written by another model: {name} is "
            f"{stored.get(name, 'absent')} in the checkpoint and {expected.get(name, 'absent')} in the "
            "configuration. Use the configuration stored with the run (leave out --config)."
        )
