"""The recipe for a network of one's own: train it, measure it, measure one's own weights without training."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from torchvision.models import resnet18

from sefl.evaluate import main as evaluate
from sefl.fit import main as fit
from sefl.networks import TorchvisionNetwork
from sefl.runs.metrics_file import iterate_rows

CONFIG = Path(__file__).parents[2] / "configs/own_model/resnet18.yaml"
TINY = {
    "data": {
        "class_path": "datamodules.Glyphs",
        "init_args": {
            "image_size": 35,
            "resolutions": [35],
            "train_samples": 20,
            "val_samples": 12,
            "test_samples": 12,
            "batch_size": 10,
            "eval_batch_size": 6,
        },
    },
    "model": {"init_args": {"network": {"init_args": {"base_resolution": 33, "max_resolution": 35}}}},
    "trainer": {
        "max_epochs": 1,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "enable_model_summary": False,
    },
    "wandb": {"mode": "disabled"},
}
MEASURED = ["network.body.maxpool", *(f"network.body.layer{i}" for i in range(1, 5)), "network.body.fc"]


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The recipe, and over it an experiment of seconds, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    settings = yaml.safe_load(CONFIG.read_text())
    (monitor,) = settings["trainer"]["callbacks"]
    monitor["init_args"]["transformations"][0]["init_args"]["resolutions"] = [33]
    tiny = {**TINY, "trainer": {**TINY["trainer"], "callbacks": [monitor]}}
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny))
    return ["--config", str(CONFIG), "--config", "tiny.yaml", "--name", "own"]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Weights that an ordinary script saved."""
    torch.manual_seed(0)
    file = tmp_path / "mine.pth"
    torch.save(resnet18(num_classes=10).state_dict(), file)
    return file


def test_it_trains_and_is_measured(configs: list[str]) -> None:
    fit(configs)
    folder = Path("runs/own/0/equivariance")
    rows = list(iterate_rows(folder / "fit.csv"))
    assert list(dict.fromkeys(row["layer"] for row in rows)) == MEASURED
    assert {row["transformation"] for row in rows} == {"downsample", "flip_horizontal", "shift"}
    assert all(float(row["mean"]) > 1e-3 for row in rows), "an ordinary network is not equivariant"
    agreement = list(iterate_rows(folder / "fit-agreement.csv"))
    assert [row["parameter"] for row in agreement if row["transformation"] == "shift"][-2:] == [
        "mean",
        "pairs",
    ]
    assert (folder / "fit-agreement.png").is_file()


def test_own_weights_are_measured_without_training(
    configs: list[str], mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate([*configs, "--model.network.state_dict", "mine.pth"])
    output = Path("runs/own/pretrained/evaluation/0")
    result = json.loads((output / "evaluation.json").read_text())
    assert result["checkpoint"] is None
    assert list(dict.fromkeys(row["layer"] for row in result["equivariance"])) == MEASURED
    assert 0 <= result["metrics"]["agreement_test/shift/pairs"] <= 1
    shown = capsys.readouterr().out
    for expected in ("the model's own weights", "Agreement of predictions", "network.body.layer4"):
        assert expected in shown


def test_it_is_the_network_of_torchvision(mine: Path) -> None:
    network = resnet18(num_classes=10).eval()
    network.load_state_dict(torch.load(mine))
    images = torch.randn(2, 1, 40, 40)
    for channels in (1, 3):
        model = TorchvisionNetwork(in_channels=channels, state_dict=str(mine)).eval()
        given = images.expand(-1, channels, -1, -1)
        torch.testing.assert_close(model(given)[:, 0], network(images.repeat(1, 3, 1, 1)))
        assert model.pretrained
    assert not TorchvisionNetwork().pretrained
    assert not torch.equal(TorchvisionNetwork(in_channels=1).eval()(images)[:, 0], model(given)[:, 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--ckpt_path: is needed"),
        (["--model.network.state_dict", "absent.pth"], "state_dict absent.pth: there is no such file"),
        (["--model.network.state_dict", "text.pth"], "state_dict text.pth: is no file of torch.save"),
        (
            ["--model.network.state_dict", "nested.pth"],
            "holds no weights by name but model, epoch. Write it by torch.save",
        ),
        (
            ["--model.network.state_dict", "mine.pth", "--model.network.classes", "7"],
            "fc.weight is (10, 512) in the file and (7, 512)",
        ),
        (
            ["--model.network.state_dict", "mine.pth", "--model.network.architecture", "resnet34"],
            "is absent in the file and",
        ),
        (["--model.network.architecture", "resnet19"], "architecture must be one of alexnet"),
        (
            ["--model.network.architecture", "resnet18", "--model.network.weights", "BEST"],
            "must be one of IMAGENET1K_V1, DEFAULT",
        ),
        (["--model.network.architecture", "googlenet"], "must be {aux_logits: false}"),
        (["--model.network.in_channels", "2"], "in_channels must be 1 or 3, got 2"),
        (
            ["--model.network.state_dict", "mine.pth", "--model.network.weights", "DEFAULT"],
            "exclude each other",
        ),
    ],
)
def test_a_mistake_is_one_message(
    configs: list[str], mine: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    Path("text.pth").write_text("no weights")
    torch.save({"model": torch.load(mine), "epoch": 3}, "nested.pth")
    with pytest.raises(SystemExit) as exit_status:
        evaluate([*configs, *arguments])
    error = capfd.readouterr().err
    assert exit_status.value.code == 2
    assert message in " ".join(error.split())
    assert "Traceback" not in error
    assert not Path("runs").exists()
