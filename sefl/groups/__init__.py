"""Signals on finite groups: subgroups, bandlimits, sampling."""

from sefl.groups.bandlimit import Bandlimit, bandlimit
from sefl.groups.blur import BlurPool, blur_pool
from sefl.groups.canonicalization import Canonicalize
from sefl.groups.convolution import GroupConv
from sefl.groups.field import RegularField
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
from sefl.groups.normalization import FieldNorm
from sefl.groups.optimized import OptimizedDesign
from sefl.groups.sampling import SubgroupDownsample
from sefl.groups.spatial import act_on_fibre, act_on_field, act_on_grid, act_on_samples
from sefl.groups.subgroup import (
    Subgroup,
    automatic_subgroup,
    subgroup,
    subgroup_of,
    subgroups,
    uniform_subgroup,
)

__all__ = [
    "Bandlimit",
    "BlurPool",
    "Canonicalize",
    "FieldNorm",
    "FiniteGroup",
    "GroupConv",
    "OptimizedDesign",
    "RegularField",
    "Subgroup",
    "SubgroupDownsample",
    "act_on_fibre",
    "act_on_field",
    "act_on_grid",
    "act_on_samples",
    "automatic_subgroup",
    "bandlimit",
    "blur_pool",
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
