"""PyramidNetwork: the mean over an image's levels is scale-equivariant, whatever network sees each of them."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from flat_settings import made
from scale_equivariance import assert_same
from torch import Tensor

from models import ScaleClassifier
from sefl import networks
from sefl.equivariance import Composition, GroupAction, IdealDownsampling, measure
from sefl.fourier import downsample, upsample
from sefl.networks import PyramidNetwork, SinglePredictionNetwork
from sefl.testing import assert_scale_equivariant

BASE, FINEST = 6, 16
BANDS = 6  # from 2 to 7, of which 16 pixels hold all


def network(
    inner: str = "ConvNetwork", base: int = BASE, dimensions: int = 2, **settings: Any
) -> PyramidNetwork:
    torch.manual_seed(0)
    scales: dict[str, Any] = {
        "base_resolution": base,
        "max_resolution": FINEST,
        "in_channels": 2,
        "classes": 5,
    }
    if inner != "WideResNet":
        scales |= {"widths": [3, 4], "head_hidden": 8}
    if inner == "ConvNetwork":
        scales["dimensions"] = dimensions
    return PyramidNetwork(made(inner, **scales), **settings).double().eval()


def images(resolution: int, dimensions: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(resolution)
    return torch.randn(3, 2, *[resolution] * dimensions, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("inner", ["ConvNetwork", "PerResolutionNetwork", "WideResNet"])
@pytest.mark.parametrize("base", [6, 7])
def test_predictions_are_those_of_the_downsampled_images(inner: str, base: int) -> None:
    model, x = network(inner, base), images(FINEST)
    assert_scale_equivariant(model, x, range(base, FINEST))
    found = model.predict_all_resolutions(x)
    for r in range(base, FINEST + 1):
        assert_same(found[:, r - base], model(downsample(x, r))[:, -1])


@pytest.mark.parametrize(
    ("kept", "sampling"),
    [("D4", {"design": "whole_group", "group_rates": [2, 1]}), ("C4", {"subgroups": ["C4", None]})],
)
def test_scales_and_symmetries_of_the_square_at_once(kept: str, sampling: dict[str, Any]) -> None:
    """Of grids about the middle, at every resolution and under each element of the group that the network keeps."""
    torch.manual_seed(0)
    inner = made("GroupScaleNetwork", widths=[2, 3], kernel_sizes=3, **sampling)
    x = torch.randn(2, 1, 28, 28, dtype=torch.float64)
    group = GroupAction(kept)
    both = Composition(group, IdealDownsampling())
    errors = {}
    views: dict[str, Any] = {"levels": [15, 22], "upsampled": True, "finest": 20}
    for center, levels in (("image", {}), ("pixel", {}), ("image", views)):
        model = PyramidNetwork(inner, center=center, **levels).double().eval()
        table = measure(model, x, [IdealDownsampling(), group, both], ["head"])
        assert table.error("head", "downsample")[1] < 1e-26
        errors[center, bool(levels)] = table.error("head", both.name)[1]
        rows = [row for row in table if row.transformation == both.name]
        assert len(rows) == len(group.matrices) * 20
    assert errors["image", False] < 1e-26
    assert errors["image", True] < 1e-26
    assert errors["pixel", False] > 1e-6
    plain = PyramidNetwork(made("ConvNetwork", widths=[3, 4]), center="image").double().eval()
    assert measure(plain, x, [both], ["head"]).error("head")[0] > 1e-4


def test_of_signals_too() -> None:
    model, x = network(dimensions=1), images(FINEST, 1)
    for r in range(BASE, FINEST + 1):
        assert_same(model.predict_all_resolutions(x)[:, r - BASE], model(downsample(x, r))[:, -1])


def test_the_network_alone_is_not() -> None:
    """The control: what sees all bands at once lets fine ones change coarse predictions."""
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_scale_equivariant(network().network, images(FINEST), range(BASE, FINEST))


@pytest.mark.parametrize(
    ("levels", "sizes"),
    [(None, [6, 7, 9, 11, 13, 15]), ([6, 10, 9, 12, 15], [6, 9, 11, 15]), ([6, 11], [6, 11]), ([6], [6])],
)
def test_a_prediction_is_the_mean_over_its_levels(levels: list[int] | None, sizes: list[int]) -> None:
    """The coarsest has the base resolution's pixels, all others those of their band."""
    model, x = network(levels=levels), images(FINEST)
    assert_scale_equivariant(model, x)
    of_levels = torch.cat([model.network(downsample(x, size)) for size in sizes], 1)
    assert_same(model(x)[:, -1], of_levels.mean(1))
    assert_same(model.predict_all_resolutions(x, [12])[:, 0], of_levels[:, [s <= 12 for s in sizes]].mean(1))
    assert_same(model(x)[:, 0], model.network(downsample(x, BASE))[:, 0])


@pytest.mark.parametrize("finest", [None, 11, 6])
@pytest.mark.parametrize("dimensions", [1, 2])
def test_upsampled_levels_are_functions_of_the_band(dimensions: int, finest: int | None) -> None:
    """Every band reads all levels, the finer ones from its own frequencies, up to those of the finest that is read."""
    model = network(dimensions=dimensions, levels=[9, 13, 21], upsampled=True, finest=finest)
    x = images(FINEST, dimensions)
    assert_scale_equivariant(model, x, range(BASE, FINEST))
    found = model.predict_all_resolutions(x)
    for r in range(BASE, FINEST + 1):
        read = min(r, finest or FINEST)
        read -= read % 2 == 0 and read > BASE  # an even grid holds no more than the odd one below
        views = [
            downsample(x, size) if size <= read else upsample(downsample(x, read), size)
            for size in (9, 13, 21)
        ]
        assert_same(
            found[:, r - BASE], torch.stack([model.network.classify(view) for view in views], 1).mean(1)
        )
        assert_same(found[:, r - BASE], model(downsample(x, r))[:, -1])


@pytest.mark.parametrize(
    ("inner", "settings"),
    [
        ("FourierCNN", {}),
        ("PerResolutionNetwork", {}),
        *((each, {"resize": "ideal"}) for each in ("ConvNetwork", "WideResNet", "SESN")),
    ],
)
def test_networks_of_a_largest_resolution_have_no_upsampled_level_above_it(
    inner: str, settings: dict[str, Any]
) -> None:
    made_of: SinglePredictionNetwork = getattr(networks, inner)(
        base_resolution=BASE, max_resolution=FINEST, **settings
    )
    for levels in ([9, 17], [9, 21]):
        with pytest.raises(
            ValueError, match=rf"levels must be .* on to max_resolution 16, got .*{levels[1]}\]"
        ):
            PyramidNetwork(made_of, levels, upsampled=True)
    model = PyramidNetwork(made_of, [9, 16], upsampled=True).eval()
    assert model(torch.rand(2, made_of.in_channels, 12, 12)).shape == (2, 4, made_of.classes)


def test_without_upsampled_levels_the_finest_band_is_the_finest_level_that_is_read() -> None:
    found = network(finest=11)(images(FINEST))
    assert_same(found[:, :4], network()(images(FINEST))[:, :4])
    cut = network(levels=[6, 7, 9, 11])(images(FINEST))
    assert_same(found[:, 3:], cut[:, 3:])


def test_half_precision_rounds_the_levels_and_not_their_mean() -> None:
    model, x = network(growth=0.05).float(), images(FINEST).float()
    with torch.autocast("cpu", torch.bfloat16):
        found, levels = model(x), [model.network(model.level(x, index)) for index in range(BANDS)]
    assert found.dtype == torch.float32
    expected = torch.cat(levels, 1).float().mean(1) * math.exp(0.05 * (BANDS - 1) / 2)
    torch.testing.assert_close(found[:, -1], expected)


def test_growth_multiplies_logits_about_the_middle_band() -> None:
    plain, grown, x = network(), network(growth=0.3), images(FINEST)
    factors = (0.3 * torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])).exp().double()
    assert_same(grown(x), plain(x) * factors[:, None])
    for model in (plain, grown):
        model.head.train()
    assert_same(grown(x), plain(x))


@pytest.mark.parametrize(
    ("bands", "expected"), [("own", [[15]]), ("two", [[7, 15], [9, 15], [11, 15], [13, 15]])]
)
def test_a_training_step_sees_the_levels_that_it_is_asked_for_alone(
    bands: Any, expected: list[list[int]]
) -> None:
    classifier = ScaleClassifier(network().float(), trained_bands=bands).train()
    classifier.log = lambda *_, **__: None  # type: ignore[method-assign]
    seen: list[int] = []
    blocks = classifier.network.network.blocks
    blocks.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))
    steps = []
    for batch in range(20):
        seen.clear()
        classifier.training_step((images(FINEST).float(), torch.tensor([0, 1, 2])), batch).backward()
        steps.append(list(seen))
    assert sorted(map(list, {tuple(step) for step in steps})) == expected


def test_a_training_step_sees_one_of_the_upsampled_levels_by_chance() -> None:
    model = network(levels=[9, 13], upsampled=True).train()
    seen: list[int] = []
    model.network.blocks.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))
    for _ in range(20):
        model(images(12), [3])
    assert len(seen) == 20
    assert set(seen) == {9, 13}


def test_it_is_stored_with_the_network_that_it_holds(tmp_path: Path) -> None:
    model, x = network("WideResNet", levels=[8, 9], upsampled=True, finest=9, growth=0.1), images(FINEST)
    model.save_pretrained(tmp_path)
    assert torch.equal(PyramidNetwork.from_pretrained(str(tmp_path)).double()(x), model(x))


def test_reading_imports_no_class_of_the_network_that_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["network"]["class_path"] = "stranger.Network"
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "stranger.py").write_text("raise SystemExit('was imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ValueError, match=r"network: holds a stranger\.Network, which is none of SinglePrediction"
    ):
        PyramidNetwork.from_pretrained(str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"levels": []}, r"levels must be resolutions from base_resolution 6 on, with it, .* got \[\]"),
        ({"levels": [8, 10]}, r"levels must be .* got \[8, 10\]"),
        ({"levels": [6, 17]}, r"levels must be .* max_resolution 16, got \[6, 17\]"),
        (
            {"levels": [5, 17], "upsampled": True},
            r"levels must be resolutions from base_resolution 6 on, got \[5, 17\]",
        ),
        ({"finest": 17}, "finest must be .* got 17"),
        ({"finest": 5}, "finest must be .* got 5"),
        ({"growth": -1.0}, "growth must be .* got -1.0"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**arguments)
