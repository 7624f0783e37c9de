"""Shift consistency against its definition, of invariant and other networks, on two processes against one."""

import math
from itertools import combinations

import pytest
import torch
from torch import Tensor, nn

from sefl.metrics import ShiftConsistency, predictions_agree, shifted_copies

SHARDS = [[5, 3, 1, 4], [7]]
CLASSES = 5


def logits(rank: int) -> list[Tensor]:
    """Copies of the batches of one process: of other sizes, and other numbers of copies."""
    generator = torch.Generator().manual_seed(rank)
    base = [torch.randn(1, size, CLASSES, generator=generator) for size in SHARDS[rank]]
    return [
        each + torch.randn(2 + i % 3, each.shape[1], CLASSES, generator=generator)
        for i, each in enumerate(base)
    ]


def measure(ranks: list[int]) -> dict[str, float]:
    consistency = ShiftConsistency()
    for rank in ranks:
        for batch in logits(rank):
            consistency.update(batch)
    return {name: value.item() for name, value in consistency.compute().items()}


def test_two_processes_with_uneven_shards_give_what_one_gives(on_two_processes):
    one = measure([0, 1])
    assert on_two_processes(lambda rank: measure([rank])) == [one, one]
    assert measure([0]) != one, "a process alone must not give the answer already"


def test_against_the_definition():
    copies = torch.randint(0, 3, (4, 50), generator=torch.Generator().manual_seed(0))
    columns = copies.T.tolist()
    unshifted = [label == column[0] for column in columns for label in column[1:]]
    pairs = [a == b for column in columns for a, b in combinations(column, 2)]
    for given in (copies, nn.functional.one_hot(copies, 3).float()):
        consistency = ShiftConsistency()
        consistency.update(given[:, :20])
        consistency.update(given[:, 20:])
        found = consistency.compute()
        assert found["unshifted"].item() == sum(unshifted) / 150
        assert found["pairs"].item() == sum(pairs) / 300
        assert found["unshifted"] != found["pairs"]


def network(axes: int, invariant: bool) -> nn.Sequential:
    """Periodic convolutions and a global mean; the control pads with zeros, subsamples and looks at positions."""
    torch.manual_seed(0)
    convolution = nn.Conv2d if axes == 2 else nn.Conv1d
    pool = nn.AdaptiveAvgPool2d if axes == 2 else nn.AdaptiveAvgPool1d
    padding, stride, cells = ("circular", 1, 1) if invariant else ("zeros", 2, 2)
    return nn.Sequential(
        convolution(3, 8, 3, padding=1, padding_mode=padding),
        nn.ReLU(),
        convolution(8, 8, 3, stride=stride, padding=1, padding_mode=padding),
        pool(cells),
        nn.Flatten(),
        nn.Linear(8 * cells**axes, CLASSES),
        nn.BatchNorm1d(CLASSES, affine=False),  # so that every class is predicted
    ).double()


@pytest.mark.parametrize("space", [(12, 10), (24,)], ids=["images", "signals"])
def test_an_invariant_network_is_consistent_and_the_control_is_not(space):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(40, 3, *space, generator=generator, dtype=torch.float64)
    copies = shifted_copies(inputs, [1, 2, 5, tuple(range(3, 3 + len(space)))])
    assert copies.shape == (5, *inputs.shape)
    for invariant in (True, False):
        consistency = ShiftConsistency()
        model = network(len(space), invariant)
        predictions = model(copies.flatten(0, 1))
        assert len(predictions.argmax(1).unique()) == CLASSES
        consistency.update(predictions.unflatten(0, copies.shape[:2]))
        values = consistency.compute().values()
        assert all(value == 1 for value in values) if invariant else all(0 < value < 0.9 for value in values)


def test_copies_come_in_at_the_other_side():
    images = torch.arange(12.0).view(1, 1, 3, 4)
    zero, both, across = shifted_copies(images, [1, (0, 3)])
    assert torch.equal(zero, images)
    assert both[0, 0, 0, 0] == images[0, 0, -1, -1]
    assert torch.equal(across, images.roll(3, 3))


def test_nan_agrees_with_none_and_no_samples_are_nan():
    scores = torch.zeros(2, 3, 4)
    scores[0, 1, 2] = math.nan
    assert predictions_agree(scores)[0, 1].tolist() == [True, False, True]
    consistency = ShiftConsistency()
    consistency.update(torch.zeros(2, 0, 4))
    assert all(value.isnan() for value in consistency.compute().values())


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        (torch.zeros(1, 3, 4), r"at least 2 copies, got shape \(1, 3, 4\)"),
        (torch.zeros(3), r"logits \(copies, batch, classes\).*got shape \(3,\)"),
        (torch.zeros(2, 3, 1), "at least 2 classes, got 1"),
    ],
)
def test_refuses_what_are_no_predictions_of_copies(predictions, message):
    with pytest.raises(ValueError, match=message):
        ShiftConsistency().update(predictions)


def test_refuses_shifts_along_other_axes():
    with pytest.raises(ValueError, match=r"each of 1 axes, got \(1, 2\)"):
        shifted_copies(torch.zeros(2, 3, 8), [(1, 2)])
    with pytest.raises(ValueError, match=r"\(batch, channels, \*space\), got shape \(2, 3\)"):
        shifted_copies(torch.zeros(2, 3), [1])
