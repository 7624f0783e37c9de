"""What our layers have in common as modules of escnn."""

from collections.abc import Iterator

import torch
from escnn.group import GroupElement
from escnn.nn import EquivariantModule, FieldType, GeometricTensor
from torch import Tensor, nn

from sefl.groups.group import FloatArray
from sefl.groups.sampling import multiply_fibres


class FieldModule(EquivariantModule):  # type: ignore[misc]
    """A layer of :mod:`sefl.groups` between two field types of escnn's; it stands in a ``SequentialModule``.

    Args:
        in_type: of the input.
        out_type: of the output, on the same space or one of a subgroup.
        layer: from the one's tensors to the other's; :meth:`export` gives it away.

    Raises:
        TypeError: in ``forward``, if the input is not of ``in_type``.
    """

    def __init__(self, in_type: FieldType, out_type: FieldType, layer: nn.Module) -> None:
        super().__init__()
        self.in_type, self.out_type = in_type, out_type
        self.layer = layer

    def forward(self, input: GeometricTensor) -> GeometricTensor:
        if not isinstance(input, GeometricTensor) or input.type != self.in_type:
            given = input.type if isinstance(input, GeometricTensor) else type(input).__name__
            raise TypeError(
                f"input must be of the type {self.in_type}, got {given}: make it by in_type(tensor)"
            )
        return GeometricTensor(self.layer(input.tensor), self.out_type, input.coords)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """That of the output for an input of ``input_shape``, ``(batch, channels, *space)``.

        Raises:
            ValueError: if it has other channels.
        """
        if len(input_shape) < 2 or input_shape[1] != self.in_type.size:
            raise ValueError(
                f"input_shape must be (batch, {self.in_type.size}, *space), got {tuple(input_shape)}"
            )
        return (input_shape[0], self.out_type.size, *self._space(tuple(input_shape[2:])))

    def _space(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        return sizes

    def check_equivariance(self, atol: float = 1e-6, rtol: float = 1e-5) -> list[tuple[GroupElement, float]]:
        """Compare what elements make of the output with the output for what they make of the input, on random numbers.

        Returns:
            Each element and the mean absolute difference.

        Raises:
            AssertionError: if the norm of a difference is larger than ``atol`` and ``rtol`` times that of the output.
        """
        like = next(self.parameters(), torch.empty(0))
        space = [3] * self.in_type.gspace.dimensionality
        x = torch.randn(2, self.in_type.size, *space, dtype=like.dtype, device=like.device)
        errors = []
        with torch.no_grad():
            outcome = self.layer(x)
            for element, before, after in self._actions():
                found = self.layer(multiply_fibres(x, torch.as_tensor(before, device=x.device)))
                expected = multiply_fibres(outcome, torch.as_tensor(after, device=x.device))
                errors.append((element, difference(element, found, expected, atol, rtol)))
        return errors

    def _actions(self) -> Iterator[tuple[GroupElement, FloatArray, FloatArray]]:
        """Each element, and the matrices by which it acts on the fibre of one field of the input and of the output."""
        before, after = self.in_type.representations[0], self.out_type.representations[0]
        for element in self.in_type.fibergroup.elements:
            yield element, before(element), after(element)

    def export(self) -> nn.Module:
        """The layer without types, from tensors to tensors, in evaluation mode."""
        self.eval()
        return self.layer

    def extra_repr(self) -> str:
        return f"{self.in_type}, {self.out_type}"


def difference(element: GroupElement, found: Tensor, expected: Tensor, atol: float, rtol: float) -> float:
    """The mean absolute difference.

    Raises:
        AssertionError: if its norm is larger than ``atol + rtol ||expected||``.
    """
    error, norm = float((found - expected).norm()), float(expected.norm())
    assert error <= atol + rtol * norm, (
        f"the error for {element} must be at most {atol} + {rtol} times {norm:.2g}, got {error:.2g}"
    )
    return float((found - expected).abs().mean())
