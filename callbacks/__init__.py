"""Lightning callbacks."""

from callbacks.equivariance_monitor import EquivarianceMonitor
from callbacks.equivariance_table import EquivarianceRow
from callbacks.orthogonal_actions import GroupAction, Rotation
from callbacks.transformations import CircularShift, Flip, IdealDownsampling, Rotation90, Transformation

__all__ = [
    "CircularShift",
    "EquivarianceMonitor",
    "EquivarianceRow",
    "Flip",
    "GroupAction",
    "IdealDownsampling",
    "Rotation",
    "Rotation90",
    "Transformation",
]
