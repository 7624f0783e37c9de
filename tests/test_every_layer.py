"""What holds for every public layer and network: which numbers they take, batches of nothing, memory made elsewhere."""

import pytest
import torch
from pytorch_lightning import Trainer
from torch import Tensor, nn
from torchmetrics import Metric

from tests.every_layer import EVERY_LAYER, FINEST, public_modules


def tensors(outcome: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Those among what a layer puts out: a list of group elements is none."""
    several = outcome if isinstance(outcome, tuple) else (outcome,)
    return tuple(each for each in several if isinstance(each, Tensor))


def test_every_layer_is_here() -> None:
    here = {type(case.make()) for case in EVERY_LAYER.values()}
    assert public_modules() <= here, public_modules() - here


@pytest.mark.parametrize("name", EVERY_LAYER)
def test_only_floating_point_features(name: str) -> None:
    case = EVERY_LAYER[name]
    layer, x = case.make().eval(), case.example()
    layer(x)
    if case.complex:
        wrong = {"torch.float32": x.real, "torch.int64": x.real.long()}
    else:
        wrong = {"torch.int64": x.long(), "torch.bool": x > 0, "torch.complex64": torch.complex(x, x)}
        wrong |= {"torch.uint8": x.abs().byte()}
    expected = "complex" if case.complex else "a real floating-point tensor"
    for dtype, features in wrong.items():
        with pytest.raises(TypeError, match=rf"^\w+ must be {expected}, .*got {dtype}"):
            layer(features)


@pytest.mark.parametrize("name", EVERY_LAYER)
def test_a_batch_of_nothing(name: str) -> None:
    case = EVERY_LAYER[name]
    layer, batch = case.make().eval(), 11  # no other axis has this size
    some, none = tensors(layer(case.example(batch))), tensors(layer(case.example(0)))
    for one, other in zip(some, none, strict=True):
        assert batch in one.shape
        assert other.shape == tuple(0 if size == batch else size for size in one.shape)
        assert other.dtype == one.dtype


@pytest.mark.parametrize("name", ["SpectralBatchNorm", "GridBatchNorm", "FourierNetwork"])
def test_nothing_has_no_statistics(name: str) -> None:
    case = EVERY_LAYER[name]
    with pytest.raises(ValueError, match="must hold more than one value per channel"):
        case.make().train()(case.example(0))


NETWORKS = [
    name for name, case in EVERY_LAYER.items() if case.shape[0] == 0 and case.shape[-1] in (FINEST, 33)
]
ON_COEFFICIENTS = [name for name in EVERY_LAYER if EVERY_LAYER[name].shape[-2:] == (0, 4)]


@pytest.mark.parametrize(
    ("name", "batch"),
    [
        *((name, 2) for name in ON_COEFFICIENTS),
        *((name, 3) for name in ("BandPooling1d", "SpectralConv1d", "SpectralConv2d", "SpectralBatchNorm")),
    ],
)
def test_pixels_for_coefficients(name: str, batch: int) -> None:
    case = EVERY_LAYER[name]
    images = torch.randn(batch, 4, *case.shape[:-2])
    with pytest.raises(ValueError, match=r"; of .* use to_coefficients$"):
        case.make()(images)


def made_on_meta(name: str) -> nn.Module:
    """A layer whose memory was uninitialised: what ``to_empty`` leaves may happen to be zeros."""
    with torch.device("meta"):
        layer = EVERY_LAYER[name].make()
    layer.to_empty(device="cpu")
    for memory in (*layer.parameters(), *layer.buffers()):
        memory.data.fill_(7)
    return layer


@pytest.mark.parametrize("name", sorted(name for name in EVERY_LAYER if "Torchvision" not in name))
def test_reset_parameters_draws_what_the_constructor_draws(name: str) -> None:
    """Each module that holds parameters or buffers, as FSDP and Lightning ask them. torchvision's do so no more."""
    torch.manual_seed(0)
    ordinary = EVERY_LAYER[name].make()
    layer = made_on_meta(name)
    torch.manual_seed(0)
    for module in layer.modules():
        if any(True for _ in (*module.parameters(recurse=False), *module.buffers(recurse=False))):
            module.reset_parameters()
    assert_same_memory(layer, ordinary)


@pytest.mark.parametrize("name", EVERY_LAYER)
def test_a_layer_made_on_meta_is_the_ordinary_one_whose_weights_it_loads(name: str) -> None:
    ordinary, layer = EVERY_LAYER[name].make(), made_on_meta(name)
    layer.load_state_dict(ordinary.state_dict())
    assert_same_memory(layer, ordinary)
    x = EVERY_LAYER[name].example()
    for training in (True, False):
        outcomes = []
        for each in (layer, ordinary):
            torch.manual_seed(1)  # dropout
            outcomes.append(tensors(each.train(training)(x)))
        for one, other in zip(*outcomes, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in EVERY_LAYER
        if name.endswith(("Network", "CNN", "ResNet", "Classifier")) or name == "SESN"
    ],
)
def test_a_network_made_by_lightning_with_empty_weights(name: str) -> None:
    ordinary = EVERY_LAYER[name].make()
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    with trainer.init_module(empty_init=True):
        network = EVERY_LAYER[name].make()
    network.load_state_dict(ordinary.state_dict())
    assert_same_memory(network, ordinary)
    x = EVERY_LAYER[name].example()
    assert torch.equal(network.eval()(x), ordinary.eval()(x))


def test_metrics_made_on_meta_count_from_zero() -> None:
    network = made_on_meta("ScaleClassifier")
    logits, labels = torch.eye(3), torch.tensor([0, 1, 1])
    network.val_accuracy.update(logits, labels, FINEST)
    network.val_loss.update(torch.tensor([1.0, 2.0]))
    for _ in range(2):
        assert network.val_accuracy.compute()["overall"] == pytest.approx(2 / 3)
        assert network.val_loss.compute() == 1.5
        network.val_accuracy.reset()
        network.val_loss.reset()
        network.val_accuracy.update(logits, labels, FINEST)
        network.val_loss.update(torch.tensor([1.5]))


def assert_same_memory(one: nn.Module, other: nn.Module) -> None:
    """The same parameters, buffers and metrics' states, bit by bit."""
    for found in ("named_parameters", "named_buffers"):
        here, there = dict(getattr(one, found)()), dict(getattr(other, found)())
        assert here.keys() == there.keys()
        for name, memory in here.items():
            assert torch.equal(memory, there[name]), name
    for (name, module), reference in zip(one.named_modules(), other.modules(), strict=True):
        if isinstance(module, Metric):
            assert module.device == reference.device, name
            for state, default in module._defaults.items():
                for memory in (default, getattr(module, state)):
                    assert torch.equal(memory, reference._defaults[state]), (name, state)
