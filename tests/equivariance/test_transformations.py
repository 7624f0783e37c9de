"""What the transformations do to images, grids and coefficients."""

import pytest
import torch
from torch import nn

from sefl.equivariance import CircularShift, Composition, Flip, GroupAction, IdealDownsampling, Rotation90
from sefl.equivariance.transformations import NotMeasurable
from sefl.fourier import downsample, to_coefficients, to_grid

SIZES = [(8, 8), (9, 9), (8, 11)]
PERIODIC = [
    Flip("horizontal", center="pixel"),
    Flip("vertical", center="pixel"),
    Rotation90([1, 2, 3], center="pixel"),
    CircularShift([1, 3]),
]


def images(size: tuple[int, int]) -> torch.Tensor:
    return torch.randn(2, 3, *size, dtype=torch.float64)


@pytest.mark.parametrize("transformation", PERIODIC, ids=lambda t: t.name)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_coefficients_transform_as_the_image_they_belong_to(transformation, size):
    x = downsample(images(size), size)  # without Nyquist terms, which coefficients do not hold
    for parameter in transformation.parameters(size):
        of_image = to_coefficients(transformation.image(x, parameter))
        moved = transformation.coefficients(to_coefficients(x), parameter, size, of_image.shape[:2])
        torch.testing.assert_close(moved, of_image, rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_downsampled_coefficients_are_those_of_the_downsampled_image(size):
    x, transformation = images(size), IdealDownsampling([5])
    of_image = to_coefficients(transformation.image(x, 5))
    sliced = transformation.coefficients(to_coefficients(x), 5, size, of_image.shape[:2])
    torch.testing.assert_close(sliced, of_image, rtol=0, atol=1e-13)


@pytest.mark.parametrize("center", ["image", "pixel"])
def test_group_laws(center):
    x, rotation = images((6, 6)), Rotation90(center=center)
    quarter = rotation.image(x, 90)
    torch.testing.assert_close(rotation.image(quarter, 90), rotation.image(x, 180), rtol=0, atol=0)
    torch.testing.assert_close(rotation.image(quarter, 270), x, rtol=0, atol=0)
    for axis in ("horizontal", "vertical"):
        flip = Flip(axis, center)
        assert not torch.equal(flip.image(x, axis), x)
        torch.testing.assert_close(flip.image(flip.image(x, axis), axis), x, rtol=0, atol=0)


def test_pixel_center_stays():
    x = images((6, 7))
    for transformation, parameter in [
        (Flip("horizontal", "pixel"), "horizontal"),
        (Rotation90([2], "pixel"), 180),
    ]:
        torch.testing.assert_close(transformation.image(x, parameter)[..., 0, 0], x[..., 0, 0])


def test_shift_is_the_same_fraction_at_every_size():
    image, features = images((12, 12)), images((8, 8))
    shift = CircularShift([3])
    assert torch.equal(shift.image(image, 3), image.roll((3, 3), (-2, -1)))
    assert torch.equal(shift.grid(features, 3, (12, 12), (8, 8)), features.roll((2, 2), (-2, -1)))
    between = shift.grid(
        features, 1, (12, 12), (8, 8)
    )  # two thirds of a sample: three of them are two samples
    for _ in range(2):
        between = shift.grid(between, 1, (12, 12), (8, 8))
    torch.testing.assert_close(between, downsample(features, 8).roll((2, 2), (-2, -1)), rtol=0, atol=1e-13)


class TestIdealDownsampling:
    def test_resolutions_from_the_model_or_given(self):
        model, transformation = nn.Module(), IdealDownsampling()
        transformation.setup(model)
        assert transformation.parameters((12, 12)) == [8, 9, 10, 11]
        assert transformation.parameters((8, 8)) == []
        model.base_resolution = None  # as a module says of a network that has none
        transformation.setup(model)
        assert transformation.parameters((12, 12)) == [8, 9, 10, 11]
        model.base_resolution = 10
        transformation.setup(model)
        assert transformation.parameters((12, 12)) == [10, 11]
        assert IdealDownsampling([20, 6, 6, 12]).parameters((12, 12)) == [6]

    def test_images_that_are_not_square_keep_their_proportion(self):
        assert IdealDownsampling([6]).image(images((12, 18)), 6).shape[-2:] == (6, 9)

    def test_coefficients_of_lower_band_show_the_coarse_image(self):
        x = images((11, 11))
        coefficients = to_coefficients(x)
        shown = to_grid(IdealDownsampling([7]).coefficients(coefficients, 7, (11, 11), (7, 7)), 7)
        torch.testing.assert_close(shown, downsample(x, 7), rtol=0, atol=1e-13)

    def test_features_that_grow_are_not_measurable(self):
        with pytest.raises(NotMeasurable, match="grows from 4 x 4 to 5 x 5"):
            IdealDownsampling([5]).grid(images((4, 4)), 5, (8, 8), (5, 5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IdealDownsampling([]), "resolutions must be positive"),
        (lambda: IdealDownsampling([0]), r"resolutions must be positive.*\[0\]"),
        (lambda: Flip("diagonal"), "axis must be one of .*'diagonal'"),
        (lambda: Flip(center="corner"), "center must be one of .*'corner'"),
        (lambda: Rotation90([4]), r"turns must be among 1, 2, 3.*\[4\]"),
        (lambda: CircularShift([0]), r"pixels must be positive.*\[0\]"),
    ],
)
def test_refuses_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("size", SIZES[:2], ids=str)
def test_one_transformation_after_the_other(size):
    x, turn, shrink = images(size), Rotation90([1, 3]), IdealDownsampling([5, 6], sampling_center="image")
    both = Composition(turn, shrink)
    assert both.name == "rotate_then_downsample"
    assert both.parameters(size) == ["90 then 5", "90 then 6", "270 then 5", "270 then 6"]
    for parameter in both.parameters(size):
        angle, resolution = map(int, parameter.split(" then "))
        moved = shrink.image(turn.image(x, angle), resolution)
        torch.testing.assert_close(both.image(x, parameter), moved, rtol=0, atol=0)
        torch.testing.assert_close(both.grid(x, parameter, size, moved.shape[2:]), moved, rtol=0, atol=0)
        assert (both.orthogonal(parameter) == turn.orthogonal(angle)).all()
    periodic = Composition(Rotation90([1], center="pixel"), IdealDownsampling([5]))
    assert periodic.parameters(size) == ["90 then 5"]
    moved = periodic.image(x, "90 then 5")
    of_coefficients = periodic.coefficients(to_coefficients(x), "90 then 5", size, (5, 5))
    torch.testing.assert_close(of_coefficients, to_coefficients(moved), rtol=0, atol=1e-13)
    twice = Composition(Flip("horizontal"), GroupAction("C4"))
    twice.parameters(size)
    torch.testing.assert_close(
        torch.from_numpy(twice.orthogonal("horizontal then r")), torch.tensor([[0.0, -1], [-1, 0]]).double()
    )


def test_downsampling_is_about_what_the_model_samples_about():
    x, model = images((9, 9)), nn.Identity()
    for center in ("image", "pixel"):
        model.sampling_center = center
        for given in (None, "image", "pixel"):
            transformation = IdealDownsampling([4], sampling_center=given)
            transformation.setup(model)
            torch.testing.assert_close(
                transformation.image(x, 4), downsample(x, 4, given or center), rtol=0, atol=0
            )
