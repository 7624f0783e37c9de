"""Crops, flips and cutouts against torchvision v2, one image at a time."""

import math

import pytest
import torch
from torchvision.transforms.v2 import functional as v2

from datamodules.crop_flip_cutout import Cutout, RandomCrop, RandomFlip, RandomTurn, crop, cut_out, flip


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


# No black pixel, so that those that come in can be told.
IMAGES = torch.randint(1, 256, (64, 3, 10, 14), dtype=torch.uint8, generator=generator())
EACH = torch.arange(len(IMAGES))
WHOLE = slice(None)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_each_image_is_cropped_flipped_and_cut_as_torchvision_does(dtype: torch.dtype) -> None:
    images = IMAGES.to(dtype)
    offsets = torch.randint(9, (64, 2), generator=generator())
    flipped = torch.rand(64, generator=generator()) < 0.5
    centres = torch.stack([EACH % 10, EACH % 14], dim=1)
    cropped, mirrored, cut = crop(images, offsets, 4), flip(images, flipped), cut_out(images, centres, 6)
    for n, image in enumerate(images):
        (top, left), (row, column) = offsets[n].tolist(), centres[n].tolist()
        assert torch.equal(cropped[n], v2.crop(v2.pad(image, [4]), top, left, 10, 14))
        assert torch.equal(mirrored[n], v2.horizontal_flip(image) if flipped[n] else image)
        # Erasing counts from the end where it starts below zero, so that the image gets a margin first.
        erased = v2.erase(v2.pad(image, [3]), row, column, 6, 6, torch.zeros(1, dtype=dtype))
        assert torch.equal(cut[n], v2.crop(erased, 3, 3, 10, 14))
    assert cropped.dtype == mirrored.dtype == cut.dtype == dtype


def test_crops_reach_all_offsets_and_no_other() -> None:
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 4, 4] = 1
    cropped = RandomCrop(2).augment(image.expand(5_000, -1, -1, -1), 5_000, WHOLE, generator())
    at = cropped.flatten(1).argmax(1)
    assert cropped.sum() == 5_000
    assert sorted(at.unique().tolist()) == [9 * i + j for i in range(2, 7) for j in range(2, 7)]
    assert torch.bincount(at)[at.unique()].min() > 120  # 200 each


def test_flips_happen_as_often_as_asked() -> None:
    images = torch.arange(2.0).expand(10_000, 1, 1, 2)
    for probability in (0, 0.3, 1):
        flipped = RandomFlip(probability).augment(images, 10_000, WHOLE, generator())[:, 0, 0, 0]
        assert flipped.mean() == pytest.approx(probability, abs=0.02)


def test_all_symmetries_of_the_square_are_as_likely() -> None:
    square = torch.arange(9.0).reshape(1, 1, 3, 3)
    images = square.expand(8_000, 1, 3, 3)
    for augmentation in (RandomFlip(), RandomTurn()):
        images = augmentation.augment(images, 8_000, WHOLE, generator())
    counts = []
    for mirrored in (square, square.flip(3)):
        for turns in range(4):
            counts.append(int((images == mirrored.rot90(turns, (2, 3))).flatten(1).all(1).sum()))
    assert sum(counts) == 8_000
    assert min(counts) > 850


def test_cutouts_have_their_centre_anywhere_in_the_image() -> None:
    cut = Cutout(4).augment(torch.ones(20_000, 1, 9, 9), 20_000, WHOLE, generator())[:, 0] == 0
    assert cut.sum(dim=(1, 2)).unique().tolist() == [4, 6, 8, 9, 12, 16]
    # A row is cut when the centre is from one row above it to two below: by four of nine rows, fewer at the edges.
    rows = torch.tensor([3, 4, 4, 4, 4, 4, 4, 3, 2]) / 9
    torch.testing.assert_close(cut.float().mean(0), rows[:, None] * rows, atol=0.015, rtol=0)


@pytest.mark.parametrize("augmentation", [RandomCrop(3), RandomFlip(), RandomTurn(), Cutout(4)])
def test_what_is_drawn_does_not_depend_on_the_share(augmentation) -> None:
    images = IMAGES[..., :10] if isinstance(augmentation, RandomTurn) else IMAGES  # which are square
    whole = augmentation.augment(images, 64, WHOLE, generator())
    assert not torch.equal(whole, images)
    for rank in range(3):
        share = slice(rank, 64, 3)
        assert torch.equal(augmentation.augment(images[share], 64, share, generator()), whole[share])


@pytest.mark.parametrize("augmentation", [RandomCrop(0), RandomFlip(0), Cutout(0)])
def test_what_is_switched_off_changes_nothing(augmentation) -> None:
    assert torch.equal(augmentation.augment(IMAGES, 64, WHOLE, generator()), IMAGES)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomCrop(-1), r"crop_augmentation\.padding must be an integer from 0 to 1024, got -1"),
        (lambda: RandomFlip(1.5), r"flip_augmentation\.probability must be .* 0 and of at most 1, got 1\.5"),
        (lambda: Cutout(5), r"cutout_augmentation\.size must be even, got 5"),
        (lambda: RandomFlip(math.nan), r"probability must be a finite number .* got nan"),
        (lambda: Cutout(True), r"size must be an integer of at least 0, got True"),
    ],
)
def test_values_out_of_range_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
