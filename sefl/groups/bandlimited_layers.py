"""Layers on the coefficients of bandlimited signals that commute with all of ``G``, and ways to and from samples."""

import math
from collections.abc import Callable, Hashable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sefl.arguments import require_floating, require_positive
from sefl.groups.bandlimited import BandlimitedField
from sefl.groups.blockwise import rectified_signals
from sefl.groups.group import FloatArray
from sefl.groups.sampling import multiply_fibres
from sefl.groups.spatial import check_field
from sefl.groups.subgroup import Subgroup
from sefl.tensors.batch_norm import SharedBatchNorm, mean_over, precise_type
from sefl.tensors.constants import constant


class BandlimitedNonlinearity(nn.Module):
    """A pointwise function of the signal, bandlimited: ``c -> E^+ sigma(E c)``, with ``E^+ = E^T / |G|``.

    It commutes with ``G``, which permutes the values; a function of the values on ``H`` commutes with ``H`` alone. On
    more points than elements of ``G``, what it makes of the signal aliases less.

    Args:
        field: of input and output.
        function: ``sigma``, a ReLU by default; any module that works on each value alone.
        angles: equidistant rotations at which the signal is taken: for a cyclic or dihedral group a multiple of its
            own, which is the default; for ``SO(2)`` and ``O(2)`` any number that holds the band, by default twice as
            many as it needs. The layer then commutes with the rotations by these angles.

    Shapes: ``(batch, fields d, *space)`` to the same.

    Raises:
        ValueError: if ``angles`` do not fit the field, and in ``forward`` if the features do not.
    """

    def __init__(
        self, field: BandlimitedField, function: nn.Module | None = None, angles: int | None = None
    ) -> None:
        super().__init__()
        if field.continuous and angles is None:
            angles = 2 * field.circle[0]
        field.synthesis(angles)
        self.output_type = field
        self.function = nn.ReLU() if function is None else function
        self.angles = angles

    def forward(self, coefficients: Tensor) -> Tensor:
        analysis = _constant(_analysis, coefficients, self.output_type, self.angles)
        if type(self.function) is nn.ReLU:
            self.output_type.check(coefficients)
            synthesis = _constant(_synthesis, coefficients, self.output_type, self.angles)
            return rectified_signals(coefficients, synthesis, analysis)
        values = self.function(to_values(coefficients, self.output_type, self.angles))
        return multiply_fibres(values, analysis)

    def extra_repr(self) -> str:
        return f"{self.output_type}, angles={self.angles}"


class BandlimitedNorm(SharedBatchNorm):
    """Batch norm with one mean, variance, scale and shift per field, over batch, group and space, from coefficients.

    What :class:`sefl.groups.FieldNorm` does to the values on ``G``: the mean of a signal is its first coefficient, the
    sum of the squares of the others its variance (Parseval). Without the constants in the band nothing is shifted.

    Args:
        field: of input and output.
        fields: how many.
        eps, momentum: as of ``nn.BatchNorm1d``.

    Shapes: ``(batch, fields d, *space)``, with any number of axes of space, none included, to the same.

    Raises:
        ValueError: if an argument is out of its range, and in ``forward`` if the features do not fit or a training
            batch has a single value per field.
    """

    def __init__(
        self, field: BandlimitedField, fields: int, eps: float = 1e-5, momentum: float | None = 0.1
    ) -> None:
        super().__init__(require_positive("fields", fields), eps, momentum)
        self.output_type = field

    def forward(self, coefficients: Tensor) -> Tensor:
        require_floating("features", coefficients)
        channels = math.prod(self._fields)
        if coefficients.dim() < 2 or coefficients.shape[1] != channels:
            raise ValueError(
                f"features must be (batch, {channels}, *space): {self.num_features} fields of "
                f"{self.output_type.channels} coefficients, got shape {tuple(coefficients.shape)}"
            )
        with torch.autocast(coefficients.device.type, enabled=False):
            points = math.prod(coefficients.shape[2:])
            by_field = coefficients.reshape(len(coefficients), *self._fields, points)
            mean, variance = self._statistics(by_field)
            scale = self._scale(variance)
            # of the constants; without them in the band nothing is shifted
            shift = (self.bias - mean * scale)[:, None] * self.output_type.has_mean
            shift = F.pad(shift, (0, self.output_type.channels - 1))
            normalized = torch.addcmul(shift[..., None], by_field, scale[:, None, None])
        outcome: Tensor = normalized.reshape(coefficients.shape).to(coefficients.dtype)
        return outcome

    @property
    def _fields(self) -> tuple[int, int]:
        return self.num_features, self.output_type.channels

    def _measured(self, x: Tensor) -> tuple[int, Tensor, Tensor]:
        precise = x.to(precise_type(self.weight.dtype))
        count = precise[:, :, 0].numel() // self.num_features
        if not self.output_type.has_mean:
            energy = precise.square().sum((0, 2, 3))
            return count, torch.zeros_like(energy), energy / max(1, count)
        constants = precise[:, :, 0]
        mean = mean_over(constants, (0, 2))
        energy = precise[:, :, 1:].square().sum((0, 2, 3)) + (constants - mean).square().sum((0, 2))
        return count, mean.flatten(), energy / max(1, count)

    def extra_repr(self) -> str:
        return f"{self.output_type}, {self.num_features}"


class BandlimitedDownsample(nn.Module):
    """To the smaller band that values on a smaller subgroup determine: the leading coefficients.

    Args:
        field: of the input.
        subgroup: ``H`` in ``G``; see :meth:`sefl.groups.BandlimitedField.leading`.

    Shapes: ``(batch, fields d', *space)`` to ``(batch, fields d, *space)``.

    Raises:
        ValueError: if ``subgroup`` is one of another group, and in ``forward`` if the features are not of ``field``.
    """

    def __init__(self, field: BandlimitedField, subgroup: Subgroup) -> None:
        super().__init__()
        self.input_type = field
        self.output_type = field.leading(subgroup)

    def forward(self, coefficients: Tensor) -> Tensor:
        self.input_type.check(coefficients)
        by_field = coefficients.unflatten(1, (-1, self.input_type.channels))
        kept: Tensor = by_field[:, :, : self.output_type.channels].flatten(1, 2)
        return kept

    def upsample(self, coefficients: Tensor) -> Tensor:
        """The same signals in the larger band: zeros are appended.

        Raises:
            ValueError: if the features are not of the smaller band.
        """
        self.output_type.check(coefficients)
        by_field = coefficients.unflatten(1, (-1, self.output_type.channels))
        after = coefficients.dim() - 2
        missing = self.input_type.channels - self.output_type.channels
        return nn.functional.pad(by_field, (0, 0) * after + (0, missing)).flatten(1, 2)

    def extra_repr(self) -> str:
        return f"{self.input_type}, {self.output_type}"


def to_values(coefficients: Tensor, field: BandlimitedField, angles: int | None = None) -> Tensor:
    """``E c``: the values on ``G``, a regular field of it, or at so many equidistant angles.

    Args:
        coefficients: ``(batch, fields d, *space)``.
        field: their field.
        angles: see :meth:`sefl.groups.BandlimitedField.synthesis`.

    Returns:
        ``(batch, fields |G|, *space)``.

    Raises:
        ValueError: if the features are not of ``field``, or ``angles`` do not fit it.
    """
    field.check(coefficients)
    return multiply_fibres(coefficients, _constant(_synthesis, coefficients, field, angles))


def from_values(values: Tensor, field: BandlimitedField) -> Tensor:
    """``E^T f / |G|``: the coefficients of what the band has of a regular field ``f`` of ``G``.

    Args:
        values: ``(batch, fields |G|, *space)``.
        field: that of the coefficients.

    Raises:
        ValueError: if ``values`` are no regular field of ``G``.
    """
    check_field(values, field.group)
    return multiply_fibres(values, _constant(_analysis, values, field, None))


def to_samples(coefficients: Tensor, field: BandlimitedField) -> Tensor:
    """``S E c``: the values on ``H``, a regular field of it, which determine the signal.

    Args:
        coefficients: ``(batch, fields d, *space)``.
        field: their field.

    Returns:
        ``(batch, fields |H|, *space)``.

    Raises:
        ValueError: if the features are not of ``field``.
    """
    field.check(coefficients)
    return multiply_fibres(coefficients, _constant(_restricted_synthesis, coefficients, field))


def from_samples(samples: Tensor, field: BandlimitedField) -> Tensor:
    """The coefficients of the bandlimited signals with these values on ``H``, in the mean square where there is none.

    Args:
        samples: a regular field of ``H``, ``(batch, fields |H|, *space)``.
        field: that of the coefficients.

    Raises:
        ValueError: if ``samples`` are no regular field of ``H``.
    """
    check_field(samples, field.fibre)
    return multiply_fibres(samples, _constant(_from_restricted, samples, field))


def _constant(make: Callable[..., FloatArray], like: Tensor, *arguments: Hashable) -> Tensor:
    return constant(make, *arguments, dtype=like.dtype, device=like.device)


def _synthesis(field: BandlimitedField, angles: int | None) -> FloatArray:
    return field.synthesis(angles)


def _analysis(field: BandlimitedField, angles: int | None) -> FloatArray:
    inverse: FloatArray = np.linalg.pinv(field.synthesis(angles))
    return inverse


def _restricted_synthesis(field: BandlimitedField) -> FloatArray:
    return field.basis[field.elements]


def _from_restricted(field: BandlimitedField) -> FloatArray:
    inverse: FloatArray = np.linalg.pinv(field.basis[field.elements])
    return inverse
