"""WAV files in folders: encodings, rates and durations, what is found and split, and what is refused."""

import struct
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.io import wavfile

from datamodules import CircularShift, WavFolder
from datamodules.wav_files import cut_or_pad, read_wav, resample_long
from sefl.fourier import downsample, upsample

PITCHES = {"high": 9, "low": 2, "middle": 5}
SMALL = {"duration": 0.5, "length": 32, "resolutions": [19, 24, 32], "batch_size": 4, "eval_batch_size": 3}
FULL_SCALE = {np.int16: 2**15, np.int32: 2**31, np.uint8: 2**7, np.float32: 1, np.float64: 1}


def sine(cycles: float, rate: int = 400, seconds: float = 0.5, amplitude: float = 0.5) -> NDArray[np.float64]:
    """So many cycles in each half second."""
    return amplitude * np.sin(4 * np.pi * cycles * np.arange(round(rate * seconds)) / rate)


def write(file: Path, samples: NDArray[np.float64], rate: int = 400, dtype: type = np.int16) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    offset = 2**7 if dtype is np.uint8 else 0
    wavfile.write(file, rate, (samples * FULL_SCALE[dtype] + offset).astype(dtype))
    return file


def write_folder(folder: Path, per_class: int = 10) -> Path:
    for name, cycles in PITCHES.items():
        for number in range(per_class):
            samples = np.roll(sine(cycles, amplitude=0.1 + 0.08 * number), number)
            write(folder / name / f"{number}.wav", samples)
    return folder


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "flat")


def ready(root: Path, **settings) -> WavFolder:
    data = WavFolder(root=str(root), **{**SMALL, **settings})
    data.setup()
    return data


def test_every_file_is_seen_once_with_its_label(flat: Path) -> None:
    data = ready(flat, val_fraction=0.2, shift_augmentation=CircularShift())
    assert (data.num_classes, data.class_names) == (3, sorted(PITCHES))
    loaders = [data.train_dataloader(), data.val_dataloader(), data.test_dataloader()[0]]
    sizes = []
    for loader in loaders:
        batches = list(loader)
        sizes.append(sum(len(labels) for _, labels in batches))
        for signals, labels in batches:
            assert signals.shape == (len(labels), 1, signals.shape[-1])
            assert signals.shape[-1] in data.resolutions
            cycles = torch.fft.rfft(signals[:, 0]).abs().argmax(dim=1)
            assert cycles.tolist() == [PITCHES[data.class_names[label]] for label in labels]
    assert sizes == [21, 6, 3]


def test_the_seed_decides_the_parts_and_they_are_disjoint(flat: Path) -> None:
    first, same, other = (ready(flat, seed=seed).split for seed in (1, 1, 2))
    assert (first.train == same.train).all()
    assert (first.train != other.train).any()
    assert sorted(np.concatenate([first.train, first.val, first.test])) == list(range(30))


def test_folders_make_the_parts_and_the_protocol_pool_mixes_them(tmp_path: Path) -> None:
    for part, per_class in [("train", 8), ("val", 2), ("test", 4)]:
        write_folder(tmp_path / part, per_class)
    split = ready(tmp_path).split
    assert sorted(split.train) == list(range(24))
    assert split.val.tolist() == list(range(24, 30))
    assert split.test.tolist() == list(range(30, 42))
    pooled = ready(tmp_path, protocol="pool").split
    assert [len(pooled.samples(part)) for part in ("train", "val", "test")] == [34, 4, 4]


@pytest.mark.parametrize("dtype", list(FULL_SCALE))
@pytest.mark.parametrize("channels", [1, 2])
def test_every_encoding_is_read_at_full_scale_as_the_mean_of_its_channels(
    tmp_path, dtype, channels: int
) -> None:
    mono = sine(3)
    samples = mono if channels == 1 else np.stack([1.5 * mono, 0.5 * mono], axis=1)
    signal, rate = read_wav(write(tmp_path / "a.wav", samples, dtype=dtype))
    assert (rate, signal.shape, signal.dtype) == (400, (200,), torch.float32)
    np.testing.assert_allclose(signal, mono, atol=1.5 / FULL_SCALE[np.uint8] if dtype is np.uint8 else 1e-4)


def test_24_bits_are_read(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 3, 100, 0, "NONE", ""))
        file.writeframes(b"".join(int(x * 2**23).to_bytes(3, "little", signed=True) for x in (0.5, -0.25, 0)))
    assert read_wav(tmp_path / "a.wav")[0].tolist() == [0.5, -0.25, 0]


def test_files_of_different_rates_show_the_same_seconds(tmp_path: Path) -> None:
    for number, rate in enumerate((50, 400, 441, 8000)):
        write(tmp_path / "a" / f"{number}.wav", sine(5, rate), rate, np.float32)
        write(tmp_path / "b" / f"{number}.wav", sine(7, rate), rate, np.float32)
    data = ready(tmp_path, loudness="recorded", val_fraction=0.25, test_fraction=0.25)
    expected = torch.from_numpy(np.stack([sine(5, 64), sine(7, 64)])).float()  # 32 samples in half a second
    # At 441 hertz half a second is no whole number of samples.
    tolerance = torch.tensor([1e-3, 1e-3, 5e-2, 1e-3]).repeat(2).view(-1, 1)
    assert ((data.load_images()[0][:, 0] - expected.repeat_interleave(4, dim=0)).abs() < tolerance).all()


def test_longer_files_are_cut_and_shorter_ones_padded_in_the_middle() -> None:
    signal = torch.arange(1.0, 6.0)
    assert cut_or_pad(signal, 3).tolist() == [2, 3, 4]
    assert cut_or_pad(signal, 2).tolist() == [2, 3]
    assert cut_or_pad(signal, 5).tolist() == [1, 2, 3, 4, 5]
    assert cut_or_pad(signal, 7).tolist() == [0, 1, 2, 3, 4, 5, 0]
    padded = cut_or_pad(signal, 8).tolist()
    assert padded in ([0, 1, 2, 3, 4, 5, 0, 0], [0, 0, 1, 2, 3, 4, 5, 0])


@pytest.mark.parametrize("samples", [1, 2, 11, 12, 30])
@pytest.mark.parametrize("length", [1, 2, 11, 12, 13, 31])
def test_long_signals_are_resampled_as_short_ones(samples: int, length: int) -> None:
    signal = torch.randn(samples, dtype=torch.float64)
    resampled = downsample(signal, (length,)) if length <= samples else upsample(signal, (length,))
    torch.testing.assert_close(resample_long(signal, length), resampled, rtol=0, atol=1e-13)


def test_loudness_is_that_of_the_file_or_one(flat: Path) -> None:
    write(flat / "low" / "silence.wav", np.full(200, 0.25))
    for loudness in ("unit", "recorded"):
        sounds, _ = WavFolder(root=str(flat), loudness=loudness, **SMALL).load_images()
        deviations, means = sounds[:, 0].std(dim=1, correction=0), sounds[:, 0].mean(dim=1)
        silent = deviations < 1e-3
        assert silent.sum() == 1
        if loudness == "unit":
            torch.testing.assert_close(deviations[~silent], torch.ones(30), rtol=1e-4, atol=0)
            assert sounds[silent].abs().max() < 1e-6
        else:
            expected = torch.tensor([0.1 + 0.08 * number for number in range(10)]) / 2**0.5
            torch.testing.assert_close(deviations[:10], expected, rtol=1e-2, atol=0)
            assert means[silent].item() == pytest.approx(0.25, abs=1e-4)


def test_a_stored_split_fits_the_same_files_only(flat: Path, tmp_path: Path) -> None:
    path = tmp_path / "split.npz"
    first = ready(flat, seed=1)
    first.save_split(path)
    assert (ready(flat, seed=2, split_file=str(path)).split.test == first.split.test).all()
    (flat / "low" / "0.wav").rename(flat / "low" / "first.wav")
    with pytest.raises(ValueError, match=r"split_file .* does not fit: it splits 'WavFolder/standard"):
        ready(flat, split_file=str(path))


class TestRefusals:
    def test_missing_folders_and_files(self, flat: Path, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"none does not exist; give a folder with one subfolder"):
            WavFolder(root=str(tmp_path / "none"))
        (tmp_path / "empty").mkdir()
        with pytest.raises(FileNotFoundError, match=r"empty has no class folders"):
            WavFolder(root=str(tmp_path / "empty"))
        (flat / "silent").mkdir()
        with pytest.raises(FileNotFoundError, match=r"silent has no WAV files; add some or remove the class"):
            ready(flat)

    def test_other_files(self, flat: Path) -> None:
        (flat / "README.md").write_text("outside of the classes nothing is looked at")
        (flat / "low" / ".DS_Store").write_text("hidden")
        write(flat / "low" / "LOUD.WAV", sine(2))
        ready(flat)
        (flat / "low" / "song.mp3").write_text("")
        with pytest.raises(
            ValueError, match=r"song\.mp3 is no WAV file by its name; remove it, or call it \.wav"
        ):
            ready(flat)

    @pytest.mark.parametrize(
        "damage",
        [
            lambda whole: whole[:200],  # in the middle of the samples
            lambda whole: whole[:41],  # in the header of the samples
            lambda whole: whole[:21],  # in the header of the format
            lambda whole: whole[:7],
            lambda whole: b"no sound",
            lambda whole: whole[:20] + struct.pack("<H", 7) + whole[22:],  # another encoding, mu-law
            lambda whole: whole[:22] + struct.pack("<H", 0) + whole[24:],  # no channels
        ],
    )
    def test_damaged_and_truncated_files(self, flat: Path, damage) -> None:
        file = flat / "low" / "3.wav"
        file.write_bytes(damage(file.read_bytes()))
        with pytest.raises(ValueError, match=r"low/3\.wav is damaged or no WAV .*repair or remove it"):
            ready(flat)

    def test_files_without_samples_or_with_bad_ones(self, flat: Path) -> None:
        file = flat / "low" / "3.wav"
        write(file, np.zeros(0))
        with pytest.raises(ValueError, match=r"3\.wav has 0 samples, 400 per second"):
            ready(flat)
        write(file, np.array([0, np.nan]), dtype=np.float32)
        with pytest.raises(ValueError, match=r"3\.wav has samples that are not finite"):
            ready(flat)
        file.write_bytes(b"")
        with pytest.raises(ValueError, match=r"3\.wav is empty"):
            ready(flat)

    def test_text_beside_the_samples_is_no_damage(self, flat: Path) -> None:
        file = flat / "low" / "3.wav"
        before = read_wav(file)[0]
        whole = file.read_bytes()
        extra = b"note" + struct.pack("<I", 6) + b"a note"
        size = struct.pack("<I", len(whole) - 8 + len(extra))
        file.write_bytes(whole[:4] + size + whole[8:12] + extra + whole[12:])
        assert torch.equal(read_wav(file)[0], before)

    def test_a_class_of_a_single_file(self, flat: Path) -> None:
        write(flat / "rare" / "only.wav", sine(4))
        with pytest.raises(
            ValueError, match=r"class 'rare' has too few WAV files, 1, to train on some and hold out"
        ):
            ready(flat)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"duration": 0}, "duration must be a finite number above 0, got 0"),
            ({"loudness": "full"}, "loudness must be one of 'unit', 'recorded', got 'full'"),
            ({"protocol": "paper"}, "protocol must be one of 'standard', 'pool', got 'paper'"),
            ({"val_fraction": 1}, "val_fraction must be a finite number above 0 and below 1, got 1"),
            ({"test_fraction": 0.01}, r"test_fraction must leave at least one of 30 WAV files .* got 0\.01"),
            ({"resolutions": [33]}, "resolutions must be integers from 1 to .* 32, got 33"),
        ],
    )
    def test_bad_arguments(self, flat: Path, settings, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            ready(flat, **settings)
