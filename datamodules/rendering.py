"""What data sets share that are drawn here rather than read: how many samples of each part, and of balanced classes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.batches import seeded_generator
from datamodules.settings import ScaleSettings
from datamodules.split import Parts, draw_stratified_parts
from sefl.arguments import require_positive
from sefl.tensors.allocations import require_memory

# Samples that are drawn at once.
BATCH = 500


@dataclass
class RenderedSettings(ScaleSettings):
    """The options of a rendered data set, beside those of :class:`ScaleSettings`.

    Args:
        train_samples: the size of the training part.
        val_samples: the size of the validation part.
        test_samples: the size of the test part.
    """

    train_samples: int = 4_000
    val_samples: int = 1_000
    test_samples: int = 1_000

    def __post_init__(self) -> None:
        super().__post_init__()
        for part in ("train", "val", "test"):
            require_positive(f"{part}_samples", getattr(self, f"{part}_samples"))

    @property
    def sizes(self) -> list[int]:
        """Of the training, validation and test part."""
        return [self.train_samples, self.val_samples, self.test_samples]

    def require_memory(self, size: str, bytes_each: int, advice: str) -> None:
        """Refuse more samples than fit into the machine, by a ValueError that names the option of their size."""
        samples = sum(self.sizes)
        require_memory(f"{size} of {samples} samples", samples * bytes_each, advice)

    def render(
        self, draw: Callable[[Tensor, torch.Generator], Tensor], classes: int, stream: int
    ) -> tuple[Tensor, Tensor]:
        """All samples, and their labels ``(samples,)``; ``draw`` makes those of some labels."""
        generator = seeded_generator(self.seed, stream)
        labels = torch.randperm(sum(self.sizes), generator=generator) % classes
        return torch.cat([draw(batch, generator) for batch in labels.split(BATCH)]), labels

    def draw_parts(self, labels: NDArray[np.int64], generator: np.random.Generator) -> Parts:
        """Stratified training, validation and test indices."""
        return draw_stratified_parts(labels, self.sizes, generator)
