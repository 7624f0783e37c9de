"""How long a test takes, beside the forward passes of a training on as many images."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from sefl.bench.comparisons import OURS, PASSES, Comparison, PipelineSizes
from sefl.bench.pipelines import Configured, digits
from sefl.bench.timing import Action
from sefl.bench.work import seeded
from sefl.command_line.harmless_messages import leave_out_harmless_messages

EVALUATION, FORWARD = "evaluation", "forward"
QUICKSTART = Configured("", "quickstart", ("quickstart",), digits)


@dataclass(frozen=True)
class EvaluationWork:
    """``Trainer.test`` of the quickstart: images each at their own resolution, then all of them at the finest.

    Args:
        sizes: which resolutions, and how many images of each.
    """

    sizes: PipelineSizes

    def build(self, device: torch.device) -> Action:
        from pytorch_lightning import Trainer

        leave_out_harmless_messages()
        where: dict[str, Any] = {
            "accelerator": "gpu" if device.type == "cuda" else "cpu",
            "devices": 1 if device.index is None else [device.index],
        }
        quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        trainer = Trainer(**where | dict.fromkeys(quiet, False))
        network, datamodule = _network(), _datamodule(self.sizes)
        return partial(trainer.test, network, datamodule=datamodule, verbose=False)


@dataclass(frozen=True)
class ForwardWork:
    """The forward passes of an epoch of training on as many images, with what a backward pass would need.

    Args:
        sizes: which resolutions, and how many images of each.
    """

    sizes: PipelineSizes

    def build(self, device: torch.device) -> Action:
        network, loader = _network().to(device).train(), _datamodule(self.sizes).train_dataloader()

        def forward() -> None:
            for images, _ in loader:
                network(images.to(device))

        return forward


def evaluations(sizes: PipelineSizes) -> list[Comparison]:
    """A test of the quickstart beside its training's forward passes."""
    resolutions = QUICKSTART.resolutions(sizes)
    images = sizes.images * len(resolutions)
    return [
        Comparison(
            part="steps",
            work=f"quickstart, {images} images of {resolutions[0]} to {resolutions[-1]} pixels",
            passes=PASSES[False],
            contestants={OURS: EvaluationWork(sizes), FORWARD: ForwardWork(sizes)},
            items=images,
            counted=(),
            weighed=(),
            table=EVALUATION,
        )
    ]


def _network() -> Any:
    return seeded(partial(QUICKSTART.network, QUICKSTART.data))


def _datamodule(sizes: PipelineSizes) -> Any:
    """As many random images to train on as to test."""
    resolutions = QUICKSTART.resolutions(sizes)
    images = sizes.images * len(resolutions)
    few = QUICKSTART.default_datamodule.num_classes
    options = {
        "resolutions": resolutions,
        "train_samples": images,
        "val_samples": few,
        "test_samples": images,
    }
    return QUICKSTART.prepared(options, digits(size=2 * images + few))
