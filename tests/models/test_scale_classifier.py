"""What a network of several bands is trained on: two of them, smoothed labels, mixed images."""

from typing import Any

import numpy as np
import pytest
import torch
from flat_settings import made
from torch import Tensor
from torch.nn import functional as F

from models import ScaleClassifier
from sefl.networks import FourierNetwork

BASE, FINEST, CLASSES = 6, 16, 5
BANDS = 6  # from 2 to 7, of which 16 pixels hold all


def model(network: str | type = FourierNetwork, **training: Any) -> ScaleClassifier:
    torch.manual_seed(0)
    scales = {"base_resolution": BASE, "max_resolution": FINEST, "classes": CLASSES}
    inner = made(network, widths=[4, 4], head_hidden=8, **scales)
    classifier = ScaleClassifier(inner, **training).eval()
    classifier.log = lambda *_, **__: None  # type: ignore[method-assign]
    return classifier


def batch(resolution: int = FINEST, size: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(size, 1, resolution, resolution, generator=generator)
    return images, torch.arange(size) % CLASSES


def places_read(classifier: ScaleClassifier, resolution: int, batches: int) -> list[list[int]]:
    """Which bands the head is asked for in training steps."""
    read: list[list[int]] = []
    head = classifier.network.head
    handle = head.register_forward_pre_hook(lambda _, inputs: read.append(list(inputs[1])))
    for number in range(batches):
        classifier.training_step(batch(resolution), number)
    handle.remove()
    return read


def test_two_bands_are_the_images_own_and_each_coarser_one_in_turn() -> None:
    classifier = model(trained_bands="two")
    read = places_read(classifier, FINEST, 40)
    assert {own for _, own in read} == {BANDS - 1}
    assert {coarser for coarser, _ in read} == set(range(BANDS - 1))
    assert places_read(classifier, BASE, 2) == [[0], [0]]  # which has no coarser one


def test_two_bands_are_drawn_by_the_seed_and_the_batch() -> None:
    """And not by the state of a generator, of which processes and runs that go on have others."""
    classifier = model(trained_bands="two")
    torch.manual_seed(3)
    first = places_read(classifier, FINEST, 8)
    torch.manual_seed(3)
    torch.rand(100)
    assert places_read(classifier, FINEST, 8) == first
    torch.manual_seed(4)
    assert places_read(classifier, FINEST, 8) != first


def test_the_loss_of_two_bands_is_theirs_in_that_of_all() -> None:
    classifier = model(trained_bands="two", consistency_weight=0.7)
    images, labels = batch()
    (places,) = places_read(classifier, FINEST, 1)
    losses = classifier.band_losses(classifier(images)[:, places], labels)
    expected = losses.sum(1).mean() + 0.7 * (losses[:, 1] - losses[:, 0]).clamp(min=0).mean()
    torch.testing.assert_close(classifier.training_step((images, labels), 0), expected)


def test_labels_are_smoothed_in_training_alone() -> None:
    smoothed, sharp = model(label_smoothing=0.2), model()
    images, labels = batch()
    logits = sharp(images)
    log_probabilities = logits.log_softmax(-1)
    targets = 0.8 * F.one_hot(labels, CLASSES) + 0.2 / CLASSES
    expected = -(targets[:, None] * log_probabilities).sum(-1)
    torch.testing.assert_close(smoothed.band_losses(logits, labels, 0.2), expected)
    assert smoothed.training_step((images, labels), 0) != sharp.training_step((images, labels), 0)
    for classifier in (smoothed, sharp):
        classifier.validation_step((images, labels), 0)
    assert smoothed.val_loss.compute() == sharp.val_loss.compute()


def test_mixed_images_have_mixed_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = model(mixup=0.5)
    images, labels = batch()
    seen: list[Tensor] = []
    classifier.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    losses: list[Tensor] = []
    band_losses = classifier.band_losses
    monkeypatch.setattr(
        classifier,
        "band_losses",
        lambda logits, targets, smoothing: losses.append(targets) or band_losses(logits, targets),
    )
    classifier.training_step((images, labels), 0)
    (mixed,), (targets,) = seen, losses
    for image, target, own, label in zip(mixed, targets, images, labels, strict=True):
        found = [
            (share, partner)
            for partner in range(len(images))
            if (share := _share(image, own, images[partner])) is not None
        ]
        assert any(
            torch.allclose(
                target,
                share * F.one_hot(label, CLASSES) + (1 - share) * F.one_hot(labels[partner], CLASSES),
                atol=1e-5,
            )
            for share, partner in found
        )
    assert not torch.equal(mixed, images)
    assert np.allclose(targets.sum(1), 1)


def _share(image: Tensor, own: Tensor, other: Tensor) -> float | None:
    """The weight of ``own`` in ``image``, where it is a mix of the two."""
    direction = own - other
    if not direction.any():
        return 1.0 if torch.equal(image, own) else None
    share = ((image - other) * direction).sum() / direction.square().sum()
    return float(share) if torch.allclose(torch.lerp(other, own, share), image, atol=1e-5) else None


def test_only_the_own_band_is_read_where_one_is_reported() -> None:
    classifier = model(trained_bands="two")
    read: list[list[int]] = []
    classifier.network.head.register_forward_pre_hook(lambda _, inputs: read.append(list(inputs[1])))
    for resolution in (BASE, 11, FINEST):
        images, _ = batch(resolution)
        logits = classifier.predict_step(images, 0)
        torch.testing.assert_close(logits, classifier(images)[:, -1])
    assert read[::2] == [[0], [3], [5]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label_smoothing": 1.0}, "label_smoothing must be .* got 1.0"),
        ({"mixup": -0.1}, "mixup must be .* got -0.1"),
        ({"trained_bands": "three"}, "trained_bands must be one of 'all', 'two', 'own', got 'three'"),
        (
            {"trained_bands": "own", "network": "ConvNetwork"},
            "trained_bands must be 'all' for a ConvNetwork, got 'own': it has no bands",
        ),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**arguments)
