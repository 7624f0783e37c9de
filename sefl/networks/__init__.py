"""Networks as plain modules, of Fourier and group layers, and the baselines beside them."""

from sefl.networks.antialiased import AntialiasedTorchvisionNetwork
from sefl.networks.bands import BandHeadSettings, BandNetwork
from sefl.networks.conv import ConvNetwork, ConvTrunk
from sefl.networks.fixed_resolution import Resizing
from sefl.networks.fourier import FourierNetwork, FourierTrunk
from sefl.networks.fourier_cnn import FourierCNN, FourierCNNTrunk
from sefl.networks.group_averaged import GroupAveragedNetwork
from sefl.networks.group_fourier import GroupFourierNetwork, GroupFourierTrunk
from sefl.networks.group_sampled import GroupSampledNetwork, InvariantHeadSettings
from sefl.networks.group_scale import GroupScaleNetwork
from sefl.networks.group_stages import GroupStages, SubgroupSampling
from sefl.networks.mixer import MixerNetwork, MixerTrunk
from sefl.networks.network import Network, ScaleNetwork
from sefl.networks.per_resolution import PerResolutionNetwork
from sefl.networks.pyramid import PyramidNetwork
from sefl.networks.sesn import SESN, SESNTrunk
from sefl.networks.single_prediction import PooledHeadSettings, SinglePredictionNetwork
from sefl.networks.torchvision import TorchvisionNetwork
from sefl.networks.wide_resnet import WideResNet

__all__ = [
    "SESN",
    "AntialiasedTorchvisionNetwork",
    "BandHeadSettings",
    "BandNetwork",
    "ConvNetwork",
    "ConvTrunk",
    "FourierCNN",
    "FourierCNNTrunk",
    "FourierNetwork",
    "FourierTrunk",
    "GroupAveragedNetwork",
    "GroupFourierNetwork",
    "GroupFourierTrunk",
    "GroupSampledNetwork",
    "GroupScaleNetwork",
    "GroupStages",
    "InvariantHeadSettings",
    "MixerNetwork",
    "MixerTrunk",
    "Network",
    "PerResolutionNetwork",
    "PooledHeadSettings",
    "PyramidNetwork",
    "Resizing",
    "SESNTrunk",
    "ScaleNetwork",
    "SinglePredictionNetwork",
    "SubgroupSampling",
    "TorchvisionNetwork",
    "WideResNet",
]
