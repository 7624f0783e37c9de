"""Random colours against their definition, one image at a time."""

import pytest
import torch
from torchvision.transforms.v2 import functional

from datamodules import RandomColour
from datamodules.colour import change_colours


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("channels", [1, 3])
def test_changes_are_those_of_torchvision(channels: int) -> None:
    # Neither so dark nor so bright that theirs are cut off between the steps.
    images = 0.25 + 0.1 * torch.rand(6, channels, 7, 9, generator=generator())
    factors = 0.7 + 0.6 * torch.rand(3, 6, generator=generator())
    changed = change_colours(images, *factors).clamp(0, 1)
    for image, (brightness, contrast, saturation), result in zip(
        images, factors.T.tolist(), changed, strict=True
    ):
        expected = functional.adjust_brightness(image, brightness)
        expected = functional.adjust_contrast(expected, contrast)
        if channels == 3:
            expected = functional.adjust_saturation(expected, saturation)
        torch.testing.assert_close(result, expected, atol=2e-4, rtol=0)  # their grey has three digits


def test_factors_are_drawn_for_each_image_and_reach_their_ends() -> None:
    images = torch.full((4000, 1, 1, 1), 0.5)
    drawn = RandomColour(brightness=0.4, contrast=0, saturation=0).augment(
        images, 4000, slice(None), generator()
    )
    factors = drawn.flatten() / 0.5
    assert factors.min() == pytest.approx(0.6, abs=0.01)
    assert factors.max() == pytest.approx(1.4, abs=0.01)
    assert factors.mean() == pytest.approx(1, abs=0.02)


def test_it_does_to_bytes_what_it_does_to_floats_of_any_white() -> None:
    """Affine augmentation in front of it hands on floats up to 255."""
    bytes_ = torch.randint(256, (16, 3, 4, 4), generator=generator(), dtype=torch.uint8)
    expected = 255 * RandomColour().augment(bytes_ / 255, 16, slice(None), generator())
    for images in (bytes_, bytes_.float()):
        changed = RandomColour().augment(images, 16, slice(None), generator())
        torch.testing.assert_close(changed, expected)


def test_a_process_draws_for_its_share_what_one_would() -> None:
    images = torch.rand(8, 3, 4, 4, generator=generator())
    whole = RandomColour().augment(images, 8, slice(None), generator())
    for share in (slice(0, 8, 2), slice(1, 8, 2)):
        assert torch.equal(RandomColour().augment(images[share], 8, share, generator()), whole[share])


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_factors_out_of_range(name: str) -> None:
    with pytest.raises(ValueError, match=rf"colour_augmentation\.{name} must be .* got 1\.5"):
        RandomColour(**{name: 1.5})
