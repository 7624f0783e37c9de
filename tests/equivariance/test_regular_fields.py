"""Regular fields of a group, measured exactly under the whole group, in the plane and in space; and what is wrong."""

import json

import pytest
import torch
from flat_settings import made
from networks_for_monitoring import Classifier, Sharded, batches, measure, trainer
from regular_networks import (
    CanonicalRestriction,
    Interleaved,
    Lifting,
    PlainField,
    Regular,
    regular_network,
    volumes,
)
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
from sefl.groups import (
    RegularField,
    SubgroupDownsample,
    bandlimit,
    finite_group,
    subgroup,
)
from sefl.groups.field import FieldFeatures
from sefl.networks import GroupSampledNetwork

ROUNDING = 1e-27  # squared relative rounding of float64, times the terms of a sum
FLOAT32_ROUNDING = 1e-12
LAYERS = {f"network.{index}" for index in range(4)}
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*isinstance.treespec")


def squares(sizes: list[int] | None = None):
    return batches(sizes or [3, 2], [9, 8])


class TestExact:
    @pytest.mark.parametrize("name", ["C4", "D4"])
    def test_in_the_plane(self, tmp_path, name):
        quarter_turns = Rotation90()
        flips = [Flip("horizontal"), Flip("vertical")] if name == "D4" else []
        monitor = measure(
            regular_network(name),
            tmp_path,
            squares(),
            transformations=[GroupAction(name), quarter_turns, *flips],
        )
        assert not monitor.unmeasured
        assert {row.layer for row in monitor.results} == LAYERS
        assert {row.parameter for row in monitor.results} >= {90, 180, 270, "r", "r^3"}
        assert max(row.max for row in monitor.results) < ROUNDING
        assert {row.count for row in monitor.results} == {5}

    def test_of_volumes(self, tmp_path):
        monitor = measure(regular_network("O"), tmp_path, volumes([2, 1]), transformations=[GroupAction("O")])
        assert not monitor.unmeasured
        assert {row.layer for row in monitor.results} == LAYERS
        assert len({row.parameter for row in monitor.results}) == 23
        assert max(row.max for row in monitor.results) < ROUNDING

    def test_in_32_bits(self, tmp_path):
        monitor = EquivarianceMonitor(transformations=[GroupAction("D4")], figures=False)
        loader = batches([3], [9], torch.float32)
        trainer(tmp_path, monitor).validate(regular_network("D4").float(), loader, verbose=False)
        assert 1e-17 < max(row.max for row in monitor.results) < FLOAT32_ROUNDING

    def test_what_moves_no_fibre(self, tmp_path):
        """A 1 x 1 convolution commutes with shifts, which leave every channel where it is."""
        pointwise = Regular(nn.Conv2d(2, 8, 1), PlainField(finite_group("C4")))
        monitor = measure(
            Classifier(nn.Sequential(pointwise)), tmp_path, transformations=[CircularShift([1, 3])]
        )
        assert max(row.max for row in monitor.results) < ROUNDING

    def test_about_the_first_pixel(self, tmp_path):
        class Periodic(Lifting):
            def forward(self, images):
                return super().forward(nn.functional.pad(images, (1, 1, 1, 1), mode="circular"))[
                    ..., 1:-1, 1:-1
                ]

        model = Classifier(nn.Sequential(Periodic(finite_group("D4"), 2, 3)))
        about = [
            Rotation90(center="pixel"),
            Flip("horizontal", center="pixel"),
            Flip("vertical", center="pixel"),
        ]
        assert (
            max(row.max for row in measure(model, tmp_path, squares(), transformations=about).results)
            < ROUNDING
        )


class TestControls:
    """What is declared wrongly has a large error under every element."""

    @pytest.mark.parametrize("name", ["C4", "D4"])
    @pytest.mark.parametrize(
        "wrong",
        [
            lambda group: nn.Conv2d(2, 3 * len(group), 3, padding=1),
            lambda group: nn.Sequential(Lifting(group, 2, 3), Interleaved(len(group))),
        ],
        ids=["plain convolution", "order of channels"],
    )
    def test_declared_regular(self, tmp_path, name, wrong):
        group = finite_group(name)
        model = Classifier(nn.Sequential(Regular(wrong(group), PlainField(group))))
        every = [GroupAction(name), Rotation90()]
        rows = measure(model, tmp_path, squares(), layers=["network.0"], transformations=every).results
        assert len(rows) == len(group) - 1 + 3
        assert min(row.mean for row in rows) > 0.05

    def test_right_field_of_the_wrong_handedness(self, tmp_path):
        """Channels in the order of the inverse elements."""

        class Mirrored(PlainField):
            def element(self, matrix):
                return super().element(matrix.T)

        lifting = Lifting(finite_group("C4"), 2, 3)
        lifting.output_type = Mirrored(lifting.group)
        rows = measure(Classifier(nn.Sequential(lifting)), tmp_path, transformations=[Rotation90()]).results
        assert {row.parameter: row.mean > 0.05 for row in rows} == {90: True, 180: False, 270: True}

    def test_in_space(self, tmp_path):
        model = Classifier(
            nn.Sequential(Regular(nn.Conv3d(2, 24, 3, padding=1), PlainField(finite_group("O"))))
        )
        rows = measure(model, tmp_path, volumes([2]), transformations=[GroupAction("O")]).results
        assert min(row.mean for row in rows) > 0.05

    def test_not_declared(self, tmp_path):
        model = Classifier(nn.Sequential(nn.Sequential(Lifting(finite_group("C4"), 2, 3))))
        rows = measure(model, tmp_path, layers=["network.0"], transformations=[Rotation90()]).results
        assert min(row.mean for row in rows) > 0.05


class TestCanonicalised:
    @pytest.mark.parametrize(("name", "kept"), [("C4", "C2"), ("D4", "C4"), ("D4", "D2"), ("C4", "C1")])
    def test_exact_with_its_cosets_and_not_without(self, tmp_path, name, kept):
        group = finite_group(name)
        restriction = CanonicalRestriction(subgroup(group, kept))
        model = Classifier(nn.Sequential(Lifting(group, 2, 3), restriction))
        every = [GroupAction(name), Rotation90()]
        for field in (restriction.output_type, RegularField(group, [bandlimit(group, kept)])):
            restriction.output_type = field
            monitor = measure(model, tmp_path, squares(), transformations=every)
            assert not monitor.unmeasured
            assert max(row.max for row in monitor.results) < ROUNDING

        class Forgetful(CanonicalRestriction):
            """Says that it moved no sample."""

            def forward(self, features):
                values, cosets = super().forward(features)
                return FieldFeatures(values, torch.full_like(cosets, group.identity))

        inside = subgroup(group, kept)
        forgetful = Forgetful(inside)
        forgetful.output_type = RegularField(group, [bandlimit(group, kept)])
        model = Classifier(nn.Sequential(Lifting(group, 2, 3), forgetful))
        rows = measure(model, tmp_path, squares(), layers=["network.1"], transformations=every[:1]).results
        outside = {label for label in group.labels if label not in inside.group.labels}
        assert {row.parameter for row in rows if row.mean > 0.01} >= outside

    def test_on_even_grids_and_without_space(self, tmp_path):
        group = finite_group("C4")
        pooled = nn.Sequential(
            Lifting(group, 2, 3),
            Regular(nn.AdaptiveMaxPool2d(1), PlainField(group)),
            nn.Flatten(),
            CanonicalRestriction(subgroup(group, "C2")),
        )
        monitor = measure(
            Classifier(pooled), tmp_path, squares(), layers=["network.3"], transformations=[Rotation90()]
        )
        assert len(monitor.results) == 3
        assert max(row.max for row in monitor.results) < ROUNDING

    def test_moves_that_are_not_about_the_middle(self, tmp_path):
        group = finite_group("C4")
        restriction = CanonicalRestriction(subgroup(group, "C2"))
        model = Classifier(nn.Sequential(Lifting(group, 2, 3), restriction))
        about = [CircularShift([1]), Rotation90(center="pixel")]
        with pytest.warns(UserWarning, match=r"network\.1: it is canonicalised"):
            monitor = measure(model, tmp_path, transformations=about)
        assert {layer for layer, _ in monitor.unmeasured} == {"network.1"}


class TestSampled:
    @pytest.mark.parametrize(("name", "kept"), [("C4", "C2"), ("D4", "C4"), ("D4", "D2")])
    @pytest.mark.parametrize("anti_aliasing", [True, False])
    def test_anti_aliased_fields_are_exact_under_the_whole_group(self, tmp_path, name, kept, anti_aliasing):
        group = finite_group(name)
        design = bandlimit(group, kept)
        sampled = Regular(SubgroupDownsample(design, anti_aliasing), RegularField(group, [design]))
        model = Classifier(nn.Sequential(Lifting(group, 2, 3), sampled))
        monitor = measure(
            model,
            tmp_path,
            squares(),
            layers=["network.1"],
            transformations=[GroupAction(name), Rotation90()],
        )
        assert len(monitor.results) == len(group) + 2
        inside = {row.max for row in monitor.results if row.parameter in design.subgroup.group.labels}
        outside = {row.max for row in monitor.results if row.parameter in set(group.labels)} - inside
        assert max(inside) < ROUNDING
        assert (max(outside) < ROUNDING) if anti_aliasing else (min(outside) > 0.01)


class TestGroupSampledNetwork:
    """The library's network: on ``D4``, then on a subgroup of half the size, on grids of 9, 5 and 5 pixels."""

    def measured(self, folder, **settings):
        torch.manual_seed(6)
        stages = {"widths": [2] * 3, "kernel_sizes": 3, "group_rates": [1, 2, 1]}
        network = made(GroupSampledNetwork, group="D4", in_channels=2, classes=2, **stages, **settings)
        layers = [f"network.{name}" for name in network.measured_layers()]
        loader = batches([4], [9])
        return measure(
            Classifier(network), folder, loader, layers=layers, transformations=[GroupAction("D4")]
        )

    def test_is_exact_where_canonicalised(self, tmp_path):
        monitor = self.measured(tmp_path, canonicalize=True)
        assert not monitor.unmeasured
        assert len({row.layer for row in monitor.results}) == 5
        assert max(row.max for row in monitor.results) < 100 * ROUNDING

    @pytest.mark.parametrize(("anti_aliasing", "exact"), [("closed_form", 3), ("none", 2)])
    def test_without_is_exact_up_to_the_subsampling(self, tmp_path, anti_aliasing, exact):
        monitor = self.measured(tmp_path, anti_aliasing=anti_aliasing)
        layers = list(dict.fromkeys(row.layer for row in monitor.results))
        worst = [max(row.max for row in monitor.results if row.layer == layer) for layer in layers]
        assert [error < 100 * ROUNDING for error in worst] == [True] * exact + [False] * (5 - exact)


class TestWhatCannotBeMeasured:
    def test_elements_outside_of_the_group(self, tmp_path):
        with pytest.warns(UserWarning, match="regular field of C4, which has no element for 45"):
            monitor = measure(
                regular_network("C4"), tmp_path, squares(), transformations=[Rotation([45, 90]), Flip()]
            )
        regular = {f"network.{index}" for index in range(3)}
        assert set(monitor.unmeasured) == {
            (layer, name) for layer in regular for name in ("rotate", "flip_horizontal")
        }
        assert {row.parameter for row in monitor.results if row.layer == "network.0"} == {90}
        assert {row.parameter for row in monitor.results if row.layer == "network.3"} == {
            45,
            90,
            "horizontal",
        }

    def test_a_field_that_is_not_declared_or_does_not_fit(self, tmp_path):
        nameless = nn.Conv2d(2, 8, 1)
        nameless.output_type = "regular"
        odd = Regular(nn.Conv2d(8, 7, 1), PlainField(finite_group("C4")))
        with pytest.warns(UserWarning, match="EquivarianceMonitor does not measure") as caught:
            monitor = measure(
                Classifier(nn.Sequential(nameless, odd)),
                tmp_path,
                layers=["network.?"],
                transformations=[Rotation90()],
            )
        message = str(caught[-1].message)
        assert "network.0: its output_type is 'regular', not one of" in message
        assert "network.1: features must be a regular field of C4" in message
        assert monitor.results == []

    def test_volumes_and_what_acts_on_images_alone(self, tmp_path):
        with pytest.warns(UserWarning, match="downsample transforms images of 1 or 2 spatial axes, these"):
            monitor = measure(
                regular_network("O"),
                tmp_path,
                volumes([1]),
                transformations=[IdealDownsampling([3]), GroupAction("O", ["g1"])],
            )
        assert {row.transformation for row in monitor.results} == {"act_O"}
        with pytest.warns(UserWarning, match="act_O transforms images of 3 spatial axes, these have 2"):
            measure(regular_network("C4"), tmp_path, squares(), transformations=[GroupAction("O", ["g1"])])


def test_two_processes_give_what_one_gives(tmp_path):
    for devices, strategy in ((1, "auto"), (2, "ddp_fork")):
        monitor = EquivarianceMonitor(transformations=[GroupAction("C8")])
        lifting = Lifting(finite_group("C8"), 2, 2)
        restriction = CanonicalRestriction(subgroup(lifting.group, "C4"))
        restriction.output_type = RegularField(lifting.group, [bandlimit(lifting.group, "C4")])
        smooth = nn.AvgPool2d(3, 1, 1)
        model = Sharded(nn.Sequential(smooth, lifting, restriction), tmp_path, monitor).double()
        run = trainer(
            tmp_path, monitor, devices=devices, strategy=strategy, use_distributed_sampler=False, max_epochs=1
        )
        run.fit(model)
    one, *two = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("1-0", "2-0", "2-1")]
    rows = one["rows"]
    assert {row[1] for row in rows} == {"act_C8", "act_C8_floor"}
    assert {row[2] for row in rows if row[1] == "act_C8_floor"} == {"r", "r^3", "r^5", "r^7"}
    assert {row[5] for row in rows} == {sum(Sharded.SIZES)}
    for other in two:
        assert [row[:3] + row[5:] for row in other["rows"]] == [row[:3] + row[5:] for row in rows]
        for row, reference in zip(other["rows"], rows, strict=True):
            assert row[3:5] == pytest.approx(reference[3:5], rel=1e-12)
    assert two[0] == two[1], "the ranks agree bit for bit"
    assert (tmp_path / "equivariance" / "fit-depth.png").exists()
