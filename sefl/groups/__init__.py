"""Signals on finite groups: subgroups, bandlimits, sampling."""

from sefl.groups.group import (
    FiniteGroup,
    cyclic,
    dihedral,
    finite_group,
    full_octahedral,
    icosahedral,
    octahedral,
    product,
    symmetric,
    tetrahedral,
    trivial,
)
from sefl.groups.spatial import (
    act_on_fibre,
    act_on_field,
    act_on_grid,
)
from sefl.groups.subgroup import (
    Subgroup,
    automatic_subgroup,
    subgroup,
    subgroup_of,
    subgroups,
    uniform_subgroup,
)

__all__ = [
    "FiniteGroup",
    "Subgroup",
    "act_on_fibre",
    "act_on_field",
    "act_on_grid",
    "automatic_subgroup",
    "cyclic",
    "dihedral",
    "finite_group",
    "full_octahedral",
    "icosahedral",
    "octahedral",
    "product",
    "subgroup",
    "subgroup_of",
    "subgroups",
    "symmetric",
    "tetrahedral",
    "trivial",
    "uniform_subgroup",
]
