"""Any sounds in folders, each at one of several lengths."""

from typing import Any, Literal

import torch
from torch import Tensor

from datamodules.class_folders import ClassFolders, FolderSettings
from datamodules.data_set import DataSet
from datamodules.scale import ScaleDataModule
from datamodules.wav_files import EXTENSIONS, cut_or_pad, read_wav, resample_long
from sefl.arguments import require_number, require_one_of
from sefl.tensors.allocations import require_memory

LOUDNESS = ("unit", "recorded")

# What a file is cut or padded to before it is resampled takes at most 512 MiB: 46 minutes at 48,000 samples per second.
LONGEST_WINDOW = 2**27

# Standard deviations below are those of rounding, full scale being 1: the least step of 16 bits is 3e-5.
SILENCE = 1e-6


class WavFolder(ScaleDataModule):
    """Your own sounds, each at one length; see :class:`ScaleDataModule` for what a batch is.

    WAV files are found, and parts made of them, as of images by :class:`datamodules.ImageFolderScale`.

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
        mean: what is taken from each sample.
        std: what each sample is divided by.
        **common: the options of :class:`FolderSettings`.

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
        mean: float = 0.0,
        std: float = 1.0,
        **common: Any,
    ) -> None:
        settings = FolderSettings(**common)
        require_one_of("loudness", loudness, LOUDNESS)
        self.loudness = loudness
        self.duration = require_number("duration", duration, above=0)
        self.folders = ClassFolders(root, EXTENSIONS, "WAV file", settings)
        data = DataSet(
            f"WavFolder/{settings.protocol}",
            length,
            channels=1,
            class_names=self.folders.classes,
            mean=[mean],
            std=[std],
            load=self._read,
            draw_parts=self.folders.draw_parts,
            dimensions=1,
        )
        super().__init__(data, settings)

    def _read(self) -> tuple[Tensor, Tensor]:
        files, labels = self.folders.find()
        self.dataset = f"{self.data.name}/{self.folders.checksum(files)}"
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
        return sounds, labels
