"""Measures of scale-equivariant networks, as torchmetrics that add up exactly over processes."""

from sefl.metrics.accuracy import PerResolutionAccuracy
from sefl.metrics.consistency import ScaleConsistency
from sefl.metrics.equivariance import EquivarianceError
from sefl.metrics.functional import correct_per_resolution, is_scale_consistent, relative_squared_error

__all__ = [
    "EquivarianceError",
    "PerResolutionAccuracy",
    "ScaleConsistency",
    "correct_per_resolution",
    "is_scale_consistent",
    "relative_squared_error",
]
