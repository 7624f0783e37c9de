"""Measuring how a network's outputs transform with its input."""

from sefl.equivariance.measuring import EquivarianceTable, Measurement, measure
from sefl.equivariance.orthogonal_actions import GroupAction, Rotation
from sefl.equivariance.table import EquivarianceRow
from sefl.equivariance.transformations import (
    CircularShift,
    Flip,
    IdealDownsampling,
    Rotation90,
    Transformation,
)

__all__ = [
    "CircularShift",
    "EquivarianceRow",
    "EquivarianceTable",
    "Flip",
    "GroupAction",
    "IdealDownsampling",
    "Measurement",
    "Rotation",
    "Rotation90",
    "Transformation",
    "measure",
]
