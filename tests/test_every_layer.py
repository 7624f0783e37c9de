"""What holds for every public layer and network: which numbers they take, batches of nothing, memory made elsewhere."""

import pytest
import torch
from torch import Tensor

from tests.every_layer import EVERY_LAYER, public_modules


def tensors(outcome: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return outcome if isinstance(outcome, tuple) else (outcome,)


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


@pytest.mark.parametrize("name", ["SpectralBatchNorm", "GridBatchNorm", "FourierClassifier"])
def test_nothing_has_no_statistics(name: str) -> None:
    case = EVERY_LAYER[name]
    with pytest.raises(ValueError, match="must hold more than one value per channel"):
        case.make().train()(case.example(0))


ON_COEFFICIENTS = [name for name, case in EVERY_LAYER.items() if case.shape[-2:] == (0, 4)]


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
    made = "to_coefficients1d" if images.dim() == 3 else "to_coefficients"
    with pytest.raises(ValueError, match=rf"; of .* use {made}$"):
        case.make()(images)
