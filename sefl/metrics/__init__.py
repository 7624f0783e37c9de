"""Measures of scale- and group-equivariant networks, as torchmetrics that add up exactly over processes."""

from sefl.metrics.accuracy import Accuracy, PerResolutionAccuracy
from sefl.metrics.consistency import ScaleConsistency
from sefl.metrics.equivariance import EquivarianceError
from sefl.metrics.functional import (
    correct_per_resolution,
    is_scale_consistent,
    predictions_agree,
    relative_squared_error,
)
from sefl.metrics.orbit import OrbitAccuracy, OrbitError, correct_over_orbit, invariance_error
from sefl.metrics.shift import ShiftConsistency, shifted_copies

__all__ = [
    "Accuracy",
    "EquivarianceError",
    "OrbitAccuracy",
    "OrbitError",
    "PerResolutionAccuracy",
    "ScaleConsistency",
    "ShiftConsistency",
    "correct_over_orbit",
    "correct_per_resolution",
    "invariance_error",
    "is_scale_consistent",
    "predictions_agree",
    "relative_squared_error",
    "shifted_copies",
]
