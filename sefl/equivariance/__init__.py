"""Measuring how a network's outputs transform with its input."""

from sefl.equivariance.measuring import EquivarianceTable, Measurement, measure
from sefl.equivariance.orthogonal_actions import GroupAction, Rotation
from sefl.equivariance.table import EquivarianceRow
from sefl.equivariance.transformations import (
    CircularShift,
    Composition,
    Flip,
    IdealDownsampling,
    Rotation90,
    Transformation,
)
from sefl.tensors.output_types import Bands, Coefficients, Grid, Invariant

__all__ = [
    "Bands",
    "CircularShift",
    "Coefficients",
    "Composition",
    "EquivarianceRow",
    "EquivarianceTable",
    "Flip",
    "Grid",
    "GroupAction",
    "IdealDownsampling",
    "Invariant",
    "Measurement",
    "Rotation",
    "Rotation90",
    "Transformation",
    "measure",
]
