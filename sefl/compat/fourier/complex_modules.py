"""Pointwise functions, norms, pooling and dropout of complex tensors: ``scale_eq.layers.complex_modules``.

Each works on real and imaginary part alone, unless it says otherwise. What is pooled here is so too;
:mod:`sefl.compat.fourier.complex_layers` has the pooling by magnitude of the same name.
"""

import math
import random
from collections.abc import Callable
from dataclasses import field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, leaky_relu, relu, selu

from sefl.compat.declared import Declared
from sefl.compat.fourier.spectra import block, both_ends, place
from sefl.compat.fourier.spectra import enblock1d as enblock1d
from sefl.compat.fourier.spectra import enblock2d as enblock2d
from sefl.compat.fourier.spectra import get_block1d as get_block1d
from sefl.compat.fourier.spectra import get_block2d as get_block2d

NEAR_ZERO = 1e-5
"""Theirs, beside a magnitude that is divided by."""


def by_parts(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``function`` of the real and of the imaginary part."""
    return torch.complex(function(x.real), function(x.imag))


def _of_parts(name: str, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def apply(input: Tensor) -> Tensor:
        return by_parts(function, input)

    apply.__name__ = apply.__qualname__ = name  # by which it is pickled
    apply.__doc__ = f"``{function.__name__}`` of real and imaginary part, in the precision of the input."
    return apply


complex_relu = _of_parts("complex_relu", relu)
complex_selu = _of_parts("complex_selu", selu)
complex_gelu = _of_parts("complex_gelu", gelu)
complex_sigmoid = _of_parts("complex_sigmoid", torch.sigmoid)
complex_tanh = _of_parts("complex_tanh", torch.tanh)


def _of_magnitude(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    magnitude = x.abs()
    return function(magnitude) * x / (magnitude + NEAR_ZERO)


def complex_tanh_se(input: Tensor) -> Tensor:
    """tanh of the magnitude, the phase unchanged."""
    return _of_magnitude(torch.tanh, input)


class modRelu(nn.Module):
    """``relu(|z| + b) z / |z|`` with a learned ``b``, 0 at first."""

    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Parameter(torch.zeros(1))

    def forward(self, input: Tensor) -> Tensor:
        return _of_magnitude(lambda magnitude: relu(magnitude + self.b), input)


activation_map: dict[str, Callable[..., Any]] = {
    "gelu": gelu,
    "gelu_c": complex_gelu,
    "mod_relu": modRelu,
    "relu": relu,
    "relu_c": complex_relu,
    "selu": selu,
    "selu_c": complex_selu,
    "tanh": torch.tanh,
    "tanh_c": complex_tanh,
    "tanh_se": complex_tanh_se,
}


def get_activation(name: str) -> Callable[..., Any]:
    """The function, or of ``"mod_relu"`` the class, of this name.

    Raises:
        ValueError: if there is none.
    """
    if name not in activation_map:
        raise ValueError(f"name must be one of {', '.join(activation_map)}, got {name!r}")
    return activation_map[name]


class ByParts(nn.Module):
    """A pointwise ``function`` of real and imaginary part."""

    function: ClassVar[Callable[[Tensor], Tensor]]

    def __init_subclass__(cls, function: Callable[[Tensor], Tensor]) -> None:
        cls.function = staticmethod(function)

    def forward(self, input: Tensor) -> Tensor:
        return by_parts(type(self).function, input)


class ComplexSELU(ByParts, function=selu):
    """SELU of real and imaginary part."""


class ComplexRELU(ByParts, function=relu):
    """ReLU of real and imaginary part."""


class ComplexTanh(ByParts, function=torch.tanh):
    """tanh of real and imaginary part."""


class ComplexGELU(Declared):
    """GELU of real and imaginary part; ``approximate``, ``"none"`` or ``"tanh"``, is not used by theirs."""

    approximate: str = "none"

    def forward(self, input: Tensor) -> Tensor:
        return by_parts(lambda x: gelu(x, approximate=self.approximate), input)


class ComplexLeakyRELU(Declared):
    """Leaky ReLU of real and imaginary part."""

    slope: float = 0.1

    def forward(self, input: Tensor) -> Tensor:
        return by_parts(lambda x: leaky_relu(x, self.slope), input)


class ComplexAvgPool2d(nn.Module):
    """``nn.AvgPool2d`` of real and imaginary part."""

    name: ClassVar[str] = "avg_p"
    layer: ClassVar[Callable[..., nn.Module]] = nn.AvgPool2d

    def __init__(self, kernel_size: int, **kwargs: Any) -> None:
        super().__init__()
        self.add_module(self.name, self.layer(kernel_size, **kwargs))

    def forward(self, x: Tensor) -> Tensor:
        return by_parts(self.get_submodule(self.name), x)


class ComplexMaxPool2d(ComplexAvgPool2d):
    """``nn.MaxPool2d`` of real and imaginary part."""

    name, layer = "max_p", nn.MaxPool2d


class SpectralDropout(Declared):
    """Dropout of spectra, in training.

    Args:
        p: with ``mode="complex"`` the probability that a coefficient is dropped, real and imaginary part together; else
            that high frequencies are, from a random one up.
        mode: ``"complex"``, ``"1D"``, or anything else for two axes.

    Shapes: spectra ``(batch, channels, n)`` or ``(batch, channels, n, n)`` to the same.
    """

    p: float
    mode: str

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        if self.mode == "complex":
            return x * nn.functional.dropout(torch.ones_like(x.real), p=self.p)
        if random.random() >= self.p:
            return x
        middle = x.shape[-1] // 2
        dropped = math.floor(random.random() * x.shape[-1] // 2)
        kept = x.real.new_ones(x.shape[-1])
        kept[middle - dropped : middle + dropped] = 0
        return x * kept if self.mode == "1D" else x * kept * kept[:, None]


class _SpectralNorm(Declared):
    """A norm of each frequency's real and imaginary part.

    It divides by the variance, where the standard deviation is meant, as theirs: weights were trained on that.
    """

    num_features: int
    modes: int
    eps: float = 1e-5

    axes: ClassVar[int] = 2
    weight: nn.Parameter | None = field(init=False)
    bias: nn.Parameter | None = field(init=False)

    def _make(self, affine: bool) -> None:
        shape = self.num_features, *[self.modes] * self.axes
        for name, begin in (("weight", torch.ones), ("bias", torch.zeros)):
            self.register_parameter(name, nn.Parameter(begin(*shape, 2)) if affine else None)

    def _block(self, x: Tensor, modes: int) -> Tensor:
        return block(x, modes, self.axes)

    def reset_parameters(self) -> None:
        if self.weight is not None and self.bias is not None:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor, modes: int | None = None) -> Tensor:
        size = input.shape[-1]
        normed = self._normed(input if modes is None else self._block(input, modes))
        return normed if modes is None else (enblock2d if self.axes == 2 else enblock1d)(normed, size)

    def _normed(self, input: Tensor) -> Tensor:
        raise NotImplementedError

    def _scaled(self, parts: list[Tensor], biased: bool) -> Tensor:
        size = parts[0].shape[-1]
        if self.weight is not None and self.bias is not None:
            weights = (self._block(self.weight[..., part], size) for part in range(2))
            parts = [weight * part for weight, part in zip(weights, parts, strict=True)]
            if biased:
                offsets = (self._block(self.bias[..., part], size) for part in range(2))
                parts = [part + offset for part, offset in zip(parts, offsets, strict=True)]
        return torch.complex(*parts)


class ComplexBatchNorm2dSim(_SpectralNorm):
    """Batch norm of each frequency of spectra of images, which is not scale-equivariant in training.

    In training too it takes the running mean and variance, after they have moved by ``momentum``.

    Args:
        num_features: channels.
        modes: most frequencies per axis.
        eps: added to variances.
        momentum: of the running mean and variance; ``None`` for the mean over all batches.
        affine: learned scales and offsets.
        track_running_stats: without, mean and variance are those of the batch, in evaluation too. (Theirs fails then.)

    Shapes: ``forward(input, modes=None)`` takes complex ``(batch, num_features, n, n)``, ``n <= modes``, to the same;
    ``modes`` keeps so many frequencies only.
    """

    momentum: float | None = 0.1
    affine: bool = True
    track_running_stats: bool = True

    running_mean: Tensor | None = field(init=False)
    running_covar_real: Tensor = field(init=False)
    running_covar_imag: Tensor = field(init=False)
    num_batches_tracked: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self._make(self.affine)
        shape, tracked = (self.num_features, *[self.modes] * self.axes), self.track_running_stats
        self.register_buffer("running_mean", torch.zeros(shape, dtype=torch.cfloat) if tracked else None)
        if tracked:
            self.register_buffer("running_covar_real", torch.ones(shape))
            self.register_buffer("running_covar_imag", torch.ones(shape))
            self.register_buffer("num_batches_tracked", torch.tensor(0))

    def reset_running_stats(self) -> None:
        if self.running_mean is not None:
            self.running_mean.zero_()
            self.running_covar_real.fill_(1)
            self.running_covar_imag.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        self.reset_running_stats()
        super().reset_parameters()

    def _moved(self, name: str, value: Tensor, factor: float) -> Tensor:
        """The running statistic after this batch, which is stored."""
        stored, size = getattr(self, name), value.shape[-1]
        moved = factor * value + (1 - factor) * self._block(stored, size)
        half, odd = size // 2, size % 2
        with torch.no_grad():
            place(moved, stored, [both_ends(half + odd, half)] * self.axes)
        return moved

    def _normed(self, input: Tensor) -> Tensor:
        size = input.shape[-1]
        names = "running_covar_real", "running_covar_imag"
        if self.running_mean is not None and not self.training:
            mean = self._block(self.running_mean, size)
            variances = [self._block(getattr(self, name), size) + self.eps for name in names]
        else:
            mean = input.mean(0)
            centred = input - mean
            variances = [part.square().mean(0) + self.eps for part in (centred.real, centred.imag)]
            if self.running_mean is not None:
                self.num_batches_tracked += 1
                cumulative = self.momentum is None
                factor = 1 / float(self.num_batches_tracked) if cumulative else float(self.momentum or 0)
                mean = self._moved("running_mean", mean, factor)
                variances = [self._moved(n, v, factor) for n, v in zip(names, variances, strict=True)]
        centred = input - mean
        return self._scaled([centred.real / variances[0], centred.imag / variances[1]], True)


class ComplexBatchNorm1dSim(ComplexBatchNorm2dSim):
    """:class:`ComplexBatchNorm2dSim` of spectra of signals, ``(batch, num_features, n)``."""

    axes = 1


class ComplexLayerNorm2d(_SpectralNorm):
    """Norm over the channels of each frequency of spectra of images.

    As in theirs ``bias`` has no part in it.

    Args:
        num_features: channels.
        modes: most frequencies per axis.
        eps: added to variances.
        affine: learned scales.

    Shapes: as of :class:`ComplexBatchNorm2dSim`.
    """

    affine: bool = True

    def __post_init__(self) -> None:
        self._make(self.affine)

    def _normed(self, input: Tensor) -> Tensor:
        centred = input - input.mean(1, keepdim=True)
        centred = centred if centred.is_complex() else centred + 0j
        real, imag = (x / (x.square().mean(1, keepdim=True) + self.eps) for x in (centred.real, centred.imag))
        return self._scaled([real, imag], False)


class ComplexLayerNorm1d(ComplexLayerNorm2d):
    """:class:`ComplexLayerNorm2d` of spectra of signals, or, if not ``complex``, of magnitudes."""

    axes = 1
    complex: bool = True

    def get_reg_loss(self) -> None:
        """Nothing, as theirs."""

    def _normed(self, input: Tensor) -> Tensor:
        normed = super()._normed(input)
        return normed if self.complex else normed.real
