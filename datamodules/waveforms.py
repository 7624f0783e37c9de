"""Short sounds rendered offline, told apart by melody, loudness and timbre: a small data set that needs no download."""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from datamodules.data_set import DataSet
from datamodules.rendering import RenderedSettings
from datamodules.scale import ScaleDataModule
from sefl.arguments import require_integer, require_number
from sefl.fourier import downsample

# What a kind of sound has besides its pitch: 1 for yes, -1 for the opposite.
TRAITS = ("glide", "arch", "vibrato", "tremolo", "pair", "swell", "overtones")
KINDS: dict[str, dict[str, float]] = {
    "tone": {},
    "rising": {"glide": 1},
    "falling": {"glide": -1},
    "arch": {"arch": 1},
    "dip": {"arch": -1},
    "vibrato": {"vibrato": 1},
    "tremolo": {"tremolo": 1},
    "pair": {"pair": 1},
    "swell": {"swell": 1},
    "harmonic": {"overtones": 1},
}

# Sounds are drawn on so many points, whatever the length asked for, and then downsampled: at every length they are the
# same, and none is aliased. All the partials fit, of the highest pitch too.
POINTS = 1024
LONGEST = POINTS // 2
SHORTEST = 16

# Cycles in the window, before the melody moves it: one octave, about as far as melodies go.
LOWEST_PITCH, HIGHEST_PITCH = 8.0, 16.0
PARTIALS = 6  # the fundamental and its overtones

# How much of each overtone every sound may have, and the rise and fall of the loudness as parts of the duration.
FAINT = 0.15
EDGE = 0.2

_RENDER_STREAM = 30


class Waveforms(ScaleDataModule):
    """Ten kinds of short sounds of random pitch, onset, duration, loudness and phase, in noise.

    A tone holds its pitch, others rise, fall, rise and fall back (``arch``), fall and rise back (``dip``) or waver
    (``vibrato``). The loudness of others trembles (``tremolo``), comes twice (``pair``) or grows to the end
    (``swell``), and one has strong overtones (``harmonic``). Pitches start from 8 to 16 cycles in the window, melodies
    keep them from 4 to 30, which 61 samples can show, and overtones are up to six times as high: lower resolutions
    lose what makes a sound harmonic.

    Sounds follow from ``seed`` and the sizes; those of a shorter ``length`` are those of a longer one, ideally
    downsampled. See :class:`ScaleDataModule` for the rest.

    Args:
        length: samples at full resolution, from 16 to 512.
        noise: standard deviation of the noise at 256 samples; the loudest sounds have an amplitude of 1.
        std: what each sample is divided by.
        **common: the options of :class:`RenderedSettings`.

    Raises:
        ValueError: if an argument is outside its range or contradicts another.
    """

    def __init__(self, length: int = 256, noise: float = 0.1, std: float = 0.35, **common: Any) -> None:
        settings = RenderedSettings(**common)
        require_integer("length", length, SHORTEST, LONGEST)
        require_number("noise", noise, least=0)
        settings.require_memory(f"length {length}", 4 * length, "use fewer samples")

        def draw(labels: Tensor, generator: torch.Generator) -> Tensor:
            return downsample(render(labels, noise, generator), length).float()

        load = partial(settings.render, draw, len(KINDS), _RENDER_STREAM)
        name = f"Waveforms/{length}"
        super().__init__(
            DataSet(name, length, 1, list(KINDS), [0.0], [std], load, settings.draw_parts, dimensions=1),
            settings,
        )


def render(labels: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """Draw one sound per label.

    Args:
        labels: ``(batch,)``, int64: which of ``KINDS``.
        noise: standard deviation of the noise after ideal downsampling to 256 samples.
        generator: the source of everything random.

    Returns:
        ``(batch, 1, POINTS)``, float64: one window of time from 0 to 1.
    """
    batch = len(labels)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, 1, generator=generator, dtype=torch.float64)

    has = {
        trait: torch.tensor([[kind.get(trait, 0)] for kind in KINDS.values()], dtype=torch.float64)[labels]
        for trait in TRAITS
    }
    duration = uniform(0.45, 0.8)
    onset = 0.05 + uniform(0, 1) * (0.9 - duration)
    time = torch.arange(POINTS, dtype=torch.float64) / POINTS
    inside = ((time - onset) / duration).clamp(0, 1)  # from 0 to 1 from the onset to the end

    octaves = uniform(0.8, 1.4) * (
        has["glide"] * (inside - 0.5)
        + has["arch"] * (torch.sin(math.pi * inside) - 2 / math.pi)
        + has["vibrato"] * 0.45 * torch.sin(2 * math.pi * uniform(2, 3) * inside)
    )
    pitch = LOWEST_PITCH * torch.exp2(uniform(0, math.log2(HIGHEST_PITCH / LOWEST_PITCH)) + octaves)
    cycles = torch.cumsum(pitch, dim=1) / POINTS + uniform(0, 1)

    edges = 0.5 - 0.5 * torch.cos(math.pi * (torch.minimum(inside, 1 - inside) / EDGE).clamp(max=1))
    troughs = 0.5 + 0.5 * torch.cos(2 * math.pi * uniform(3, 4) * inside)
    twice = torch.sin(2 * math.pi * inside).square()
    envelope = edges * (1 - has["tremolo"] * uniform(0.7, 1.0) * troughs)
    envelope = torch.lerp(envelope, twice, has["pair"])
    envelope = torch.lerp(envelope, envelope * inside.square(), has["swell"])
    envelope = uniform(0.5, 1.0) * envelope

    faint = FAINT * torch.rand(batch, PARTIALS - 1, generator=generator, dtype=torch.float64)
    sound = _with_overtones(cycles, torch.maximum(has["overtones"], faint))

    # Of the energy of white noise on so many points, 256 samples keep their share.
    white = torch.randn(batch, POINTS, generator=generator, dtype=torch.float64) * math.sqrt(POINTS / 256)
    return (envelope * sound + noise * white).unsqueeze(1)


def _with_overtones(cycles: Tensor, strengths: Tensor) -> Tensor:
    """A sine and its overtones, of unit energy.

    Args:
        cycles: of the fundamental until each point: ``(batch, points)``.
        strengths: of the overtones, from 0 to 1: ``(batch, PARTIALS - 1)``.

    Returns:
        ``(batch, points)``.
    """
    amplitudes = torch.cat([torch.ones_like(strengths[:, :1]), strengths], dim=1)
    amplitudes = amplitudes / torch.arange(1, PARTIALS + 1).sqrt()
    amplitudes = amplitudes / amplitudes.square().sum(dim=1, keepdim=True).sqrt()
    # sin((n + 1) x) = 2 cos(x) sin(n x) - sin((n - 1) x)
    angle = 2 * math.pi * cycles
    below, partial, twice_cosine = torch.zeros_like(angle), torch.sin(angle), 2 * torch.cos(angle)
    sound = amplitudes[:, :1] * partial
    for number in range(1, PARTIALS):
        below, partial = partial, twice_cosine * partial - below
        sound += amplitudes[:, number : number + 1] * partial
    return sound
