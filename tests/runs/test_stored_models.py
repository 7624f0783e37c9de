"""Checkpoints of every model open by themselves, as the network that they were written of."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from flat_settings import classifier, made
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from models import Classifier, OneCycle, ScaleClassifier
from sefl import networks
from sefl.files.torch_files import UnreadableFile
from sefl.files.trust import UntrustedCode
from sefl.fit import main as fit
from sefl.groups import OptimizedDesign
from sefl.networks import ConvNetwork, ConvTrunk, FourierNetwork, Network, TorchvisionNetwork
from sefl.networks.trained_on import TrainedOn
from sefl.runs.stored_models import KEY, StoredModel, open_checkpoint

RANGE: dict[str, Any] = {"base_resolution": 9, "max_resolution": 12, "classes": 3}
TRAINED: dict[str, Any] = {
    "optimizer": partial(torch.optim.SGD, lr=0.25, momentum=0.5),
    "lr_scheduler": partial(OneCycle, warmup=0.3),
}
OF_BANDS: dict[str, Any] = {
    "activation": "gelu",
    "norm": "batch",
    "oversampling": 1.5,
    "layer_base_resolution": 5,
    "head_cells": 4,
    "head_pool": "mean",
    "head_widths": [3],
    "head_hidden": 7,
    "head_dropout": 0.25,
    "head_growth": None,
    "consistency_weight": 0.5,
}
HEAD = {"head_cells": 3, "head_hidden": 7, "head_dropout": 0.25}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "PyramidNetwork": {
        "network": made("ConvNetwork", **RANGE, **HEAD, widths=[4, 5]),
        "levels": [9, 11],
        "growth": 0.1,
        "center": "image",
    },
    "GroupAveragedNetwork": {
        "network": networks.PyramidNetwork(made("ConvNetwork", **RANGE, **HEAD, widths=[4]), center="image"),
        "group": "D1",
    },
    "GroupFourierNetwork": {
        **OF_BANDS,
        **RANGE,
        "group": "C4",
        "widths": [2, 3],
        "kernel_size": [3, 5],
        "pools": [1, 2],
        "subgroups": [None, "C2"],
        "design": "subgroup",
        "grid_sharing": 1.5,
    },
    "GroupScaleNetwork": {**RANGE, "group": "C2", "widths": [2, 3], "kernel_sizes": 3, "dropout": 0.25},
    "FourierNetwork": {
        **OF_BANDS,
        **RANGE,
        "widths": [4, 5],
        "kernel_size": [3, 5],
        "pools": [1, 2],
        "projection": 3,
        "convolutions": 2,
        "residual": False,
        "band_step": 2,
        "center": "image",
    },
    "MixerNetwork": {
        **OF_BANDS,
        **RANGE,
        "width": 6,
        "depth": 1,
        "mixing": "magnitude",
        "bandwidth": 2,
        "groups": 3,
    },
    "ConvNetwork": {
        **RANGE,
        **HEAD,
        "widths": [4, 5],
        "kernel_size": 3,
        "pools": [2, 1],
        "resize": "reflect",
    },
    "FourierCNN": {
        **RANGE,
        **HEAD,
        "widths": [4, 5],
        "kernel_size": None,
        "pools": [2, 1],
        "residual": False,
    },
    "PerResolutionNetwork": {**RANGE, **HEAD, "widths": [4, 5], "kernel_size": 3, "pools": [2, 1]},
    "SESN": {
        **RANGE,
        **HEAD,
        "widths": [3, 4],
        "scales": (1.0, 1.5),
        "order": 2,
        "pools": [1, 2],
        "resize": "bicubic",
    },
    "WideResNet": {**RANGE, "depth": 10, "width": 1, "dropout": 0.1, "resize": "zero"},
    "TorchvisionNetwork": {
        "architecture": "squeezenet1_1",
        "network_args": {"dropout": 0.1},
        "classes": 3,
        "in_channels": 1,
        "base_resolution": 33,
        "max_resolution": 36,
    },
    "AntialiasedTorchvisionNetwork": {
        "architecture": "squeezenet1_1",
        "classes": 3,
        "in_channels": 1,
        "base_resolution": 33,
        "max_resolution": 36,
    },
    "GroupSampledNetwork": {
        "group": "C4",
        "classes": 3,
        "widths": [2, 3],
        "kernel_sizes": 3,
        "subgroups": ["C2", None],
        "spatial_rates": [1, 2],
        "anti_aliasing": "optimized",
        "equivariance": "subgroup",
        "optimized": OptimizedDesign(iterations=3, operator="adjacency"),
        "pooling": "mean",
        "dropout": 0.1,
    },
}
BASES = {"Network", "BandNetwork", "ScaleNetwork", "SinglePredictionNetwork"}


class Activated(ConvNetwork):
    """A network whose activation is a function."""

    def __init__(self, activation: Callable[[Tensor], Tensor] = F.relu, **others: Any) -> None:
        super().__init__(**others)
        self.activation = activation

    def classify(self, images: Tensor) -> Tensor:
        return self.activation(super().classify(images))


class Plain(nn.Linear):
    """A network of another kind than ours."""

    base_resolution = max_resolution = 2

    def before_optimizer_step(self) -> None:
        pass


def save(model: LightningModule, path: Path) -> Path:
    """Store it as a trainer does."""
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path)
    return path


def logits(model: LightningModule, images: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.as_tensor(model.eval()(images))


def assert_opens_alike(model: LightningModule, opened: LightningModule, images: Tensor) -> None:
    assert type(opened) is type(model)
    assert opened.training
    torch.testing.assert_close(logits(opened, images), logits(model, images), rtol=0, atol=0)


def test_every_network_is_here() -> None:
    classes = {name for name in networks.__all__ if issubclass(getattr(networks, name), Network)}
    assert classes - BASES == {*ARGUMENTS}
    assert issubclass(ScaleClassifier, StoredModel)
    assert issubclass(Classifier, StoredModel)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_checkpoint_opens_as_the_network_it_was_written_of(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = classifier(name, **ARGUMENTS[name], **TRAINED)
    size = getattr(model.network, "max_resolution", 12)
    images = torch.randn(2, 1, size, size)
    model(images)  # statistics of batch norms
    file = save(model, tmp_path / "last.ckpt")
    torch.load(file, weights_only=True)
    for opened in (open_checkpoint(file), type(model).load_from_checkpoint(file)):
        assert_opens_alike(model, opened, images)
        assert opened.optimizer.keywords == TRAINED["optimizer"].keywords
        assert opened.lr_scheduler.keywords == {"warmup": 0.3}
        again = save(opened, tmp_path / "again.ckpt")
        assert torch.load(again)[KEY] == torch.load(file)[KEY]
    other = Classifier if isinstance(model, ScaleClassifier) else ScaleClassifier
    with pytest.raises(ValueError, match="must be a checkpoint of"):
        other.load_from_checkpoint(file)


def test_signals(tmp_path: Path) -> None:
    model = classifier(ConvNetwork, classes=4, widths=[3], dimensions=1, resize="ideal")
    assert_opens_alike(model, open_checkpoint(save(model, tmp_path / "a.ckpt")), torch.randn(2, 1, 20))


FUNCTIONS = [torch.tanh, F.gelu, F.relu, torch.sin, partial(F.leaky_relu, negative_slope=-0.3)]


@pytest.mark.parametrize("activation", FUNCTIONS)
def test_functions(activation: Any, tmp_path: Path) -> None:
    model = ScaleClassifier(Activated(activation, trunk=ConvTrunk([3])))
    opened = ScaleClassifier.load_from_checkpoint(save(model, tmp_path / "a.ckpt"))
    assert_opens_alike(model, opened, torch.randn(2, 1, 12, 12))


def test_what_cannot_be_stored_is_said_and_can_be_given(tmp_path: Path) -> None:
    images = torch.randn(2, 1, 12, 12)
    model = ScaleClassifier(Activated(lambda x: x.sin(), trunk=ConvTrunk([3])))
    file = save(model, tmp_path / "a.ckpt")
    with pytest.raises(
        UnreadableFile,
        match=r"a.ckpt: .* made with network=Activated, of .*<function .* give it, by .*network",
    ):
        ScaleClassifier.load_from_checkpoint(file)
    given = Activated(torch.sin, trunk=ConvTrunk([3]))
    assert_opens_alike(model, ScaleClassifier.load_from_checkpoint(file, network=given), images)

    plain: Any = Plain(2, 3)
    file = save(ScaleClassifier(plain), tmp_path / "b.ckpt")
    with pytest.raises(UnreadableFile, match=r"network=Plain\(in_features"):
        open_checkpoint(file)
    opened = ScaleClassifier.load_from_checkpoint(file, network=Plain(2, 3))
    assert_opens_alike(ScaleClassifier(plain), opened, torch.randn(5, 2))

    # training alone needs the optimiser
    trained = classifier(
        ConvNetwork, widths=[3], optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0)
    )
    opened = open_checkpoint(save(trained, tmp_path / "c.ckpt"))
    assert_opens_alike(trained, opened, images)
    with pytest.raises(ValueError, match=r"could not hold its <function .* give one to train on"):
        opened.configure_optimizers()


def test_a_class_within_a_function_opens_by_itself_alone(tmp_path: Path) -> None:
    class Local(ScaleClassifier):
        pass

    model = Local(made(ConvNetwork, widths=[3]))
    file = save(model, tmp_path / "a.ckpt")
    assert_opens_alike(model, Local.load_from_checkpoint(file), torch.randn(2, 1, 12, 12))
    with pytest.raises(UnreadableFile, match="class cannot be imported"):
        open_checkpoint(file)


def test_weights_that_it_started_from_are_not_needed(tmp_path: Path) -> None:
    first = TorchvisionNetwork("squeezenet1_1", classes=3)
    torch.save(first.body.state_dict(), tmp_path / "mine.pth")
    network = TorchvisionNetwork("squeezenet1_1", classes=3, state_dict=str(tmp_path / "mine.pth"))
    model = ScaleClassifier(network)
    file = save(model, tmp_path / "a.ckpt")
    (tmp_path / "mine.pth").unlink()
    assert_opens_alike(model, open_checkpoint(file), torch.randn(2, 3, 40, 40))


def test_a_checkpoint_without_arguments_is_not_opened_as_another(tmp_path: Path) -> None:
    model = classifier("GroupSampledNetwork", group="C4", widths=[2], pooling="mean")
    content = torch.load(save(model, tmp_path / "a.ckpt"))
    del content[KEY]
    torch.save(content, tmp_path / "a.ckpt")
    given = {"optimizer": torch.optim.SGD}
    for opens in (
        open_checkpoint,
        Classifier.load_from_checkpoint,
        ScaleClassifier.load_from_checkpoint,
    ):
        with pytest.raises(
            UnreadableFile, match=r"does not hold what the model was made of, as .*Give its arguments"
        ):
            opens(tmp_path / "a.ckpt", **given)
    known = made("GroupSampledNetwork", group="C4", widths=[2], pooling="mean")
    opened = Classifier.load_from_checkpoint(tmp_path / "a.ckpt", network=known)
    assert_opens_alike(model, opened, torch.randn(2, 1, 12, 12))


@pytest.mark.parametrize(
    ("made_of", "error"),
    [
        ({"class_path": "os.system", "init_args": {"command": "mkdir executed"}}, ValueError),
        ({"class_path": "stranger.Model", "init_args": {}}, UntrustedCode),
        ({"class_path": "absent.Model", "init_args": {}}, ValueError),
        (
            {
                "class_path": "models.ScaleClassifier",
                "init_args": {
                    "network": {
                        "kind": "instance",
                        "class_path": "os.mkdir",
                        "init_args": {"path": "executed"},
                    }
                },
            },
            UntrustedCode,
        ),
        (
            {
                "class_path": "models.ScaleClassifier",
                "init_args": {"optimizer": {"kind": "itself", "class_path": "os.mkdir"}},
            },
            UntrustedCode,
        ),
    ],
)
def test_nothing_of_others_is_run(
    made_of: dict[str, Any], error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("stranger.py").write_text("import os\nos.mkdir('executed')\n")
    content = torch.load(save(classifier(ConvNetwork, widths=[3]), tmp_path / "a.ckpt"))
    torch.save({**content, KEY: made_of}, "a.ckpt")
    with pytest.raises(error):
        open_checkpoint("a.ckpt")
    assert not Path("executed").exists()


def test_of_a_run(tiny: Path) -> None:
    """As ``sefl.fit`` writes it: with arguments of every kind, and what it was trained on."""
    options = [
        "--trainer.max_epochs",
        "1",
        "--model.network.trunk.activation",
        "gelu",
        "--model.network.trunk.oversampling",
        "1.5",
    ]
    fit(["--config", str(tiny), *options, "--data.mean", "0.25"])
    opened = open_checkpoint("runs/tiny/0/checkpoints/last.ckpt")
    assert isinstance(opened, ScaleClassifier)
    assert isinstance(opened.network, FourierNetwork)
    digits = [str(digit) for digit in range(10)]
    assert opened.trained_on == TrainedOn([0.25], [0.26], digits, "Glyphs/12", 12, [8, 11, 12], "ideal")
    assert opened.optimizer.keywords["lr"] == 0.01
    assert opened.network.blocks[0].nonlinearity.activation is F.gelu

    # and in a trainer of one's own, without a datamodule
    data = DataLoader(TensorDataset(torch.randn(4, 1, 12, 12), torch.arange(4)), batch_size=2)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", max_epochs=1, enable_checkpointing=False, **quiet)
    trainer.fit(opened, data)
    trainer.save_checkpoint("mine.ckpt")
    again = open_checkpoint("mine.ckpt")
    assert_opens_alike(opened.train(), again, torch.randn(2, 1, 12, 12))
    assert again.trained_on == opened.trained_on
