"""Non-linearities of bandlimited signals on a group, as modules of escnn."""

from escnn.nn import FieldType
from torch import nn

from sefl.escnn.field_module import FieldModule
from sefl.escnn.field_types import field_of
from sefl.groups.bandlimited import BandlimitedField
from sefl.groups.bandlimited_layers import BandlimitedNonlinearity


class BandlimitedPointwise(FieldModule):
    """A pointwise function of signals on all of ``G``, of which features have the coefficients; by default a ReLU.

    :class:`sefl.groups.BandlimitedNonlinearity`, what ``GroupSampledNetwork`` has with ``design: whole_group``. It
    commutes with every element. The nearest in escnn is ``FourierPointwise``, whose irreps and grid the user chooses;
    here the subgroup says them.

    Args:
        in_type: what :func:`sefl.escnn.field_type` makes of a :func:`sefl.escnn.bandlimited_field`.
        function: works on each value alone.
        angles: of :class:`sefl.groups.BandlimitedNonlinearity`.

    Raises:
        ValueError: if ``in_type`` has other fields, or ``angles`` do not fit them.
    """

    def __init__(
        self, in_type: FieldType, function: nn.Module | None = None, angles: int | None = None
    ) -> None:
        field, _ = field_of(in_type)
        if not isinstance(field, BandlimitedField):
            raise ValueError(
                "in_type must have fields of bandlimited signals, as field_type(space, fields, "
                f"bandlimited_field(space, below)) makes, got {in_type}"
            )
        super().__init__(in_type, in_type, BandlimitedNonlinearity(field, function, angles))
