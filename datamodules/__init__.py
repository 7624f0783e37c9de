"""Lightning datamodules: images, or signals, that each have one of several resolutions; images of one orientation."""

from datamodules.augmentation import CircularShift, RandomAffine
from datamodules.colour import RandomColour
from datamodules.crop_flip_cutout import Cutout, RandomCrop, RandomFlip, RandomTurn
from datamodules.data_set import DataSet
from datamodules.glyphs import Glyphs
from datamodules.image_folder_scale import ImageFolderScale
from datamodules.imagenet import ImageNet
from datamodules.mnist_scale import MNISTScale
from datamodules.rotated_mnist import RotatedMNIST
from datamodules.scale import ScaleDataModule
from datamodules.settings import ScaleSettings
from datamodules.stl10_scale import STL10Scale
from datamodules.wav_folder import WavFolder
from datamodules.waveforms import Waveforms

__all__ = [
    "CircularShift",
    "Cutout",
    "DataSet",
    "Glyphs",
    "ImageFolderScale",
    "ImageNet",
    "MNISTScale",
    "RandomAffine",
    "RandomColour",
    "RandomCrop",
    "RandomFlip",
    "RandomTurn",
    "RotatedMNIST",
    "STL10Scale",
    "ScaleDataModule",
    "ScaleSettings",
    "WavFolder",
    "Waveforms",
]
