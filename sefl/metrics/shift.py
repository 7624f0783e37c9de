"""Shift consistency: does a classifier predict the same class wherever the image is?"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sefl.metrics.accumulation import Float64Metric
from sefl.metrics.functional import predicted_classes, predictions_agree


def shifted_copies(inputs: Tensor, shifts: Sequence[int | tuple[int, ...]]) -> Tensor:
    """The inputs and circularly shifted copies of them; what leaves at one side comes in at the other.

    Args:
        inputs: images ``(batch, channels, height, width)``, signals ``(batch, channels, time)``, or volumes.
        shifts: by how many samples to shift along each spatial axis, or along all of them by the same.

    Returns:
        ``(1 + len(shifts), batch, channels, *space)``, the unshifted ones first. A model takes them as
        ``copies.flatten(0, 1)``.

    Raises:
        ValueError: if there are no spatial axes, or a shift has another number of them.

    >>> shifted_copies(torch.tensor([[[1, 2, 3, 4]]]), [1, (2,)]).squeeze()
    tensor([[1, 2, 3, 4],
            [4, 1, 2, 3],
            [3, 4, 1, 2]])
    """
    axes = tuple(range(2, inputs.dim()))
    if not axes:
        raise ValueError(f"inputs must be (batch, channels, *space), got shape {tuple(inputs.shape)}")
    copies = [inputs]
    for shift in shifts:
        along = (shift,) * len(axes) if isinstance(shift, int) else tuple(shift)
        if len(along) != len(axes):
            raise ValueError(
                f"shifts must be numbers or one number for each of {len(axes)} axes, got {shift}"
            )
        copies.append(inputs.roll(along, axes))
    return torch.stack(copies)


class ShiftConsistency(Float64Metric):
    """How often a classifier predicts the same class for an image and for shifted copies of it.

    With ``y_s`` the class predicted for a sample shifted by ``s``, of shifts that begin with 0, over all samples:

    * ``unshifted``: the fraction of shifts ``s`` other than the first with ``y_s = y_0``;
    * ``pairs``: the fraction of all pairs of different shifts ``s, t`` with ``y_s = y_t``, which is the consistency
      of Zhang (*Making Convolutional Networks Shift-Invariant Again*, ICML 2019) where the shifts are random.

    Both are 1 for a classifier that is invariant to the shifts, and the same number where there are two copies. They
    say nothing of whether predictions are right: a constant one is consistent. Scores that are not finite agree with
    none. No samples give NaN.

    ``update(predictions)`` takes logits ``(copies, batch, classes)`` or labels ``(copies, batch)``, of at least two
    copies, the unshifted ones first; their number may differ between updates. What else leaves a class as it is, a
    reflection say, is measured in the same way.

    Raises:
        ValueError: from ``update``, for other shapes.

    >>> images = torch.eye(4).view(1, 1, 4, 4).expand(2, 3, 4, 4)
    >>> copies = shifted_copies(images, [(0, 1), (1, 1)])
    >>> where_it_starts = copies.flatten(0, 1)[:, 0, 0].unflatten(0, (3, 2))  # logits: one class per column
    >>> consistency = ShiftConsistency()
    >>> consistency.update(where_it_starts)
    >>> {name: round(value.item(), 3) for name, value in consistency.compute().items()}
    {'unshifted': 0.5, 'pairs': 0.333}
    """

    higher_is_better = True
    agreeing_with_unshifted: Tensor
    shifted: Tensor
    agreeing_pairs: Tensor
    pairs: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("agreeing_with_unshifted", "shifted", "agreeing_pairs", "pairs"):
            self.add_sum(name, torch.tensor(0))

    def update(self, predictions: Tensor) -> None:
        agree = predictions_agree(predictions).to(self.pairs.device)
        copies, _, batch = agree.shape
        different = torch.ones(copies, copies, dtype=torch.bool, device=agree.device).triu(1)
        self.agreeing_with_unshifted = self.agreeing_with_unshifted + agree[0, 1:].sum()
        self.shifted = self.shifted + (copies - 1) * batch
        self.agreeing_pairs = self.agreeing_pairs + agree[different].sum()
        self.pairs = self.pairs + copies * (copies - 1) // 2 * batch
        self.count_not_finite(predicted_classes(predictions, 2)[1])

    def compute(self) -> dict[str, Tensor]:
        self.warn_of_not_finite("predictions are not finite and agree with none")
        return {
            "unshifted": self.agreeing_with_unshifted.double() / self.shifted,
            "pairs": self.agreeing_pairs.double() / self.pairs,
        }
