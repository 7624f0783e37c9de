"""The layers of :mod:`sefl.groups` as modules of escnn, on its field types.

Importing this takes seconds, which are escnn's; :mod:`sefl.groups` does without it.
"""

from importlib.util import find_spec

if find_spec("escnn") is None:
    raise ModuleNotFoundError(
        "sefl.escnn needs escnn, which is not installed: uv run brings it; so does pip install 'sefl[escnn]' "
        "beside a Fortran compiler"
    )

from sefl.escnn.canonicalization import Canonicalization
from sefl.escnn.convolution import FieldConv
from sefl.escnn.field_module import FieldModule
from sefl.escnn.field_types import bandlimited_field, field_of, field_type
from sefl.escnn.pointwise import BandlimitedPointwise
from sefl.escnn.sampling import RegularRestriction, SubgroupDownsampling, SubgroupUpsampling
from sefl.escnn.spaces import space_of, subspace_of

__all__ = [
    "BandlimitedPointwise",
    "Canonicalization",
    "FieldConv",
    "FieldModule",
    "RegularRestriction",
    "SubgroupDownsampling",
    "SubgroupUpsampling",
    "bandlimited_field",
    "field_of",
    "field_type",
    "space_of",
    "subspace_of",
]
