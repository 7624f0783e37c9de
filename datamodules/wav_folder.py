"""Any sounds in folders, each at one of several lengths."""

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.class_folders import ClassFolders
from datamodules.memory import require_memory
from datamodules.scale_signals import ScaleSignals
from datamodules.split import Parts
from datamodules.wav_files import EXTENSIONS, cut_or_pad, read_wav, resample_long
from sefl.arguments import require_number, require_one_of

LOUDNESS = ("unit", "recorded")

# What a file is cut or padded to before it is resampled takes at most 512 MiB: 46 minutes at 48,000 samples per second.
LONGEST_WINDOW = 2**27

# Standard deviations below are those of rounding, full scale being 1: the least step of 16 bits is 3e-5.
SILENCE = 1e-6


class WavFolder(ScaleSignals):
    """Your own sounds, each at one length; see :class:`ScaleSignals` for what a batch is.

    WAV files are found as images are by :class:`datamodules.ImageFolderScale`: in ``root/CLASS/``, or, where ``root``
    has a folder ``train``, in ``root/train/CLASS/``, ``root/val/CLASS/`` and ``root/test/CLASS/``. Validation or test
    files that have no folder are held out of the training files, stratified and drawn from ``seed``. The protocol
    ``pool`` puts the files of all folders together first.

    Of each file the mean of its channels is taken, the middle ``duration`` seconds are kept, or a shorter one is put
    into the middle of silence, and that is resampled ideally to ``length`` samples. Files may differ in rate: all show
    the same seconds and frequencies below ``length / (2 * duration)`` hertz, or their own half rate if that is lower.
    They are read once, by :meth:`setup`, and take ``4 * length`` bytes each.

    Args:
        root: the folder of the files.
        duration: seconds of each file.
        length: samples at full resolution.
        loudness: ``unit`` brings each sound to a standard deviation of 1 about its mean, which becomes 0, and leaves
            silence; ``recorded`` leaves them as they are, full scale being 1.
        protocol: ``standard`` (the parts that the folders make) or ``pool`` (all files, split anew).
        val_fraction: the fraction of the files to hold out for validation, where there is no folder of them.
        test_fraction: the fraction of the files to hold out for test, where there is no folder of them.
        mean: what is taken from each sample.
        std: what each sample is divided by.
        **common: the other arguments of :class:`ScaleSignals`.

    Raises:
        FileNotFoundError: if ``root`` has no class folders, or a folder ``val`` or ``test`` but none called ``train``.
        ValueError: if an argument is outside its range or contradicts another.
    """

    def __init__(
        self,
        root: str,
        duration: float = 1.0,
        length: int = 1024,
        loudness: Literal["unit", "recorded"] = "unit",
        protocol: Literal["standard", "pool"] = "standard",
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        mean: float = 0.0,
        std: float = 1.0,
        **common: Any,
    ) -> None:
        require_one_of("loudness", loudness, LOUDNESS)
        duration = require_number("duration", duration, above=0)
        self.folders = ClassFolders(root, EXTENSIONS, "WAV file", protocol, val_fraction, test_fraction)
        self.classes = self.folders.classes
        super().__init__(
            length=length,
            channels=1,
            num_classes=len(self.classes),
            dataset=f"WavFolder/{protocol}",
            mean=[mean],
            std=[std],
            **common,
        )
        self.duration = duration
        self.loudness = loudness
        self.protocol = protocol

    def load_images(self) -> tuple[Tensor, Tensor]:
        """The sounds of all folders, training files first, ``(files, 1, length)`` float32, and their labels.

        Raises:
            FileNotFoundError: if a class has no file in a folder.
            ValueError: if a file is damaged or no WAV file, or folders differ in classes.
        """
        files, labels = self.folders.find()
        self.dataset = f"WavFolder/{self.protocol}/{self.folders.checksum(files)}"
        require_memory(
            f"length {self.image_size} of {len(files)} files",
            4 * self.image_size * len(files),
            "use a smaller length",
        )
        sounds = torch.empty(len(files), 1, self.image_size)
        for sound, file in zip(sounds, files, strict=True):
            signal, rate = read_wav(file)
            samples = max(1, round(self.duration * rate))
            if samples > LONGEST_WINDOW:
                raise ValueError(
                    f"{file} has {rate} samples per second, {samples} in duration {self.duration}, more than "
                    f"{LONGEST_WINDOW}; repair or remove it, or use a shorter duration"
                )
            window = cut_or_pad(signal, samples)
            sound[0] = resample_long(window, self.image_size)
        if self.loudness == "unit":
            sounds -= sounds.mean(dim=2, keepdim=True)
            deviation = sounds.std(dim=2, keepdim=True, correction=0)
            sounds /= torch.where(deviation > SILENCE, deviation, 1)
        return sounds, torch.tensor(labels)

    def draw_parts(self, labels: NDArray[np.int64], generator: np.random.Generator) -> Parts:
        """Training, validation and test indices by ``protocol``, stratified where they are drawn."""
        return self.folders.draw_parts(labels, generator)
