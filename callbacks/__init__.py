"""Lightning callbacks."""

from callbacks.equivariance_monitor import EquivarianceMonitor
from callbacks.equivariance_table import EquivarianceRow
from callbacks.transformations import CircularShift, Flip, IdealDownsampling, Rotation90, Transformation

__all__ = [
    "CircularShift",
    "EquivarianceMonitor",
    "EquivarianceRow",
    "Flip",
    "IdealDownsampling",
    "Rotation90",
    "Transformation",
]
