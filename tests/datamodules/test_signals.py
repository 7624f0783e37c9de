"""Signals of several lengths, and rendered waveforms: what batches hold, determinism, what each kind sounds like."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules import (
    CircularShift,
    Cutout,
    DataSet,
    RandomAffine,
    RandomColour,
    RandomCrop,
    RandomFlip,
    ScaleDataModule,
    ScaleSettings,
    Waveforms,
)
from datamodules.resampling import resample
from datamodules.split import draw_stratified_parts
from datamodules.waveforms import KINDS, POINTS, render
from sefl.fourier import band, downsample, to_coefficients, upsample

SMALL = {"train_samples": 120, "val_samples": 40, "test_samples": 40}
LENGTHS = [5, 8, 11, 12]


def numbered() -> tuple[Tensor, Tensor]:
    """Signal ``n`` has two channels: its number, and a ramp."""
    number = torch.arange(120)
    ramp = torch.arange(12.0).expand(120, -1)
    return torch.stack([number.float().view(-1, 1).expand(-1, 12), ramp], dim=1), number % 2


def numbered_signals(length: int = 12, **settings) -> ScaleDataModule:
    data = DataSet(
        "NumberedSignals",
        length,
        channels=2,
        class_names=["even", "odd"],
        mean=[0.0, 1.0],
        std=[1.0, 2.0],
        load=numbered,
        draw_parts=lambda labels, generator: draw_stratified_parts(labels, [64, 34, 22], generator),
        dimensions=1,
    )
    settings = {"resolutions": LENGTHS, "batch_size": 8, "eval_batch_size": 5, **settings}
    return ScaleDataModule(data, ScaleSettings(**settings))


def ready(data: ScaleDataModule, rank: int = 0, processes: int = 1) -> ScaleDataModule:
    data.setup()
    data.trainer = SimpleNamespace(global_rank=rank, world_size=processes, overfit_batches=0)
    return data


def numbers(signals: Tensor) -> list[int]:
    return signals[:, 0].mean(dim=1).round().long().tolist()


def seen(*loaders) -> list[int]:
    return sorted(number for loader in loaders for signals, _ in loader for number in numbers(signals))


@pytest.mark.parametrize("downsampling", ["ideal", "bicubic"])
def test_every_signal_is_seen_once_at_its_length(downsampling) -> None:
    data = ready(numbered_signals(downsampling=downsampling))
    everything = []
    loaders = {
        "train": data.train_dataloader(),
        "val": data.val_dataloader(),
        "test": data.test_dataloader()[0],
    }
    for part, loader in loaders.items():
        lengths = dict(zip(data.split.samples(part), data.split.resolutions(part), strict=True))
        for signals, labels in loader:
            assert signals.dtype == torch.float32
            assert signals.shape == (len(labels), 2, signals.shape[-1])
            assert {lengths[number] for number in numbers(signals)} == {signals.shape[-1]}
            assert [number % 2 for number in numbers(signals)] == labels.tolist()
            ramp = resample(torch.arange(12.0).expand(1, 1, -1), signals.shape[-1], downsampling)
            torch.testing.assert_close(signals[:1, 1:], (ramp - 1) / 2)
            everything += numbers(signals)
    assert sorted(everything) == list(range(120))


def test_all_lengths_are_seen_and_some_only_in_evaluation() -> None:
    data = ready(numbered_signals(held_out_resolutions=[8]))
    assert {signals.shape[-1] for signals, _ in data.train_dataloader()} == {5, 11, 12}
    assert {signals.shape[-1] for signals, _ in data.val_dataloader()} == set(LENGTHS)
    assert {signals.shape[-1] for signals, _ in data.finest_dataloader("test")} == {12}


def test_two_processes_deal_what_one_deals() -> None:
    shift = {"shift_augmentation": CircularShift(probability=1.0)}
    one = ready(numbered_signals(**shift))
    ranks = [ready(numbered_signals(batch_size=4, **shift), rank, 2) for rank in range(2)]
    steps = zip(one.train_dataloader(), *(data.train_dataloader() for data in ranks), strict=True)
    for (whole, labels), *shares in steps:
        dealt = torch.stack([signals for signals, _ in shares], dim=1).flatten(0, 1)
        assert torch.equal(dealt, whole)
        assert torch.equal(torch.stack([of_share for _, of_share in shares], dim=1).flatten(), labels)
    assert seen(*(data.val_dataloader() for data in ranks)) == seen(one.val_dataloader())
    assert seen(*(data.finest_dataloader("test") for data in ranks)) == seen(one.finest_dataloader("test"))


def test_shifts_turn_signals_in_time() -> None:
    signals = torch.randn(50, 2, 12)
    shifted = CircularShift(0.5, 1.0).augment(signals, 50, slice(None), torch.Generator().manual_seed(0))
    turns = [
        [signal.roll(n, -1).equal(other) for n in range(12)]
        for signal, other in zip(signals, shifted, strict=True)
    ]
    assert all(sum(possible) == 1 for possible in turns)
    assert len({possible.index(True) for possible in turns}) == 12


@pytest.mark.parametrize("length", [5, 12, 17])
def test_cubic_resampling_is_that_of_the_rows_of_an_image(length: int) -> None:
    signals = torch.randn(2, 3, 12, dtype=torch.float64)
    image = signals.unsqueeze(2).expand(-1, -1, 12, -1)
    expected = F.interpolate(image, (length, length), mode="bicubic", antialias=True)
    torch.testing.assert_close(resample(signals, length, "bicubic"), expected[:, :, 0])
    ideal = resample(signals, length, "ideal")
    torch.testing.assert_close(
        ideal, downsample(signals, length) if length <= 12 else upsample(signals, length)
    )
    assert (ideal - expected[:, :, 0]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"affine_augmentation": RandomAffine()}, "affine_augmentation is for images, got RandomAffine"),
        ({"crop_augmentation": RandomCrop(1)}, "crop_augmentation is for images"),
        ({"flip_augmentation": RandomFlip()}, "flip_augmentation is for images"),
        ({"colour_augmentation": RandomColour()}, "colour_augmentation is for images"),
        ({"cutout_augmentation": Cutout(4)}, "cutout_augmentation is for images.* have shift_augmentation"),
        ({"resolutions": [13]}, "resolutions must be integers from 1 to the length of 12, got 13"),
        ({"length": 0}, "length must be an integer from 1 to 65536, got 0"),
    ],
)
def test_what_is_for_images_or_too_long_is_refused(settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        numbered_signals(**settings)


class TestWaveforms:
    def test_the_seed_decides_every_sample(self) -> None:
        first, same, other = (Waveforms(seed=seed, **SMALL).load_images() for seed in (1, 1, 2))
        assert torch.equal(first[0], same[0])
        assert torch.equal(first[1], same[1])
        assert not torch.equal(first[0], other[0])

    def test_classes_are_balanced_and_parts_disjoint(self) -> None:
        data = ready(Waveforms(**SMALL))
        _, labels = data.load_images()
        assert np.bincount(labels).tolist() == [20] * len(KINDS)
        parts = [data.split.samples(part) for part in ("train", "val", "test")]
        assert [len(part) for part in parts] == [120, 40, 40]
        assert sorted(np.concatenate(parts)) == list(range(200))

    @pytest.mark.parametrize("length", [16, 101, 512])
    def test_shorter_ones_are_the_longer_ones_downsampled(self, length: int) -> None:
        longest, _ = Waveforms(length=512, **SMALL).load_images()
        signals, _ = Waveforms(length=length, **SMALL).load_images()
        assert signals.shape == (200, 1, length)
        torch.testing.assert_close(signals, downsample(longest, length), rtol=0, atol=1e-5)

    def test_default_lengths_are_odd_and_even_from_a_quarter_on(self) -> None:
        resolutions = Waveforms(**SMALL).resolutions
        assert (len(resolutions), min(resolutions), max(resolutions)) == (14, 64, 256)
        assert {r % 2 for r in resolutions} == {0, 1}
        assert Waveforms(length=16, **SMALL).resolutions == list(range(4, 17))

    def test_batches_are_normalised(self) -> None:
        data = ready(Waveforms(**SMALL))
        samples = torch.cat([signals.flatten() for signals, _ in data.finest_dataloader("val")])
        assert abs(samples.mean()) < 0.05
        assert 0.85 < samples.std() < 1.15

    def test_noise_is_white_and_of_the_level_asked_for(self) -> None:
        generators = (torch.Generator().manual_seed(3) for _ in range(2))
        labels = torch.zeros(200, dtype=torch.int64)
        clean, noisy = (render(labels, level, g) for level, g in zip((0.0, 0.5), generators, strict=True))
        noise = downsample(noisy - clean, 256)
        assert noise.std() == pytest.approx(0.5, rel=0.02)
        energy = to_coefficients(noise).square().mean(dim=(1, 2))
        assert energy[:60].mean() == pytest.approx(energy[-60:].mean().item(), rel=0.1)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"val_samples": 0}, "val_samples must be a positive integer, got 0"),
            ({"length": 15}, "length must be an integer from 16 to 512, got 15"),
            ({"length": 513}, "length must be an integer from 16 to 512, got 513"),
            ({"noise": -0.1}, "noise must be a finite number of at least 0, got -0.1"),
        ],
    )
    def test_bad_arguments_are_refused(self, settings, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Waveforms(**settings)


class TestKinds:
    """Each sounds like what it is called, and the plain tone does not."""

    SAMPLES = 60

    def sounds(self, kind: str) -> Tensor:
        labels = torch.full((self.SAMPLES,), list(KINDS).index(kind))
        return render(labels, 0.0, torch.Generator().manual_seed(5))[:, 0]

    def pitches(self, kind: str) -> Tensor:
        """Of the first, middle and last third of each sound, relative to its mean: ``(samples, 3)``."""
        analytic = self.analytic(self.sounds(kind))
        frequency = (analytic[:, 1:] * analytic[:, :-1].conj()).angle() / (2 * torch.pi) * POINTS
        weight = analytic[:, 1:].abs().square()
        passed = weight.cumsum(1) / weight.sum(1, keepdim=True)
        thirds = [(passed > k / 3) & (passed <= (k + 1) / 3) for k in range(3)]
        means = torch.stack(
            [(frequency * weight * third).sum(1) / (weight * third).sum(1) for third in thirds], 1
        )
        return means / means.mean(1, keepdim=True)

    def loudness(self, kind: str) -> Tensor:
        """The envelope from the onset to the end at 101 points, relative to its maximum."""
        envelope = self.analytic(self.sounds(kind)).abs()
        inside = []
        for sound in envelope:
            audible = (sound > 5e-2 * sound.max()).nonzero()
            part = sound[audible[0, 0] : audible[-1, 0] + 1]
            inside.append(F.interpolate(part[None, None], 101, mode="linear")[0, 0] / part.max())
        return torch.stack(inside)

    @staticmethod
    def analytic(sounds: Tensor) -> Tensor:
        spectrum = torch.fft.fft(sounds)
        spectrum[:, POINTS // 2 :] = 0
        return 2 * torch.fft.ifft(spectrum)

    def test_melodies(self) -> None:
        first, middle, last = self.pitches("tone").unbind(1)
        assert (last / first - 1).abs().max() < 0.1
        assert (middle / first - 1).abs().max() < 0.1
        for kind, sign in {"rising": 1, "falling": -1}.items():
            first, middle, last = (sign * self.pitches(kind).log2()).unbind(1)
            assert ((first < middle) & (middle < last)).all()
            assert (last - first).min() > 0.15
        for kind, sign in {"arch": 1, "dip": -1}.items():
            first, middle, last = (sign * self.pitches(kind).log2()).unbind(1)
            assert ((first < middle) & (middle > last)).all()

    def test_loudness(self) -> None:
        tone = self.loudness("tone")
        middle = slice(45, 56)
        assert tone[:, middle].min() > 0.5
        assert self.loudness("pair")[:, middle].amin(1).max() < 0.2
        troughs = self.loudness("tremolo")[:, 20:80].amin(1)
        assert troughs.mean() < 0.3 < tone[:, 30:70].min()
        early, late = slice(10, 40), slice(60, 90)
        swell = self.loudness("swell")
        assert (swell[:, early].mean(1) < 0.4 * swell[:, late].mean(1)).all()
        assert (tone[:, early].mean(1) > 0.6 * tone[:, late].mean(1)).all()

    def test_timbres(self) -> None:
        def overtones(kind: str) -> Tensor:
            """Energy of the second and third partial relative to the first, averaged over sounds."""
            spectra = torch.fft.rfft(self.sounds(kind)).abs().square()
            shares = []
            for spectrum in spectra:
                pitch = 4 + int(spectrum[4:20].argmax())
                near = [
                    spectrum[round((n - 0.3) * pitch) : round((n + 0.3) * pitch) + 1].sum() for n in (1, 2, 3)
                ]
                shares.append([near[1] / near[0], near[2] / near[0]])
            return torch.tensor(shares).mean(0)

        assert overtones("tone").max() < 0.03
        assert overtones("harmonic").min() > 0.25

    def test_a_low_resolution_loses_overtones_alone(self) -> None:
        def kept(kind: str, length: int) -> Tensor:
            """Energy relative to that at full resolution."""
            energy = to_coefficients(self.sounds(kind)[:, None])[:, :, 0].square()
            return energy[: 2 * band(length) + 1].sum(0) / energy.sum(0)

        for kind in KINDS:
            if kind != "harmonic":
                assert kept(kind, 61).min() > 0.9
        assert kept("harmonic", 61).max() < 0.9
        assert kept("harmonic", 32).mean() < 0.6
