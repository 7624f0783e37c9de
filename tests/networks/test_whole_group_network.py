"""The network whose every layer keeps all of G, beside the one on H that does not, and what is refused."""

import copy
import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from flat_settings import made
from torch import Tensor

from sefl.equivariance import GroupAction, Rotation, measure
from sefl.groups import act_on_grid, cyclic, finite_group
from sefl.networks import GroupSampledNetwork

EXACT = 1e-20
STAGES = {"widths": [3, 4, 4], "kernel_sizes": [5, 3, 3], "spatial_rates": [2, 2, 1]}
PAIRS = [("C12", "C6"), ("D6", "D3"), ("D12", "D6"), ("C12", "C4"), ("C48", "C6")]


def network(group: str = "C12", below: str | None = "C6", design: str = "whole_group", **options: Any) -> Any:
    torch.manual_seed(0)
    settings = {"in_channels": 1, "classes": 5, "subgroups": [below, None, None], **STAGES, **options}
    found = made(GroupSampledNetwork, group=group, design=design, **settings).double()
    found(images(4))  # the running statistics are no longer those of white features
    return found.eval()


def images(count: int = 2, size: int = 14, axes: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, 1, *[size] * axes, generator=generator, dtype=torch.float64)


def lattice_labels(group: str) -> set[str]:
    """Of the elements that move pixels to pixels."""
    whole = finite_group(group)
    assert whole.matrices is not None
    return {
        label
        for label, matrix in zip(whole.labels, whole.matrices, strict=True)
        if abs(matrix - np.rint(matrix)).max() < 1e-9
    }


def every_layer(model: Any) -> list[str]:
    """Convolution, norm, ReLU, blur and the whole of each stage; the head and the network."""
    features = [f"stages.{index}.features" for index in range(len(model.stages))]
    inner = [
        f"{name}.{child}" for name in features for child, _ in model.get_submodule(name).named_children()
    ]
    return [*inner, *features, "head", ""]


def errors(model: Any, layers: list[str] | None = None, size: int = 14) -> dict[str, float]:
    """The worst over the elements that move pixels to pixels, by layer."""
    group = model.symmetry_group
    moves = GroupAction(group, sorted(lattice_labels(group)))
    table = measure(model, images(size=size, axes=model.dimensions), [moves], layers)
    assert not table.unmeasured
    found: dict[str, float] = {}
    for row in table:
        found[row.layer] = max(found.get(row.layer, 0), row.max)
    return found


@pytest.mark.parametrize("size", [13, 14])
@pytest.mark.parametrize(("group", "below"), PAIRS)
def test_every_layer_and_the_logits_are_exact(group: str, below: str, size: int) -> None:
    model = network(group, below)
    found = errors(model, every_layer(model), size)
    assert len(found) == 3 * 4 + 2 + 2  # two blurs; head and network
    assert max(found.values()) < EXACT


@pytest.mark.parametrize(("group", "below"), PAIRS[:3])
def test_the_network_on_the_subgroup_is_not(group: str, below: str) -> None:
    """The control."""
    found = errors(network(group, below, "subgroup"))
    assert max(found[layer] for layer in ("stages.0.features", "stages.0.sampling")) < EXACT
    assert min(found[layer] for layer in ("stages.1.features", "stages.2.features", "head")) > 1e-5


def test_measured_layers_are_the_stages_and_the_head() -> None:
    model = network()
    layers = ["stages.0.features", "stages.1.features", "stages.2.features", "head"]
    assert model.measured_layers() == layers
    table = measure(model, images())
    assert {row.layer for row in table} == set(layers)
    assert {row.parameter for row in table if row.transformation == "act_C12"} == set(cyclic(12).labels) - {
        "e"
    }


@pytest.mark.parametrize(("design", "exact"), [("whole_group", True), ("subgroup", False)])
def test_volumes(design: str, exact: bool) -> None:
    torch.manual_seed(0)
    stages = {"widths": [2, 3], "kernel_sizes": 3, "subgroups": ["C4", None]}
    model = made(GroupSampledNetwork, group="O", design=design, **stages).double().eval()
    found = errors(model, ["head"], 7)
    assert (found["head"] < EXACT) == exact


class TestContinuous:
    @pytest.mark.parametrize("group", ["SO2", "O2"])
    def test_exact_where_pixels_move_to_pixels(self, group: str) -> None:
        model = network(group, None, band=2)
        assert model.symmetry_group == {"SO2": "C24", "O2": "D24"}[group]
        found = errors(model, every_layer(model))
        assert len(found) == 16
        assert max(found.values()) < EXACT

    def test_measured_under_any_angle(self) -> None:
        model = network("SO2", None, band=2)
        table = measure(model, images(), [GroupAction("C72", ["r^7"]), Rotation([1])])
        assert not table.unmeasured
        assert min(row.max for row in table if row.layer == "stages.2.features") > 1e-9

    def test_mirror_images_are_told_apart_by_rotations_alone(self) -> None:
        for group, invariant in (("SO2", False), ("O2", True)):
            model = network(group, None, band=2)
            mirrored = act_on_grid(images(), np.diag([-1.0, 1.0]))
            with torch.no_grad():
                assert torch.allclose(model(images()), model(mirrored), rtol=1e-9) == invariant

    def test_quarter_turns_need_a_multiple_of_four_angles(self) -> None:
        assert errors(network("SO2", None, band=2, angles=8))["head"] < EXACT
        assert errors(network("SO2", None, band=2, angles=10))["head"] > 1e-9


def test_a_finer_grid_is_another_function_as_exact() -> None:
    coarse, fine = network("D6", "D3"), network("D6", "D3", angles=24)
    fine.load_state_dict(coarse.state_dict())
    assert not torch.allclose(coarse(images()), fine(images()), rtol=1e-3)
    assert max(errors(fine).values()) < EXACT


def test_bands_follow_the_subgroups() -> None:
    by_name = network("C24", None, subgroups=["C12", None, "C6"])
    by_rate = network("C24", None, group_rates=[2, 1, 2])
    for model in (by_name, by_rate):
        fields = [stage.output_type for stage in model.stages]
        assert [field.channels for field in fields] == [11, 11, 5]
        assert [field.fibre.name for field in fields] == ["C12", "C12", "C6"]
        assert max(errors(model).values()) < EXACT
    assert [stage.output_type.channels for stage in network("C4", None).stages] == [4, 4, 4]


def test_the_size_of_the_group_does_not_enter_the_weights() -> None:
    count = {group: sum(p.numel() for p in network(group).parameters()) for group in ("C12", "C24", "C48")}
    assert len(set(count.values())) == 1
    assert count["C12"] < sum(p.numel() for p in network(design="subgroup").parameters())


def test_without_norm_convolutions_have_biases_and_the_mean_is_pooled() -> None:
    model = network(norm=False, pooling="mean")
    with torch.no_grad():
        for stage in model.stages:
            stage.features[0].bias.normal_()
    assert max(errors(model, every_layer(model)).values()) < EXACT
    model.head.linear = torch.nn.Identity()
    values = model.stages[2].features(model.stages[1](model.stages[0]((images(), None)))).values
    assert torch.allclose(model(images()), values.unflatten(1, (4, 5))[:, :, 0].mean((-2, -1)))


def test_same_after_copies_and_saving() -> None:
    model = network("D6", "D3")
    expected = model(images())
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(again(images()), expected)
    stored = io.BytesIO()
    torch.save(model.state_dict(), stored)
    stored.seek(0)
    fresh = network("D6", "D3")
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.add_(1.0)
    assert not torch.equal(fresh(images()), expected)
    fresh.load_state_dict(torch.load(stored, weights_only=True))
    assert torch.equal(fresh(images()), expected)


@pytest.mark.parametrize(
    ("group", "below", "options", "message"),
    [
        ("C12", "C5", {}, "subgroup 'C5' of C12 does not exist; there are C12, C6, C4, C3, C2, C1"),
        ("C12", None, {"group_rates": [5, 1, 1]}, "rate 5: C12 has no subgroup of that index"),
        ("C12", "C6", {"equivariance": "subgroup"}, "equivariance must be 'group' with design='whole_group'"),
        ("C12", "C6", {"anti_aliasing": "none"}, "anti_aliasing must be 'closed_form' with design='whole_gr"),
        (
            "C12",
            "C6",
            {"canonicalize": True},
            "canonicalize must be False with design='whole_group', whose ban",
        ),
        ("C12", "C6", {"angles": 8}, "angles must be a multiple of the 12 of C12, got 8"),
        ("C12", "C6", {"band": 2}, "band must be None for group C12, of which the stages' subgroups say it"),
        (
            "SO2",
            None,
            {"band": 4, "angles": 8},
            "angles must be at least 9, for a band of frequencies up to 4",
        ),
        ("SO2", None, {}, "band must be an integer of at least 0 for group SO2, got None"),
        ("SO2", None, {"band": -1}, "band must be an integer of at least 0, got -1"),
        ("SO2", "C6", {"band": 2}, "group_rates and subgroups must be left out for group SO2"),
        ("SO3", None, {"band": 2}, "group 'SO3' is unknown"),
        ("S3", None, {}, "group S3 does not act on images"),
        ("C12", "C6", {"design": "half"}, "design must be one of 'subgroup', 'whole_group', got 'half'"),
        (
            "C12",
            "C6",
            {"design": "subgroup", "angles": 24},
            "angles must be None with design='subgroup', got 24",
        ),
        ("SO2", None, {"design": "subgroup"}, "group SO2 needs design='whole_group' and a band"),
    ],
)
def test_bad_arguments(group: str, below: str | None, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(group, below, **options)


def test_images_of_another_number_of_axes() -> None:
    with pytest.raises(ValueError, match=r"images must be \(batch, in_channels=1, h, w\)"):
        network()(images(axes=3, size=9))
