"""Lightning callbacks."""

from callbacks.equivariance_monitor import EquivarianceMonitor
from callbacks.equivariance_table import EquivarianceRow
from callbacks.orbit_evaluation import OrbitEvaluation
from callbacks.orthogonal_actions import GroupAction, Rotation
from callbacks.reconstruction_figure import ReconstructionFigure
from callbacks.transformations import CircularShift, Flip, IdealDownsampling, Rotation90, Transformation

__all__ = [
    "CircularShift",
    "EquivarianceMonitor",
    "EquivarianceRow",
    "Flip",
    "GroupAction",
    "IdealDownsampling",
    "OrbitEvaluation",
    "ReconstructionFigure",
    "Rotation",
    "Rotation90",
    "Transformation",
]
