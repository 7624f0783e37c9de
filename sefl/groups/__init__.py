"""Signals on finite groups: subgroups, bandlimits, sampling."""

from sefl.groups.bandlimit import Bandlimit, bandlimit
from sefl.groups.bandlimited import BandlimitedField, circular_field
from sefl.groups.bandlimited_layers import (
    BandlimitedDownsample,
    BandlimitedNonlinearity,
    BandlimitedNorm,
    from_samples,
    from_values,
    to_samples,
    to_values,
)
from sefl.groups.blur import BlurPool, blur_pool
from sefl.groups.canonicalization import Canonicalize
from sefl.groups.convolution import GroupConv, LiftingConv
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
from sefl.groups.sampling import FieldRestriction, SubgroupDownsample
from sefl.groups.spatial import act_on_fibre, act_on_field, act_on_grid, act_on_samples
from sefl.groups.spectral import OnElements, OnFibres, SpectralGroupConv
from sefl.groups.steerable import SteerableConv
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
    "BandlimitedDownsample",
    "BandlimitedField",
    "BandlimitedNonlinearity",
    "BandlimitedNorm",
    "BlurPool",
    "Canonicalize",
    "FieldNorm",
    "FieldRestriction",
    "FiniteGroup",
    "GroupConv",
    "LiftingConv",
    "OnElements",
    "OnFibres",
    "OptimizedDesign",
    "RegularField",
    "SpectralGroupConv",
    "SteerableConv",
    "Subgroup",
    "SubgroupDownsample",
    "act_on_fibre",
    "act_on_field",
    "act_on_grid",
    "act_on_samples",
    "automatic_subgroup",
    "bandlimit",
    "blur_pool",
    "circular_field",
    "cyclic",
    "dihedral",
    "finite_group",
    "from_samples",
    "from_values",
    "full_octahedral",
    "icosahedral",
    "octahedral",
    "product",
    "subgroup",
    "subgroup_of",
    "subgroups",
    "symmetric",
    "tetrahedral",
    "to_samples",
    "to_values",
    "trivial",
    "uniform_subgroup",
]
