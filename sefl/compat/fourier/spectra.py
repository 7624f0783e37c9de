"""Functions on spectra, under the names of ``scale_eq.utils.core_utils`` and ``scale_eq.layers.complex_modules``.

Spectra are ``torch.fft.fft2(images, norm="forward")`` or, of half the columns, ``torch.fft.rfft2``. All of them work
where their tensors are; theirs make zeros on the CPU.
"""

import json
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Ranges = Sequence[Sequence[slice]]
"""Of each of the last axes, which parts are meant."""


def both_ends(positive: int, negative: int) -> tuple[slice, slice]:
    """The frequencies ``0 .. positive - 1`` and ``-negative .. -1`` of an axis."""
    return slice(positive), slice(-negative, None)


def place(source: Tensor, out: Tensor, ranges: Ranges) -> Tensor:
    """Write what ``source`` has at these frequencies to ``out``, which is given back."""
    for index in product(*ranges):
        where: tuple[Any, ...] = (..., *index)
        out[where] = source[where]
    return out


def block(spectrum: Tensor, modes: int, axes: int) -> Tensor:
    """The lowest frequencies of the last ``axes`` axes, as many as ``modes`` and the spectrum allow."""
    half, odd = min(spectrum.shape[-1] // 2, modes // 2), modes % 2
    out = spectrum.new_zeros(*spectrum.shape[:-axes], *[2 * half + odd] * axes)
    return place(spectrum, out, [both_ends(half + odd, half)] * axes)


def _unblock(spectrum: Tensor, modes: int, axes: int) -> Tensor:
    size = spectrum.shape[-1]
    if size > modes:
        raise ValueError(f"modes must be at least those of t, {size}, got {modes}")
    out = spectrum.new_zeros(*spectrum.shape[:-axes], *[modes] * axes)
    return place(spectrum, out, [both_ends(size // 2 + size % 2, size // 2)] * axes)


def get_block2d(t: Tensor, modes: int) -> Tensor:
    """The lowest ``modes`` x ``modes`` frequencies of ``(..., n, n)``; an even number has its negative Nyquist row."""
    return block(t, modes, 2)


def get_block1d(t: Tensor, modes: int) -> Tensor:
    """The lowest ``modes`` frequencies of ``(..., n)``."""
    return block(t, modes, 1)


def enblock2d(t: Tensor, modes: int) -> Tensor:
    """A spectrum ``(..., n, n)`` among ``modes`` x ``modes`` frequencies, the others zero.

    Raises:
        ValueError: if ``modes`` are fewer than there are.
    """
    return _unblock(t, modes, 2)


def enblock1d(t: Tensor, modes: int) -> Tensor:
    """A spectrum ``(..., n)`` among ``modes`` frequencies, the others zero.

    Raises:
        ValueError: if ``modes`` are fewer than there are.
    """
    return _unblock(t, modes, 1)


def resample_1d(x: Tensor, num: int, complex: bool = True, skip_nyq: bool = False) -> Tensor:
    """Signals ``(batch, channels, n)`` at ``num`` samples, by cutting or padding their spectrum.

    Args:
        x: the signals.
        num: samples wanted.
        complex: give back complex signals. Theirs, and so this, loses the highest positive frequency at an odd ``num``.
        skip_nyq: leave the highest frequency out.
    """
    half = min(num // 2, x.shape[-1] // 2)
    if complex:
        spectrum = torch.fft.fft(x, norm="forward")
        out = place(spectrum, spectrum.new_zeros(*x.shape[:-1], num), [both_ends(half, half)])
        if skip_nyq:
            out[..., -half] = 0
        long: Tensor = torch.fft.ifft(out, norm="forward")
        return long
    spectrum = torch.fft.rfft(x, norm="forward")
    out = place(spectrum, spectrum.new_zeros(*x.shape[:-1], num // 2 + 1), [[slice(half + 1)]])
    if skip_nyq:
        out[..., -1] = 0
    outcome: Tensor = torch.fft.irfft(out, n=num, norm="forward")
    return outcome


def resample(x: Tensor, num: Sequence[int], complex: bool = True, skip_nyq: bool = False) -> Tensor:
    """Images ``(batch, channels, n, n)`` at ``num`` pixels, by cutting or padding their spectrum.

    Args:
        x: the images.
        num: rows and columns wanted, equal if not ``complex``.
        complex: as of :func:`resample_1d`.
        skip_nyq: leave the highest frequencies out, of odd sizes too.

    Raises:
        ValueError: if rows and columns differ and ``complex`` is false.
    """
    if not complex:
        if num[0] != num[1]:
            raise ValueError(f"num must be as many rows as columns where complex is false, got {tuple(num)}")
        return down_sample_keepsize(torch.fft.rfft2(x, norm="forward"), num, num[0], skip_nyq)
    half = min(num[0] // 2, x.shape[-1] // 2)
    spectrum = torch.fft.fft2(x, norm="forward")
    out = place(spectrum, spectrum.new_zeros(*x.shape[:-2], *num), [both_ends(half, half)] * 2)
    if skip_nyq:
        out[..., -half, :] = 0
        out[..., -half] = 0
    outcome: Tensor = torch.fft.ifft2(out, norm="forward")
    return outcome


def down_sample_keepsize_1d(X: Tensor, num: int, keep_size: int, skip_nyq: bool = False) -> Tensor:
    """Signals of ``keep_size`` samples that have the frequencies of ``num`` samples of the spectrum ``X``.

    Theirs cannot be called: it takes ``num`` both for a number and for a list.

    Raises:
        ValueError: if ``keep_size`` is below ``num``.
    """
    if num > keep_size:
        raise ValueError(f"keep_size must be at least num, {num}, got {keep_size}")
    highest = min(num // 2, X.shape[-1] // 2)
    out = place(X, X.new_zeros(*X.shape[:-1], keep_size // 2 + 1), [[slice(highest + 1)]])
    if skip_nyq:
        out[..., -1] = 0
    outcome: Tensor = torch.fft.irfft(out, n=keep_size, norm="forward")
    return outcome


def down_sample_keepsize(
    X: Tensor, num: Sequence[int], keep_size: int, skip_nyq: bool = False, isfreq: bool = True
) -> Tensor:
    """Images on ``keep_size`` pixels that have the frequencies of ``num`` pixels.

    Args:
        X: the spectrum ``(batch, channels, n, n)``, of which half the columns would do, or, if not ``isfreq``, images.
        num: rows and columns, equal.
        keep_size: pixels per side of what is given back.
        skip_nyq: leave the highest frequencies out.
        isfreq: whether ``X`` is a spectrum, rather than images.

    Raises:
        ValueError: if ``num`` are not equal, or more than ``keep_size``.
    """
    size = num[0]
    if num[1] != size or keep_size < size:
        raise ValueError(f"num must be two equal numbers up to keep_size, {keep_size}, got {tuple(num)}")
    spectrum = X if isfreq else torch.fft.fft2(X, norm="forward")
    half = min(size // 2, spectrum.shape[-2] // 2)
    out = spectrum.new_zeros(*spectrum.shape[:-2], keep_size, keep_size // 2 + 1)
    place(spectrum, out, [both_ends(half + size % 2, half), [slice(half + 1)]])
    if skip_nyq:
        out[..., -half, :] = 0
        out[..., -1] = 0
        if size % 2:
            out[..., half, :] = 0
    outcome: Tensor = torch.fft.irfft2(out, s=(keep_size, keep_size), norm="forward")
    return outcome


def make_real(FS: Tensor) -> Tensor:
    """The spectrum ``(batch, channels, n, n)`` made that of real images, in place: the second half from the first.

    The first half has the columns ``1 .. n / 2 - 1`` and of columns 0 and ``n / 2`` the rows up to ``n / 2``.
    """
    size = FS.shape[-1]
    frequency = torch.arange(size, device=FS.device)
    rows, columns = frequency[:, None], frequency[None, :]
    alone = (2 * rows % size == 0) & (2 * columns % size == 0)
    first = torch.where(2 * columns % size == 0, 2 * rows <= size, 2 * columns < size)
    mirrored = FS.flip((-2, -1)).roll((1, 1), (-2, -1)).conj()
    FS[...] = torch.where(alone, FS.real.to(FS.dtype), torch.where(first, FS, mirrored))
    return FS


def sliding_windows(a: Any, W: int) -> Tensor:
    """``W x W``, with the values ``a`` from the diagonal down each column."""
    values = np.asarray(a, dtype=np.float32)
    steps = np.subtract.outer(np.arange(W), np.arange(W))
    inside = (steps >= 0) & (steps < len(values))
    return torch.as_tensor(np.where(inside, values[np.clip(steps, 0, len(values) - 1)], 0))


def _magnitudes(mode_size: int) -> Tensor:
    """Magnitude of output and of input frequencies, as a column and as a row."""
    index = torch.arange(mode_size)
    magnitude = torch.minimum(index, mode_size - index)
    return torch.stack(torch.broadcast_tensors(magnitude[:, None], magnitude[None, :]))


def get_diag_mask(mode_size: int, band_size: int = 3, dtype: torch.dtype = torch.cfloat) -> Tensor:
    """1 where an input frequency is less than ``band_size`` below that of the output, ``mode_size x mode_size``."""
    outer, inner = _magnitudes(mode_size)
    outcome: Tensor = ((outer >= inner) & (outer - inner < band_size)).to(dtype)
    return outcome


def get_mixer_mask(mode_size: int, dtype: torch.dtype, band_width: int = -1) -> Tensor:
    """1 where an input frequency is no higher than the output's: what mixing may use and stay scale-equivariant.

    Args:
        mode_size: frequencies, of which the mask has as many rows (outputs) and columns (inputs).
        dtype: of the mask.
        band_width: how many frequencies below are used; all with -1.
    """
    return get_diag_mask(mode_size, mode_size if band_width == -1 else band_width, dtype)


def get_pweights(dim1: int, dim2: int) -> Tensor:
    """Penalties on ``dim1 x dim2`` frequencies, highest (30) in the middle, where the highest frequencies are."""
    rows, columns = (torch.linspace(0, 1, size, dtype=torch.float64) - 0.5 for size in (dim1, dim2))
    return (30 * torch.exp(-10 * (rows[:, None] ** 2 + columns**2))).float()


def get_pweights_1D(dim1: int) -> Tensor:
    """Penalties on ``dim1`` frequencies, 10 in the middle."""
    return (10 * torch.exp(-10 * (torch.linspace(0, 1, dim1, dtype=torch.float64) - 0.5) ** 2)).float()


def get_gaussian(dim1: int, dim2: int, width: float, real: bool) -> Tensor:
    """A Gaussian of ``width`` frequencies around frequency 0; of half the columns if ``real``."""
    rows, columns = (torch.linspace(0, 1, size, dtype=torch.float64) - 0.5 for size in (dim1, dim2))
    square = (rows[:, None] ** 2 + columns**2) / (width / dim1) ** 2
    gaussian = torch.fft.ifftshift(torch.exp(-2 * torch.pi * square)).float()
    outcome: Tensor = gaussian[:, : dim2 // 2 + 1] if real else gaussian
    return outcome


def get_row_element(x: float, N: int) -> complex:
    """``1 / N sum_{m < N} exp(-i x m)``. Theirs is another number at ``x = 1``."""
    return complex(np.exp(-1j * x * np.arange(N)).mean())


def get_mat(L: int, N: int) -> Tensor:
    """``L x N``: from the spectrum of ``N`` taps on their own grid to that among ``L`` pixels, complex128."""
    turns = 2 * np.pi * (np.arange(L)[:, None] / L - np.arange(N)[None, :] / N)
    return torch.as_tensor(np.exp(-1j * turns[..., None] * np.arange(N)).mean(-1))


def _pooled_levels(levels: Sequence[Tensor], pool_window: int, dimensions: int) -> Tensor:
    pool = F.max_pool2d if dimensions == 2 else F.max_pool1d
    return torch.stack([pool(x, pool_window, ceil_mode=dimensions == 2).flatten(1) for x in levels], dim=1)


def get_stack(
    x_fft: Tensor, pool_window: int, keep_size: int, base_res: int = 4, increment: int = 1
) -> Tensor:
    """Features for the head of their networks, of every resolution: ``(batch, resolutions, features)``.

    Theirs is wrong: it transforms the images by ``irfft2``, where ``rfft2`` was meant, and takes what comes out for a
    spectrum. The weights of their networks were trained on that, so it is what this does; for features at every
    resolution take :class:`sefl.fourier.BandPooling2d`.

    Args:
        x_fft: spectrum ``(batch, channels, n, n)``.
        pool_window: pixels that max-pooling takes together, of ``keep_size``.
        keep_size: pixels per side that each resolution is brought to.
        base_res, increment: the resolutions are ``base_res``, ``base_res + increment``, ... until past ``n - 1``.
    """
    wrong = torch.fft.irfft2(torch.fft.ifft2(x_fft).real)
    resolutions = range(base_res, x_fft.shape[-2] + increment, increment)
    sizes = [min(r, keep_size) for r in resolutions]
    return _pooled_levels([down_sample_keepsize(wrong, [r, r], keep_size) for r in sizes], pool_window, 2)


def get_stack_differential(
    x_fft: Tensor, pool_window: int, keep_size: int, base_res: int = 4, increment: int = 2
) -> Tensor:
    """As :func:`get_stack` was meant, of what each resolution adds to the one before; gradients are of each alone."""
    levels, before = [], None
    for r in range(base_res, x_fft.shape[-2] + increment, increment):
        level = down_sample_keepsize(x_fft, [r, r], keep_size)
        levels.append(level if before is None else level - before)
        before = level.detach()
    return _pooled_levels(levels, pool_window, 2)


def get_stack_1d(x_fft: Tensor, pool_window: int, keep_size: int, base_res: int = 4) -> Tensor:
    """:func:`get_stack` as it was meant, of signals ``(batch, channels, n)``. Theirs cannot be called."""
    levels = [down_sample_keepsize_1d(x_fft, r, keep_size) for r in range(base_res, x_fft.shape[-1] + 1)]
    return _pooled_levels(levels, pool_window, 1)


def get_pooled(x_fft: Tensor, res: int, pool_size: int) -> Tensor:
    """The images of a spectrum at ``res`` pixels, max-pooled: ``(batch, features)``.

    The transform has no norm, as theirs: of a spectrum with ``norm="forward"`` values are ``n^2`` times too small.
    """
    return F.max_pool2d(resample(torch.fft.ifft2(x_fft).real, [res, res], complex=False), pool_size).flatten(
        1
    )


def get_pooled_1d(x_fft: Tensor, res: int, pool_size: int) -> Tensor:
    """:func:`get_pooled` of signals."""
    return F.max_pool1d(resample_1d(torch.fft.ifft(x_fft).real, res, complex=False), pool_size).flatten(1)


def loadcfg(fn: str) -> Any:
    """What a JSON file holds."""
    with open(fn) as file:
        return json.load(file)
