"""LightningModules that wrap the networks of :mod:`sefl.networks`: loss, optimiser, schedule, logging."""

from models.classifier import Classifier
from models.crop_classifier import CropClassifier
from models.scale_classifier import ScaleClassifier
from models.schedules import OneCycle

__all__ = ["Classifier", "CropClassifier", "OneCycle", "ScaleClassifier"]
