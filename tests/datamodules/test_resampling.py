"""Resampling and padding against PyTorch's own, and where PyTorch refuses, against NumPy's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from datamodules.resampling import resample
from sefl.fourier import downsample
from sefl.padding import pad

IMAGES = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
NUMPY = {"zero": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@pytest.mark.parametrize("resolution", [5, 8, 11, 12])
def test_ideal_upsampling_keeps_every_lower_resolution(resolution: int) -> None:
    for finer in (13, 14, 25):
        upsampled = resample(IMAGES, finer, "ideal")
        assert upsampled.shape == (2, 3, finer, finer)
        torch.testing.assert_close(
            resample(upsampled, resolution, "ideal"), downsample(IMAGES, resolution), rtol=0, atol=1e-13
        )
    bicubic = resample(resample(IMAGES, 13, "bicubic"), resolution, "ideal")
    assert (bicubic - downsample(IMAGES, resolution)).abs().max() > 1e-3


@pytest.mark.parametrize("resolution", [5, 12, 13])
def test_bicubic_resampling_is_that_of_torch(resolution: int) -> None:
    expected = F.interpolate(IMAGES, size=(resolution, resolution), mode="bicubic", antialias=True)
    torch.testing.assert_close(resample(IMAGES, resolution, "bicubic"), expected)


@pytest.mark.parametrize("padding", list(NUMPY))
@pytest.mark.parametrize("resolution", [2, 3, 8, 11, 12])
@pytest.mark.parametrize("size", [12, 13, 20, 31])
def test_padding_is_that_of_numpy_however_far(padding, resolution: int, size: int) -> None:
    images = IMAGES[..., :resolution, :resolution]
    before = (size - resolution) // 2
    width = ((0, 0), (0, 0), *[(before, size - resolution - before)] * 2)
    expected = np.pad(images.numpy(), width, NUMPY[padding])
    assert torch.equal(pad(images, size, padding), torch.from_numpy(expected))


@pytest.mark.parametrize("padding", list(NUMPY))
def test_a_single_pixel_is_padded(padding) -> None:
    padded = pad(IMAGES[..., :1, :1], 4, padding)
    assert padded.shape == (2, 3, 4, 4)
    assert torch.equal(padded[..., 1, 1], IMAGES[..., 0, 0])
