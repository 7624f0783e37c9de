"""GroupAveragedNetwork: the mean over an image's copies is invariant, and as exact under scale as the network is."""

from typing import Any

import pytest
import torch
from flat_settings import made
from scale_equivariance import assert_same
from torch import Tensor

from sefl.equivariance import Composition, GroupAction, IdealDownsampling, measure
from sefl.groups import finite_group
from sefl.groups.spatial import act_on_grid
from sefl.networks import BandNetwork, GroupAveragedNetwork, PyramidNetwork
from sefl.testing import assert_scale_equivariant

BASE, FINEST = 8, 14
RANGE: dict[str, Any] = {"base_resolution": BASE, "max_resolution": FINEST, "head_hidden": 8}


def fourier(center: str = "image") -> BandNetwork:
    return made("FourierNetwork", **RANGE, widths=[3, 4], kernel_size=3, norm="batch", center=center)


def views() -> BandNetwork:
    inner = made("ConvNetwork", **RANGE, widths=[3, 4])
    return PyramidNetwork(inner, levels=[9, 13, 17], upsampled=True, growth=0.1, center="image")


def averaged(group: str, of: Any = fourier) -> GroupAveragedNetwork:
    torch.manual_seed(0)
    return GroupAveragedNetwork(of(), group).double().eval()


def images(count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 1, FINEST, FINEST, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("of", [fourier, views])
@pytest.mark.parametrize("group", ["C2", "C4", "D1", "D2", "D4"])
def test_scale_and_the_group_at_once(group: str, of: Any) -> None:
    """Predictions at every resolution and element; the network itself, the control, is exact under scale alone."""
    model, x = averaged(group, of), images()
    act = GroupAction(group)
    both = Composition(act, IdealDownsampling())
    for network, exact in ((model, True), (model.network, False)):
        table = measure(network, x, [IdealDownsampling(), act, both], ["head"])
        assert table.error("head", "downsample")[1] < 1e-26
        for transformation in (act, both):
            assert (table.error("head", transformation.name)[1] < 1e-26) == exact
    assert_scale_equivariant(model, x)


def test_it_is_the_mean_over_the_copies() -> None:
    model, x = averaged("D4"), images()
    copies = [turned for each in (x, x.flip(3)) for turned in (each.rot90(k, (2, 3)) for k in range(4))]
    assert_same(model(x), torch.stack([model.network(copy) for copy in copies]).mean(0))
    assert_same(model.predict_all_resolutions(x, [9, 14])[:, 0], model(x, [model.band_index(9)])[:, 0])
    model = averaged("C1")
    assert_same(model(x), model.network(x))
    model = averaged("D1")
    assert_same(model(x), (model.network(x) + model.network(x.flip(3))) / 2)


@pytest.mark.parametrize("group", ["C2", "D4"])
def test_in_training_each_image_is_seen_at_one_element(group: str) -> None:
    model, x = averaged(group), images(64)
    model.train()
    model.network.eval()
    torch.manual_seed(0)
    logits = model(x)
    copies = [model.network(act_on_grid(x, matrix)) for matrix in finite_group(group).matrices]
    found = torch.stack([(logits - copy).abs().amax((1, 2)) < 1e-9 for copy in copies])
    assert (found.sum(0) == 1).all()
    assert found.any(1).all()
    assert 0 < int(found[0].sum()) < len(x)
    torch.manual_seed(0)
    assert torch.equal(model(x), logits)


@pytest.mark.parametrize("group", ["C3", "C8", "D6", "O", "T"])
def test_a_group_that_moves_pixels_elsewhere_is_refused(group: str) -> None:
    with pytest.raises(ValueError, match=f"group must be .* C1, C2, C4, D1, D2 or D4, got {group}"):
        GroupAveragedNetwork(fourier(), group)


def test_grids_about_the_first_pixel_are_refused() -> None:
    with pytest.raises(ValueError, match=r"center='image'.*got a FourierNetwork with 'pixel'"):
        GroupAveragedNetwork(fourier("pixel"))
    signals = made("FourierNetwork", **RANGE, widths=[3], kernel_size=3, dimensions=1, center="image")
    with pytest.raises(ValueError, match="dimensions must be 2"):
        GroupAveragedNetwork(signals)
