"""The network of a run, as others use it, with its card; and the networks that come with the package."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from datamodules import Glyphs, MNISTScale, RotatedMNIST, STL10Scale
from models import ScaleClassifier
from sefl.evaluate import main as evaluate
from sefl.fit import main as fit
from sefl.networks import Network, ScaleNetwork
from sefl.networks.saved import SHIPPED, shipped
from sefl.runs.pretrained import open_network
from sefl.runs.stored_models import open_checkpoint

NETWORK = Path("runs/tiny/0/network")
DATA = str(Path(__file__).parents[2] / "data")
MOST_BYTES = 20 * 2**20


def numbers(card: Path) -> dict[str, Any]:
    """Of the card: by measure its value, and which part of the data they are of."""
    results = ModelCard.load(card).data.eval_results
    return {each.metric_type: each.metric_value for each in results} | {"of": results[0].dataset_split}


def test_a_run_leaves_its_network_and_an_evaluation_its_test_results(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(["--config", str(tiny)])
    assert f"python -m sefl.predict IMAGE --model {NETWORK.parent.absolute()}" in capsys.readouterr().out
    assert {file.name for file in NETWORK.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    best = open_checkpoint(NETWORK.parent / "checkpoints/best.ckpt").eval()
    opened = open_network(str(NETWORK))
    images = torch.randn(2, 1, 12, 12)
    assert torch.equal(opened(images), best.network(images))
    assert opened.trained_on == best.trained_on
    measured = numbers(NETWORK / "README.md")
    assert measured["of"] == "validation"
    assert measured["accuracy"] == pytest.approx(
        float(torch.load(_best())["callbacks"][_monitor()]["current_score"])
    )
    assert 0 < measured["equivariance/downsample"] < 1e-9

    evaluate(["--ckpt_path", "best", "--name", "tiny"])
    tested = json.loads((NETWORK.parent / "evaluation/0/evaluation.json").read_text())
    assert numbers(NETWORK / "README.md") == measured
    measured = numbers(NETWORK.parent / "evaluation/0/network/README.md")
    assert measured["of"] == "test"
    assert measured["accuracy"] == tested["accuracy"]
    assert measured["scale_consistency"] == tested["scale_consistency"]


def test_the_network_of_a_run_with_moving_averages_is_the_average(tiny: Path) -> None:
    averages = Path(__file__).parents[2] / "configs/trainer/ema.yaml"
    fit(["--config", str(tiny), "--config", str(averages)])
    checkpoint, network = torch.load(_best()), open_network(str(NETWORK))
    trained = checkpoint["current_model_state"]
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, checkpoint["state_dict"][f"network.{name}"])
    assert any(
        not torch.equal(parameter, trained[f"network.{name}"])
        for name, parameter in network.named_parameters()
    )


def _best() -> Path:
    return NETWORK.parent / "checkpoints/best.ckpt"


def _monitor() -> str:
    return next(name for name in torch.load(_best())["callbacks"] if name.startswith("BestCheckpoint"))


class Unstorable(ScaleClassifier):
    """Takes what no checkpoint can hold."""

    def __init__(self, network: ScaleNetwork, **others: Any) -> None:
        super().__init__(network, **others)
        self._arguments["consistency_weight"] = {"kind": "lost", "what": "a lambda"}


def test_what_cannot_be_opened_again_is_said(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = yaml.safe_load(tiny.read_text())
    settings["model"]["class_path"] = f"{__name__}.Unstorable"
    tiny.write_text(yaml.safe_dump(settings))
    fit(["--config", str(tiny), "--trainer.max_epochs", "1"])
    assert "Network: not written, as it cannot be opened again" in capsys.readouterr().out
    assert not NETWORK.exists()


def test_those_shipped_are_small_and_say_what_they_are() -> None:
    assert {"glyphs", "mnist-scale", "rotated-mnist", "stl10-scale"} <= {*shipped()}
    assert sum(file.stat().st_size for file in SHIPPED.rglob("*")) < MOST_BYTES
    with pytest.raises(ValueError, match=r"networks that come with sefl: .*glyphs"):
        Network.from_pretrained("glyph")


def test_the_glyph_network_has_the_accuracy_of_its_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """On new images, drawn as its own were: within four standard errors of a thousand of them. Without a network."""
    monkeypatch.setattr(socket.socket, "connect", None)
    network = open_network("glyphs")
    card = numbers(SHIPPED / "glyphs/README.md")
    assert card["of"] == "test"
    data = Glyphs(seed=1, train_samples=21, val_samples=21, test_samples=1_000)
    data.setup()
    assert network.trained_on is not None
    assert (network.trained_on.mean, network.trained_on.std) == (data.mean, data.std)
    with torch.no_grad():
        right = [network.predict(images).argmax(1) == labels for images, labels in data.test_dataloader()[0]]
    accuracy = torch.cat(right).double().mean().item()
    error = (card["accuracy"] * (1 - card["accuracy"]) / 1_000) ** 0.5
    assert accuracy == pytest.approx(card["accuracy"], abs=4 * error)


@pytest.mark.parametrize(
    ("name", "make", "folder"),
    [
        ("stl10-scale", lambda: STL10Scale(data_dir=DATA, eval_batch_size=4), "stl10_binary"),
        ("mnist-scale", lambda: MNISTScale(data_dir=DATA, eval_batch_size=100), "MNIST"),
        ("rotated-mnist", lambda: RotatedMNIST(data_dir=DATA, test_size=1_000), "MNIST"),
    ],
)
def test_networks_of_real_images_have_the_accuracy_of_their_cards(name: str, make: Any, folder: str) -> None:
    """On part of their own test images: within four standard errors."""
    if not (Path(DATA) / folder).exists():
        pytest.skip(f"data/{folder} is not there")
    network, card, data = Network.from_pretrained(name), numbers(SHIPPED / name / "README.md"), make()
    data.setup()
    assert network.trained_on is not None
    assert network.trained_on.mean == pytest.approx(torch.as_tensor(data.mean).flatten().tolist())
    loader = data.test_dataloader()
    right: list[torch.Tensor] = []
    with torch.no_grad():
        for index, (images, labels) in enumerate(loader[0] if isinstance(loader, list) else loader):
            if index % 40 == 0:  # of most resolutions
                right.append(network.predict(images).argmax(1) == labels)
    correct = torch.cat(right).double()
    error = (card["accuracy"] * (1 - card["accuracy"]) / len(correct)) ** 0.5
    assert len(correct) >= 100
    assert correct.mean().item() == pytest.approx(card["accuracy"], abs=4 * error)
