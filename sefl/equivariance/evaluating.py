"""Looking at a model between two steps of its training, without a trace."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluate the model in between, without gradients; modes and random state are then as they were."""
    modes = [(module, module.training) for module in model.modules()]
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.no_grad(), torch.random.fork_rng(devices):
        if any(training for _, training in modes):
            model.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training
            random.setstate(of_python)
            np.random.set_state(of_numpy)  # noqa: NPY002
