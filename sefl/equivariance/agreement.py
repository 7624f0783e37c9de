"""How often a classifier predicts the same class for transformed images, for ``callbacks.EquivarianceMonitor``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sefl.equivariance.transformations import Parameter
from sefl.metrics import ShiftConsistency
from sefl.metrics.functional import float64_device

MEAN, PAIRS = "mean", "pairs"
"""In place of a parameter: over all of them, and over all pairs of copies, the untransformed one among them."""

Key = tuple[str, Parameter | None]
State = dict[str, Tensor]


@dataclass(frozen=True)
class AgreementRow:
    """The fraction of ``count`` comparisons under one transformation in which the predicted classes were the same."""

    transformation: str
    parameter: Parameter
    agreement: float
    count: int


class PredictionAgreement:
    """Sums of agreements by transformation and parameter, a :class:`sefl.metrics.ShiftConsistency` each."""

    def __init__(self) -> None:
        self._sums: dict[Key, ShiftConsistency] = {}

    def update(self, transformation: str, scores: Tensor, transformed: Mapping[Parameter, Tensor]) -> None:
        """Compare the scores of untransformed images, ``(batch, classes)``, with those under each parameter."""
        if not transformed:
            return
        for parameter, others in transformed.items():
            self._add((transformation, parameter), [scores, others])
        self._add((transformation, None), [scores, *transformed.values()])

    def states(self) -> dict[Key, State]:
        """What other processes need to :meth:`merge` these sums with theirs."""
        return {
            key: {name: getattr(sums, name).cpu() for name in sums.metric_state}
            for key, sums in self._sums.items()
        }

    def merge(self, states: Mapping[Key, State]) -> None:
        """Add the sums of another process."""
        for key, state in states.items():
            self._sums.setdefault(key, ShiftConsistency(sync_on_compute=False)).merge_state(state)

    def rows(self, order: Callable[[str, Parameter], Any]) -> list[AgreementRow]:
        """By transformation, its parameters in this order, then their mean and, if there are several, all pairs."""
        by_parameter = sorted(
            ((name, parameter) for name, parameter in self._sums if parameter is not None),
            key=lambda key: order(*key),
        )
        rows: list[AgreementRow] = []
        for name in dict.fromkeys(name for name, _ in by_parameter):
            parameters = [parameter for other, parameter in by_parameter if other == name]
            rows += [self._unshifted((name, parameter), parameter) for parameter in parameters]
            rows.append(self._unshifted((name, None), MEAN))
            if len(parameters) > 1:
                together = self._sums[name, None]
                pairs = int(together.pairs)
                rows.append(AgreementRow(name, PAIRS, int(together.agreeing_pairs) / pairs, pairs))
        return rows

    def _unshifted(self, key: Key, parameter: Parameter) -> AgreementRow:
        sums = self._sums[key]
        count = int(sums.shifted)
        return AgreementRow(key[0], parameter, int(sums.agreeing_with_unshifted) / count, count)

    def _add(self, key: Key, copies: Sequence[Tensor]) -> None:
        if key not in self._sums:
            device = float64_device(copies[0].device)
            self._sums[key] = ShiftConsistency(sync_on_compute=False).to(device)
        self._sums[key].update(torch.stack(list(copies)))


def class_scores(output: Any) -> Tensor | None:
    """The class scores ``(batch, classes)`` in what a classifier puts out, ``None`` if it is none.

    Those are logits ``(batch, classes)`` of at least two classes, or the last band of ``(batch, bands, classes)``.
    """
    if not isinstance(output, Tensor) or not output.is_floating_point() or output.dim() not in (2, 3):
        return None
    scores = output[:, -1] if output.dim() == 3 else output
    return scores.detach() if scores.shape[-1] > 1 else None
