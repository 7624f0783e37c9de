"""The library's operations again, the slow way: complex FFTs of whole images, one band at a time."""

from collections.abc import Callable
from math import ceil, pi

import torch
from torch import Tensor
from torch.nn import functional as F


def highest_frequency(resolution: int) -> int:
    return (resolution - 1) // 2


def resample(x: Tensor, height: int, width: int) -> Tensor:
    """Down or up on each axis by cutting or zero-padding ``rfft2``; Nyquist terms are dropped."""
    spectrum = torch.fft.rfft2(x, norm="forward")
    rows = highest_frequency(min(x.shape[-2], height))
    columns = highest_frequency(min(x.shape[-1], width)) + 1
    kept = spectrum.new_zeros(*x.shape[:-2], height, width // 2 + 1)
    kept[..., : rows + 1, :columns] = spectrum[..., : rows + 1, :columns]
    if rows:
        kept[..., -rows:, :columns] = spectrum[..., -rows:, :columns]
    return torch.fft.irfft2(kept, s=(height, width), norm="forward")


def spectrum_of(x: Tensor, band: int, shift: float = 0.0) -> Tensor:
    """Complex coefficients of the frequencies ``-band..band``, of samples at ``(j + shift) / n``."""
    points = x.shape[-1]
    spectrum = torch.fft.fftshift(torch.fft.fft2(x, norm="forward"), dim=(-2, -1))
    inner = slice(points // 2 - band, points // 2 + band + 1)
    return spectrum[..., inner, inner] * phase(band, -shift / points, x.dtype)


def sample(spectrum: Tensor, points: int, shift: float = 0.0) -> Tensor:
    """Real samples at ``(j + shift) / points`` of a centred spectrum of at most ``points`` frequencies per axis."""
    band = spectrum.shape[-1] // 2
    spectrum = spectrum * phase(band, shift / points, spectrum.real.dtype)
    padded = spectrum.new_zeros(*spectrum.shape[:-2], points, points)
    inner = slice(points // 2 - band, points // 2 + band + 1)
    padded[..., inner, inner] = spectrum
    return torch.fft.ifft2(torch.fft.ifftshift(padded, dim=(-2, -1)), norm="forward").real


def phase(band: int, offset: float, dtype: torch.dtype) -> Tensor:
    angle = 2 * pi * offset * torch.arange(-band, band + 1, dtype=dtype)
    wave = torch.polar(torch.ones_like(angle), angle)
    return wave[:, None] * wave


def cut(spectrum: Tensor, band: int) -> Tensor:
    """The frequencies up to ``band``."""
    margin = spectrum.shape[-1] // 2 - band
    return spectrum[..., margin : spectrum.shape[-1] - margin, margin : spectrum.shape[-1] - margin]


def nonlinearity(
    x: Tensor,
    activation: Callable[[Tensor], Tensor],
    base_resolution: int,
    window: int = 1,
    oversampling: float = 1.0,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """``ScaleEquivariantMaxPool2d`` on images ``(B, C, r, r)``: to ``(B, C, ceil(r / window), ceil(r / window))``.

    Windows of ``window`` fine samples lie symmetrically around the pooled samples.
    """
    resolution = ceil(x.shape[-1] / window)
    base = highest_frequency(ceil(base_resolution / window))
    finest = max(base, highest_frequency(resolution))
    spectrum = spectrum_of(x, highest_frequency(x.shape[-1]))
    out = spectrum.new_zeros(*x.shape[:2], 2 * finest + 1, 2 * finest + 1)
    frequency = torch.arange(-finest, finest + 1).abs()
    shell_of = torch.maximum(frequency[:, None], frequency)
    for index, band in enumerate(range(base, finest + 1)):
        seen = cut(spectrum, window * band)
        if weight is not None and bias is not None:
            grid = sample(seen, 2 * window * band + 1)
            mean, variance = grid.mean((-2, -1)), grid.var((-2, -1), unbiased=False)
            grid = (grid - mean[..., None, None]) / (variance[..., None, None] + eps).sqrt()
            grid = grid * weight[index][:, None, None] + bias[index][:, None, None]
            seen = spectrum_of(grid, window * band)
        pooled_points = ceil(oversampling * (2 * band + 1))
        fine = sample(seen, window * pooled_points, -(window - 1) / 2)
        pooled = F.max_pool2d(activation(fine), window)
        whole = torch.zeros_like(out)
        cut(whole, band).copy_(spectrum_of(pooled, band))
        chosen = shell_of <= band if band == base else shell_of == band
        out = torch.where(chosen, whole, out)
    return (
        sample(cut(out, highest_frequency(resolution)), resolution)
        if finest == highest_frequency(resolution)
        else sample(out, resolution)
    )
