"""Every public layer and network, small, with an input for it: what holds for all of them is tested on these."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import torch
from flat_settings import classifier, made
from torch import Tensor, nn

import models
from models.schedules import OneCycle
from sefl import compat, fourier, groups, networks

FINEST = 9


@dataclass(frozen=True)
class Case:
    """How to make a layer, and the shape of its input with ``0`` for the batch."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    complex: bool = False

    def example(self, batch: int = 2, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        real = torch.randn([size or batch for size in self.shape], generator=generator)
        return torch.fft.fft2(real, norm="forward") if self.complex else real


def network(name: str, **settings: object) -> Callable[[], nn.Module]:
    common = {"in_channels": 2, "classes": 3, "base_resolution": 6, "max_resolution": FINEST}
    return lambda: made(name, **{**common, **settings})


def limit(whole: str = "D4", below: str = "C4") -> groups.Bandlimit:
    return groups.bandlimit(groups.finite_group(whole), below)


def bandlimited(whole: str = "D4", below: str = "C4") -> groups.BandlimitedField:
    return groups.BandlimitedField(limit(whole, below))


FIELD_COEFFICIENTS = (FINEST, FINEST, 0, 8)
ON_IMAGES, ON_SIGNALS = (FINEST, FINEST, 0, 4), (FINEST, 0, 4)
IMAGES, FIELD, SPECTRUM = (0, 2, FINEST, FINEST), (0, 16, 6, 6), (0, 4, FINEST, FINEST)
EVERY_LAYER: dict[str, Case] = {
    "AntialiasedTorchvisionNetwork": Case(
        lambda: networks.AntialiasedTorchvisionNetwork(
            "squeezenet1_1", 3, 3, base_resolution=33, max_resolution=40
        ),
        (0, 3, 33, 33),
    ),
    "BandLinear": Case(lambda: fourier.BandLinear(4, 3, 5), (0, 5, 4)),
    "BandPerceptron": Case(lambda: fourier.BandPerceptron(4, 3, 2, 5), (0, 5, 4)),
    "BandPooling2d": Case(lambda: fourier.BandPooling2d(6, FINEST), ON_IMAGES),
    "BandPooling2d mean": Case(lambda: fourier.BandPooling2d(6, FINEST, pool="mean"), ON_IMAGES),
    "BandPooling1d": Case(lambda: fourier.BandPooling1d(6, FINEST), ON_SIGNALS),
    "FrequencyMixer1d": Case(lambda: fourier.FrequencyMixer1d(4, FINEST), ON_SIGNALS),
    "FrequencyMixer2d": Case(lambda: fourier.FrequencyMixer2d(4, FINEST, groups=2), ON_IMAGES),
    "GridBatchNorm": Case(lambda: fourier.GridBatchNorm(16), FIELD),
    "MagnitudeMixer1d": Case(lambda: fourier.MagnitudeMixer1d(4, FINEST), ON_SIGNALS),
    "MagnitudeMixer2d": Case(lambda: fourier.MagnitudeMixer2d(4, FINEST), ON_IMAGES),
    "ScaleEquivariantMaxPool1d": Case(
        lambda: fourier.ScaleEquivariantMaxPool1d(2, base_resolution=4, max_resolution=FINEST), ON_SIGNALS
    ),
    "ScaleEquivariantMaxPool2d": Case(
        lambda: fourier.ScaleEquivariantMaxPool2d(2, base_resolution=4, max_resolution=FINEST, channels=4),
        ON_IMAGES,
    ),
    "ScaleEquivariantNonlinearity2d": Case(
        lambda: fourier.ScaleEquivariantNonlinearity2d(base_resolution=4, max_resolution=FINEST, channels=4),
        ON_IMAGES,
    ),
    "ScaleEquivariantNonlinearity1d": Case(
        lambda: fourier.ScaleEquivariantNonlinearity1d(base_resolution=4, max_resolution=FINEST), ON_SIGNALS
    ),
    "SpectralBatchNorm": Case(lambda: fourier.SpectralBatchNorm(4), ON_IMAGES),
    "SpectralConv1d": Case(lambda: fourier.SpectralConv1d(4, 3, 3, FINEST), ON_SIGNALS),
    "SpectralConv2d": Case(lambda: fourier.SpectralConv2d(4, 3, 3, FINEST, residual=True), ON_IMAGES),
    "BandlimitedDownsample": Case(
        lambda: groups.BandlimitedDownsample(
            bandlimited("C16", "C16"), groups.subgroup(groups.cyclic(16), "C4")
        ),
        FIELD,
    ),
    "BandlimitedNonlinearity": Case(lambda: groups.BandlimitedNonlinearity(bandlimited()), FIELD),
    "BandlimitedNorm": Case(lambda: groups.BandlimitedNorm(bandlimited(), 4), FIELD),
    "BlurPool": Case(lambda: groups.BlurPool(2), FIELD),
    "Canonicalize": Case(lambda: groups.Canonicalize(groups.subgroup(groups.dihedral(4), "C4")), FIELD),
    "FieldRestriction": Case(
        lambda: groups.FieldRestriction(groups.subgroup(groups.dihedral(4), "C4")), FIELD
    ),
    "FieldNorm": Case(lambda: groups.FieldNorm(groups.dihedral(4), 2), FIELD),
    "GroupConv": Case(lambda: groups.GroupConv(groups.dihedral(4), 2, 1, 3), FIELD),
    "GroupAveragedNetwork": Case(
        lambda: networks.GroupAveragedNetwork(
            network("FourierNetwork", widths=[3], kernel_size=3, head_hidden=5, center="image")(), "D2"
        ),
        IMAGES,
    ),
    "GroupFourierNetwork": Case(
        network("GroupFourierNetwork", widths=[1, 1], kernel_size=3, head_hidden=5, head_widths=[1]), IMAGES
    ),
    "GroupScaleNetwork": Case(network("GroupScaleNetwork", widths=[2, 2], kernel_sizes=3), IMAGES),
    "LiftingConv": Case(lambda: groups.LiftingConv(groups.cyclic(8), 2, 1, 3), IMAGES),
    "GroupSampledNetwork": Case(
        lambda: made(
            "GroupSampledNetwork",
            group="D4",
            in_channels=2,
            classes=3,
            widths=[2, 2],
            kernel_sizes=3,
            group_rates=[2, 1],
            canonicalize=True,
        ),
        IMAGES,
    ),
    "SteerableConv": Case(lambda: groups.SteerableConv((bandlimited(), 4), (bandlimited(), 2), 3), FIELD),
    "OnElements": Case(
        lambda: groups.OnElements(
            fourier.ScaleEquivariantNonlinearity2d(base_resolution=4, max_resolution=FINEST, channels=2),
            bandlimited(),
        ),
        FIELD_COEFFICIENTS,
    ),
    "OnFibres": Case(
        lambda: groups.OnFibres(
            groups.SubgroupDownsample(limit()), groups.RegularField(limit().subgroup.group)
        ),
        FIELD_COEFFICIENTS,
    ),
    "SpectralGroupConv": Case(
        lambda: groups.SpectralGroupConv(groups.GroupConv(groups.dihedral(4), 1, 2, 3), FINEST),
        FIELD_COEFFICIENTS,
    ),
    "SubgroupDownsample": Case(lambda: groups.SubgroupDownsample(limit()), FIELD),
    "compat SubgroupDownsample": Case(
        lambda: compat.SubgroupDownsample(
            "dihedral", 4, "cycle", 2, 2, apply_antialiasing=True, cannonicalize=True
        ),
        FIELD,
    ),
    "SpectralConv2dLocalized": Case(
        lambda: compat.SpectralConv2dLocalized(4, 3, FINEST + 1, 3), SPECTRUM, True
    ),
    "scaleEqNonlin": Case(lambda: compat.scaleEqNonlin(nn.ReLU(), 4, "instance", 4, FINEST), SPECTRUM, True),
    "scaleEqNonlinMaxp": Case(lambda: compat.scaleEqNonlinMaxp(nn.ReLU(), 4), SPECTRUM, True),
    "CropClassifier": Case(
        lambda: models.CropClassifier(network("ConvNetwork", widths=[3, 4], head_hidden=5)()), IMAGES
    ),
    "ConvNetwork": Case(network("ConvNetwork", widths=[3, 4], head_hidden=5), IMAGES),
    "FourierCNN": Case(network("FourierCNN", widths=[3, 4], head_hidden=5), IMAGES),
    "FourierNetwork": Case(
        network("FourierNetwork", widths=[3, 4], kernel_size=3, head_hidden=5, norm="batch", head_widths=[4]),
        IMAGES,
    ),
    "FourierNetwork of signals": Case(
        network("FourierNetwork", widths=[3], kernel_size=3, head_hidden=5, dimensions=1), (0, 2, FINEST)
    ),
    "Classifier": Case(
        lambda: classifier("GroupSampledNetwork", group="C4", in_channels=2, classes=3, widths=[2, 2]), IMAGES
    ),
    "ScaleClassifier": Case(
        lambda: classifier("FourierNetwork", in_channels=2, classes=3, max_resolution=FINEST, widths=[3]),
        IMAGES,
    ),
    "MixerNetwork": Case(
        network("MixerNetwork", width=4, depth=1, groups=2, mixes_bands=True, head_hidden=5), IMAGES
    ),
    "PerResolutionNetwork": Case(network("PerResolutionNetwork", widths=[3], head_hidden=5), IMAGES),
    "PyramidNetwork": Case(
        lambda: networks.PyramidNetwork(network("ConvNetwork", widths=[3, 4], head_hidden=5)()), IMAGES
    ),
    "Resizing": Case(lambda: networks.Resizing("ideal", FINEST + 3), IMAGES),
    "Resizing reflect": Case(lambda: networks.Resizing("reflect", FINEST + 3), IMAGES),
    "SESN": Case(network("SESN", widths=[3, 4], order=2, head_hidden=5), IMAGES),
    "TorchvisionNetwork": Case(
        lambda: networks.TorchvisionNetwork("resnet18", 3, 3, base_resolution=33, max_resolution=40),
        (0, 3, 33, 33),
    ),
    "WideResNet": Case(network("WideResNet", depth=10, width=1), IMAGES),
}

_PACKAGES: tuple[ModuleType, ...] = (fourier, groups, networks, models)
_WITHOUT_FORWARD = {
    fourier.CoefficientModule,
    networks.Network,
    networks.ScaleNetwork,
    networks.BandNetwork,
    networks.SinglePredictionNetwork,
    OneCycle,
}


def public_modules() -> set[type[nn.Module]]:
    """What the packages export and has a ``forward`` of its own; of the authors' names some are in EVERY_LAYER."""
    exported = (getattr(package, name) for package in _PACKAGES for name in package.__all__)
    return {
        found for found in exported if isinstance(found, type) and issubclass(found, nn.Module)
    } - _WITHOUT_FORWARD
