"""LightningModules and the networks they wrap."""

from models.conv_classifier import ConvClassifier
from models.fourier_classifier import FourierClassifier
from models.group_sampled_classifier import GroupSampledClassifier
from models.scale_classifier import ScaleClassifier
from models.schedules import OneCycle

__all__ = ["ConvClassifier", "FourierClassifier", "GroupSampledClassifier", "OneCycle", "ScaleClassifier"]
