"""WAV files: reading, cutting to a duration, and ideal resampling of long signals."""

import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.io import wavfile
from torch import Tensor

from datamodules.reading import reading
from sefl.fourier import band

EXTENSIONS = (".wav", ".wave")


def read_wav(file: Path) -> tuple[Tensor, int]:
    """The mean of the channels of a WAV file, full scale being 1, and the samples per second.

    Samples are integers of 8, 16, 24, 32 or 64 bits, or floating point.

    Returns:
        ``(samples,)``, float32, and the rate.

    Raises:
        ValueError: if the file is damaged, shorter than it says, without samples, of another encoding, or has samples
            that are not finite.
    """
    with reading(file, "WAV file of plain samples"), warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of text and the like beside the samples
        warnings.filterwarnings("error", "Reached EOF", wavfile.WavFileWarning)
        rate, samples = wavfile.read(file)
    if len(samples) == 0 or rate == 0:
        raise ValueError(f"{file} has {len(samples)} samples, {rate} per second; repair or remove it")
    mono = torch.from_numpy(_at_full_scale(samples).reshape(len(samples), -1).mean(axis=1)).float()
    if not mono.isfinite().all():
        raise ValueError(f"{file} has samples that are not finite; repair or remove it")
    return mono, rate


def cut_or_pad(signal: Tensor, samples: int) -> Tensor:
    """The middle of a longer signal, or a shorter one in the middle of silence.

    Args:
        signal: ``(length,)``.
        samples: those of the result.
    """
    before = (len(signal) - samples) // 2
    if before >= 0:
        return signal[before : before + samples]
    return F.pad(signal, (-before, samples - len(signal) + before))


def resample_long(signal: Tensor, length: int) -> Tensor:
    """:func:`sefl.fourier.downsample` and ``upsample`` of one signal of any length, by FFT instead of a matrix.

    Args:
        signal: ``(samples,)``, floating point.
        length: samples of the result.
    """
    shared = band(min(len(signal), length))
    spectrum = torch.fft.rfft(signal, norm="forward")[: shared + 1]
    resampled: Tensor = torch.fft.irfft(F.pad(spectrum, (0, length // 2 - shared)), length, norm="forward")
    return resampled


def _at_full_scale(samples: NDArray[np.generic]) -> NDArray[np.float64]:
    """Integers to the range from -1 to 1: 8 bits have their zero in the middle, 24 the scale of 32."""
    if samples.dtype.kind == "f":
        return samples.astype(np.float64)
    bits = 8 * samples.dtype.itemsize
    centred = samples.astype(np.float64) - (2 ** (bits - 1) if samples.dtype.kind == "u" else 0)
    return np.asarray(centred / 2 ** (bits - 1), dtype=np.float64)
