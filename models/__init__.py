"""LightningModules that wrap the networks of :mod:`sefl.networks`: loss, optimiser, schedule, logging."""

from models.classifier import Classifier
from models.scale_classifier import ScaleClassifier
from models.schedules import OneCycle

__all__ = ["Classifier", "OneCycle", "ScaleClassifier"]
