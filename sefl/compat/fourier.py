"""The Fourier layers under the names and on the data of the authors' repository (NeurIPS 2023).

Of https://github.com/ashiq24/Scale_Equivarinat_Fourier_Layer the layers ``SpectralConv2dLocalized``,
``scaleEqNonlin`` and ``scaleEqNonlinMaxp``, with its arguments in its order, on complex coefficients
``torch.fft.fft2(images, norm="forward")`` of shape ``(batch, channels, height, width)``. Each wraps a layer of
:mod:`sefl.fourier`, whose real coefficients it converts to and from. New code is faster without the conversion.
"""

import math
from collections.abc import Callable
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from sefl.arguments import require_positive
from sefl.fourier import (
    ScaleEquivariantMaxPool2d,
    ScaleEquivariantNonlinearity2d,
    SpectralConv2d,
    band,
    to_coefficients,
    to_grid,
)
from sefl.fourier.activation import Activation
from sefl.fourier.basis import coefficient_count
from sefl.tensors.constants import constant

_REAL = {torch.complex64: torch.float32, torch.complex128: torch.float64}
_UNBOUNDED = 2**31  # pixels per side, for layers that any resolution may pass
_LOCALITY_PEAK, _LOCALITY_DECAY = 30.0, 10.0  # of the authors' penalty on local modes


def from_spectrum(x_ft: Tensor) -> Tensor:
    """Nested real coefficients from complex ones: those of ``ifft2(x_ft, norm="forward").real``.

    The inverse of :func:`to_spectrum`. What belongs to an imaginary part of the images, and the Nyquist row and
    column of an even size, are dropped.

    Args:
        x_ft: ``torch.fft.fft2(images, norm="forward")`` of square images, ``(batch, channels, r, r)``.

    Returns:
        ``(2 band(r) + 1, 2 band(r) + 1, batch, channels)``, float32 of complex64, float64 of complex128.

    Raises:
        TypeError: if ``x_ft`` is not complex.
        ValueError: if it is not of this shape, as the half spectra of ``rfft2`` are not.
    """
    if not x_ft.is_complex():
        raise TypeError(f'x_ft must be complex, torch.fft.fft2(images, norm="forward"), got {x_ft.dtype}')
    if x_ft.dim() != 4 or x_ft.shape[-1] != x_ft.shape[-2]:
        raise ValueError(
            "x_ft must be all coefficients of square images, (batch, channels, r, r), as fft2 gives them and "
            f"rfft2 does not, got shape {tuple(x_ft.shape)}"
        )
    # A transform and two matrix products: faster than unfolding the spectrum by slices or by complex matrices.
    with torch.autocast(x_ft.device.type, enabled=False):
        return to_coefficients(torch.fft.ifft2(x_ft, norm="forward").real)


def to_spectrum(coefficients: Tensor, resolution: int) -> Tensor:
    """Complex coefficients from nested real ones: ``fft2(to_grid(coefficients, resolution), norm="forward")``.

    The inverse of :func:`from_spectrum` up to the Nyquist row and column of an even ``resolution``, which are zero.
    A resolution below that of the coefficients cuts their high frequencies, one above pads with zeros.

    Args:
        coefficients: ``(K, K, batch, channels)``; half precision is raised to float32, which complex numbers need.
        resolution: pixels per side of the images, odd or even.

    Returns:
        ``(batch, channels, resolution, resolution)``.
    """
    exact = torch.promote_types(coefficients.dtype, torch.float32)
    with torch.autocast(coefficients.device.type, enabled=False):
        spectrum: Tensor = torch.fft.fft2(to_grid(coefficients.to(exact), resolution), norm="forward")
        return spectrum


class _OnSpectra(nn.Module):
    """A layer from complex coefficients to complex coefficients whose parameters are real."""

    def get_feature(self, x: Tensor) -> Tensor:
        """The layer on images ``(batch, channels, r, r)``, between the two transforms.

        Theirs leaves out the normalisation, so that its non-linearities see values ``r^2`` times too large.
        """
        features: Tensor = torch.fft.ifft2(self(torch.fft.fft2(x, norm="forward")), norm="forward").real
        return features

    # A network of theirs is moved by .to(torch.cdouble): here that is double precision of real parameters.
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def real(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved.real.contiguous() if moved.is_complex() else moved

        super()._apply(real, recurse)  # type: ignore[no-untyped-call]  # torch has no types for it
        return self


class _LocalConvolution(SpectralConv2d):
    """Begins as :meth:`SpectralConv2dLocalized.reset_parameter` says."""

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=(2 * self.in_channels) ** -0.5 / self.kernel_size)


class SpectralConv2dLocalized(_OnSpectra):
    """:class:`sefl.fourier.SpectralConv2d` for the authors' spectral convolution with a kernel local in space.

    Differences from theirs:

    * The kernel is real. Theirs is complex, and the next real part throws its imaginary half away. The real parts
      of what comes out are equal for equal (real) taps if the images are real; an imaginary part is never made.
    * It is centred. Theirs starts at pixel 0, which moves features by ``(local_modes - 1) / 2`` pixels of the finest
      grid towards one corner.
    * It acts up to frequency ``band(global_modes)``, symmetrically. Theirs lets one Nyquist row and column pass.
    * The parameter is the taps, ``convolution.weight``; theirs is their transform, which is the property ``L`` here.

    Args:
        in_channel: channels of the input.
        out_channel: channels of the output.
        global_modes: pixels per side of the grid on which the taps sit. Finer input is accepted, and its frequencies
            above come back as zeros, as theirs do.
        local_modes: taps per axis, odd. (Theirs may be even, which has no centre.)
        device: where the parameters are made.
        dtype: ``torch.cfloat`` for float32 taps or ``torch.cdouble`` for float64 taps.

    Shapes: ``(batch, in_channel, r, r)`` to ``(batch, out_channel, r, r)``, or to ``global_modes`` per side with
    ``forward(x_ft, pool=True)``; complex.

    Raises:
        TypeError: in ``forward``, if the input is not complex.
        ValueError: if an argument is out of its range, and in ``forward`` for input of another shape.
    """

    def __init__(
        self,
        in_channel: int,
        out_channel: int,
        global_modes: int,
        local_modes: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.cfloat,
    ) -> None:
        super().__init__()
        self.in_channel = require_positive("in_channel", in_channel)
        self.out_channel = require_positive("out_channel", out_channel)
        self.global_modes = require_positive("global_modes", global_modes)
        self.local_modes = require_positive("local_modes", local_modes)
        if local_modes > global_modes:
            raise ValueError(f"local_modes must lie in 1..global_modes ({global_modes}), got {local_modes}")
        if local_modes % 2 == 0:
            raise ValueError(
                f"local_modes must be odd, for the kernel has a centre, got {local_modes}; "
                f"{local_modes - 1} or {local_modes + 1} would do"
            )
        if dtype not in _REAL:
            raise ValueError(f"dtype must be torch.cfloat or torch.cdouble, got {dtype}")
        with torch.device("meta"):
            convolution = _LocalConvolution(
                self.in_channel, self.out_channel, self.local_modes, self.global_modes, bias=False
            )
        where = torch.get_default_device() if device is None else device
        self.convolution = convolution.to(_REAL[dtype]).to_empty(device=where)
        self.reset_parameter()

    @property
    def spectral_decay(self) -> Tensor:
        """Their penalty on each of the ``local_modes x local_modes``."""
        taps = self.convolution.weight
        return constant(_spectral_decay, self.local_modes, dtype=taps.dtype, device=taps.device)

    def reset_parameter(self) -> None:
        """Normal taps of the variance that the real half of theirs has: ``1 / (2 in_channel local_modes^2)``."""
        self.convolution.reset_parameters()

    @property
    def L(self) -> Tensor:
        """The taps' transform on their own grid, complex ``(in_channel, out_channel, local_modes, local_modes)``."""
        transform: Tensor = torch.fft.fft2(self.convolution.weight.permute(2, 3, 0, 1))
        return transform

    def get_reg_loss(self) -> Tensor:
        """Their penalty: the norm of ``L``, high local modes weighted most, plus that of the taps."""
        local_modes = self.L
        weighted = torch.linalg.vector_norm(local_modes * self.spectral_decay)
        penalty: Tensor = weighted + torch.linalg.vector_norm(torch.fft.ifft2(local_modes, norm="forward"))
        return penalty

    def get_filters_spectral(self) -> Tensor:
        """The transfer function, complex ``(in_channel, out_channel, global_modes, global_modes)``."""
        margin = self.global_modes - self.local_modes
        taps = F.pad(self.convolution.weight.permute(2, 3, 0, 1), (0, margin, 0, margin))
        centre = self.local_modes // 2
        transfer: Tensor = torch.fft.fft2(taps.roll((-centre, -centre), dims=(-2, -1)))
        return transfer

    def get_filters(self) -> Tensor:
        """The kernel on the finest grid around pixel (0, 0), times ``global_modes^2``; complex, as theirs is."""
        kernel: Tensor = torch.fft.ifft2(self.get_filters_spectral(), norm="forward")
        return kernel

    def forward(self, x_ft: Tensor, pool: bool = False) -> Tensor:
        coefficients = from_spectrum(x_ft)
        acting = coefficient_count(band(self.global_modes))
        convolved = self.convolution(coefficients[:acting, :acting])
        return to_spectrum(convolved, self.global_modes if pool else x_ft.shape[-1])

    def extra_repr(self) -> str:
        return (
            f"{self.in_channel}, {self.out_channel}, global_modes={self.global_modes}, "
            f"local_modes={self.local_modes}"
        )


def _spectral_decay(local_modes: int) -> NDArray[np.float64]:
    along = (np.linspace(0, 1, local_modes) - 0.5) ** 2
    penalties: NDArray[np.float64] = _LOCALITY_PEAK * np.exp(-_LOCALITY_DECAY * (along[:, None] + along))
    return penalties


class _ShellwiseOnSpectra(_OnSpectra):
    """What their two non-linearities share here: arguments, checks and the conversion."""

    nonlinearity: ScaleEquivariantMaxPool2d

    def __init__(
        self,
        base_res: int,
        normalization: str | None,
        channels: int | None,
        max_res: int,
        increment: int,
    ) -> None:
        super().__init__()
        if normalization not in (None, "instance"):
            raise ValueError(
                "normalization must be None or 'instance' (batch norm over resolutions is not equivariant), "
                f"got {normalization!r}"
            )
        if normalization is not None and channels is None:
            raise ValueError("channels must be the number of features for normalization='instance', got None")
        self.base_res = require_positive("base_res", base_res)
        self.max_res = require_positive("max_res", max_res)
        self.increment = require_positive("increment", increment)
        if normalization is not None and base_res > max_res:
            raise ValueError(f"base_res must be at most max_res ({max_res}), got {base_res}")
        self.normalization = normalization
        self.normalised_channels = channels if normalization else None
        self.finest = self.max_res if normalization else _UNBOUNDED

    def _band_step(self, window: int) -> int:
        """Output bands from one resolution of theirs to the next, rounded down: never fewer are computed."""
        return max(1, self.increment // (2 * window))

    def forward(self, x_ft: Tensor) -> Tensor:
        coefficients = from_spectrum(x_ft)
        resolution = x_ft.shape[-1]
        if not band(self.base_res) <= band(resolution) <= band(self.finest):
            most = f" to max_res ({self.max_res})" if self.normalization else " or more"
            raise ValueError(
                f"x_ft must have base_res ({self.base_res}){most} pixels per side, got {resolution}"
            )
        return to_spectrum(self.nonlinearity(coefficients), math.ceil(resolution / self.nonlinearity.window))

    def extra_repr(self) -> str:
        return (
            f"base_res={self.base_res}, max_res={self.max_res}, normalization={self.normalization!r}, "
            f"increment={self.increment}"
        )


class scaleEqNonlin(_ShellwiseOnSpectra):
    """:class:`sefl.fourier.ScaleEquivariantNonlinearity2d` for the authors' scale-equivariant non-linearity.

    Without norm and at odd sizes the frequencies from ``base_res / 2`` up are theirs. Differences:

    * The frequencies below come from a grid of band ``band(base_res)``; theirs from one of ``base_res`` points,
      Nyquist term included.
    * Exact at every resolution. Theirs is so at odd ones and errs in the outermost ring of even ones, where Nyquist
      terms enter; here they are dropped, so that an even resolution is worth the odd one below it.
    * Resolutions are skipped by whole bands, of two resolutions each: an ``increment`` of 1 or 2 skips none.
    * Instance norm has one set of scales and offsets per band that is computed, theirs one per resolution.

    Args:
        non_lin: pointwise function, or a module, whose parameters are trained; not in place.
        base_res: resolution from which on the layer is equivariant; odd ones are accepted too.
        normalization: ``None`` or ``"instance"``. Theirs lists ``"batch"`` too, which fails there.
        channels: number of features, for the norm only.
        max_res: with a norm the finest input; without one any finer input passes, as in theirs.
        increment: pixels from one computed resolution to the next. ``2 m`` is a step of ``m`` bands, and so is
            ``2 m + 1``, which is no whole number of bands: the next finer step. What is skipped is not equivariant,
            as in theirs.

    Shapes: complex ``(batch, channels, r, r)`` to the same.

    Raises:
        TypeError: in ``forward``, if the input is not complex.
        ValueError: if an argument is out of its range, and in ``forward`` for input of another shape or resolution.
    """

    def __init__(
        self,
        non_lin: Activation,
        base_res: int,
        normalization: str | None = None,
        channels: int | None = None,
        max_res: int = 28,
        increment: int = 1,
    ) -> None:
        super().__init__(base_res, normalization, channels, max_res, increment)
        self.nonlinearity = ScaleEquivariantNonlinearity2d(
            non_lin, base_res, self.finest, self.normalised_channels, band_step=self._band_step(1)
        )


class scaleEqNonlinMaxp(_ShellwiseOnSpectra):
    """:class:`sefl.fourier.ScaleEquivariantMaxPool2d` for the authors' non-linearity with max-pooling.

    The differences of :class:`scaleEqNonlin`, and these, which change the numbers:

    * Output band ``k`` comes from input band ``pool_window * k``; theirs from the resolutions that are ``base_res``
      plus a multiple of ``pool_window``, and is meant to be equivariant at these only. The ``increment`` counts pixels
      of the input, as theirs does: ``2 pool_window m`` of them are a step of ``m`` output bands.
    * The activated grid is pooled as it is; theirs is low-passed to the pooled resolution first.
    * Windows lie symmetrically around the pooled samples; theirs start at pixel 0.

    Args:
        pool_window: pooling window and stride in pixels.

    The other arguments and the errors are those of :class:`scaleEqNonlin`.

    Shapes: complex ``(batch, channels, r, r)`` to ``(batch, channels, ceil(r / pool_window), same)``.
    """

    def __init__(
        self,
        non_lin: Activation,
        base_res: int,
        normalization: str | None = None,
        channels: int | None = None,
        pool_window: int = 2,
        max_res: int = 28,
        increment: int = 1,
    ) -> None:
        super().__init__(base_res, normalization, channels, max_res, increment)
        self.pool_window = require_positive("pool_window", pool_window)
        self.nonlinearity = ScaleEquivariantMaxPool2d(
            self.pool_window,
            non_lin,
            base_res,
            self.finest,
            self.normalised_channels,
            band_step=self._band_step(self.pool_window),
        )
