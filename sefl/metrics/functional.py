"""The measures of section 5 of the design as pure functions of one batch, one value per sample."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def relative_squared_error(expected: Tensor, actual: Tensor) -> Tensor:
    """Equivariance error of every sample: ``||expected - actual||^2 / ||expected||^2``, in float64.

    For a layer ``f`` and ideal downsampling ``D_r``, ``expected`` is ``D_r f(x)``, ``actual`` is ``f(D_r
    x)``.

    Where ``expected`` is zero the error is 0 if ``actual`` is zero too and infinite if it is not. NaN in
    either makes the sample's error NaN.

    Args:
        expected: ``(batch, ...)``, floating point, of any precision.
        actual: the same shape.

    Returns:
        ``(batch,)``, float64, on the device of the inputs (on the CPU for devices without float64).

    Raises:
        TypeError: if an input is not floating point.
        ValueError: if the shapes differ or there is no batch axis.

    >>> relative_squared_error(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([[3.0, 3.0], [0.0, 0.0]]))
    tensor([0.0400, 0.0000], dtype=torch.float64)
    """
    if not expected.is_floating_point() or not actual.is_floating_point():
        raise TypeError(
            f"expected and actual must be floating point, got {expected.dtype} and {actual.dtype}"
        )
    if expected.shape != actual.shape or expected.dim() == 0:
        raise ValueError(
            "expected and actual must have one shape (batch, ...), "
            f"got {tuple(expected.shape)} and {tuple(actual.shape)}"
        )
    reference = in_float64(expected)[:, None].flatten(1)
    difference = (reference - in_float64(actual)[:, None].flatten(1)).square().sum(1)
    energy = reference.square().sum(1)
    both_zero = (energy == 0) & (difference == 0)
    return torch.where(both_zero, 0.0, difference / energy)


def in_float64(x: Tensor) -> Tensor:
    """``x`` in float64, on the CPU where its own device has no float64.

    >>> in_float64(torch.ones(1, dtype=torch.bfloat16)).dtype
    torch.float64
    """
    return x.to(float64_device(x.device)).double()


def float64_device(device: torch.device) -> torch.device:
    """Where to compute in float64 what lies on ``device``: there, unless it is Apple's MPS, which has none.

    >>> float64_device(torch.device("cuda", 1)), float64_device(torch.device("mps"))
    (device(type='cuda', index=1), device(type='cpu'))
    """
    return torch.device("cpu") if device.type == "mps" else device


def is_scale_consistent(losses: Tensor, strict: bool = False) -> Tensor:
    """Whether each sample gains from resolution: ``L_finest <= L_r`` for every coarser ``r``.

    The strict variant asks for losses that nowhere increase: ``L_r <= L_q`` for all neighbours ``q < r``.
    Ties count as consistent; a sample with a loss that is not finite, at any resolution, does not.

    Args:
        losses: ``(batch, resolutions)``, coarse to fine.
        strict: whether the losses must be monotone.

    Returns:
        ``(batch,)``, boolean.

    Raises:
        ValueError: if ``losses`` is not two-dimensional or has no resolutions.

    >>> losses = torch.tensor([[3.0, 2.0, 1.0], [2.0, 3.0, 1.0], [1.0, 2.0, 3.0]])
    >>> is_scale_consistent(losses), is_scale_consistent(losses, strict=True)
    (tensor([ True,  True, False]), tensor([ True, False, False]))
    """
    if losses.dim() != 2 or losses.shape[1] == 0:
        raise ValueError(
            f"losses must be (batch, resolutions), coarse to fine, got shape {tuple(losses.shape)}"
        )
    coarser, finer = losses[:, :-1], losses[:, 1:] if strict else losses[:, -1:]
    return (finer <= coarser).all(1) & losses.isfinite().all(1)


def predicted_classes(predictions: Tensor, labels_dim: int) -> tuple[Tensor, Tensor]:
    """The classes of the highest scores, and where there is one: where the highest score is a finite number.

    That of NaN, of an overflow and of nothing but minus infinity is none; single classes may be at minus infinity.

    Args:
        predictions: logits ``(..., classes)`` or labels ``(...,)``, which are what they say unless they are NaN.
        labels_dim: how many axes labels have.

    Returns:
        ``(labels, known)``, ``(...,)`` each; ``known`` is boolean.

    >>> predicted_classes(torch.tensor([[0.0, 1.0], [math.nan, 1.0], [math.inf, 1.0], [-math.inf, 1.0]]), 1)
    (tensor([1, 0, 0, 1]), tensor([ True, False, False,  True]))
    """
    if predictions.dim() == labels_dim:
        return predictions, predictions.isfinite()
    highest = predictions.max(-1)
    return highest.indices, highest.values.isfinite()


def correct_per_resolution(
    predictions: Tensor, targets: Tensor, resolution: int | Tensor, resolutions: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Counts of correct predictions and of samples at each resolution; scores that are not finite are wrong.

    Args:
        predictions: logits ``(batch, classes)`` or labels ``(batch,)``.
        targets: labels ``(batch,)``.
        resolution: that of the whole batch, or ``(batch,)`` of each sample.
        resolutions: those to count at.

    Returns:
        ``(correct, count)``, each ``(len(resolutions),)``, int64.

    Raises:
        ValueError: if shapes disagree, or a resolution is not among ``resolutions``.

    >>> predictions, targets = torch.tensor([1, 2, 3]), torch.tensor([1, 0, 3])
    >>> correct_per_resolution(predictions, targets, torch.tensor([8, 8, 9]), [8, 9])
    (tensor([1, 1]), tensor([2, 1]))
    """
    if targets.dim() != 1 or predictions.dim() not in (1, 2) or len(predictions) != len(targets):
        raise ValueError(
            "predictions must be logits (batch, classes) or labels (batch,) and targets labels (batch,), "
            f"got shapes {tuple(predictions.shape)} and {tuple(targets.shape)}"
        )
    per_sample = torch.as_tensor(resolution, device=targets.device)
    if per_sample.dim() > 1 or (per_sample.dim() == 1 and len(per_sample) != len(targets)):
        raise ValueError(
            f"resolution must be one integer or one per sample, ({len(targets)},), "
            f"got shape {tuple(per_sample.shape)}"
        )
    labels, finite = predicted_classes(predictions, 1)
    known = torch.tensor(list(resolutions), device=targets.device)
    at = per_sample.expand(len(targets))[:, None] == known  # (batch, resolutions)
    if not at.any(1).all():
        stranger = sorted(set(per_sample.reshape(-1).tolist()) - set(resolutions))
        raise ValueError(f"resolution must be among {list(resolutions)}, got {stranger}")
    return (at & (finite & (labels == targets))[:, None]).sum(0), at.sum(0)


def predictions_agree(predictions: Tensor) -> Tensor:
    """Whether two copies of a sample get the same predicted class, for all pairs of copies.

    The predicted class is that of the highest score. Where that is not finite, as with NaN among the scores, it agrees
    with none, not even with itself.

    Args:
        predictions: logits ``(copies, batch, classes)`` or labels ``(copies, batch)``, of copies of each sample that
            differ by a transformation under which its class stays.

    Returns:
        ``(copies, copies, batch)``, boolean, symmetric in the copies.

    Raises:
        ValueError: if there are other axes, fewer than two copies, or logits of fewer than two classes, which always
            agree.

    >>> predictions_agree(torch.tensor([[3, 5], [3, 1], [3, 5]])).sum(dim=(0, 1))
    tensor([9, 5])
    """
    if predictions.dim() not in (2, 3) or len(predictions) < 2:
        raise ValueError(
            "predictions must be logits (copies, batch, classes) or labels (copies, batch) of at least 2 copies, "
            f"got shape {tuple(predictions.shape)}"
        )
    if predictions.dim() == 3 and predictions.shape[2] < 2:
        raise ValueError(f"predictions must be logits of at least 2 classes, got {predictions.shape[2]}")
    labels, known = predicted_classes(predictions, 2)
    return (labels[:, None] == labels) & known[:, None] & known


def standard_error(fraction: float, count: int) -> float:
    """Of a fraction of so many independent samples: ``sqrt(p (1 - p) / n)``.

    >>> standard_error(0.8, 100)
    0.04
    """
    return math.sqrt(fraction * (1 - fraction) / count)
