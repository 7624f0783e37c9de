"""Networks of escnn's modules that go from a group to a subgroup: what the elements left behind change of features."""

import torch
from escnn import gspaces
from escnn.nn import (
    EquivariantModule,
    FieldType,
    IIDBatchNorm2d,
    InnerBatchNorm,
    R2Conv,
    ReLU,
    RestrictionModule,
    SequentialModule,
)
from matplotlib.figure import Figure
from torch import Tensor

from datamodules.glyphs import base_glyphs
from sefl.escnn import (
    BandlimitedPointwise,
    Canonicalization,
    FieldConv,
    SubgroupDownsampling,
    bandlimited_field,
    field_type,
    subspace_of,
)
from sefl.figures.style import LABEL, ORDINARY, OURS, SMALL, TEXT, TITLE, new_figure, quiet
from sefl.fourier import downsample
from sefl.groups import FiniteGroup
from sefl.metrics import relative_squared_error

SPACE, BELOW = gspaces.flipRot2dOnR2(4), (0, 2)  # D4 to D2, whose elements all permute pixels
FIELDS, KERNEL, PIXELS, NETWORKS = 8, 5, 19, 3
PADDING = KERNEL // 2
FLOOR = 1e-17  # zeros have no place on a logarithmic axis
MIDDLE = "#7048e8"


def escnn_figure(seed: int, networks: int = NETWORKS) -> Figure:
    """The error of the pooled features under each element of D4, mean of networks with random weights.

    Args:
        seed: of the first network's weights; the others have the next.
        networks: how many of each kind.
    """
    errors = mean_errors(seed, networks)
    group = FiniteGroup.from_escnn(SPACE)
    figure = new_figure(6.4, 3.6)
    axes = figure.subplots()
    looks = [(ORDINARY, "o"), (MIDDLE, "s"), (OURS, "D"), (OURS, "o")]
    for place, ((name, values), (color, marker)) in enumerate(zip(errors.items(), looks, strict=True)):
        x = torch.arange(len(group)) + 0.13 * (place - 1.5)
        axes.semilogy(x, values.clamp(min=FLOOR), marker, color=color, markersize=5, label=name)
    axes.set_xticks(range(len(group)), group.labels)
    axes.set_ylim(FLOOR / 3, 10)
    axes.set_ylabel("equivariance error", fontsize=LABEL)
    axes.set_title("From D4 to D2 {e, r², s, r²s}", fontsize=TITLE, color=TEXT)
    quiet(axes)
    figure.legend(loc="outside lower center", fontsize=SMALL, frameon=False, labelcolor=TEXT)
    return figure


@torch.no_grad()
def mean_errors(seed: int, networks: int) -> dict[str, Tensor]:
    """Of each kind of network, the relative squared error under every element: ``(8,)``."""
    images = downsample(base_glyphs()[:, :1].float(), PIXELS).double()
    found: dict[str, Tensor] = {}
    for index in range(networks):
        torch.manual_seed(seed + index)
        for name, network in made().items():
            network.double().train()(network.in_type(images))  # statistics of batch norm
            network.eval()
            still = pooled(network, images)
            moved = [
                relative_squared_error(
                    still, pooled(network, network.in_type(images).transform(element).tensor)
                )
                for element in SPACE.fibergroup.elements
            ]
            found[name] = found.get(name, 0) + torch.stack(moved).mean(1) / networks
    return found


def pooled(network: EquivariantModule, images: Tensor) -> Tensor:
    """The mean of every field over space and group, of its values or as its first coefficient: ``(batch, FIELDS)``."""
    fields: Tensor = network(network.in_type(images)).tensor.unflatten(1, (FIELDS, -1)).mean((3, 4))
    return fields[:, :, 0] if network.out_type.gspace == SPACE else fields.mean(2)


def made() -> dict[str, SequentialModule]:
    """A convolution of D4, a way to D2, a convolution there; and two with all of D4 in every layer."""
    images, wide = FieldType(SPACE, [SPACE.trivial_repr]), field_type(SPACE, FIELDS)
    small = field_type(subspace_of(SPACE, BELOW)[0], FIELDS)
    band = field_type(SPACE, FIELDS, bandlimited_field(SPACE, BELOW))
    restricted = RestrictionModule(wide, BELOW)

    def first() -> list[EquivariantModule]:
        return [FieldConv(images, wide, KERNEL, PADDING), InnerBatchNorm(wide), ReLU(wide)]

    def second() -> list[EquivariantModule]:
        return [FieldConv(small, small, KERNEL, PADDING), InnerBatchNorm(small), ReLU(small)]

    def whole(source: FieldType) -> list[EquivariantModule]:
        return [FieldConv(source, band, KERNEL, PADDING), IIDBatchNorm2d(band), BandlimitedPointwise(band)]

    return {
        "RestrictionModule, R2Conv of D2: 64 channels": SequentialModule(
            *first(),
            restricted,
            R2Conv(restricted.out_type, small, KERNEL, PADDING, recompute=True),
            *second()[1:],
        ),
        "SubgroupDownsampling, layers of D2: 32": SequentialModule(
            *first(), SubgroupDownsampling(wide, BELOW), *second()
        ),
        "Canonicalization, SubgroupDownsampling, layers of D2: 32": SequentialModule(
            *first(), Canonicalization(wide, BELOW), SubgroupDownsampling(wide, BELOW), *second()
        ),
        "bandlimited signals on D4 in every layer: 32": SequentialModule(*whole(images), *whole(band)),
    }
