"""Lightning datamodules whose images each have one of several resolutions."""

from datamodules.augmentation import CircularShift, RandomAffine
from datamodules.glyphs import Glyphs
from datamodules.mnist_scale import MNISTScale
from datamodules.scale import ScaleDataModule

__all__ = ["CircularShift", "Glyphs", "MNISTScale", "RandomAffine", "ScaleDataModule"]
