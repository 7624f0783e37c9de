"""The copies of an image against exact turns of the grid and against a picture that can be turned on paper."""

import math
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from sefl.groups.orbit import Orbit, OrbitElement, black, rotate, transform
from sefl.groups.spatial import Region, act_on_grid
from sefl.metrics import relative_squared_error


def blob(size: int, angle: float, mirrored: bool = False) -> Tensor:
    """A smooth spot right of the centre, reflected and turned counter-clockwise: ``(1, 1, size, size)``."""
    centre = (size - 1) / 2
    radius, direction = size / 5, math.radians(angle)
    x0 = centre + (-radius if mirrored else radius) * math.cos(direction)
    y0 = centre - (-radius if mirrored else radius) * math.sin(direction)
    place = torch.arange(size, dtype=torch.float64)
    spread = 2 * (size / 12) ** 2
    return torch.exp(-((place - x0) ** 2 + (place[:, None] - y0) ** 2) / spread)[None, None]


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("mirrored", [False, True])
def test_quarter_turns_and_reflections_move_pixels(size: int, mirrored: bool) -> None:
    images = torch.randn(3, 2, size, size)
    start = images.flip(-1) if mirrored else images
    for quarters in range(4):
        turned = transform(images, OrbitElement(90.0 * quarters, mirrored), background=3.0)
        assert turned.equal(start.rot90(quarters, dims=(-2, -1)))
    assert not transform(images, OrbitElement(90.0, mirrored)).equal(start.rot90(-1, dims=(-2, -1)))


@pytest.mark.parametrize("size", [16, 17])
def test_the_orbit_of_a_quarter_turned_image_is_the_same_orbit(size: int) -> None:
    orbit = Orbit(24, background=0.5)
    images = torch.rand(2, 1, size, size, dtype=torch.float64)
    copies = orbit(images)
    assert copies.rot90(1, dims=(-2, -1)).equal(copies.roll(-6, dims=0))
    of_turned = orbit(images.rot90(1, dims=(-2, -1)))
    torch.testing.assert_close(of_turned, copies.roll(-6, dims=0), rtol=0, atol=1e-13)
    # A copy that is interpolated twice is another.
    assert not orbit(copies[1]).allclose(copies.roll(-1, dims=0), atol=1e-3)


@pytest.mark.parametrize("size", [16, 17])
def test_the_orbit_of_a_reflected_image_is_the_same_orbit(size: int) -> None:
    orbit = Orbit(8, reflections=True)
    images = torch.rand(2, 1, size, size, dtype=torch.float64)
    plain, mirrored = orbit(images).chunk(2)
    of_reflected = orbit(images.flip(-1)).chunk(2)
    torch.testing.assert_close(of_reflected[0], mirrored, rtol=0, atol=1e-14)
    torch.testing.assert_close(of_reflected[1], plain, rtol=0, atol=1e-14)
    # Reflecting after the rotation turns the other way.
    torch.testing.assert_close(mirrored[1], plain[-1].flip(-1), rtol=0, atol=1e-14)
    assert not mirrored[1].allclose(plain[1].flip(-1), atol=1e-2)


@pytest.mark.parametrize("size", [24, 25])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [15.0, 45.0, 100.0, 222.5, 359.0])
def test_copies_are_turned_counter_clockwise_about_the_centre(
    size: int, mirrored: bool, angle: float
) -> None:
    turned = transform(blob(size, 0), OrbitElement(angle, mirrored))
    assert relative_squared_error(blob(size, angle, mirrored), turned).item() < 5e-4
    assert relative_squared_error(blob(size, angle + 3, mirrored), turned).item() > 1e-3
    assert relative_squared_error(blob(size, -angle - 1, mirrored), turned).item() > 1e-3


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [0.0, 15.0, 90.0, 100.0, 359.0])
def test_copies_are_moved_as_a_group_moves_features(size: int, mirrored: bool, angle: float) -> None:
    images = torch.rand(2, 3, size, size, dtype=torch.float64)
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    matrix = np.array([[cosine, -sine], [sine, cosine]])
    if mirrored:
        matrix = matrix @ np.diag([-1, 1])
    copy = transform(images, OrbitElement(angle, mirrored), background=0.25)
    torch.testing.assert_close(copy, act_on_grid(images, matrix, 0.25), rtol=0, atol=1e-13)
    assert not copy.allclose(act_on_grid(images, matrix @ np.diag([-1, 1]), 0.25), atol=1e-2)


def test_every_image_has_its_own_angle() -> None:
    angles = torch.tensor([10.0, -77.0, 200.0])
    images = torch.rand(3, 2, 9, 9)
    turned = rotate(images, angles)
    for n in range(3):
        torch.testing.assert_close(turned[n : n + 1], rotate(images[n : n + 1], angles[n : n + 1]))


def test_what_comes_in_from_outside_is_the_background() -> None:
    mean, std = [0.5, 0.1], [0.25, 0.3]
    images = (
        (torch.zeros(1, 2, 12, 12) - torch.tensor(mean).view(2, 1, 1)) / torch.tensor(std).view(2, 1, 1)
    ).double()
    for copy in Orbit([0, 30, 45, 200], background=black(mean, std)).copies(images):
        torch.testing.assert_close(copy, images, rtol=0, atol=1e-6)
    assert not rotate(images, torch.tensor([45.0])).allclose(images, atol=0.1)


def test_there_and_back_loses_little() -> None:
    image, angle = blob(33, 20), torch.tensor([33.0])
    assert relative_squared_error(image, rotate(rotate(image, angle), -angle)).item() < 5e-4
    assert relative_squared_error(image, rotate(rotate(image, angle), angle)).item() > 0.1


def test_corners_do_not_count_where_the_disc_does() -> None:
    """A pattern of rings with noise in its corners."""
    size, generator = 33, torch.Generator().manual_seed(0)
    places = torch.arange(size) - (size - 1) / 2
    radius = (places[:, None].square() + places.square()).sqrt()
    inside = radius <= size / 2
    rings, noise = (radius / 2).cos(), torch.rand(2, 2, size, size, generator=generator)
    images = torch.where(radius <= size / 2 + 3, rings, noise)
    background = torch.tensor([0.5, 2.0])
    disc, whole = (
        Orbit([0, 30, 90, 200], background=background.tolist(), region=region)(images)
        for region in get_args(Region)
    )
    assert disc[0].equal(torch.where(inside, rings, background.view(2, 1, 1)).expand(2, -1, -1, -1))
    assert disc[2].equal(disc[0])
    relative = [
        relative_squared_error(copies[:1].expand(3, -1, -1, -1, -1), copies[1:]).max().item()
        for copies in (disc, whole)
    ]
    assert relative[0] < 6e-3  # what interpolates with the background at the four points that touch the edge
    assert relative[1] > 0.06
    assert whole[0].equal(images)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rounds_the_image_not_the_coordinates(dtype: torch.dtype) -> None:
    images = torch.rand(1, 1, 97, 97).to(dtype)
    copies = Orbit(5)(images)
    assert copies.dtype == dtype
    assert copies.equal(Orbit(5)(images.float()).to(dtype))


def test_elements_are_the_rotations_then_the_reflections() -> None:
    orbit = Orbit([0, -15, 375.0], reflections=True)
    assert orbit.angles == [0, 345, 15, 0, 345, 15]
    assert orbit.mirrored == [False] * 3 + [True] * 3
    assert Orbit(24).angles == [15.0 * step for step in range(24)]
    images = torch.rand(2, 1, 8, 8)
    assert orbit(images).equal(torch.stack(list(orbit.copies(images))))


@pytest.mark.parametrize(
    ("angles", "message"),
    [
        (0, r"angles must be a number of at least 1 or a list of degrees, got 0"),
        ([], r"angles must be finite numbers of degrees, at least one, got \[\]"),
        ([math.nan], r"angles must be finite"),
        ([0, 360], r"angles must be different rotations"),
    ],
)
def test_bad_angles_are_refused(angles, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Orbit(angles)


def test_images_and_backgrounds_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"images must be square, .* got shape \(1, 1, 4, 5\)"):
        Orbit(4)(torch.rand(1, 1, 4, 5))
    with pytest.raises(ValueError, match=r"angles must be one for each of 3 images or one, got \(2,\)"):
        rotate(torch.rand(3, 1, 4, 4), torch.rand(2))
    with pytest.raises(ValueError, match=r"background must be one number or one per channel \(2\)"):
        rotate(torch.rand(1, 2, 4, 4), torch.rand(1), background=[0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="region must be one of 'disc', 'image', got 'circle'"):
        Orbit(4, region="circle")  # type: ignore[arg-type]
