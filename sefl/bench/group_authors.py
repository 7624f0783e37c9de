"""The authors' filters (ICLR 2025), imported from a checkout that the user names; none of their code is here."""

import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

from torch import nn

from sefl.bench.authors import imported, require_module, silently
from sefl.bench.comparisons import AUTHORS, OURS, Comparison
from sefl.bench.filters import FilterWork
from sefl.bench.work import MakeWork

REPOSITORY = "https://github.com/ashiq24/Group_Sampling"
README_SETTINGS = {"iterations": 100, "smoothness_loss_weight": 0.1}
"""Of the optimisation, in their README's example."""

_DOWNSAMPLING = "gsampling.layers.downsampling"
_GENERATOR = {"cycle": "r", "dihedral": "r-s"}
_PAIRS = {("C24", "C8"): ("cycle", 24, 3), ("D12", "D6"): ("dihedral", 12, 2)}
"""Group and subgroup; and in their words: type, rotations, rate."""


@dataclass(frozen=True)
class GroupAuthorsCode:
    """Makes the authors' subsampling layers out of a checkout of their repository.

    Args:
        directory: the checkout.

    Raises:
        ValueError: if it is not one, or its code cannot be imported.
    """

    directory: Path

    def __post_init__(self) -> None:
        require_module("against_groups", self.directory, _DOWNSAMPLING, REPOSITORY)
        try:
            self._module()
        except ImportError as error:
            raise ValueError(
                f"against_groups {self.directory}: cannot import the code there ({error}); install what it lacks"
            ) from error

    def downsample(self, group_type: str, order: int, rate: int) -> nn.Module:
        """Their subsampling to a subgroup of the same type, whose filter is optimised when it is made."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return silently(
                self._module().SubgroupDownsample,
                group_type=group_type,
                order=order,
                sub_group_type=group_type,
                subsampling_factor=rate,
                num_features=1,
                generator=_GENERATOR[group_type],
                apply_antialiasing=True,
                anti_aliasing_kwargs=README_SETTINGS,
            )

    def _module(self) -> ModuleType:
        return imported("against_groups", self.directory, _DOWNSAMPLING)


def against_group_authors(code: GroupAuthorsCode) -> list[Comparison]:
    """Making a filter, against theirs with the settings of their README."""
    return [
        Comparison(
            part="authors",
            work=f"filter {group} -> {subgroup}",
            passes="construction",
            contestants={
                OURS: FilterWork(group, subgroup),
                AUTHORS: MakeWork(partial(code.downsample, *theirs)),
            },
            items=1,
            counted=(),
            weighed=(),
        )
        for (group, subgroup), theirs in _PAIRS.items()
    ]
