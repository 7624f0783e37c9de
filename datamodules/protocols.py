"""How a data set that comes in an official training and test part is split: as published, pooled, or as it comes."""

from collections.abc import Callable
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
    pool_train: int = 0
    pool_test: int = 0

    def drawn_by(
        self, protocol: Protocol, val_size: int
    ) -> Callable[[NDArray[np.int64], np.random.Generator], Parts]:
        """What draws the training, validation and test samples, stratified: see :class:`datamodules.data_set.DataSet`.

        Args:
            protocol: ``pool`` draws all three parts from all samples, ``standard`` validation samples from the official
                training part.
            val_size: validation samples.

        Raises:
            ValueError: if there is no such protocol, or ``val_size`` leaves it an empty part.
        """
        require_one_of("protocol", protocol, ("pool", "standard"))
        pooled = protocol == "pool"
        available = self.train + (self.test - self.pool_train - self.pool_test if pooled else 0)
        require_integer("val_size", val_size, 1, available - 1)

        def draw(labels: NDArray[np.int64], generator: np.random.Generator) -> Parts:
            rest = (len(labels) if pooled else self.train) - val_size
            if pooled:
                train_size = self.pool_train or rest - self.pool_test
                return draw_stratified_parts(labels, [train_size, val_size, rest - train_size], generator)
            train, val = draw_stratified_parts(labels[: self.train], [rest, val_size], generator)
            return train, val, np.arange(self.train, len(labels))

        return draw
