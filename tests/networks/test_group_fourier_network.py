"""GroupFourierNetwork: every layer and the logits, under all resolutions and symmetries of the square at once."""

from pathlib import Path
from typing import Any

import pytest
import torch
from flat_settings import made
from scale_equivariance import assert_same, randomised
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F

from models import ScaleClassifier
from sefl.equivariance import Composition, EquivarianceTable, GroupAction, IdealDownsampling, measure
from sefl.fourier import CoefficientModule, downsample, to_coefficients, to_grid
from sefl.networks import GroupFourierNetwork, Network

NETWORKS: dict[str, dict[str, Any]] = {
    "regular fields": {"head_cells": 3},
    "whole group": {"subgroups": ["C4", "C2"], "pools": [1, 2], "head_cells": 4, "head_widths": [2]},
    "a stem": {
        "pools": [2, 1],
        "norm": "instance",
        "head_cells": 4,
        "head_stem": [1, 2],
        "head_average": True,
    },
    "residual head": {
        "norm": "none",
        "kernel_size": [5, 3],
        "head_cells": 4,
        "head_widths": [2],
        "head_residual": True,
    },
}


def network(name: str = "regular fields", **settings: Any) -> GroupFourierNetwork:
    """Small, with random parameters throughout, in evaluation mode."""
    torch.manual_seed(0)
    small = {"widths": [1, 2], "kernel_size": 3, "classes": 4, "head_hidden": 6, "activation": "gelu"}
    small |= {"base_resolution": 8, "max_resolution": 12, **NETWORKS[name], **settings}
    return randomised(made("GroupFourierNetwork", **small)).double().eval()


def images(resolution: int = 12, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(resolution)
    return torch.randn(batch, 1, resolution, resolution, generator=generator, dtype=torch.float64)


def table_of(model: Network, x: Tensor, group: str = "D4") -> EquivarianceTable:
    turn, shrink = GroupAction(group), IdealDownsampling()
    table = measure(model, x, [turn, shrink, Composition(turn, shrink)])
    assert not table.unmeasured
    return table


def test_all_layers_under_all_combinations_on_images_of_28_pixels() -> None:
    """The 8 elements and the 21 resolutions, the identity and the finest among them."""
    model = network(max_resolution=28)
    table = table_of(model, images(28))
    assert len(table) == (8 * 21 - 1) * len(model.measured_layers())
    assert {row.layer for row in table} == {"blocks.0.0", "blocks.0.1", "blocks.1.0", "blocks.1.1", "head"}
    assert table.error()[1] < 1e-24


@pytest.mark.parametrize("name", list(NETWORKS)[1:])
def test_all_layers_of_every_kind(name: str) -> None:
    assert table_of(network(name), images()).error()[1] < 1e-24


@pytest.mark.parametrize(("group", "whole"), [("C4", "D4"), ("D2", "D4"), ("C2", "C4"), ("D1", "D1")])
def test_restricted_to_a_subgroup_it_keeps_that(group: str, whole: str) -> None:
    """The control is the rest of the group, which the network with whole fields keeps."""
    model = network(group=whole, subgroups=[group if group != whole else None, None], design="subgroup")
    assert table_of(model, images(), group).error()[1] < 1e-24
    if group != whole:
        assert table_of(model, images(), whole).error("head", f"act_{whole}")[1] > 1e-4
        kept = network(group=whole, subgroups=[group, None])
        assert table_of(kept, images(), whole).error()[1] < 1e-24


class PlainGELU(CoefficientModule):
    """On the grid of the finest band alone."""

    def forward(self, coefficients: Tensor) -> Tensor:
        return to_coefficients(F.gelu(to_grid(coefficients, len(coefficients), "image")), "image")


def test_controls_fail() -> None:
    """A plain activation breaks scales alone, grids from the first pixel on the turns; both the combinations."""
    x = images()
    plain, corner, cells = network(), network(), network()
    plain.blocks[0][1].layer.nonlinearity = PlainGELU()
    corner.sampling_center = "pixel"
    cells.pooling.center, cells.pooling.shift = "pixel", 0.0
    for model, breaks in ((plain, "downsample"), (corner, "act_D4"), (cells, "act_D4")):
        table = table_of(model, x)
        for transformation in (breaks, "act_D4_then_downsample"):
            assert table.error("head", transformation)[0] > 1e-6, breaks
        if model is plain:
            assert table.error(transformation="act_D4")[1] < 1e-24


def test_predictions_of_turned_images_at_every_resolution_in_one_pass() -> None:
    model, x = network(), images(batch=3)
    found = model.predict_all_resolutions(x)
    for place, r in enumerate(range(8, 13)):
        coarse = downsample(x, r, "image")
        for turns in range(4):
            assert_same(model(coarse.rot90(turns, (2, 3)))[:, -1], found[:, place])
            assert_same(model(coarse.rot90(turns, (2, 3)).flip(3))[:, -1], found[:, place])
    assert_same(model(x, [2, 0]), model(x)[:, [2, 0]])
    # The control: logits are not constants.
    assert (found[:, 0] - found[:, 2]).abs().min() > 1e-6
    assert (found[0] - found[1]).abs().min() > 1e-6


def test_quarter_turns_of_a_finer_group_are_exact_and_eighths_are_not() -> None:
    table = table_of(network(group="C8", head_cells=1), images(), "C8")
    quarters = [row for row in table if str(row.parameter).split(" ")[0] in ("r^2", "r^4", "r^6")]
    assert max(row.max for row in quarters) < 1e-24
    eighths = [row.mean for row in table if row.parameter == "r" and row.transformation == "act_C8"]
    assert min(eighths) > 1e-24


def test_training_statistics_do_not_depend_on_how_fine_or_how_turned_a_batch_is() -> None:
    model = network("whole group", head_dropout=0.0).train()
    x = images(batch=3)
    logits = model(x)
    coarse = model(downsample(x, 9, "image").rot90(1, (2, 3)))
    assert_same(coarse, logits[:, : coarse.shape[1]])


@pytest.mark.parametrize("name", ["regular fields", "whole group"])
def test_gradients(name: str) -> None:
    model = network(name, widths=[1, 1], max_resolution=9)
    parameters = tuple(model.parameters())
    x = images(9).requires_grad_()
    assert gradcheck(lambda images, *_: model(images), (x, *parameters), fast_mode=True)


def test_it_is_trained_saved_and_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ScaleClassifier(made("GroupFourierNetwork", widths=[1, 1], max_resolution=12, head_hidden=6))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    x, labels = torch.randn(8, 1, 12, 12), torch.arange(8)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        losses.append(F.cross_entropy(model.network(x)[:, -1], labels))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.network.save_pretrained(tmp_path)
    loaded = Network.from_pretrained(tmp_path)
    assert isinstance(loaded, GroupFourierNetwork)
    assert torch.equal(loaded(x), model.network.eval()(x))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"group": "O"}, "group must be one of the plane, C_n or D_n, got O"),
        ({"group": "S3"}, "group S3 does not act on images"),
        ({"dimensions": 1}, "dimensions must be 2: GroupFourierNetwork is for images, got 1"),
        ({"design": "both"}, "design must be one of .*, got 'both'"),
        ({"subgroups": ["C4"]}, r"subgroups must have one entry per block, 2 as widths, got \['C4'\]"),
        ({"subgroups": ["C3", None]}, "subgroup 'C3' of D4 does not exist"),
        ({"widths": [1, 0]}, "widths must"),
        (
            {"head_cells": 6, "head_widths": [2, 2]},
            "head.cells must be a multiple of 4 for 2 head.widths of D4, got 6",
        ),
        (
            {"group": "C8", "head_cells": 2},
            "head.cells must come to one for C8, .*: make them 1 or give head.average",
        ),
    ],
)
def test_what_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**settings)
