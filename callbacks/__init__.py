"""Lightning callbacks."""

from callbacks.equivariance_monitor import EquivarianceMonitor
from callbacks.orbit_evaluation import OrbitEvaluation
from callbacks.reconstruction_figure import ReconstructionFigure

__all__ = ["EquivarianceMonitor", "OrbitEvaluation", "ReconstructionFigure"]
