"""The authors' ``SubgroupDownsample`` by its name and arguments: the example of their README, every pair of groups."""

from typing import Any

import pytest
import torch
from torch import Tensor

from sefl.compat import SubgroupDownsample, get_model
from sefl.groups import FiniteGroup, act_on_fibre, act_on_field

EXACT = 1e-12

PAIRS = [
    ("cycle", 8, "cycle", 2, 4),
    ("cyclic", 12, "cyclic", 3, 4),
    ("dihedral", 12, "dihedral", 2, 6),
    ("dihedral", 12, None, 3, 4),
    ("dihedral", 12, "cycle", 4, 6),
    ("dihedral", 4, "cycle", 2, 4),
    ("octahedral", None, "cycle", 6, 4),
    ("octahedral", None, "octahedral", 1, 24),
    ("full_octahedral", None, "octahedral", 2, 24),
    ("full_octahedral", None, "cycle", 12, 4),
    ("dihedral", 6, "dihedral", 1, 6),
]


def random_field(group: FiniteGroup, *space: int, fields: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(len(group))
    return torch.randn(2, fields * len(group), *space, dtype=torch.float64, generator=generator)


def test_example_of_their_readme() -> None:
    layer = SubgroupDownsample(
        group_type="dihedral",
        order=12,
        sub_group_type="dihedral",
        subsampling_factor=2,
        num_features=10,
        generator="r-s",
        dtype=torch.float32,
        apply_antialiasing=True,
        anti_aliasing_kwargs={"iterations": 100, "smoothness_loss_weight": 0.1},
    ).to(device="cpu")
    out, element = layer(torch.randn(2, 10 * 24, 32, 32))
    assert out.shape == (2, 120, 32, 32)
    assert element is None
    assert layer.upsample(out).shape == (2, 240, 32, 32)


@pytest.mark.parametrize(("kind", "order", "below", "factor", "sub_order"), PAIRS)
def test_every_pair_samples_equivariantly(
    kind: str, order: int | None, below: str | None, factor: int, sub_order: int
) -> None:
    layer = SubgroupDownsample(kind, order, below, factor, num_features=2, apply_antialiasing=True)
    assert layer.sub_order == sub_order
    sampled = layer.downsample.bandlimit.subgroup
    assert sampled.rate == factor
    x = random_field(sampled.parent)
    y, _ = layer(x)
    for h, element in enumerate(sampled.elements.tolist()):
        moved, _ = layer(act_on_fibre(x, sampled.parent, element))
        assert (moved - act_on_fibre(y, sampled.group, h)).abs().max() < EXACT
    again, _ = layer(layer.upsample(y))
    assert (again - y).abs().max() < EXACT
    if factor > 1:  # control: without the filter features do not come back
        plain = SubgroupDownsample(kind, order, below, factor, num_features=2)
        assert (plain.upsample(plain(x)[0]) - x).abs().max() > 0.1


def test_optimised_design_on_request() -> None:
    arguments = {"iterations": 200, "smoothness_loss_weight": 0.01, "smooth_operator": "laplacian"}
    closed, optimised = (
        SubgroupDownsample(
            "cycle", 6, "cycle", 2, apply_antialiasing=True, anti_aliasing_kwargs={**arguments, "mode": mode}
        ).downsample.bandlimit
        for mode in ("analytical", "linear_optim")
    )
    assert closed.kept
    assert not optimised.kept


def test_canonicalised_signals_and_images() -> None:
    layer = SubgroupDownsample(
        "dihedral", 4, "cycle", 2, num_features=2, apply_antialiasing=True, cannonicalize=True
    )
    group = layer.downsample.group
    x = random_field(group, 5, 5)
    y, element = layer(x)
    assert y.shape == (2, 8, 5, 5)
    mirrored, after = layer(act_on_field(x, group, 4))
    for sample in range(2):
        h = group.table[group.inverse[after[sample]], group.table[4, element[sample]]]
        inside = int(layer.downsample.bandlimit.subgroup.position[h])
        expected = act_on_field(y[sample : sample + 1], layer.downsample.subgroup, inside)
        assert (mirrored[sample] - expected[0]).abs().max() < EXACT
    signal, element = layer(random_field(group, fields=1)[0])
    assert signal.shape == (4,)
    assert layer.upsample(signal).shape == (8,)
    assert element.shape == (1,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"group_type": "icosahedral"}, "group_type must be"),
        ({"group_type": "dihedral"}, "order must be"),
        (
            {"group_type": "dihedral", "order": 12, "sub_group_type": "cycle", "subsampling_factor": 3},
            "not supported",
        ),
        ({"group_type": "cycle", "order": 8, "sub_group_type": "dihedral"}, "not supported"),
        ({"group_type": "octahedral", "sub_group_type": "cycle", "subsampling_factor": 4}, "not supported"),
        ({"group_type": "cycle", "order": 8, "subsampling_factor": 3}, "rates that work"),
        ({"group_type": "cycle", "order": 8, "sample_type": "pool"}, "sample_type"),
        ({"group_type": "dihedral", "order": 8, "generator": "s-sr"}, "generator"),
        ({"group_type": "cycle", "order": 8, "anti_aliasing_kwargs": {"mode": "gpu"}}, "mode"),
        ({"group_type": "cycle", "order": 8, "anti_aliasing_kwargs": {"graph_shift": None}}, "graph_shift"),
        ({"group_type": "cycle", "order": 8, "anti_aliasing_kwargs": {"smooth_operator": "x"}}, "operator"),
    ],
)
def test_unsupported_values_say_so(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SubgroupDownsample(**arguments)


def test_wrong_channels_say_what_they_should_be() -> None:
    layer = SubgroupDownsample("cycle", 8, "cycle", 2, num_features=3)
    with pytest.raises(ValueError, match="24 channels"):
        layer(torch.rand(1, 16, 4, 4))


def test_model_of_their_readme() -> None:
    model = get_model(
        input_channel=3,
        num_channels=[4, 5, 6],  # theirs are 32, 64, 128
        num_layers=3,
        dwn_group_types=[["dihedral", "dihedral"], ["dihedral", "dihedral"], ["dihedral", "dihedral"]],
        subsampling_factors=[2, 1, 1],
        spatial_subsampling_factors=[2, 1, 1],
        num_classes=10,
        antialiasing_kwargs={"iterations": 100, "smoothness_loss_weight": 0.5},
    ).double()
    assert [len(stage.output_type.fibre) for stage in model.stages] == [12, 12, 12]
    images = torch.randn(2, 3, 40, 40, dtype=torch.float64)
    logits = model(images)
    assert logits.shape == (2, 10)
    # D6 has the half turn and the two reflections of the pixel grid, but not the quarter turn.
    for moved in (images.rot90(2, (-2, -1)), images.flip(-1), images.flip(-2)):
        torch.testing.assert_close(model(moved), logits, rtol=1e-10, atol=1e-12)
    assert (model(images.rot90(1, (-2, -1))) - logits).abs().max() > 1e-6


def test_model_chains_groups() -> None:
    model = get_model(
        1,
        [2, 2, 2],
        3,
        [3, 3, 3],
        dwn_group_types=[["dihedral", "dihedral"], ["dihedral", "cyclic"], ["cycle", "cycle"]],
        subsampling_factors=[2, 2, 3],
        layer_kwargs={"dilation": 1},
        fully_convolutional=True,
    )
    assert [stage.output_type.fibre.name for stage in model.stages] == ["D6", "C6", "C2"]
    assert model(torch.randn(2, 1, 20, 20)).shape == (2, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"domain": 3}, "domain must be 2, got 3"),
        ({"layer_kwargs": {"groups": 2}}, "layer_kwargs: groups not supported"),
        ({"subsampling_factors": [2]}, "subsampling_factors must have one entry per layer, 2"),
        ({"subsampling_factors": [5, 1]}, r"rates that work are \[1, 2, 3, 4, 6, 12\]"),
        (
            {
                "dwn_group_types": [["dihedral", "cycle"], ["dihedral", "cycle"]],
                "subsampling_factors": [2, 2],
            },
            "layer 1 begins with 'dihedral', the one before ends with 'cycle'",
        ),
        ({"antialiasing_kwargs": {"mode": "gpu"}}, "mode must be 'analytical'"),
    ],
)
def test_model_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_model(1, **arguments)
