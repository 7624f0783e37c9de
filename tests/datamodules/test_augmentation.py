"""Augmentations against their definitions, one image at a time."""

import math

import pytest
import torch
import torch.nn.functional as F

from datamodules.augmentation import (
    CircularShift,
    RandomAffine,
    affine_coordinates,
    affine_matrices,
    circular_shift,
    warp,
)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("channels", [1, 3])
def test_circular_shift_rolls_each_image_by_its_own_offset(channels: int) -> None:
    images = torch.rand(16, channels, 7, 10, generator=generator())
    offsets = torch.randint(-9, 10, (16, 2), generator=generator())
    shifted = circular_shift(images, offsets)
    for image, offset, result in zip(images, offsets.tolist(), shifted, strict=True):
        assert torch.equal(result, image.roll(offset, dims=(1, 2)))


def test_drawn_shifts_stay_in_range_reach_it_and_happen_as_often_as_asked() -> None:
    offsets = CircularShift(fraction=0.25, probability=0.7).draw(20_000, 28, 40, generator())
    assert offsets[:, 0].unique().tolist() == list(range(-7, 8))
    assert offsets[:, 1].unique().tolist() == list(range(-10, 11))
    # A shift by (0, 0) among those drawn is one in 15 * 21.
    moved = (offsets != 0).any(dim=1).float().mean()
    assert moved == pytest.approx(0.7 * (1 - 1 / (15 * 21)), abs=0.01)


def test_shifts_never_or_always() -> None:
    assert not CircularShift(probability=0).draw(100, 28, 28, generator()).any()
    assert not CircularShift(fraction=0).draw(100, 28, 28, generator()).any()


def test_affine_coordinates_are_those_of_torch() -> None:
    matrices = torch.randn(5, 2, 3, generator=generator(), dtype=torch.float32)
    expected = F.affine_grid(matrices, [5, 1, 7, 9], align_corners=False)
    torch.testing.assert_close(affine_coordinates(matrices, 7, 9).permute(0, 2, 3, 1), expected)


def matrix(rotation=0.0, log_scale=0.0, shear=0.0, translation=(0.0, 0.0)) -> torch.Tensor:
    values = [torch.tensor([value]) for value in (rotation, log_scale, shear)]
    return affine_matrices(*values, torch.tensor([translation]))


def test_warp_by_the_identity_changes_nothing() -> None:
    images = torch.rand(1, 2, 8, 9, generator=generator())
    torch.testing.assert_close(warp(images, matrix()), images)
    torch.testing.assert_close(warp(images, matrix(), torch.zeros(1, 2, 4, 4)), images)


def test_warp_rotates_counter_clockwise() -> None:
    images = torch.rand(1, 1, 9, 9, generator=generator())
    torch.testing.assert_close(warp(images, matrix(rotation=math.pi / 2)), images.rot90(1, dims=(2, 3)))


def test_warp_moves_to_the_right_and_down() -> None:
    images = torch.zeros(1, 1, 10, 10)
    images[0, 0, 4, 4] = 1
    moved = warp(images, matrix(translation=(0.3, 0.1)))
    assert torch.nonzero(moved[0, 0] > 0.5).tolist() == [[5, 7]]


def test_warp_magnifies() -> None:
    images = torch.zeros(1, 1, 16, 16)
    images[:, :, 6:10, 6:10] = 1
    area = warp(images, matrix(log_scale=math.log(2))).sum()
    assert area == pytest.approx(4 * 16, rel=0.05)


def test_a_constant_displacement_is_a_translation() -> None:
    images = torch.rand(1, 1, 10, 10, generator=generator())
    field = torch.zeros(1, 2, 3, 3)
    field[:, 0] = -2 * 0.2
    torch.testing.assert_close(warp(images, matrix(), field), warp(images, matrix(translation=(0.2, 0.0))))


def test_what_is_switched_off_does_not_move() -> None:
    matrices, displacement = RandomAffine().draw(4, generator())
    assert displacement is None
    torch.testing.assert_close(matrices, matrix().expand(4, -1, -1))


def test_elastic_displacements_have_the_strength_asked_for() -> None:
    _, displacement = RandomAffine(elastic=0.05, elastic_points=6).draw(500, generator())
    assert displacement is not None
    assert displacement.shape == (500, 2, 6, 6)
    # Coordinates run over two units from edge to edge.
    assert displacement.std() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: CircularShift(fraction=0.6),
            r"shift_augmentation\.fraction must be a finite number of at least 0 and of at most 0\.5, got 0\.6",
        ),
        (
            lambda: CircularShift(probability=-1),
            r"shift_augmentation\.probability must .* 0 and of at most 1",
        ),
        (lambda: RandomAffine(rotation=200), r"rotation must be .* 0 and of at most 180"),
        (lambda: RandomAffine(scale=0.5), r"scale must be .* 1 and of at most 10, got 0\.5"),
        (lambda: RandomAffine(shear=80), r"shear must be .* 0 and of at most 60"),
        (lambda: RandomAffine(translation=2), r"translation must be .* 0 and of at most 1"),
        (lambda: RandomAffine(elastic=-0.1), r"elastic must be .* 0 and of at most 1"),
        (lambda: RandomAffine(rotation=math.nan), r"rotation must be a finite number .* got nan"),
        (lambda: RandomAffine(elastic_points=1), r"elastic_points must be an integer from 2 to 64, got 1"),
        (lambda: RandomAffine(elastic_points=10**6), r"elastic_points must be an integer from 2 to 64"),
    ],
)
def test_values_out_of_range_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
