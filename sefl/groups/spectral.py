"""Fields of a group on nested Fourier coefficients: layers that commute with the group and with ideal downsampling.

``(K, K, batch, fields |H|)`` are the coefficients of regular fields on grids about the image's middle
(``to_coefficients(x, center="image")``), channel ``field |H| + element`` as on pixels. On such grids flips and quarter
turns act on frequencies by signs and a transposition at every resolution, on fibres as ever; downsampling is the slice
``[:k, :k]`` of all channels. So a convolution of :mod:`sefl.groups` becomes a transfer function, what acts on fibres
alone acts at each frequency, and a layer of :mod:`sefl.fourier` that sees channels one by one may see elements for
samples. All of it is exact for elements that map the grid to itself (C1, C2, C4, D1, D2, D4), together with every
resolution; others interpolate in their kernels.
"""

from torch import Tensor, nn

from sefl.arguments import require_positive
from sefl.fourier.convolution import convolve
from sefl.fourier.sampling import CoefficientModule, band_in_layer, coefficient_band
from sefl.groups.bandlimited import BandlimitedField
from sefl.groups.bandlimited_layers import from_values, to_values
from sefl.groups.convolution import GroupConv
from sefl.groups.field import RegularField
from sefl.groups.steerable import SteerableConv
from sefl.tensors.graphs import outside_of_graphs
from sefl.tensors.output_types import Coefficients


class FieldModule(CoefficientModule):
    """A layer to coefficients of fields, which it declares."""

    def __init__(self, field: RegularField) -> None:
        super().__init__()
        self.field = field
        self.output_type = Coefficients(field)

    def extra_repr(self) -> str:
        return f"{self.field}"


class SpectralGroupConv(FieldModule):
    """A group convolution whose kernel lives on the finest grid, on coefficients of any band up to that of it.

    At ``max_resolution`` it is the convolution itself with circular padding, low-passed to the band. Its cost is that
    of a :class:`sefl.fourier.SpectralConv2d` of as many channels.

    Args:
        convolution: a :class:`sefl.groups.GroupConv`, :class:`sefl.groups.LiftingConv` or
            :class:`sefl.groups.SteerableConv` on the plane; its weights are what is trained.
        max_resolution: pixels per side of the grid on which the taps sit, and the finest input.
        field: of the output, by default the convolution's own; that of a subsampled one says of which group it is.

    Shapes: ``(K, K, batch, in_channels)`` to ``(K, K, batch, out_channels)`` of the convolution.

    Raises:
        TypeError: in ``forward``, if the coefficients are not a floating-point tensor.
        ValueError: if the convolution is not of the plane, has strides or a dilation, or is larger than
            ``max_resolution``; in ``forward`` for coefficients that are of another shape, too fine or of other
            channels.

    >>> import torch
    >>> from sefl.fourier import to_coefficients
    >>> from sefl.groups import LiftingConv, dihedral
    >>> lifting = SpectralGroupConv(LiftingConv(dihedral(4), 1, 2, 5), max_resolution=28)
    >>> lifting(to_coefficients(torch.rand(3, 1, 20, 20), center="image")).shape
    torch.Size([19, 19, 3, 16])
    """

    def __init__(
        self,
        convolution: GroupConv | SteerableConv,
        max_resolution: int,
        field: RegularField | None = None,
    ) -> None:
        super().__init__(_field_of(convolution) if field is None else field)
        self.convolution = convolution
        self.max_resolution = require_positive("max_resolution", max_resolution)
        if (convolution.dimension, convolution.stride, convolution.dilation) != (2, 1, 1):
            raise ValueError(
                "convolution must be of the plane, with stride 1 and dilation 1, got "
                f"{convolution.dimension} dimensions, stride {convolution.stride}, dilation {convolution.dilation}"
            )
        if convolution.kernel_size > max_resolution:
            raise ValueError(
                f"convolution must have at most max_resolution ({max_resolution}) pixels per axis, got "
                f"{convolution.kernel_size}"
            )

    @outside_of_graphs
    def forward(self, coefficients: Tensor) -> Tensor:
        band_in_layer(coefficients, 2, self.max_resolution, self.convolution.in_channels, "in_channels")
        # The layers of pixels correlate: out(x) = K(y) in(x + y).
        taps = self.convolution.kernel().flip(2, 3).permute(2, 3, 1, 0)
        return convolve(coefficients, taps, self.convolution.channel_bias(), self.max_resolution)


def _field_of(convolution: GroupConv | SteerableConv) -> RegularField:
    if isinstance(convolution, SteerableConv):
        return convolution.output_type
    return RegularField(convolution.group)


class OnElements(FieldModule):
    """A layer on coefficients that sees what each element of the group has as a sample of its own.

    Norms, band-wise non-linearities and poolings of :mod:`sefl.fourier` for as many channels as there are fields:
    statistics are over a field, what is learned is shared by its elements, and the layer commutes with the group.
    Of bandlimited fields it sees the values on all of ``G``, ``c -> E^+ layer(E c)``.

    Args:
        layer: from coefficients ``(K, K, batch, fields)`` to as many channels.
        field: of input and output.

    Shapes: ``(K, K, batch, fields d)`` to ``(K', K', batch, fields d)``.

    Raises:
        TypeError, ValueError: in ``forward``, if the coefficients are not of the field, or as the layer.
    """

    def __init__(self, layer: nn.Module, field: RegularField) -> None:
        super().__init__(field)
        self.layer = layer

    def forward(self, coefficients: Tensor) -> Tensor:
        values = to_elements(coefficients, self.field)
        outcome: Tensor = self.layer(values.transpose(3, 4).flatten(2, 3))
        rows: Tensor = outcome.unflatten(2, (-1, values.shape[4])).transpose(3, 4).flatten(3)
        if isinstance(self.field, BandlimitedField):
            rows = from_values(rows.flatten(0, 2), self.field).unflatten(0, rows.shape[:3])
        return rows


class OnFibres(FieldModule):
    """A layer of ``(batch, channels)`` from fibre to fibre, at every frequency.

    With a :class:`sefl.groups.SubgroupDownsample` it filters and restricts fields to a subgroup, with a
    :class:`sefl.groups.BandlimitedDownsample` it keeps the leading coefficients of signals on the group.

    Args:
        layer: linear, without a constant.
        field: of the output.

    Shapes: ``(K, K, batch, channels)`` to ``(K, K, batch, channels')``.

    Raises:
        TypeError, ValueError: in ``forward``, if these are no coefficients, or as the layer.
    """

    def __init__(self, layer: nn.Module, field: RegularField) -> None:
        super().__init__(field)
        self.layer = layer

    def forward(self, coefficients: Tensor) -> Tensor:
        coefficient_band(coefficients, 2)
        rows = self.layer(coefficients.flatten(0, 2))
        outcome: Tensor = rows.unflatten(0, coefficients.shape[:3])
        return outcome


def to_elements(coefficients: Tensor, field: RegularField) -> Tensor:
    """``(K, K, batch, fields d)`` to ``(K, K, batch, fields, |H|)``, of bandlimited signals ``(..., |G|)``.

    Raises:
        TypeError: if they are not a floating-point tensor.
        ValueError: if they are no coefficients of such fields.
    """
    coefficient_band(coefficients, 2)
    rows = coefficients.flatten(0, 2)
    field.check(rows)
    elements = len(field.fibre)
    if isinstance(field, BandlimitedField):
        rows, elements = to_values(rows, field), len(field.group)
    values: Tensor = rows.unflatten(1, (-1, elements)).unflatten(0, coefficients.shape[:3])
    return values
