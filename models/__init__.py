"""LightningModules and the networks they wrap."""

from models.band_classifier import BandClassifier
from models.conv_classifier import ConvClassifier
from models.fourier_classifier import FourierClassifier
from models.fourier_cnn_classifier import FourierCNNClassifier
from models.group_sampled_classifier import GroupSampledClassifier
from models.mixer_classifier import MixerClassifier
from models.per_resolution_classifier import PerResolutionClassifier
from models.scale_classifier import ScaleClassifier
from models.schedules import OneCycle
from models.sesn_classifier import SESNClassifier
from models.single_prediction import SinglePredictionClassifier
from models.torchvision_classifier import TorchvisionClassifier
from models.wide_resnet_classifier import WideResNetClassifier

__all__ = [
    "BandClassifier",
    "ConvClassifier",
    "FourierCNNClassifier",
    "FourierClassifier",
    "GroupSampledClassifier",
    "MixerClassifier",
    "OneCycle",
    "PerResolutionClassifier",
    "SESNClassifier",
    "ScaleClassifier",
    "SinglePredictionClassifier",
    "TorchvisionClassifier",
    "WideResNetClassifier",
]
