"""Complex layers of ``scale_eq.thirdparty_complex``: a real layer each for real and imaginary weights.

``out = (fr(x.real) - fi(x.imag)) + i (fr(x.imag) + fi(x.real))``, in the precision of the input; theirs is complex64.
"""

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sefl.compat.declared import Declared
from sefl.compat.fourier.complex_modules import NEAR_ZERO, ByParts, by_parts
from sefl.compat.fourier.complex_modules import ComplexTanh as ComplexTanh
from sefl.compat.fourier.complex_modules import complex_gelu as complex_gelu
from sefl.compat.fourier.complex_modules import complex_relu as complex_relu
from sefl.compat.fourier.complex_modules import complex_selu as complex_selu
from sefl.compat.fourier.complex_modules import complex_sigmoid as complex_sigmoid
from sefl.compat.fourier.complex_modules import complex_tanh as complex_tanh


def apply_complex(
    fr: Callable[[Tensor], Tensor],
    fi: Callable[[Tensor], Tensor],
    input: Tensor,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """A linear map with the real part ``fr`` and the imaginary part ``fi``, of a complex input."""
    out = torch.complex(fr(input.real) - fi(input.imag), fr(input.imag) + fi(input.real))
    return out if dtype is None else out.to(dtype)


def complex_matmul(A: Tensor, B: Tensor) -> Tensor:
    """``A @ B``."""
    return A @ B


def complex_opposite(input: Tensor) -> Tensor:
    """``-input``."""
    return -input


def complex_stack(input: Sequence[Tensor], dim: int) -> Tensor:
    """``torch.stack``."""
    return torch.stack(list(input), dim)


def complex_normalize(input: Tensor) -> Tensor:
    """Real and imaginary part less their means over all, by their standard deviations."""
    return by_parts(lambda x: (x - x.mean()) / x.std(), input)


def complex_avg_pool2d(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """``avg_pool2d`` of real and imaginary part."""
    return by_parts(lambda x: F.avg_pool2d(x, *args, **kwargs), input)


def complex_max_pool2d(
    input: Tensor,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """The value of largest magnitude of each window. ``return_indices`` has no effect, as in theirs."""
    largest, indices = F.max_pool2d(
        input.abs(), kernel_size, stride, padding, dilation, ceil_mode, return_indices=True
    )
    unit = (input / (input.abs() + NEAR_ZERO)).flatten(-2)
    chosen: Tensor = unit.gather(-1, indices.flatten(-2)).view_as(indices)
    return largest * chosen


def complex_upsample(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
) -> Tensor:
    """``interpolate`` of real and imaginary part; the arguments are its own."""
    return by_parts(
        lambda x: F.interpolate(x, size, scale_factor, mode, align_corners, recompute_scale_factor), input
    )


def complex_upsample2(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
) -> Tensor:
    """``interpolate`` of magnitude and phase; theirs then puts the phases as they were on the magnitudes and fails."""
    how = size, scale_factor, mode, align_corners, recompute_scale_factor
    return torch.polar(F.interpolate(input.abs(), *how), F.interpolate(input.angle(), *how))


def _masked(input: Tensor, mask: Callable[..., Tensor], p: float, training: bool) -> Tensor:
    return input * mask(torch.ones_like(input.real), p, training) / (1 - p)


def complex_dropout(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Dropout of real and imaginary part together. As theirs it divides by ``1 - p`` twice, and if not training too."""
    return _masked(input, F.dropout, p, training)


def complex_dropout2d(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """:func:`complex_dropout` of whole channels."""
    return _masked(input, F.dropout2d, p, training)


class ComplexDropout(Declared):
    """:func:`complex_dropout` in training."""

    p: float = 0.5

    function: ClassVar[Callable[..., Tensor]] = staticmethod(complex_dropout)

    def forward(self, input: Tensor) -> Tensor:
        return type(self).function(input, self.p) if self.training else input


class ComplexDropout2d(ComplexDropout):
    """:func:`complex_dropout2d` in training."""

    function = staticmethod(complex_dropout2d)


class ComplexMaxPool2d(Declared):
    """:func:`complex_max_pool2d`, whose arguments it has."""

    kernel_size: int
    stride: int | None = None
    padding: int = 0
    dilation: int = 1
    return_indices: bool = False
    ceil_mode: bool = False

    def forward(self, input: Tensor) -> Tensor:
        return complex_max_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        )


class ComplexAvgPool2d(ComplexMaxPool2d):
    """:func:`complex_avg_pool2d`. Of ``dilation`` and ``return_indices``, which average pooling lacks, theirs fails."""

    def forward(self, input: Tensor) -> Tensor:
        return complex_avg_pool2d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode)


class ComplexReLU(ByParts, function=F.relu):
    """ReLU of real and imaginary part."""


class ComplexSigmoid(ByParts, function=torch.sigmoid):
    """Sigmoid of real and imaginary part."""


class _Pair(nn.Module):
    """Two layers of the same arguments, for the real and the imaginary part of the weights."""

    layer: ClassVar[type[nn.Module]]
    names: ClassVar[tuple[str, str]] = ("conv_r", "conv_i")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        for name in self.names:
            self.add_module(name, self.layer(*args, **kwargs))

    def forward(self, input: Tensor) -> Tensor:
        fr, fi = (getattr(self, name) for name in self.names)
        return apply_complex(fr, fi, input)


class ComplexConvTranspose2d(_Pair):
    """``nn.ConvTranspose2d`` with complex weights; the arguments are its own."""

    layer, names = nn.ConvTranspose2d, ("conv_tran_r", "conv_tran_i")


class _Convolution(_Pair):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)


class ComplexConv2d(_Convolution):
    """``nn.Conv2d`` with complex weights."""

    layer = nn.Conv2d


class ComplexConv1d(_Convolution):
    """``nn.Conv1d`` with complex weights."""

    layer = nn.Conv1d


class ComplexLinear(_Pair):
    """``nn.Linear`` with complex weights."""

    layer, names = nn.Linear, ("fc_r", "fc_i")

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)


class ComplexBatchNorm2d(Declared):
    """Batch norm that whitens real and imaginary part together (Trabelsi et al. 2018), over batch and pixels.

    Args:
        num_features, eps, momentum, affine, track_running_stats: as of ``nn.BatchNorm2d``.

    Shapes: complex ``(batch, num_features, h, w)`` to the same. ``weight`` is ``(num_features, 3)``: of the real part,
    of the imaginary part, and between them.
    """

    num_features: int
    eps: float = 1e-5
    momentum: float | None = 0.1
    affine: bool = True
    track_running_stats: bool = True

    unbiased: ClassVar[bool] = True
    weight: nn.Parameter | None = field(init=False)
    bias: nn.Parameter | None = field(init=False)
    running_mean: Tensor | None = field(init=False)
    running_covar: Tensor = field(init=False)
    num_batches_tracked: Tensor = field(init=False)

    def __post_init__(self) -> None:
        features, tracked = self.num_features, self.track_running_stats
        for name, columns in (("weight", 3), ("bias", 2)):
            parameter = nn.Parameter(torch.empty(features, columns)) if self.affine else None
            self.register_parameter(name, parameter)
        self.register_buffer("running_mean", torch.zeros(features, dtype=torch.cfloat) if tracked else None)
        if tracked:
            self.register_buffer("running_covar", torch.zeros(features, 3))
            self.register_buffer("num_batches_tracked", torch.tensor(0))
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        if self.running_mean is not None:
            self.running_mean.zero_()
            self.running_covar.copy_(self.running_covar.new_tensor([0.5**0.5, 0.5**0.5, 0]))
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        self.reset_running_stats()
        if self.weight is not None and self.bias is not None:
            with torch.no_grad():
                self.weight.copy_(self.weight.new_tensor([0.5**0.5, 0.5**0.5, 0]))
                self.bias.zero_()

    def forward(self, input: Tensor) -> Tensor:
        axes = [0, *range(2, input.dim())]
        where = (slice(None), *[None] * (input.dim() - 2))
        running, offset = self.running_mean, self.eps
        if running is not None and not self.training:
            mean, covariance = running, self.running_covar
        else:
            mean = input.mean(axes)
            x = input - mean[where]
            covariance = torch.stack(
                [x.real.square().mean(axes), x.imag.square().mean(axes), (x.real * x.imag).mean(axes)], dim=1
            )
            if running is not None:
                mean, covariance = self._track(mean, covariance, input.numel() // input.shape[1])
        spread = [covariance[:, 0] + offset, covariance[:, 1] + offset, covariance[:, 2]]
        x = input - mean[where]
        parts = _whitened(x, [each.detach() for each in spread], where, self.eps)
        if self.weight is not None and self.bias is not None:
            w, b = self.weight, self.bias
            real, imag = parts
            parts = [
                w[:, 0][where] * real + w[:, 2][where] * imag + b[:, 0][where],
                w[:, 2][where] * real + w[:, 1][where] * imag + b[:, 1][where],
            ]
        return torch.complex(*parts)

    def _track(self, mean: Tensor, covariance: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Move the running statistics; what the batch is normalised by."""
        running = self.running_mean
        assert running is not None
        self.num_batches_tracked += 1
        factor = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        seen = covariance.detach().clone()
        seen[:, :2] += self.eps
        if self.unbiased:
            seen *= count / (count - 1)
        with torch.no_grad():
            running.lerp_(mean.detach().to(running.dtype), factor)
            self.running_covar.lerp_(seen, factor)
        return (mean, covariance) if self.unbiased else (running.clone(), self.running_covar.clone())


class ComplexBatchNorm1d(ComplexBatchNorm2d):
    """:class:`ComplexBatchNorm2d` of ``(batch, num_features)``; as theirs it normalises by the running statistics."""

    unbiased = False


def _whitened(x: Tensor, spread: list[Tensor], where: Any, eps: float) -> list[Tensor]:
    """Real and imaginary part times the inverse square root of their covariance, which has no gradient."""
    real, imag, both = spread
    determinant = real * imag - both**2
    root = torch.where(determinant > 0, determinant, eps).sqrt()
    scale = 1 / (root * (real + imag + 2 * root).sqrt())
    return [
        ((imag + root) * scale)[where] * x.real - (both * scale)[where] * x.imag,
        ((real + root) * scale)[where] * x.imag - (both * scale)[where] * x.real,
    ]
