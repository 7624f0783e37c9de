"""Batch normalisation that commutes with the group."""

from torch import Tensor, nn

from sefl.arguments import require_floating, require_number, require_positive
from sefl.groups.group import FiniteGroup


class FieldNorm(nn.Module):
    """Batch norm with one mean, variance, scale and shift per regular field, over batch, group elements and space.

    The group permutes what the statistics are taken over, so it commutes with every element. It is escnn's
    ``InnerBatchNorm`` on regular fields. ``nn.SyncBatchNorm.convert_sync_batchnorm`` works on it.

    Args:
        group: ``H``.
        fields: regular fields.
        eps, momentum, affine: as of ``nn.BatchNorm1d``.

    Shapes: ``(batch, fields |H|, *space)``, with any number of axes of space, none included, to the same.

    Raises:
        TypeError: in ``forward``, if the features are not a floating-point tensor.
        ValueError: if an argument is out of its range, and in ``forward`` for an input of other channels.
    """

    def __init__(
        self,
        group: FiniteGroup,
        fields: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
    ) -> None:
        super().__init__()
        self.group = group
        self.fields = require_positive("fields", fields)
        eps = require_number("eps", eps, least=0)
        if momentum is not None:
            momentum = require_number("momentum", momentum, least=0, most=1)
        self.norm = nn.BatchNorm1d(self.fields, eps, momentum, affine)

    def forward(self, features: Tensor) -> Tensor:
        require_floating("features", features)
        channels = self.fields * len(self.group)
        if features.dim() < 2 or features.shape[1] != channels:
            raise ValueError(
                f"features must be (batch, {channels}, *space): {self.fields} regular fields of {len(self.group)} "
                f"elements, got shape {tuple(features.shape)}"
            )
        per_field = features.unflatten(1, (self.fields, -1)).flatten(2)
        normalized: Tensor = self.norm(per_field)
        return normalized.reshape(features.shape)

    def extra_repr(self) -> str:
        return self.group.name
