"""Sampled networks that keep the whole group, against those on all of it, on the subgroup, and escnn's."""

import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sefl.bench.comparisons import ESCNN, OURS, PASSES, Comparison, GroupSizes
from sefl.bench.group_layers import ESCNN_IS_INSTALLED
from sefl.bench.work import LayerWork, MakeWork, StepWork, Work, images
from sefl.groups import BandlimitedField, BlurPool, bandlimit, finite_group
from sefl.networks import GroupSampledNetwork, GroupStages, SubgroupSampling
from sefl.networks.group_sampled import InvariantHead
from sefl.networks.network import Network

NETWORKS = "networks"
FULL, SUBGROUP = "full group", "subgroup"
CLASSES = 10
_SPATIAL_RATES = [2, 2, 1]


class FourierPointwiseNetwork(Network):
    """The nearest network of escnn: ``R2Conv`` and ``FourierPointwise`` of the band and grid of ours on ``C_n``.

    Batch norm per field, blur pooling and the head are those of ours.

    Args:
        group, subgroup: ``C_n`` and the ``C_m`` whose band it has.
        widths: fields of each of three stages.
        kernel_size: of the convolutions.
        dropout: of the pooled features.
    """

    synthesis: Tensor

    def __init__(
        self, group: str, subgroup: str, widths: Sequence[int], kernel_size: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.symmetry_group = group
        size = len(finite_group(group))
        band = BandlimitedField(bandlimit(finite_group(group), subgroup)).channels // 2
        # It says what it loads, and that it does without py3nj, whose lack costs time at the first start alone.
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from escnn import gspaces
            from escnn.nn import FieldType, FourierPointwise, IIDBatchNorm2d, R2Conv

            space = gspaces.rot2dOnR2(size)
            irreps = [space.irrep(frequency).id for frequency in range(band + 1)]
            self.source = entering = FieldType(space, [space.trivial_repr])
            self.stages, self.blurs = nn.ModuleList(), nn.ModuleList()
            for width, rate in zip(widths, _SPATIAL_RATES, strict=True):
                grid = {"type": "regular", "N": size}
                relu = FourierPointwise(space, width, irreps, function="p_relu", **grid)
                field = relu.in_type
                convolution = R2Conv(entering, field, kernel_size, padding=kernel_size // 2, bias=False)
                self.stages.append(nn.Sequential(convolution, IIDBatchNorm2d(field), relu))
                self.blurs.append(BlurPool(rate))
                entering = field
        self.register_buffer("synthesis", relu.A)
        self.head = InvariantHead(widths[-1], CLASSES, "max", dropout)
        for buffer in self.buffers():
            buffer.data = buffer.contiguous()  # as safetensors wants them

    def forward(self, images: Tensor) -> Tensor:
        from escnn.nn import GeometricTensor

        x, field = images, self.source
        for stage, blur in zip(self.stages, self.blurs, strict=True):
            features = stage(GeometricTensor(x, field))
            x, field = blur(features.tensor), features.type
        values = self.synthesis @ x.unflatten(1, (self.head.fields, -1)).flatten(3)
        logits: Tensor = self.head(values.flatten(1, 2))
        return logits


def group_networks(sizes: GroupSizes) -> list[Comparison]:
    """Construction, forward pass and training step of the networks of each pair of groups."""
    return [
        Comparison(
            part="groups",
            table=NETWORKS,
            work=f"{group} to {subgroup}",
            passes=passes,
            contestants={name: work(make, sizes) for name, make in _makers(sizes, group, subgroup).items()},
            items=sizes.batch,
            counted=(),
            weighed=weighed,
        )
        for group, subgroup in sizes.networks
        for passes, work, weighed in (
            ("construction", _construction, ()),
            (PASSES[False], _forward, ()),
            (PASSES[True], _step, (OURS, FULL, SUBGROUP, ESCNN)),
        )
    ]


def _makers(sizes: GroupSizes, group: str, subgroup: str) -> dict[str, Callable[[], nn.Module]]:
    made = partial(_network, group, sizes.widths, sizes.kernel_size)
    makers: dict[str, Callable[[], nn.Module]] = {
        OURS: partial(made, subgroup, SubgroupSampling(design="whole_group")),
        FULL: partial(made, None, SubgroupSampling()),
        SUBGROUP: partial(made, subgroup, SubgroupSampling()),
    }
    if sizes.escnn and ESCNN_IS_INSTALLED and group.startswith("C"):
        makers[ESCNN] = partial(FourierPointwiseNetwork, group, subgroup, sizes.widths, sizes.kernel_size)
    return makers


def _network(
    group: str, widths: tuple[int, ...], kernel_size: int, below: str | None, sampling: SubgroupSampling
) -> nn.Module:
    later = [None] * (len(widths) - 1)
    stages = GroupStages(
        widths, kernel_size, subgroups=[below, *later], spatial_rates=_SPATIAL_RATES[: len(widths)]
    )
    return GroupSampledNetwork(group, classes=CLASSES, stages=stages, sampling=sampling)


def _construction(make: Callable[[], nn.Module], sizes: GroupSizes) -> Work:
    return MakeWork(make)


def _forward(make: Callable[[], nn.Module], sizes: GroupSizes) -> Work:
    return LayerWork(
        partial(_evaluating, make), partial(images, sizes.batch, 1, sizes.resolution), backward=False
    )


def _step(make: Callable[[], nn.Module], sizes: GroupSizes) -> Work:
    return StepWork(make, _loss, sizes.batch, sizes.resolution)


def _evaluating(make: Callable[[], nn.Module]) -> nn.Module:
    return make().eval()


def _loss(network: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    pictures, labels = batch
    return cross_entropy(network(pictures), labels)
