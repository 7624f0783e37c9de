"""Going on from a checkpoint exactly as if the run had never stopped."""

import random
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, distributed

KEY = "processes"
"""Where a checkpoint holds the state of each process of the run that wrote it."""


class ExactResumption(Callback):
    """Stores what Lightning's checkpoints leave out, and restores it: a resumed run equals one that never stopped.

    * The random states of PyTorch (CPU and the process' GPU), NumPy and Python, of every process: dropout.
    * Gradients, in the middle of an accumulation.
    * The place in the epoch of a loader with ``state_dict``. Lightning restores it where it makes the loader, and that
      may be too early: ``trainer.estimated_stepping_batches``, which many schedules ask for, makes the loader before
      there is a state to restore.

    It belongs behind all other callbacks: what they draw at the start of a training was drawn before the checkpoint.
    """

    def __init__(self) -> None:
        self._stored: list[dict[str, Any]] | None = None

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        state = random_state(trainer.strategy.root_device)
        if trainer.fit_loop._should_accumulate():
            gradients = ((name, weight.grad) for name, weight in pl_module.named_parameters())
            state["gradients"] = {name: grad.cpu() for name, grad in gradients if grad is not None}
        states = [state] * trainer.world_size
        if trainer.world_size > 1:  # every process dumps the checkpoint, the first one writes it
            distributed.all_gather_object(states, state)
        checkpoint[KEY] = states

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if not trainer.training and trainer.state.fn != "fit":
            return
        self._stored = checkpoint.get(KEY)
        if self._stored is None:
            rank_zero_warn(
                "The checkpoint holds no random states, as those of earlier versions: dropout goes on with other draws."
            )
        elif len(self._stored) != trainer.world_size:
            rank_zero_warn(
                f"The checkpoint was written by {len(self._stored)} processes, and {trainer.world_size} go on: dropout "
                "has other draws from here on, and the rest of an epoch that was begun other batches, unless the "
                "global batch size is the same."
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._stored is None:
            return
        state = self._stored[trainer.global_rank % len(self._stored)]
        self._stored = None
        loop = trainer.fit_loop
        loop._load_combined_loader_states()
        set_random_state(state, trainer.strategy.root_device)
        for name, weight in pl_module.named_parameters():
            if name in state.get("gradients", {}):
                weight.grad = state["gradients"][name].to(weight)
        # Again, as the interrupted run did behind its checkpoint: a loader may draw, or look where to begin.
        if loop._data_fetcher is not None:
            iter(loop._data_fetcher)


def random_state(device: torch.device) -> dict[str, Any]:
    """The states of this process' global generators, as plain values and tensors: ``torch.load`` must trust nobody."""
    of_numpy: Any = np.random.get_state(legacy=False)  # noqa: NPY002 (what others draw from)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "numpy": {
            "key": torch.from_numpy(of_numpy["state"]["key"].astype(np.int64)),
            "pos": int(of_numpy["state"]["pos"]),
            "has_gauss": int(of_numpy["has_gauss"]),
            "gauss": float(of_numpy["gauss"]),
        },
        "python": random.getstate(),
    }


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Restore what :func:`random_state` returned; a GPU's where the process that wrote it had one too."""
    torch.set_rng_state(state["torch"].cpu())
    if device.type == "cuda" and isinstance(state["cuda"], Tensor):
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
    of_numpy = state["numpy"]
    key = of_numpy["key"].cpu().numpy().astype(np.uint32)
    state_of_numpy = ("MT19937", key, of_numpy["pos"], of_numpy["has_gauss"], of_numpy["gauss"])
    np.random.set_state(state_of_numpy)  # noqa: NPY002
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
