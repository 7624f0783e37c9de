"""Padding of square images against NumPy's, also where PyTorch refuses."""

import numpy as np
import pytest
import torch

from sefl.networks.padding import pad

IMAGES = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
NUMPY = {"zero": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


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


@pytest.mark.parametrize(
    ("size", "padding", "message"),
    [
        (11, "zero", "size must be at least the 12 pixels of the images, got 11"),
        (11, "circular", "size must be at least the 12 pixels of the images, got 11"),
        (13, "mirror", "padding must be one of 'zero', 'reflect', 'replicate', 'circular', got 'mirror'"),
    ],
)
def test_what_cannot_be_padded_is_refused(size: int, padding, message: str) -> None:
    assert torch.equal(pad(IMAGES, 12, "reflect"), IMAGES)
    with pytest.raises(ValueError, match=message):
        pad(IMAGES, size, padding)
