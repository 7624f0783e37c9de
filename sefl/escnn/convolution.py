"""Our convolutions in the place of escnn's ``R2Conv`` and ``R3Conv``, their weights to ours and back."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from escnn.group import GroupElement
from escnn.nn import FieldType, R2Conv, R3Conv
from scipy.sparse.linalg import LinearOperator, lsmr
from torch import Tensor, nn

from sefl.escnn.field_module import FieldModule, difference
from sefl.escnn.field_types import field_of, field_type
from sefl.escnn.spaces import subspace_of
from sefl.groups.bandlimited import BandlimitedField
from sefl.groups.convolution import ExpandedConv, GroupConv, LiftingConv, moving_matrices, pixel_centres
from sefl.groups.group import FiniteGroup, FloatArray
from sefl.groups.sampling import multiply_fibres
from sefl.groups.steerable import SteerableConv

_FITS = 1e-5
"""What of a kernel may be left over, relative to it: escnn's bases are in single precision."""
_EXACT, _ITERATIONS = 1e-14, 1000  # of the search for weights
_WAVES, _TAPS = 8, 8.0
"""Waves that equivariance is checked on, and their length in taps of the kernel: smooth to every one."""


class FieldConv(FieldModule):
    """Our convolution in the place of ``R2Conv`` or ``R3Conv``: the same kernels, without their linear systems.

    From scalars to regular fields :class:`sefl.groups.LiftingConv`, between regular fields
    :class:`sefl.groups.GroupConv`, between scalars and bandlimited signals :class:`sefl.groups.SteerableConv`.

    Args:
        in_type, out_type: of input and output, on the same space.
        kernel_size: pixels per axis, odd.
        padding, stride, dilation, bias: as of ``R2Conv``; no padding by default.

    Raises:
        ValueError: if an argument is out of its range, or there is no such convolution between the types.
    """

    layer: ExpandedConv

    def __init__(
        self,
        in_type: FieldType,
        out_type: FieldType,
        kernel_size: int,
        padding: int = 0,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = True,
    ) -> None:
        if in_type.gspace != out_type.gspace:
            raise ValueError(f"out_type must be on the space of in_type, {in_type.gspace}, got {out_type}")
        (source, in_fields), (target, out_fields) = field_of(in_type), field_of(out_type)
        make: Callable[..., ExpandedConv]
        if isinstance(source, BandlimitedField) and isinstance(target, BandlimitedField):
            make = partial(SteerableConv, (source, in_fields), (target, out_fields))
        elif not isinstance(source, BandlimitedField) and not isinstance(target, BandlimitedField):
            make = partial(GroupConv, target.group, in_fields, out_fields)
        elif source.channels == 1 and not isinstance(target, BandlimitedField):
            make = partial(LiftingConv, target.group, in_fields, out_fields)
        else:
            raise ValueError(
                "out_type must be regular as in_type is, or have bandlimited signals as it has; from scalars either: "
                f"got {in_type} and {out_type}"
            )
        layer = make(kernel_size, padding=padding, stride=stride, dilation=dilation, bias=bias)
        super().__init__(in_type, out_type, layer)

    @classmethod
    def from_escnn(cls, convolution: R2Conv | R3Conv) -> "FieldConv":
        """The same function, with weights of ours.

        Raises:
            ValueError: if no weights of ours make this kernel (it was made with rings, widths or frequencies of the
                user's, or dilated), or if it pads otherwise than with zeros or has groups.
        """
        if convolution.padding_mode != "zeros" or convolution.groups != 1:
            raise ValueError(
                "convolution must pad with zeros and have one group, got "
                f"padding_mode={convolution.padding_mode!r}, groups={convolution.groups}"
            )
        ours = cls(
            convolution.in_type,
            convolution.out_type,
            convolution.kernel_size,
            convolution.padding,
            convolution.stride,
            convolution.dilation,
            convolution.bias is not None,
        )
        layer = ours.layer.double()
        with torch.no_grad():
            kernel, bias = convolution.expand_parameters()
        _fit(layer.weight, layer.kernel, kernel)
        if layer.bias is not None:
            _fit(layer.bias, layer.channel_bias, bias)
        ours.to(convolution.weights).train(convolution.training)
        return ours

    def to_escnn(self) -> R2Conv | R3Conv:
        """An ``R2Conv`` or ``R3Conv`` with the same function.

        Raises:
            ValueError: if no weights of theirs make this kernel, as of a dilated one.
        """
        layer = self.layer
        theirs = (R2Conv if layer.dimension == 2 else R3Conv)(
            self.in_type,
            self.out_type,
            layer.kernel_size,
            layer.padding,
            layer.stride,
            layer.dilation,
            bias=layer.bias is not None,
            recompute=True,  # a basis of its own: escnn's are shared, and double() would change them all
            initialize=False,
        ).double()
        with torch.no_grad():
            kernel, bias = layer.kernel(), layer.channel_bias()
        _fit(theirs.weights, lambda: theirs.expand_parameters()[0], kernel)
        if bias is not None:
            _fit(theirs.bias, lambda: theirs.expand_parameters()[1], bias)
        return theirs.to(layer.weight).train(self.training)

    def restrict(self, below: Any) -> "FieldConv":
        """The same function as a convolution of a subgroup, between what :class:`RegularRestriction` makes.

        Args:
            below: ``H``, as of :class:`sefl.escnn.SubgroupDownsampling`.

        Raises:
            ValueError: if the fields are not regular, or ``below`` is the space of no subgroup of the group.
        """
        layer = self.layer
        if not isinstance(layer, GroupConv):
            raise ValueError(f"out_type must have regular fields for restrict, got {self.out_type}")
        inner, subgroup = subspace_of(self.in_type.gspace, below)
        entering = (
            FieldType(inner, layer.in_fields * [inner.trivial_repr])
            if layer.lifting
            else field_type(inner, layer.in_fields * subgroup.rate)
        )
        restricted = FieldConv(
            entering, field_type(inner, layer.out_fields * subgroup.rate), layer.kernel_size
        )
        restricted.layer = layer.restrict(subgroup)
        restricted.train(self.training)
        return restricted

    def _space(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        layer = self.layer
        reach = 2 * layer.padding - layer.dilation * (layer.kernel_size - 1) - 1
        return tuple((size + reach) // layer.stride + 1 for size in sizes)

    def check_equivariance(
        self, atol: float = 1e-6, rtol: float = 1e-5, turned: float = 0.05
    ) -> list[tuple[GroupElement, float]]:
        """Compare outcomes at the origin, which elements leave in place, for random waves and the same waves moved.

        Waves are known at all points, so nothing is interpolated.

        Args:
            atol, rtol: what elements that permute pixels may be off.
            turned: what others may be, in the place of ``rtol``, for pixels are not round.

        Returns:
            Each element and the mean absolute difference.

        Raises:
            AssertionError: if the norm of a difference is larger than ``atol`` and ``rtol`` times that of the output.
        """
        layer = self.layer
        reach = layer.dilation * (layer.kernel_size // 2)
        middle = reach + -layer.padding % layer.stride
        place = (middle + layer.padding - reach) // layer.stride
        like, matrices = layer.weight, moving_matrices(FiniteGroup.from_escnn(self.in_type.gspace))
        dimension, size = layer.dimension, 2 * middle + 1
        random = np.random.default_rng(0)
        waves = random.standard_normal((dimension, _WAVES))
        waves *= 2 * np.pi / (_TAPS * layer.dilation * np.linalg.norm(waves, axis=0))
        phases = random.uniform(0, 2 * np.pi, _WAVES)
        heights = random.standard_normal((2, self.in_type.size, _WAVES))
        pixels = pixel_centres(size, dimension)

        def outcome(points: FloatArray, moved: FloatArray) -> Tensor:
            fields = heights @ np.cos(points @ waves + phases).T
            x = torch.tensor(fields, dtype=like.dtype, device=like.device)
            x = multiply_fibres(x, torch.as_tensor(moved, device=like.device)).unflatten(
                2, dimension * [size]
            )
            centre: Tensor = layer(x)[(..., *dimension * [place])]
            return centre

        errors = []
        with torch.no_grad():
            still = outcome(pixels, np.eye(self.in_type.representations[0].size))
            for matrix, (element, before, after) in zip(matrices, self._actions(), strict=True):
                expected = multiply_fibres(still, torch.as_tensor(after, device=like.device))
                found = outcome(pixels @ matrix, before)
                relative = rtol if np.abs(matrix - np.rint(matrix)).max() < 1e-6 else turned
                errors.append((element, difference(element, found, expected, atol, relative)))
        return errors

    def export(self) -> nn.Conv2d | nn.Conv3d:
        """An ordinary convolution with the kernel as it is now, in evaluation mode."""
        self.eval()
        layer = self.layer
        with torch.no_grad():
            kernel, bias = layer.kernel(), layer.channel_bias()
        ordinary = (nn.Conv2d if layer.dimension == 2 else nn.Conv3d)(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,
            layer.stride,
            layer.padding,
            layer.dilation,
            bias=bias is not None,
        ).to(kernel)
        ordinary.weight.data.copy_(kernel)
        if bias is not None and ordinary.bias is not None:
            ordinary.bias.data.copy_(bias)
        return ordinary.eval()


def _fit(weights: nn.Parameter, expand: Callable[[], Any], target: Tensor) -> None:
    """Weights whose linear expansion is ``target``.

    Raises:
        ValueError: if there are none.
    """
    target = target.detach().cpu().double()

    def forward(values: FloatArray) -> FloatArray:
        with torch.no_grad():
            weights.copy_(torch.as_tensor(values.reshape(weights.shape)))
            expanded: FloatArray = expand().flatten().numpy()
        return expanded

    def transposed(values: FloatArray) -> FloatArray:
        with torch.enable_grad():
            expanded = expand()
        cotangent = torch.as_tensor(values).view_as(expanded)
        (gradient,) = torch.autograd.grad(expanded, weights, cotangent)
        return gradient.flatten().numpy()

    shape = target.numel(), weights.numel()
    linear = LinearOperator(shape, forward, transposed, dtype=np.float64)
    found = lsmr(linear, target.flatten().numpy(), atol=_EXACT, btol=_EXACT, conlim=0, maxiter=_ITERATIONS)[0]
    rest = torch.as_tensor(forward(found)).view_as(target) - target
    if rest.norm() > _FITS * target.norm():
        raise ValueError(
            f"no weights make this kernel: {float(rest.norm() / target.norm()):.1%} of it are left over. The rings, "
            "widths and frequencies must be those of escnn by default, without dilation"
        )
