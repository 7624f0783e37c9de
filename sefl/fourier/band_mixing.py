"""Perceptrons on the features of all bands at once in which a band reads itself and coarser ones alone."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sefl.arguments import require_floating, require_number, require_positive
from sefl.fourier.sampling import in_autocast
from sefl.fourier.triangular import BlockTriangle, reset_triangle, triangular_product
from sefl.tensors.graphs import outside_of_graphs
from sefl.tensors.layer_norm import LayerNorm
from sefl.tensors.output_types import Bands


class BandLinear(nn.Module):
    """A linear layer over features and bands: ``out[b] = bias[b] + sum over a <= b of W[b, a] x[a]``.

    Block lower triangular over the bands: nothing of a finer band enters a coarser one, so that features that are
    exact at every resolution (:class:`sefl.fourier.BandPooling2d`) stay so. The blocks ``W[b, a]``,
    ``out_features x in_features`` each, are stored band by band: those of fewer bands are the leading ones, and an
    input of fewer bands uses these.

    Args:
        in_features: features of each band of the input.
        out_features: features of each band of the output.
        bands: bands of the finest input.
        bandwidth: band ``b`` reads the bands ``b - bandwidth .. b``, by default all up to ``b``.
        bias: add a learned constant per band and output feature.

    Shapes: ``(batch, bands, in_features)`` to ``(batch, bands, out_features)``, bands from coarse to fine.

    Raises:
        TypeError: in ``forward``, if the features are not a floating-point tensor.
        ValueError: if an argument is out of its range, and in ``forward`` for another number of features or more
            than ``bands`` bands.
    """

    output_type = Bands()

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bands: int,
        bandwidth: int | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        sizes = {"in_features": in_features, "out_features": out_features, "bands": bands}
        self.in_features, self.out_features, self.bands = (
            require_positive(name, value) for name, value in sizes.items()
        )
        rows, columns = (self.out_features,) * self.bands, (self.in_features,) * self.bands
        self.triangle = BlockTriangle(rows, columns, bandwidth)
        self.weight = nn.Parameter(torch.empty(self.triangle.size))
        self.bias = nn.Parameter(torch.empty(self.bands, self.out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform in ``+-1 / sqrt(fan in)`` of each output, as ``torch.nn.Linear``; the bias by the features alone."""
        reset_triangle(self.weight, self.triangle)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -(self.in_features**-0.5), self.in_features**-0.5)

    @outside_of_graphs
    def forward(self, features: Tensor) -> Tensor:
        require_floating("features", features)
        shape = tuple(features.shape)
        if features.dim() != 3 or shape[2] != self.in_features or not 1 <= shape[1] <= self.bands:
            raise ValueError(
                f"features must be (batch, bands, {self.in_features}) with 1..{self.bands} bands, got shape {shape}"
            )
        features = in_autocast(features)
        triangle = self.triangle.leading(shape[1])
        entries = self.weight[None, : triangle.size].to(features.dtype)
        columns = features.flatten(1).T.contiguous()[None]
        mixed: Tensor = triangular_product(entries, columns, triangle)[0].T.unflatten(1, (shape[1], -1))
        return mixed if self.bias is None else mixed + self.bias[: shape[1]].to(mixed.dtype)

    def extra_repr(self) -> str:
        return (
            f"{self.in_features}, {self.out_features}, bands={self.bands}, bandwidth={self.triangle.bandwidth}, "
            f"bias={self.bias is not None}"
        )


class BandPerceptron(nn.Module):
    """A perceptron with one hidden layer on band features, triangular over the bands in both of its layers.

    Layer norm of each band, :class:`BandLinear`, GELU, dropout, :class:`BandLinear`.

    Args:
        features: features of each band of the input.
        hidden: hidden units of each band.
        outputs: features of each band of the output.
        bands: bands of the finest input.
        dropout: probability that a hidden unit is dropped in training.
        bandwidth: of both layers.

    Shapes: ``(batch, bands, features)`` to ``(batch, bands, outputs)``, bands from coarse to fine.

    Raises:
        TypeError, ValueError: as :class:`BandLinear`.
    """

    output_type = Bands()

    def __init__(
        self,
        features: int,
        hidden: int,
        outputs: int,
        bands: int,
        dropout: float = 0.0,
        bandwidth: int | None = None,
    ) -> None:
        super().__init__()
        self.norm = LayerNorm(require_positive("features", features))
        self.hidden = BandLinear(features, hidden, bands, bandwidth)
        self.dropout = nn.Dropout(require_number("dropout", dropout, least=0, below=1))
        self.output = BandLinear(hidden, outputs, bands, bandwidth)

    def forward(self, features: Tensor) -> Tensor:
        require_floating("features", features)
        hidden = self.dropout(F.gelu(self.hidden(self.norm(features))))
        return cast(Tensor, self.output(hidden))
