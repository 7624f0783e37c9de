"""Small networks of regular features that are exactly equivariant, and what the monitor must know of their fields."""

from typing import Any

import torch
from networks_for_monitoring import Classifier
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from sefl.groups import Canonicalize, FiniteGroup, Subgroup, finite_group
from sefl.groups.field import FieldFeatures, RegularField
from sefl.groups.spatial import act_on_field, act_on_grid

CONVOLUTIONS = {2: F.conv2d, 3: F.conv3d}


class PlainField(RegularField):
    """A regular field of ``G``, or of ``H`` where samples were canonicalised; as the formula says, one by one."""

    def __init__(self, group: FiniteGroup, subgroup: Subgroup | None = None) -> None:
        super().__init__(group)
        self.subgroup = subgroup

    def element(self, matrix: Any) -> int | None:
        return self.group.element_of_matrix(matrix)

    def act(self, features: Tensor, element: int, background: float = 0.0, cosets: Any = None) -> Tensor:
        if cosets is None:
            return act_on_field(features, self.group, element, background)
        table, inverse = self.group.table, self.group.inverse
        moved = []
        for sample, before, after in zip(features.split(1), *(c.tolist() for c in cosets), strict=True):
            inside = self.subgroup.position[table[table[inverse[after], element], before]]
            if inside < 0:
                raise ValueError("the cosets do not fit the element")
            moved.append(act_on_field(sample, self.subgroup.group, int(inside), background))
        return torch.cat(moved)


class Lifting(nn.Module):
    """Convolve with a kernel moved by every element of ``G``: a regular field, channel ``field * |G| + element``."""

    def __init__(self, group: FiniteGroup, in_channels: int, fields: int) -> None:
        super().__init__()
        self.group, self.output_type = group, PlainField(group)
        axes = group.matrices.shape[-1]
        generator = torch.Generator().manual_seed(2)
        self.weight = nn.Parameter(torch.randn(fields, in_channels, *[3] * axes, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        copies = torch.stack([act_on_grid(self.weight, matrix) for matrix in self.group.matrices], dim=1)
        return CONVOLUTIONS[images.dim() - 2](images, copies.flatten(0, 1), padding=1)


class Regular(nn.Module):
    """Declare what a module puts out to be a regular field."""

    def __init__(self, module: nn.Module, field: Any) -> None:
        super().__init__()
        self.module, self.output_type = module, field

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x)


class CanonicalRestriction(nn.Module):
    """Move to the coset of the strongest response, restrict to ``H``."""

    def __init__(self, subgroup: Subgroup) -> None:
        super().__init__()
        self.canonicalize = Canonicalize(subgroup)
        self.subgroup = subgroup
        self.output_type = PlainField(subgroup.parent, subgroup)

    def forward(self, features: Tensor) -> FieldFeatures:
        canonical, cosets = self.canonicalize(features)
        fibres = canonical.unflatten(1, (-1, len(self.subgroup.parent)))
        return FieldFeatures(fibres[:, :, torch.as_tensor(self.subgroup.elements)].flatten(1, 2), cosets)


class Interleaved(nn.Module):
    """The wrong order of channels: ``element * fields + field``."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, features: Tensor) -> Tensor:
        return features.unflatten(1, (-1, self.size)).transpose(1, 2).flatten(1, 2)


class OverSpace(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.flatten(2).mean(2)


class OverGroup(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, features: Tensor) -> Tensor:
        return features.unflatten(1, (-1, self.size)).amax(2)


def regular_network(name: str) -> Classifier:
    """Lifting, ReLU, mean over space, maximum over the group: regular, regular, regular without space, invariant."""
    group = finite_group(name)
    field = PlainField(group)
    return Classifier(
        nn.Sequential(
            Lifting(group, 2, 3),
            Regular(nn.ReLU(), field),
            Regular(OverSpace(), field),
            OverGroup(len(group)),
        )
    )


def volumes(sizes: list[int], resolution: int = 5) -> DataLoader:
    generator = torch.Generator().manual_seed(5)
    shape = (2, *[resolution] * 3)
    data = [
        (torch.randn(n, *shape, generator=generator, dtype=torch.float64), torch.zeros(n, dtype=torch.long))
        for n in sizes
    ]
    return DataLoader(data, batch_size=None)
