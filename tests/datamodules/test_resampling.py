"""Resampling against PyTorch's own and against ideal downsampling."""

import pytest
import torch
import torch.nn.functional as F

from datamodules.resampling import resample
from sefl.fourier import downsample

IMAGES = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


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
