"""Rotations by any angle and group actions: what they do to images, where they interpolate, and what that costs."""

import csv
import json

import pytest
import torch
from jsonargparse import ArgumentParser
from networks_for_monitoring import Classifier, batches, control, measure, trainer
from torch import nn

from callbacks import EquivarianceMonitor
from sefl.equivariance import (
    CircularShift,
    Flip,
    GroupAction,
    IdealDownsampling,
    Rotation,
    Rotation90,
)
from sefl.equivariance.orthogonal_actions import is_lattice_symmetry
from sefl.equivariance.transformations import NotMeasurable, Transformation
from sefl.groups import finite_group
from sefl.groups.spatial import act_on_grid

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*isinstance.treespec")


def images(*size: int) -> torch.Tensor:
    return torch.randn(2, 3, *size, dtype=torch.float64)


def blob(resolution: int) -> torch.Tensor:
    """Smooth, small beside the image, and symmetric under no rotation; on a background of -1."""
    at = torch.linspace(-1, 1, resolution, dtype=torch.float64)
    y, x = -at[:, None], at
    shape = torch.exp(-20 * ((x - 0.25) ** 2 + 3 * y**2)) + torch.exp(-20 * ((y - 0.2) ** 2 + x**2))
    return shape[None, None] - 1


@pytest.mark.parametrize("size", [(8, 8), (9, 9)], ids=str)
def test_quarter_turns_are_those_of_rotation90(size):
    x, rotation, quarters = images(*size), Rotation([90, 180, 270, -90, 450]), Rotation90()
    for angle in (90, 180, 270):
        assert torch.equal(rotation.image(x, angle), quarters.image(x, angle))
        assert torch.equal(rotation.grid(x, angle, size, size), quarters.grid(x, angle, size, size))
        assert rotation.there_and_back(x, angle) is None
        assert rotation.compared(x, angle) is x
    assert torch.equal(rotation.image(x, -90), quarters.image(x, 270))
    assert torch.equal(rotation.image(x, 450), quarters.image(x, 90))


@pytest.mark.parametrize(
    "transformation",
    [
        Flip("horizontal"),
        Flip("vertical"),
        Rotation90(),
        Rotation([90, 30, 200]),
        GroupAction("D4"),
        GroupAction("C8"),
    ],
    ids=lambda t: t.name,
)
def test_matrix_is_what_moves_the_grid(transformation):
    x = images(8, 8)
    constant = torch.full_like(x, 2.5)
    for parameter in transformation.parameters((8, 8)):
        matrix = transformation.orthogonal(parameter)
        moved = transformation.grid(x, parameter, (8, 8), (8, 8))
        if is_lattice_symmetry(matrix):
            assert torch.equal(moved, act_on_grid(x, matrix))
        else:
            difference = moved - act_on_grid(x, matrix)  # what came in at the corners
            assert difference[..., 2:6, 2:6].abs().max() < 1e-14
        moved = transformation.grid(constant, parameter, (8, 8), (8, 8))
        torch.testing.assert_close(moved, constant, rtol=0, atol=1e-14)


def test_which_transformations_have_no_matrix():
    assert CircularShift().orthogonal(1) is None
    assert IdealDownsampling().orthogonal(8) is None


def test_rotates_counter_clockwise_on_the_given_background():
    x = blob(33)
    turned = Rotation([45]).image(x, 45)
    peak = divmod(int(turned.argmax()), 33)
    upright = divmod(int(x.argmax()), 33)
    assert upright[1] > 16  # right of the middle
    assert peak[0] < upright[0]  # and then higher up
    corner = turned[..., 0, 0]
    torch.testing.assert_close(corner, torch.full_like(corner, -1.0), rtol=0, atol=1e-6)
    black = Rotation([45], background=0.0).image(x, 45)
    assert black[..., 0, 0].abs().max() < 1e-6
    assert black[..., 16, 16] == turned[..., 16, 16]


@pytest.mark.parametrize("angle", [22.5, 45, 130])
def test_smooth_images_come_back(angle):
    x, rotation = blob(65), Rotation([angle])
    back = rotation.there_and_back(x, angle)
    assert 0 < ((back - x).square().sum() / x.square().sum()).item() < 1e-5
    for other in (90, -135):
        once = Rotation([angle + other]).image(x, angle + other)
        twice = rotation.image(Rotation([other]).image(x, other), angle)
        assert ((once - twice).square().sum() / x.square().sum()).item() < 1e-5


@pytest.mark.parametrize("size", [(8, 8), (9, 9), (6, 9)], ids=str)
def test_disc_stays_inside_the_image(size):
    ones, rotation = torch.ones(1, 1, *size, dtype=torch.float64), Rotation([30, 90])
    disc = rotation.compared(ones, 30)
    assert disc[..., 0, 0] == 0
    assert disc[..., size[0] // 2, size[1] // 2] == 1
    assert torch.equal(disc, disc.flip(-1))
    assert torch.equal(disc, disc.flip(-2))
    if size[0] == size[1]:
        assert torch.equal(disc, disc.transpose(-1, -2))
        assert disc[..., 0, size[1] // 2] == 1
    assert torch.equal(Rotation([30], region="image").compared(ones, 30), ones)
    assert torch.equal(rotation.compared(ones, 90), ones)


def test_images_that_are_not_square():
    assert Rotation([45, 90, 180]).parameters((8, 6)) == [45, 180]
    assert GroupAction("D4").parameters((8, 6)) == ["r^2", "s", "r^2s"]
    assert GroupAction("O").parameters((5, 5, 5)) == sorted(
        GroupAction("O").matrices, key=lambda g: int(g[1:])
    )
    group = finite_group("O")
    about_z = GroupAction("O").parameters((4, 5, 5))
    assert len(about_z) == 7  # D4
    assert all(abs(group.matrices[group.element(label)][2, 2]) == 1 for label in about_z)
    with pytest.raises(NotMeasurable, match="8 x 6, which is not symmetric"):
        Rotation([90]).grid(images(8, 6), 90, (8, 8), (8, 6))


def test_coefficients_are_not_moved():
    with pytest.raises(NotMeasurable, match="take Flip and Rotation90"):
        Rotation([45]).coefficients(images(5, 5), 45, (5, 5), (5, 5))


class TestMeasured:
    def test_identity_is_exact_and_has_the_floor(self, tmp_path):
        """At the first layer of an identity, T f(x) = f(T x); there and back it is not the identity."""
        loader = batches([3, 2], [9, 12])
        rotation = Rotation([22.5, 45, 90])
        monitor = measure(
            Classifier(nn.Sequential(nn.Identity())), tmp_path, loader, transformations=[rotation]
        )
        assert [(row.transformation, row.parameter) for row in monitor.results] == [
            *(("rotate", angle) for angle in (22.5, 45, 90)),
            *(("rotate_floor", angle) for angle in (22.5, 45)),
        ]
        assert max(row.max for row in monitor.results if row.transformation == "rotate") < 1e-27
        for row in monitor.results[3:]:
            errors = []
            for x, _ in loader:
                disc = rotation.compared(torch.ones_like(x), row.parameter)
                back = rotation.there_and_back(x, row.parameter)
                difference, energy = ((back - x) * disc).square(), (x * disc).square()
                errors += (difference.sum((1, 2, 3)) / energy.sum((1, 2, 3))).tolist()
            assert row.mean == pytest.approx(sum(errors) / 5, rel=1e-12)
            assert row.max == pytest.approx(max(errors), rel=1e-12)
            assert 0.05 < row.mean < 1

    def test_smooth_features_are_near_the_floor_and_a_plain_network_is_not(self, tmp_path):
        class Blob(torch.utils.data.Dataset):
            def __len__(self):
                return 1

            def __getitem__(self, index):
                return blob(49).expand(2, 2, -1, -1).clone(), torch.zeros(2, dtype=torch.long)

        loader = torch.utils.data.DataLoader(Blob(), batch_size=None)
        rotation = Rotation([30, 60])
        symmetric = Classifier(nn.Sequential(nn.Softplus(), nn.Conv2d(2, 2, 1)))
        good = measure(symmetric, tmp_path, loader, transformations=[rotation]).results
        assert max(row.max for row in good) < 1e-3
        bad = measure(control(), tmp_path, loader, layers=["network.0"], transformations=[rotation]).results
        assert min(row.mean for row in bad if row.transformation == "rotate") > 1e-2

    def test_invariant_features_have_no_floor(self, tmp_path):
        model = Classifier(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
        rows = measure(model, tmp_path, layers=["network.1"], transformations=[GroupAction("C8")]).results
        assert {row.transformation for row in rows} == {"act_C8"}
        assert {row.parameter: row.max < 1e-27 for row in rows} == {
            "r": False, "r^2": True, "r^3": False, "r^4": True, "r^5": False, "r^6": True, "r^7": False
        }  # fmt: skip

    def test_table_figures_and_names(self, tmp_path):
        monitor = EquivarianceMonitor(transformations=[Rotation([22.5, 45, 90]), GroupAction("D2"), Flip()])
        trainer(tmp_path, monitor).validate(control().double(), batches(), verbose=False)
        folder = tmp_path / "equivariance"
        assert {file.name for file in folder.iterdir()} == {
            "validate.csv", "validate-heatmap.png", "validate-curves.png", "validate-depth.png",
            "validate-agreement.csv", "validate-agreement.png",
        }  # fmt: skip
        with (folder / "validate.csv").open() as stream:
            rows = [row for row in csv.DictReader(stream) if row["layer"] == "network.0"]
        assert [(row["transformation"], row["parameter"]) for row in rows] == [
            *(("rotate", angle) for angle in ("22.5", "45", "90")),
            *(("rotate_floor", angle) for angle in ("22.5", "45")),
            *(("act_D2", label) for label in ("r", "rs", "s")),
            ("flip_horizontal", "horizontal"),
        ]

    def test_floors_are_logged_apart(self, tmp_path):
        monitor = EquivarianceMonitor(transformations=[Rotation([45])], figures=False)
        run = trainer(tmp_path, monitor)
        run.validate(control().double(), batches(), verbose=False)
        logged = run.callback_metrics
        for name in ("rotate", "rotate_floor"):
            worst = max(row.max for row in monitor.results if row.transformation == name)
            assert logged[f"equivariance/{name}/max"].item() == pytest.approx(worst, rel=1e-6)

    def test_a_new_transformation_needs_two_methods(self, tmp_path):
        class Negative(Transformation):
            name = "negative"

            def parameters(self, image_size):
                return ["all"]

            def grid(self, features, parameter, image_size, output_size):
                return -features

        linear = Classifier(nn.Sequential(nn.Conv2d(2, 2, 3, bias=False)))
        assert max(r.max for r in measure(linear, tmp_path, transformations=[Negative()]).results) < 1e-27


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rotation([]), "angles must be degrees, at least one"),
        (lambda: Rotation([45, 720]), r"none a multiple of 360, got \[45, 720\]"),
        (lambda: Rotation([float("nan")]), "angles must be degrees"),
        (lambda: Rotation([45], background="white"), "background must be one of .*'white'"),
        (lambda: Rotation([45], region="square"), "region must be one of .*'square'"),
        (lambda: GroupAction("X3"), "group 'X3' is unknown"),
        (lambda: GroupAction("S3"), "group must move points: S3"),
        (lambda: GroupAction("D4", ["r^9"]), "element 'r\\^9' is not in D4"),
        (lambda: GroupAction("D4", ["e"]), "at least one of D4 besides the identity"),
        (lambda: EquivarianceMonitor(transformations=[Rotation([45]), Rotation90()]), "of different names"),
    ],
)
def test_refuses_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_configured_as_in_yaml(tmp_path):
    entries = [
        {
            "class_path": "sefl.equivariance.Rotation",
            "init_args": {"angles": [45, 22.5], "background": -0.42},
        },
        {"class_path": "sefl.equivariance.GroupAction", "init_args": {"group": "D4", "background": "border"}},
    ]
    config = {
        "monitor": {"class_path": "callbacks.EquivarianceMonitor", "init_args": {"transformations": entries}}
    }
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(config))
    parser = ArgumentParser()
    parser.add_argument("--config", action="config")
    parser.add_argument("--monitor", type=EquivarianceMonitor)
    rotation, action = parser.instantiate(parser.parse_args([f"--config={file}"])).monitor.transformations
    assert rotation.parameters((8, 8)) == [22.5, 45]
    assert (rotation.background, action.background) == (-0.42, "border")
