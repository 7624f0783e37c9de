"""The measures over an orbit against their definitions, and on two processes against one."""

import math

import pytest
import torch
from torch import Tensor

from sefl.groups.orbit import Orbit
from sefl.metrics import OrbitAccuracy, OrbitError, invariance_error

ORBIT = Orbit(12, reflections=True)
# Uneven shards: the second process sees three batches fewer, of other sizes.
SHARDS = [[5, 3, 1, 4, 2], [7, 1]]


def batches(rank: int) -> list[tuple[Tensor, Tensor]]:
    """Logits of wildly different magnitudes, often right, and targets of one process."""
    generator = torch.Generator().manual_seed(rank)
    made = []
    for size in SHARDS[rank]:
        targets = torch.randint(0, 4, (size,), generator=generator)
        logits = torch.randn(len(ORBIT), size, 4, generator=generator)
        logits += 3 * torch.nn.functional.one_hot(targets, 4)
        made.append((logits * 10.0 ** torch.randint(-3, 4, (), generator=generator), targets))
    return made


def measure(ranks: list[int]) -> dict[str, list[float]]:
    """Both metrics over the batches of these ranks."""
    accuracy = OrbitAccuracy(ORBIT.angles, ORBIT.mirrored)
    error = OrbitError(ORBIT.angles, ORBIT.mirrored)
    for logits, targets in (batch for rank in ranks for batch in batches(rank)):
        accuracy.update(logits, targets)
        error.update(logits)
    values = {**accuracy.compute(), **{f"error_{name}": value for name, value in error.compute().items()}}
    return {name: value.reshape(-1).tolist() for name, value in values.items()}


def test_two_processes_with_uneven_shards_give_what_one_gives(on_two_processes) -> None:
    one = measure([0, 1])
    for measured in on_two_processes(lambda rank: measure([rank])):
        assert measured.keys() == one.keys()
        for name, value in one.items():
            assert measured[name] == pytest.approx(value, rel=1e-12, abs=0), name
    assert measure([0]) != one, "a process alone must not give the answer already"


def test_nothing_is_stored_in_checkpoints() -> None:
    for metric in (OrbitAccuracy([0, 90]), OrbitError([0, 90])):
        assert not metric.state_dict()


class TestOrbitAccuracy:
    def test_against_the_definitions(self) -> None:
        metric = OrbitAccuracy(ORBIT.angles, ORBIT.mirrored)
        hits = []
        for logits, targets in batches(0):
            metric.update(logits, targets)
            hits += (logits.argmax(2) == targets).T.tolist()  # one row of elements per sample
        local = [0, 1, 11]  # 0, 30 and 330 degrees: 60 is not below 60
        samples, elements = len(hits), len(ORBIT)
        result = metric.compute()
        assert result["no_aug"].item() == sum(row[0] for row in hits) / samples
        assert result["orbit"].item() == sum(map(sum, hits)) / (samples * elements)
        assert result["orbit_all"].item() == sum(map(all, hits)) / samples
        assert result["loc"].item() == sum(row[n] for row in hits for n in local) / (samples * len(local))
        assert result["per_element"].tolist() == [sum(column) / samples for column in zip(*hits, strict=True)]
        assert len({round(result[name].item(), 6) for name in ("no_aug", "orbit", "orbit_all", "loc")}) == 4

    def test_logits_and_labels_agree(self) -> None:
        of_logits, of_labels = (OrbitAccuracy(ORBIT.angles, ORBIT.mirrored) for _ in range(2))
        for logits, targets in batches(1):
            of_logits.update(logits, targets)
            of_labels.update(logits.argmax(2), targets)
        for name, value in of_logits.compute().items():
            assert value.equal(of_labels.compute()[name])

    def test_the_identity_may_stand_anywhere(self) -> None:
        metric = OrbitAccuracy([90, 0, 0], [False, True, False])
        metric.update(torch.tensor([[0], [0], [1]]), torch.tensor([1]))
        assert metric.compute()["no_aug"] == metric.compute()["loc"] == 1
        assert metric.compute()["orbit"].item() == pytest.approx(1 / 3)

    def test_no_samples_are_nan(self) -> None:
        metric = OrbitAccuracy([0, 90])
        metric.update(torch.zeros(2, 0, 4), torch.zeros(0, dtype=torch.int64))
        for value in metric.compute().values():
            assert value.isnan().all()

    def test_refuses_what_does_not_fit(self) -> None:
        metric = OrbitAccuracy([0, 90])
        with pytest.raises(
            ValueError, match=r"predictions must be .* with 2 elements, got shape \(3, 5, 4\)"
        ):
            metric.update(torch.rand(3, 5, 4), torch.zeros(5, dtype=torch.int64))
        with pytest.raises(ValueError, match=r"got shapes \(2, 5, 4\) and \(4,\)"):
            metric.update(torch.rand(2, 5, 4), torch.zeros(4, dtype=torch.int64))

    @pytest.mark.parametrize(
        ("angles", "mirrored", "message"),
        [
            ([], None, r"angles must be finite numbers of degrees, at least one"),
            ([0, 90], [False], r"mirrored must be one flag for each of the 2 angles, got 1"),
            ([0, 360.0], None, r"angles must be different rotations"),
            ([0, 0, 0], [False, True, True], r"angles must be different rotations"),
            ([15, 30], None, r"angles must contain 0, not mirrored, got \[15, 30\]"),
            ([0, 30], [True, False], r"angles must contain 0, not mirrored"),
        ],
    )
    def test_refuses_bad_elements(self, angles, mirrored, message: str) -> None:
        for metric in (OrbitAccuracy, OrbitError):
            with pytest.raises(ValueError, match=message):
                metric(angles, mirrored)


class TestOrbitError:
    def test_against_the_formula(self) -> None:
        metric = OrbitError([30, 0, 60])
        outputs = torch.randn(3, 6, 2, 5)
        metric.update(outputs[:, :4])
        metric.update(outputs[:, 4:])
        moved = (outputs - outputs[1]).double().square().sum((2, 3))
        expected = moved / outputs[1].double().square().sum((1, 2))
        result = metric.compute()
        assert result["mean"].item() == pytest.approx(expected[[0, 2]].mean().item(), rel=1e-6)
        assert result["max"].item() == pytest.approx(expected.max().item(), rel=1e-6)
        assert result["per_element"].tolist() == pytest.approx(expected.mean(1).tolist(), rel=1e-6)

    def test_is_zero_for_what_is_invariant_and_only_then(self) -> None:
        images = torch.rand(3, 1, 9, 9, dtype=torch.float64)
        orbit = Orbit(4, reflections=True)
        ring = torch.zeros(9, 9, dtype=torch.float64)
        ring[0], ring[-1], ring[:, 0], ring[:, -1] = 1, 1, 1, 1
        half = torch.zeros(9, 9, dtype=torch.float64)
        half[:4] = 1
        for weight, invariant in [(ring, True), (half, False)]:
            metric = OrbitError(orbit.angles, orbit.mirrored)
            metric.update((orbit(images) * weight).sum((3, 4)))
            assert (metric.compute()["max"].item() < 1e-28) == invariant
            assert (metric.compute()["mean"].item() > 1e-3) != invariant

    def test_nan_is_not_hidden(self) -> None:
        metric = OrbitError([0, 90])
        outputs = torch.ones(2, 3, 4)
        outputs[1, 1, 2] = math.nan
        metric.update(outputs)
        metric.update(torch.ones(2, 3, 4))
        assert metric.compute()["mean"].isnan()
        assert metric.compute()["max"].isnan()

    def test_nothing_measured_is_nan(self) -> None:
        for angles, outputs in [([0, 90], torch.ones(2, 0, 4)), ([0], torch.ones(1, 3, 4))]:
            metric = OrbitError(angles)
            metric.update(outputs)
            assert metric.compute()["mean"].isnan()
            assert metric.compute()["max"].isnan()

    def test_refuses_by_name(self) -> None:
        with pytest.raises(ValueError, match=r"outputs must be .* with 2 elements, got shape \(3, 5\)"):
            OrbitError([0, 90]).update(torch.rand(3, 5))
        with pytest.raises(TypeError, match=r"torch.int64"):
            OrbitError([0, 90]).update(torch.zeros(2, 5, dtype=torch.int64))
        with pytest.raises(ValueError, match=r"identity must be one of the 2 elements, got 2"):
            invariance_error(torch.rand(2, 5), identity=2)
        with pytest.raises(ValueError, match=r"outputs must be \(elements, batch, ...\), got shape \(2,\)"):
            invariance_error(torch.rand(2))


def test_states_keep_float64_in_a_model_of_lower_precision() -> None:
    metric = OrbitError([0, 90]).to(torch.bfloat16)
    assert metric.total.dtype == metric.largest.dtype == torch.float64
