"""Features at a resolution are the downsampled ones for an equivariant network, and only for it."""

import pytest
import torch
from torch import Tensor, nn

from sefl.equivariance.feature_maps import feature_maps, layers_with_maps
from sefl.fourier import ScaleEquivariantNonlinearity2d, SpectralConv2d, downsample, to_coefficients

RESOLUTIONS = range(6, 14)
LAYERS = ("convolution", "activation", "pooled")


class Equivariant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = SpectralConv2d(2, 3, kernel_size=3, max_resolution=13)
        self.activation = ScaleEquivariantNonlinearity2d(torch.relu, 6, 13, channels=3)
        self.pooled = nn.Flatten()

    def forward(self, images: Tensor) -> Tensor:
        coefficients = self.activation(self.convolution(to_coefficients(images)))
        return self.pooled(coefficients[0, 0])


class Ordinary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")
        self.activation = nn.ReLU(inplace=True)
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, images: Tensor) -> Tensor:
        return self.pooled(self.activation(self.convolution(images)))


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 2, 13, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("layer", LAYERS[:2])
def test_features_of_an_equivariant_network_are_downsampled_ones(layer: str, images: Tensor) -> None:
    torch.manual_seed(1)
    maps = feature_maps(Equivariant().double(), images, layer, RESOLUTIONS)
    assert list(maps) == list(RESOLUTIONS)
    finest = maps[13].features
    for resolution, at in maps.items():
        points = 2 * ((resolution - 1) // 2) + 1
        assert at.features.shape == (4, 3, points, points)
        torch.testing.assert_close(at.features, downsample(finest, points), rtol=0, atol=1e-12)
        torch.testing.assert_close(at.difference, torch.zeros_like(at.features), rtol=0, atol=1e-12)
        assert at.error.shape == (4,)
        assert at.error.max() < 1e-24


def test_features_of_an_ordinary_network_differ(images: Tensor) -> None:
    torch.manual_seed(1)
    maps = feature_maps(Ordinary().double(), images, "activation", RESOLUTIONS)
    for resolution in range(6, 13):
        assert maps[resolution].features.shape[-1] == resolution
        assert maps[resolution].error.min() > 1e-2
    # the finest, of odd size, is compared with itself
    assert maps[13].error.max() < 1e-24


def test_the_model_is_left_as_it_was(images: Tensor) -> None:
    model = Ordinary().double()
    model.pooled.eval()
    before = [module.training for module in model.modules()]
    maps = feature_maps(model, images, "convolution", [8])
    assert [module.training for module in model.modules()] == before
    assert not any(module._forward_hooks for module in model.modules())
    assert not maps[8].features.requires_grad
    assert (maps[8].features < 0).any()  # the activation behind overwrites its input in place


def test_layers_with_maps(images: Tensor) -> None:
    assert layers_with_maps(Ordinary().double(), images, LAYERS) == ["convolution", "activation"]
    assert layers_with_maps(Equivariant().double(), images, LAYERS) == ["convolution", "activation"]


def test_what_cannot_be_shown_is_refused(images: Tensor) -> None:
    model = Ordinary().double()
    with pytest.raises(ValueError, match="it has no 'absent'"):
        feature_maps(model, images, "absent", [8])
    with pytest.raises(ValueError, match="'pooled' does so 0 times"):
        feature_maps(model, images, "pooled", [8])
    with pytest.raises(ValueError, match="resolution must be at most that of x"):
        feature_maps(model, images, "activation", [14])
    shared = nn.Conv2d(2, 2, 1).double()
    with pytest.raises(ValueError, match="'0' does so 2 times"):
        feature_maps(nn.Sequential(shared, shared), images, "0", [8])
