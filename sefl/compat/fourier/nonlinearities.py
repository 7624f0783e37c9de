"""The scale-equivariant non-linearities of ``scale_eq.layers.scalq_eq_nonlin``, with its parameters and its numbers.

The frequencies of the outcome at a resolution are those of the activation of the input *at that resolution*: so the
outcome at a coarse resolution is what the finest one has at low frequencies. Where theirs are not exact these are not
either: at an even resolution Nyquist terms enter the outermost ring. Exact at every resolution, and many times faster:
:class:`sefl.fourier.ScaleEquivariantNonlinearity2d` and :class:`sefl.fourier.ScaleEquivariantMaxPool2d`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sefl.arguments import require_positive
from sefl.compat.declared import Declared
from sefl.compat.fourier.convolutions import OnSpectra, require_complex
from sefl.compat.fourier.spectra import Ranges, both_ends, down_sample_keepsize, place

Activation = Callable[[Tensor], Tensor]


class _Nonlinearity(Declared):
    non_lin: Activation
    base_res: int
    normalization: str | None = None
    channels: int | None = None

    norms: ClassVar[tuple[str, ...]] = ("instance",)
    dimensions: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if require_positive("base_res", self.base_res) % 2:
            raise ValueError(f"base_res must be even, got {self.base_res}")
        if (norm := self.normalization) is None:
            return
        if norm not in self.norms:
            theirs = (
                " (theirs lists 'batch' too, which fails when it is called)" if self.dimensions == 2 else ""
            )
            names = " or ".join(["None", *map(repr, self.norms)])
            raise ValueError(f"normalization must be {names}{theirs}, got {norm!r}")
        if self.channels is None:
            raise ValueError(f"channels must be the number of features for normalization={norm!r}, got None")

    def _check(self, x_ft: Tensor) -> None:
        require_complex(x_ft)
        size, axes = x_ft.shape[-1], ["r"] * self.dimensions
        if x_ft.dim() != 2 + len(axes) or x_ft.shape[2:] != (size,) * len(axes) or size < self.base_res:
            raise ValueError(
                f"x_ft must be spectra (batch, channels, {', '.join(axes)}) with r from base_res ({self.base_res}) on, "
                f"got shape {tuple(x_ft.shape)}"
            )


class scaleEqNonlin(_Nonlinearity, OnSpectra):
    """An activation that commutes with ideal downsampling, of spectra.

    Args:
        non_lin: pointwise function, or a module, whose parameters are trained.
        base_res: resolution from which on the layer is equivariant, even.
        normalization: ``None`` or ``"instance"``, with scales and offsets for each resolution.
        channels: number of features, for the norm only.
        max_res: finest resolution that the norm has; without one any finer input passes.
        increment: pixels from one resolution to the next; the layer is equivariant at these only.

    Shapes: complex ``(batch, channels, r, r)`` to the same.

    Raises:
        TypeError: in ``forward``, if the input is not complex.
        ValueError: if an argument is out of its range, and in ``forward`` for input of another shape or resolution.
    """

    max_res: int = 28
    increment: int = 1

    pool_window = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("max_res", "increment"):
            setattr(self, name, require_positive(name, getattr(self, name)))
        self.norm: nn.ModuleDict | None = None
        if self.normalization and self.channels:
            resolutions = range(self.base_res, self.max_res + self.increment, self.increment)
            norms = {str(r): nn.InstanceNorm2d(self.channels, affine=True) for r in resolutions}
            self.norm = nn.ModuleDict(norms)

    def _at(self, resolution: int, x: Tensor) -> Tensor:
        """The half spectrum of the outcome that belongs to the input at this resolution, on its grid."""
        if self.norm is not None and len(x):
            if str(resolution) not in self.norm:
                has = ", ".join(self.norm)
                raise ValueError(
                    f"x_ft must be of resolutions that the norm has, {has}, got one that needs {resolution}"
                )
            x = self.norm[str(resolution)](x)
        x = self.non_lin(x)
        if self.pool_window > 1:
            size = math.ceil(resolution / self.pool_window)
            x = F.max_pool2d(
                down_sample_keepsize(x, [size, size], resolution, isfreq=False),
                self.pool_window,
                ceil_mode=True,
            )
        outcome: Tensor = torch.fft.rfft2(x, norm="forward")
        return outcome

    def forward(self, x_ft: Tensor) -> Tensor:
        self._check(x_ft)
        size = x_ft.shape[-1]
        spectrum = torch.fft.rfft2(torch.fft.ifft2(x_ft, norm="forward").real, norm="forward")
        pooled = math.ceil(size / self.pool_window)
        out = x_ft.new_zeros(*x_ft.shape[:2], pooled, pooled // 2 + 1)
        base = self._at(self.base_res, down_sample_keepsize(spectrum, [self.base_res] * 2, self.base_res))
        half = base.shape[-2] // 2
        place(base, out, [both_ends(half, half), [slice(half + 1)]])
        for resolution, low, pieces in self._rings(size, pooled, half):
            ring = self._at(resolution, down_sample_keepsize(spectrum, [low] * 2, resolution))
            for ranges in pieces:
                place(ring, out, ranges)
        outcome: Tensor = torch.fft.fft2(
            torch.fft.irfft2(out, s=(pooled, pooled), norm="forward"), norm="forward"
        )
        return outcome

    def _rings(self, size: int, pooled: int, half: int) -> Iterator[tuple[int, int, Sequence[Ranges]]]:
        """Which grids are needed, of which frequencies of the input, and what of theirs is the outcome's."""
        if self.increment > 1:
            for resolution in range(self.base_res + self.increment, size + self.increment, self.increment):
                end = min(math.ceil(resolution / self.pool_window), pooled) // 2
                columns, rows = slice(end + 1), (slice(half, end), slice(-end, -half))
                yield (
                    resolution,
                    resolution - 1,
                    [[rows, [columns]], [both_ends(end, end), [slice(half, end + 1)]]],
                )
                half = end
            return
        for resolution in range(self.base_res + self.pool_window, size + self.pool_window, self.pool_window):
            grid = math.ceil(resolution / self.pool_window)
            ring, odd = grid // 2, grid % 2
            if not odd and resolution < size:
                continue  # the next resolution has the same frequencies, and would replace them
            row, column, columns = slice(-ring, 1 - ring or None), slice(ring, ring + 1), slice(ring + 1)
            ends = [row, column] if odd else [row]
            yield (
                resolution,
                resolution,
                [[ends, [columns]], [both_ends(ring + odd, ring), [column]]],
            )

    def extra_repr(self) -> str:
        return f"base_res={self.base_res}, max_res={self.max_res}, increment={self.increment}"


class scaleEqNonlinMaxp(scaleEqNonlin):
    """:class:`scaleEqNonlin` and max-pooling together; what is pooled is low-passed to the pooled resolution first.

    Args:
        pool_window: pooling window and stride in pixels. The layer is equivariant at the resolutions ``base_res +
            k pool_window`` alone; :class:`sefl.fourier.ScaleEquivariantMaxPool2d` is at every one.

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
        super().__init__(non_lin, base_res, normalization, channels, max_res, increment)
        self.pool_window = require_positive("pool_window", pool_window)


class scaleEqNonlin1d(_Nonlinearity):
    """:class:`scaleEqNonlin` of signals, with one norm for all resolutions.

    Theirs is wrong: it takes a transform over channels and samples together, and of all resolutions keeps the finest,
    so that it mixes channels and is not equivariant. This is what it was meant for.

    Args:
        non_lin: pointwise function or module.
        base_res: resolution from which on the layer is equivariant, even.
        normalization: ``None``, ``"instance"`` or ``"batch"``, of each resolution with the same scales.
        channels: number of features, for the norm only.

    Shapes: complex ``(batch, channels, n)`` to the same.

    Raises:
        TypeError: in ``forward``, if the input is not complex.
        ValueError: if an argument is out of its range, and in ``forward`` for fewer than ``base_res`` samples.
    """

    norms = ("instance", "batch")
    dimensions = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.norm: nn.Module | None = None
        if self.normalization and self.channels:
            batch = self.normalization == "batch"
            self.norm = (nn.BatchNorm1d if batch else nn.InstanceNorm1d)(self.channels, affine=True)

    def forward(self, x_ft: Tensor) -> Tensor:
        self._check(x_ft)
        size = x_ft.shape[-1]
        spectrum = torch.fft.rfft(torch.fft.ifft(x_ft, norm="forward").real, norm="forward")
        first, last = self.base_res // 2, size // 2
        out = x_ft.new_zeros(*x_ft.shape[:2], last + 1)
        for highest in range(first - 1, last + 1):  # each band once, on the odd number of samples that has it
            samples = min(2 * highest + 1, size)
            x = torch.fft.irfft(spectrum[..., : highest + 1], n=samples, norm="forward")
            activated = self.non_lin(x if self.norm is None else self.norm(x))
            begin = 0 if highest < first else highest
            out[..., begin : highest + 1] = torch.fft.rfft(activated, norm="forward")[..., begin:]
        outcome: Tensor = torch.fft.fft(torch.fft.irfft(out, n=size, norm="forward"), norm="forward")
        return outcome
