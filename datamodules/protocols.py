"""How a data set that comes in an official training and test part is split: as published, pooled, or as it comes."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.split import Parts, draw_stratified_parts
from sefl.arguments import require_integer, require_one_of

Protocol = Literal["pool", "standard"]


@dataclass(frozen=True)
class OfficialParts:
    """The sizes of the official parts, and of the one part that ``pool`` fixes beside the validation samples.

    Args:
        train: official training samples, which come first.
        test: official test samples.
        pool_train: training samples of the pooled ones; the test part is what remains.
        pool_test: test samples of the pooled ones; the training part is what remains. One of the two is given.
    """

    train: int
    test: int
    pool_train: int | None = None
    pool_test: int | None = None

    def check(self, protocol: Protocol, val_size: int) -> None:
        """Raise a ValueError if there is no such protocol, or ``val_size`` leaves it an empty part."""
        require_one_of("protocol", protocol, ("pool", "standard"))
        available = self.train
        if protocol == "pool":
            available += self.test - (self.pool_train or 0) - (self.pool_test or 0)
        require_integer("val_size", val_size, 1, available - 1)

    def draw(
        self, protocol: Protocol, val_size: int, labels: NDArray[np.int64], generator: np.random.Generator
    ) -> Parts:
        """Training, validation and test indices, stratified where they are drawn.

        Args:
            protocol: ``pool`` draws all three parts from all samples, ``standard`` validation samples from the official
                training part.
            val_size: validation samples.
            labels: of the official training samples, then of the test samples.
            generator: the source of everything random.
        """
        if protocol == "pool":
            rest = len(labels) - val_size
            train_size = self.pool_train or rest - (self.pool_test or 0)
            sizes = [train_size, val_size, rest - train_size]
            train, val, test = draw_stratified_parts(labels, sizes, generator)
            return train, val, test
        train, val = draw_stratified_parts(labels[: self.train], [self.train - val_size, val_size], generator)
        return train, val, np.arange(self.train, len(labels))
