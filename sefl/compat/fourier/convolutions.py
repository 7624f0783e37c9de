"""The spectral convolutions of ``scale_eq.layers.spectral_conv``, with its parameters and its numbers.

A convolution multiplies spectra, so it commutes with ideal downsampling at any resolution, whatever its kernel:
:class:`sefl.fourier.SpectralConv2d` is the same with real taps around a centre, on real coefficients, and faster.
"""

from collections.abc import Callable
from dataclasses import field
from itertools import product
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from sefl.arguments import require_positive
from sefl.compat.declared import Declared
from sefl.compat.fourier.spectra import both_ends, get_mat, get_pweights, resample


def compl_mul1d(input: Tensor, weights: Tensor) -> Tensor:
    """``(batch, in, n)`` times ``(in, out, n)``, summed over ``in``: ``(batch, out, n)``."""
    return torch.einsum("bix,iox->box", input, weights)


def compl_mul2d(input: Tensor, weights: Tensor) -> Tensor:
    """``(batch, in, n, n)`` times ``(in, out, n, n)``, summed over ``in``: ``(batch, out, n, n)``."""
    return torch.einsum("bixy,ioxy->boxy", input, weights)


def _multiplied(x_ft: Tensor, transfer: Tensor, size: int) -> Tensor:
    """The spectrum times the transfer function at the frequencies that both have, on ``size`` pixels."""
    axes = transfer.dim() - 2
    half, odd = min(transfer.shape[-1], x_ft.shape[-1]) // 2, x_ft.shape[-1] % 2
    out = x_ft.new_zeros(x_ft.shape[0], transfer.shape[1], *[size] * axes)
    multiply = compl_mul2d if axes == 2 else compl_mul1d
    for index in product(both_ends(half + odd, half), repeat=axes):
        where: tuple[Any, ...] = (..., *index)
        out[where] = multiply(x_ft[where], transfer[where])
    return out


def require_complex(x_ft: Tensor) -> None:
    if not x_ft.is_complex():
        raise TypeError(f'x_ft must be complex, torch.fft.fft2(images, norm="forward"), got {x_ft.dtype}')


class OnSpectra(nn.Module):
    """A layer from spectra to spectra."""

    def get_feature(self, x: Tensor) -> Tensor:
        """The layer on images ``(batch, channels, r, r)``, between the two transforms with ``norm="forward"``.

        Theirs leaves out the norm: its non-linearities see values ``r^2`` times too large, and pooled features come
        out ``pool_window^2`` times too large.
        """
        outcome: Tensor = torch.fft.ifft2(self(torch.fft.fft2(x, norm="forward")), norm="forward").real
        return outcome

    # A network of theirs is moved by .to(torch.cdouble), which makes real parameters complex, and would lose the
    # imaginary part of complex ones by .double(): both are double precision here.
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def same_kind(tensor: Tensor) -> Tensor:
            if tensor.is_complex():
                parts = fn(torch.view_as_real(tensor))
                if parts.is_complex():
                    return fn(tensor)
                return torch.view_as_complex(parts.to(torch.promote_types(parts.dtype, torch.float)))
            moved = fn(tensor)
            return moved.real.contiguous() if moved.is_complex() else moved

        super()._apply(same_kind, recurse)  # type: ignore[no-untyped-call]  # torch has no types for it
        return self


class _Localized(Declared, OnSpectra):
    in_channel: int
    out_channel: int
    global_modes: int
    local_modes: int
    device: torch.device | str | None = None
    dtype: torch.dtype = torch.cfloat

    axes: ClassVar[int]
    spectral_decay: Tensor = field(init=False)
    mat: Tensor = field(init=False)

    def __post_init__(self) -> None:
        for name in ("in_channel", "out_channel", "global_modes", "local_modes"):
            setattr(self, name, require_positive(name, getattr(self, name)))
        grid, taps, dtype = self.global_modes, self.local_modes, self.dtype
        if grid % 2 or taps > grid:
            raise ValueError(f"global_modes must be even and at least local_modes ({taps}), got {grid}")
        if dtype not in (torch.cfloat, torch.cdouble):
            raise ValueError(f"dtype must be torch.cfloat or torch.cdouble, got {dtype}")
        self.local_h_modes, shape = taps // 2, [taps] * self.axes
        empty = torch.empty(self.in_channel, self.out_channel, *shape, device=self.device, dtype=dtype)
        self.L = nn.Parameter(empty)
        self.register_buffer("spectral_decay", torch.empty(shape, device=self.device, dtype=torch.float))
        if self.axes == 2:  # as their checkpoints have them
            self.register_buffer("mat", empty.new_empty(grid, taps))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """:meth:`reset_parameter`, and the constants anew, which a module made on the meta device lacks."""
        penalty = get_pweights(self.local_modes, self.local_modes)
        self.spectral_decay.copy_(penalty if self.axes == 2 else penalty[0])
        if self.axes == 2:
            self.mat.copy_(get_mat(self.global_modes, self.local_modes))
        self.reset_parameter()

    def reset_parameter(self) -> None:
        """Normal with variance ``1 / in_channel``."""
        nn.init.normal_(self.L, std=self.in_channel**-0.5)

    def get_reg_loss(self) -> Tensor:
        """The norm of ``L``, high local frequencies weighted most; in two dimensions plus that of its transform."""
        penalty: Tensor = torch.linalg.vector_norm(self.L * self.spectral_decay)
        if self.axes == 2:
            penalty = penalty + torch.linalg.vector_norm(torch.fft.ifft2(self.L, norm="forward"))
        return penalty

    def get_filters_spectral(self) -> Tensor:
        """The transfer function, complex, ``(in_channel, out_channel, global_modes, ...)``."""
        if self.axes == 1:
            transfer: Tensor = torch.fft.fft(torch.fft.ifft(self.L), n=self.global_modes)
            return transfer
        return self.mat @ self.L @ self.mat.T

    def get_filters(self) -> Tensor:
        """The kernel on ``global_modes`` pixels, the taps from pixel 0 on, times ``global_modes`` per axis; complex."""
        axes = tuple(range(-self.axes, 0))
        kernel: Tensor = torch.fft.ifftn(self.get_filters_spectral(), dim=axes, norm="forward")
        return kernel

    def forward(self, x_ft: Tensor, pool: bool = False) -> Tensor:
        require_complex(x_ft)
        if x_ft.dim() != 2 + self.axes or x_ft.shape[1] != self.in_channel:
            shape = ", ".join(["batch", f"{self.in_channel}", *["r"] * self.axes])
            raise ValueError(f"x_ft must be spectra ({shape}), got shape {tuple(x_ft.shape)}")
        size = self.global_modes if pool else x_ft.shape[-1]
        return _multiplied(x_ft, self.get_filters_spectral(), size)

    def extra_repr(self) -> str:
        modes = f"global_modes={self.global_modes}, local_modes={self.local_modes}"
        return f"{self.in_channel}, {self.out_channel}, {modes}"


class SpectralConv2dLocalized(_Localized):
    """Convolution of images with a kernel local in space, by their spectra.

        out = F(w) x_ft,    w = the ``local_modes x local_modes`` taps F^-1(L) at the pixels (0, 0) and on

    of a grid of ``global_modes`` pixels. As theirs, with these consequences: features move by
    ``(local_modes - 1) / 2`` pixels of that grid to one corner, for the kernel begins at pixel 0; taps are complex, and
    the next real part throws half of them away; of an even resolution one Nyquist row and column pass, of one sign.

    Args:
        in_channel, out_channel: channels.
        global_modes: pixels per side of the grid that the taps lie on, even. Finer input is accepted, and its
            frequencies above come back as zeros.
        local_modes: taps per axis, odd or even.
        device, dtype: of the parameter ``L``, ``torch.cfloat`` or ``torch.cdouble``.

    Shapes: complex ``(batch, in_channel, r, r)`` to ``(batch, out_channel, r, r)``, or to ``global_modes`` per side
    with ``forward(x_ft, pool=True)``.

    Raises:
        TypeError: in ``forward``, if the input is not complex.
        ValueError: if an argument is out of its range, and in ``forward`` for input of another shape.
    """

    axes = 2


class SpectralConvLocalized1d(_Localized):
    """:class:`SpectralConv2dLocalized` of signals: ``(batch, in_channel, n)`` to ``(batch, out_channel, n)``."""

    axes = 1

    def reset_parameter(self) -> None:
        """Normal with standard deviation ``global_modes / local_modes``, much larger than in two dimensions."""
        nn.init.normal_(self.L, std=self.global_modes / (2 * self.local_h_modes))

    def get_feature(self, x: Tensor) -> Tensor:
        """The layer on signals ``(batch, channels, n)``."""
        outcome: Tensor = torch.fft.ifft(self(torch.fft.fft(x, norm="forward")), norm="forward").real
        return outcome


class SpectralConv2dCircular(Declared):
    """Convolution of images with a kernel as large as they are, given by its transfer function ``W``.

    Theirs cannot be called, and leaves its weights as the memory was: here they are drawn at the start.

    Args:
        in_channel, out_channel: channels.
        h_modes1, h_modes2: frequencies of each sign, per axis, equal.
        device, dtype: of ``W``, complex ``(in_channel, out_channel, 2 h_modes1, 2 h_modes2)``.

    Shapes: as of :class:`SpectralConv2dLocalized` with ``global_modes = 2 h_modes1``.

    Raises:
        ValueError: if ``h_modes2`` is not ``h_modes1``.
    """

    in_channel: int
    out_channel: int
    h_modes1: int
    h_modes2: int
    device: torch.device | str | None = None
    dtype: torch.dtype = torch.cfloat

    def __post_init__(self) -> None:
        if self.h_modes1 != self.h_modes2:
            raise ValueError(f"h_modes2 must be h_modes1, {self.h_modes1}, got {self.h_modes2}")
        self.factory_kwargs: dict[str, Any] = {"device": self.device, "dtype": self.dtype}
        shape = self.in_channel, self.out_channel, 2 * self.h_modes1, 2 * self.h_modes2
        self.W = nn.Parameter(torch.empty(shape, **self.factory_kwargs))
        self.reset_parameter()

    def reset_parameter(self) -> None:
        """Normal with variance ``1 / (2 in_channel)``."""
        nn.init.normal_(self.W, std=(2 * self.in_channel) ** -0.5)

    def forward(self, x_ft: Tensor, pool: bool = False) -> Tensor:
        return _multiplied(x_ft, self.W, self.W.shape[-1] if pool else x_ft.shape[-1])


class SpectralConv1d(Declared):
    """The first ``mode_size`` coefficients of a spectrum, each times a matrix between channels.

    Of ``fft`` these are the positive frequencies: for real signals give it ``rfft``.

    Args:
        in_channels, out_channels: channels.
        mode_size: coefficients that are used, of inputs that have at least as many.
        device, dtype: of ``weights``, complex ``(in_channels, out_channels, mode_size)``.

    Shapes: ``(batch, in_channels, n)`` to ``(batch, out_channels, mode_size)``.
    """

    in_channels: int
    out_channels: int
    mode_size: int
    device: torch.device | str | None = None
    dtype: torch.dtype = torch.cfloat

    def __post_init__(self) -> None:
        shape = self.in_channels, self.out_channels, self.mode_size
        self.weights = nn.Parameter(torch.empty(shape, device=self.device, dtype=self.dtype))
        self.reset_parameter()

    def reset_parameter(self) -> None:
        """Normal with variance ``1 / (2 in_channels)``."""
        nn.init.normal_(self.weights, std=(2 * self.in_channels) ** -0.5)

    def forward(self, input: Tensor) -> Tensor:
        if input.shape[-1] < self.mode_size:
            raise ValueError(
                f"input must have at least mode_size ({self.mode_size}) coefficients, got {input.shape[-1]}"
            )
        return compl_mul1d(input[..., : self.mode_size], self.weights)


class softPaching(Declared):
    """Images times the low-passed indicator of each of ``number x number`` patches, as more channels.

    Args:
        dim: pixels per side of the grid of the indicators.
        number: patches per side.

    Shapes: ``(batch, channels, r, r)`` to ``(batch, number^2 channels, r, r)``.
    """

    dim: int
    number: int

    def forward(self, x: Tensor) -> Tensor:
        size = self.dim // self.number
        mask = x.real.new_zeros(self.number**2, 1, self.dim, self.dim)
        for patch, (i, j) in enumerate(product(range(self.number), repeat=2)):
            mask[patch, :, i * size : (i + 1) * size, j * size : (j + 1) * size] = 1
        masks = resample(mask, x.shape[-2:], complex=False)[:, 0]
        return (x[:, None] * masks[:, None]).flatten(1, 2)
