"""Lightning datamodules: images that each have one of several resolutions, or one orientation."""

from datamodules.augmentation import CircularShift, RandomAffine
from datamodules.glyphs import Glyphs
from datamodules.mnist_scale import MNISTScale
from datamodules.rotated_mnist import RotatedMNIST
from datamodules.scale import ScaleDataModule

__all__ = ["CircularShift", "Glyphs", "MNISTScale", "RandomAffine", "RotatedMNIST", "ScaleDataModule"]
