"""Looking at a model between two steps of its training, without a trace."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import nn


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluate the model in between, without gradients; modes and random state are then as they were."""
    modes = [(module, module.training) for module in model.modules()]
    with torch.no_grad(), isolate_rng():
        if any(training for _, training in modes):
            model.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training
