"""Accuracy and invariance over the transformed copies of every sample (ICLR 2025)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sefl.groups.orbit import check_angles
from sefl.metrics.accumulation import Float64Metric
from sefl.metrics.functional import predicted_classes, relative_squared_error

# `loc` of the published tables: rotations below so many degrees, either way.
LOCAL_ROTATION = 60.0


def correct_over_orbit(predictions: Tensor, targets: Tensor) -> Tensor:
    """Whether each copy of each sample is classified correctly; where the highest score is not finite it is not.

    Args:
        predictions: logits ``(elements, batch, classes)`` or labels ``(elements, batch)``.
        targets: labels ``(batch,)``.

    Returns:
        ``(elements, batch)``, boolean.

    Raises:
        ValueError: if the shapes disagree.

    >>> correct_over_orbit(torch.tensor([[1, 2], [1, 0]]), torch.tensor([1, 2]))
    tensor([[ True,  True],
            [ True, False]])
    """
    if targets.dim() != 1 or predictions.dim() not in (2, 3) or predictions.shape[1] != len(targets):
        raise ValueError(
            "predictions must be logits (elements, batch, classes) or labels (elements, batch) and targets labels "
            f"(batch,), got shapes {tuple(predictions.shape)} and {tuple(targets.shape)}"
        )
    labels, finite = predicted_classes(predictions, 2)
    return (labels == targets) & finite


def invariance_error(outputs: Tensor, identity: int = 0) -> Tensor:
    """How far the output moves under each element: ``||f(g x) - f(x)||^2 / ||f(x)||^2``, in float64.

    Args:
        outputs: ``f(g x)`` for every element: ``(elements, batch, ...)``, floating point, of any precision.
        identity: which element leaves ``x`` as it is.

    Returns:
        ``(elements, batch)``, float64; zero for the identity unless its output is NaN or infinite.

    Raises:
        TypeError: if ``outputs`` are not floating point.
        ValueError: if there is no axis of elements and of the batch, or ``identity`` is none of the elements.

    >>> invariance_error(torch.tensor([[[3.0, 4.0]], [[3.0, 3.0]]]))
    tensor([[0.0000],
            [0.0400]], dtype=torch.float64)
    """
    if outputs.dim() < 2:
        raise ValueError(f"outputs must be (elements, batch, ...), got shape {tuple(outputs.shape)}")
    if not 0 <= identity < len(outputs):
        raise ValueError(f"identity must be one of the {len(outputs)} elements, got {identity}")
    expected = outputs[identity].expand_as(outputs)
    return relative_squared_error(expected.flatten(0, 1), outputs.flatten(0, 1)).view(outputs.shape[:2])


class OrbitMetric(Float64Metric):
    """What measures over an orbit share: the elements of it, of which one must be the identity.

    Args:
        angles: the rotation of each element, in degrees.
        mirrored: whether each element also reflects; by default none does.

    Raises:
        ValueError: if the two disagree, elements repeat or the identity is not among them.
    """

    def __init__(
        self, angles: Sequence[float], mirrored: Sequence[bool] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.angles = [float(angle) % 360 for angle in angles]
        self.mirrored = [False] * len(self.angles) if mirrored is None else [bool(flag) for flag in mirrored]
        if len(self.mirrored) != len(self.angles):
            raise ValueError(
                f"mirrored must be one flag for each of the {len(self.angles)} angles, got {len(self.mirrored)}"
            )
        elements = list(zip(self.angles, self.mirrored, strict=True))
        for reflected in (False, True):
            rotations = [angle for angle, flag in elements if flag == reflected]
            if rotations or not reflected:
                check_angles(rotations)
        if (0.0, False) not in elements:
            raise ValueError(f"angles must contain 0, not mirrored, got {list(angles)}")
        self.identity = elements.index((0.0, False))

    def _require_elements(self, name: str, given: Tensor) -> None:
        if given.dim() < 2 or len(given) != len(self.angles):
            raise ValueError(
                f"{name} must be (elements, batch, ...) with {len(self.angles)} elements, "
                f"got shape {tuple(given.shape)}"
            )


class OrbitAccuracy(OrbitMetric):
    """Accuracy over the transformed copies of every sample.

    ``update(predictions, targets)`` takes logits ``(elements, batch, classes)`` or labels ``(elements, batch)`` of
    the copies (:class:`sefl.groups.orbit.Orbit`), and true labels ``(batch,)``. ``compute()`` gives, with NaN where
    there was no sample,

    * ``no_aug``: the accuracy on the samples as they are;
    * ``orbit``: the accuracy over all copies of all samples, the untransformed ones among them;
    * ``orbit_all``: the fraction of samples of which every copy is classified correctly;
    * ``loc``: the accuracy over the copies rotated by less than 60 degrees either way and not mirrored, the
      untransformed ones among them;
    * ``per_element``: the accuracy under each element, ``(elements,)``.

    Args:
        angles: the rotation of each element, in degrees.
        mirrored: whether each element also reflects; by default none does.

    Raises:
        ValueError: if the two disagree, elements repeat or the identity is not among them; from ``update``, if
            shapes disagree.

    >>> accuracy = OrbitAccuracy([0, 90, 180, 270])
    >>> accuracy.update(torch.tensor([[1, 2], [1, 0], [1, 0], [1, 0]]), torch.tensor([1, 2]))
    >>> {name: value.tolist() for name, value in accuracy.compute().items()}
    {'no_aug': 1.0, 'orbit': 0.625, 'orbit_all': 0.5, 'loc': 1.0, 'per_element': [1.0, 0.5, 0.5, 0.5]}
    """

    higher_is_better = True
    correct: Tensor
    correct_everywhere: Tensor
    count: Tensor

    def __init__(
        self, angles: Sequence[float], mirrored: Sequence[bool] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(angles, mirrored, **kwargs)
        self.local = [
            element
            for element, (angle, flag) in enumerate(zip(self.angles, self.mirrored, strict=True))
            if min(angle, 360 - angle) < LOCAL_ROTATION and not flag
        ]
        self.add_sum("correct", torch.zeros(len(self.angles), dtype=torch.int64))
        self.add_sum("correct_everywhere", torch.tensor(0))
        self.add_sum("count", torch.tensor(0))

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        self._require_elements("predictions", predictions)
        correct = correct_over_orbit(predictions, targets).to(self.count.device)
        self.correct = self.correct + correct.sum(1)
        self.correct_everywhere = self.correct_everywhere + correct.all(0).sum()
        self.count = self.count + correct.shape[1]
        self.count_not_finite(predicted_classes(predictions, 2)[1])

    def compute(self) -> dict[str, Tensor]:
        self.warn_of_not_finite("predictions are not finite and count as wrong")
        correct = self.correct.double()
        return {
            "no_aug": correct[self.identity] / self.count,
            "orbit": correct.sum() / (self.count * len(correct)),
            "orbit_all": self.correct_everywhere.double() / self.count,
            "loc": correct[self.local].sum() / (self.count * len(self.local)),
            "per_element": correct / self.count,
        }


class OrbitError(OrbitMetric):
    """Invariance error over the transformed copies of every sample: ``||f(g x) - f(x)||^2 / ||f(x)||^2``.

    ``update(outputs)`` takes ``f(g x)``, such as logits, for every element: ``(elements, batch, ...)``, floating
    point. ``compute()`` gives ``{"mean", "max", "per_element"}``: the mean and the maximum over all samples and all
    elements but the identity, under which there is no error, and the mean over samples under each element,
    ``(elements,)``. Sums are kept in float64, so that any number of processes gives the number that one gives. NaN
    stays NaN; mean and max are NaN if there were no samples or there is no element but the identity.

    Args:
        angles: the rotation of each element, in degrees.
        mirrored: whether each element also reflects; by default none does.

    Raises:
        TypeError: from ``update``, if the outputs are not floating point.
        ValueError: if the two disagree, elements repeat or the identity is not among them; from ``update``, if
            there is another number of elements.

    >>> error = OrbitError([0, 120, 240])
    >>> error.update(torch.tensor([[[2.0, 0.0]], [[2.0, 1.0]], [[2.0, 0.0]]]))
    >>> {name: value.tolist() for name, value in error.compute().items()}
    {'mean': 0.125, 'max': 0.25, 'per_element': [0.0, 0.25, 0.0]}
    """

    higher_is_better = False
    total: Tensor
    largest: Tensor
    count: Tensor

    def __init__(
        self, angles: Sequence[float], mirrored: Sequence[bool] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(angles, mirrored, **kwargs)
        self.others = [element for element in range(len(self.angles)) if element != self.identity]
        self.add_sum("total", torch.zeros(len(self.angles), dtype=torch.float64))
        self.add_state("largest", torch.zeros((), dtype=torch.float64), dist_reduce_fx="max")
        self.add_sum("count", torch.tensor(0))

    def update(self, outputs: Tensor) -> None:
        self._require_elements("outputs", outputs)
        errors = invariance_error(outputs, self.identity).to(self.total.device)
        self.total = self.total + errors.sum(1)
        self.largest = torch.cat([self.largest[None], errors[self.others].flatten()]).amax()
        self.count = self.count + errors.shape[1]
        self.count_not_finite(errors.isfinite())

    def compute(self) -> dict[str, Tensor]:
        self.warn_of_not_finite("errors are not finite, nor are their mean and maximum")
        measured = self.count * len(self.others)
        return {
            "mean": self.total[self.others].sum() / measured,
            "max": torch.where(measured > 0, self.largest, torch.nan),
            "per_element": self.total / self.count,
        }
