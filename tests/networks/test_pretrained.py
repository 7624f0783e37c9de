"""Every network saves itself as its arguments and its weights, and comes back from them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from flat_settings import made
from safetensors.torch import save_file

from sefl.files.made_of import plain
from sefl.networks import ConvNetwork, FourierNetwork, FourierTrunk, Network, TorchvisionNetwork
from sefl.networks.trained_on import TrainedOn

RANGE = {"in_channels": 2, "classes": 3, "base_resolution": 9, "max_resolution": 12}
SMALL: dict[str, dict[str, Any]] = {
    "FourierNetwork": {
        **RANGE,
        "widths": (4, 5),
        "kernel_size": [3, 5],
        "norm": "batch",
        "head_growth": None,
    },
    "MixerNetwork": {**RANGE, "width": 4, "depth": 1, "groups": 2, "mixes_bands": True},
    "ConvNetwork": {**RANGE, "widths": [3, 4], "resize": "reflect"},
    "FourierCNN": {**RANGE, "widths": [3], "kernel_size": None},
    "PerResolutionNetwork": {**RANGE, "widths": [3]},
    "SESN": {**RANGE, "widths": [3, 4], "scales": [1.0, 1.5], "order": 2},
    "WideResNet": {**RANGE, "depth": 10, "width": 1},
    "GroupSampledNetwork": {"group": "D4", "in_channels": 2, "widths": [2, 3], "subgroups": ["C4", None]},
}


WHOLE_GROUP = {"group": "SO2", "in_channels": 2, "widths": [2, 3], "design": "whole_group", "band": 1}


@pytest.mark.parametrize(
    ("name", "settings"),
    [*SMALL.items(), ("GroupSampledNetwork", WHOLE_GROUP)],
    ids=[*SMALL, "of a whole group"],
)
def test_a_network_comes_back_from_its_folder(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    network = made(name, **settings).eval()
    images = torch.randn(2, 2, 12, 12)
    network.save_pretrained(tmp_path)
    again = type(network).from_pretrained(tmp_path).eval()
    assert torch.equal(again(images), network(images))
    assert plain(again.made_of()) == plain(network.made_of())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]


def test_the_configuration_is_the_arguments(tmp_path: Path) -> None:
    FourierNetwork(FourierTrunk(widths=[4]), max_resolution=12).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["trunk"]["widths"] == [4]
    assert config["head"]["dropout"] == 0.75
    assert config["max_resolution"] == 12
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        FourierNetwork.from_pretrained(tmp_path, forgotten=1)


def test_weights_that_it_started_from_are_not_needed(tmp_path: Path) -> None:
    torch.save(TorchvisionNetwork("squeezenet1_1", classes=3).body.state_dict(), tmp_path / "mine.pth")
    network = TorchvisionNetwork("squeezenet1_1", classes=3, state_dict=str(tmp_path / "mine.pth")).eval()
    network.save_pretrained(tmp_path / "saved")
    (tmp_path / "mine.pth").unlink()
    images = torch.randn(2, 3, 40, 40)
    assert torch.equal(TorchvisionNetwork.from_pretrained(tmp_path / "saved").eval()(images), network(images))


def test_any_network_comes_back_by_the_base_class_with_what_it_was_trained_on(tmp_path: Path) -> None:
    network = made("ConvNetwork", **SMALL["ConvNetwork"])
    network.trained_on = TrainedOn(
        [0.5, 0.4], [0.2, 0.3], ["a", "b", "c"], image_size=12, resolutions=[9, 12]
    )
    network.save_pretrained(tmp_path)
    again = Network.from_pretrained(tmp_path)
    assert type(again) is type(network)
    assert again.trained_on == network.trained_on
    with pytest.raises(
        ValueError, match=r"holds a sefl.networks.ConvNetwork, which is none of FourierNetwork"
    ):
        FourierNetwork.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "holds no saved network: config.json"),
        (lambda folder: (folder / "config.json").write_text("[1]"), "must be an object of arguments"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 9), "its weights do not load"),
        (lambda folder: (folder / "model.safetensors").unlink(), "its weights do not load"),
    ],
)
def test_what_is_damaged_is_refused(damage: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    made("ConvNetwork", **SMALL["ConvNetwork"]).save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=message):
        Network.from_pretrained(tmp_path)


def test_weights_that_are_missing_are_not_left_random(tmp_path: Path) -> None:
    network = made("ConvNetwork", **SMALL["ConvNetwork"])
    network.save_pretrained(tmp_path)
    weights = network.state_dict()
    del weights[next(iter(weights))]
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"Missing key\(s\) in state_dict"):
        Network.from_pretrained(tmp_path)
    Network.from_pretrained(tmp_path, strict=False)


def test_a_name_that_is_nowhere_is_said_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="no-such-network: there is no such folder, and none of this name"):
        Network.from_pretrained("no-such-network")


def test_what_cannot_be_stored_is_refused(tmp_path: Path) -> None:
    class Mine(ConvNetwork):
        def __init__(self, further: Any, **common: Any) -> None:
            super().__init__(**common)

    with pytest.raises(ValueError, match="Mine: further cannot be stored"):
        Mine(lambda x: x).save_pretrained(tmp_path)
