"""Accuracy over all samples, and at each resolution."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sefl.metrics.accumulation import Float64Metric
from sefl.metrics.functional import correct_per_resolution, predicted_classes

WRONG = "predictions are not finite and count as wrong"


class PerResolutionAccuracy(Float64Metric):
    """Fraction of correct predictions at each resolution, and over all samples.

    ``update(predictions, targets, resolution)`` takes logits ``(batch, classes)`` or labels ``(batch,)``,
    true labels ``(batch,)``, and the batch's resolution or one per sample ``(batch,)``. ``compute()`` gives
    ``{resolution: accuracy, ..., "overall": accuracy}`` with every resolution asked for; NaN where there was
    no sample. Where the highest score is not finite the prediction is wrong, and ``compute()`` warns of it.

    Args:
        resolutions: those that may occur.

    Raises:
        ValueError: if ``resolutions`` is empty or repeats itself; from ``update``, if shapes disagree or a
            resolution was not asked for.

    >>> accuracy = PerResolutionAccuracy([8, 9, 10])
    >>> accuracy.update(torch.tensor([1, 2]), torch.tensor([1, 0]), 8)
    >>> accuracy.update(torch.tensor([[0.0, 1.0]]), torch.tensor([1]), torch.tensor([9]))
    >>> {key: round(value.item(), 3) for key, value in accuracy.compute().items()}
    {8: 0.5, 9: 1.0, 10: nan, 'overall': 0.667}
    """

    higher_is_better = True
    correct: Tensor
    count: Tensor

    def __init__(self, resolutions: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.resolutions = list(resolutions)
        if not self.resolutions or len(set(self.resolutions)) < len(self.resolutions):
            raise ValueError(f"resolutions must be distinct and at least one, got {self.resolutions}")
        self.add_sum("correct", torch.zeros(len(self.resolutions), dtype=torch.int64))
        self.add_sum("count", torch.zeros(len(self.resolutions), dtype=torch.int64))

    def update(self, predictions: Tensor, targets: Tensor, resolution: int | Tensor) -> None:
        correct, count = correct_per_resolution(predictions, targets, resolution, self.resolutions)
        self.correct = self.correct + correct.to(self.correct.device)
        self.count = self.count + count.to(self.count.device)
        self.count_not_finite(predicted_classes(predictions, 1)[1])

    def compute(self) -> dict[int | str, Tensor]:
        self.warn_of_not_finite(WRONG)
        accuracy = self.correct.double() / self.count
        result: dict[int | str, Tensor] = dict(zip(self.resolutions, accuracy.unbind(), strict=True))
        return result | {"overall": self.correct.sum().double() / self.count.sum()}


class Accuracy(Float64Metric):
    """Fraction of correct predictions, as :class:`PerResolutionAccuracy` of a single resolution.

    ``update(predictions, targets)`` takes logits ``(batch, classes)`` or labels ``(batch,)``, and true labels
    ``(batch,)``.

    Raises:
        ValueError: from ``update``, if shapes disagree.

    >>> accuracy = Accuracy()
    >>> accuracy.update(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([1, 1]))
    >>> accuracy.compute()
    tensor(0.5000, dtype=torch.float64)
    """

    higher_is_better = True
    correct: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_sum("correct", torch.tensor(0))
        self.add_sum("count", torch.tensor(0))

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        (correct,), (count,) = correct_per_resolution(predictions, targets, 1, [1])
        self.correct = self.correct + correct.to(self.correct.device)
        self.count = self.count + count.to(self.count.device)
        self.count_not_finite(predicted_classes(predictions, 1)[1])

    def compute(self) -> Tensor:
        self.warn_of_not_finite(WRONG)
        return self.correct.double() / self.count
