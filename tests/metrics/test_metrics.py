"""The metrics against their formulas, in every precision, and on two processes against one."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from sefl.metrics import (
    Accuracy,
    EquivarianceError,
    OrbitAccuracy,
    OrbitError,
    PerResolutionAccuracy,
    ScaleConsistency,
    ShiftConsistency,
    relative_squared_error,
)

RESOLUTIONS = [8, 9, 10]
# Uneven shards: the second process sees three batches fewer, of other sizes.
SHARDS = [[5, 3, 1, 4, 2], [7, 1]]


def batches(rank: int) -> list[dict[str, Tensor]]:
    """The batches of one process, of wildly different magnitudes."""
    generator = torch.Generator().manual_seed(rank)
    made = []
    for size in SHARDS[rank]:
        expected = torch.randn(size, 2, 4, 4, generator=generator)
        noise = torch.randn(size, 2, 4, 4, generator=generator) * 10.0 ** -torch.randint(
            0, 4, (), generator=generator
        )
        made.append(
            {
                "expected": expected,
                "actual": expected + noise,
                "losses": torch.rand(size, 3, generator=generator),
                "predictions": torch.rand(size, 4, generator=generator),
                "targets": torch.randint(0, 4, (size,), generator=generator),
                "resolution": torch.randint(8, 10, (size,), generator=generator),
            }
        )
    return made


def measure(ranks: list[int]) -> dict[str, float]:
    """Every metric over the batches of these ranks, as floats."""
    error, accuracy = EquivarianceError(), PerResolutionAccuracy(RESOLUTIONS)
    loose, strict = ScaleConsistency(), ScaleConsistency(strict=True)
    for batch in (batch for rank in ranks for batch in batches(rank)):
        error.update(batch["expected"], batch["actual"])
        accuracy.update(batch["predictions"], batch["targets"], batch["resolution"])
        loose.update(batch["losses"])
        strict.update(batch["losses"])
    values = {**error.compute(), **{str(key): value for key, value in accuracy.compute().items()}}
    values |= {"loose": loose.compute(), "strict": strict.compute()}
    return {name: value.item() for name, value in values.items()}


def test_two_processes_with_uneven_shards_give_what_one_gives(on_two_processes):
    one = measure([0, 1])
    for measured in on_two_processes(lambda rank: measure([rank])):
        assert measured.keys() == one.keys()
        for name, value in one.items():
            assert measured[name] == pytest.approx(value, rel=1e-12, abs=0, nan_ok=True), name
    assert measure([0]) != one, "a process alone must not give the answer already"


class TestEquivarianceError:
    def test_follows_the_formula(self):
        expected, actual = torch.randn(6, 3, 5, 5), torch.randn(6, 3, 5, 5)
        each = [
            ((e - a).double().norm() / e.double().norm()) ** 2 for e, a in zip(expected, actual, strict=True)
        ]
        error = EquivarianceError()
        error.update(expected[:2], actual[:2])
        error.update(expected[2:], actual[2:])
        result = error.compute()
        assert result["mean"].item() == pytest.approx(float(sum(each)) / 6, rel=1e-6)
        assert result["max"].item() == pytest.approx(float(max(each)), rel=1e-6)
        assert result["count"] == 6

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
    def test_upcasts_before_it_subtracts(self, dtype):
        expected = torch.full((1, 1000), 200.0, dtype=dtype)  # squares overflow float16
        actual = torch.full((1, 1000), 201.0, dtype=dtype)
        assert relative_squared_error(expected, actual).item() == pytest.approx(1 / 200**2, rel=1e-12)

    def test_errors_far_below_rounding_survive(self):
        expected = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
        assert relative_squared_error(expected, expected + torch.tensor([0.0, 1e-16])).item() > 9e-33

    def test_sums_do_not_lose_small_errors_among_many(self):
        error = EquivarianceError()
        one, off = torch.ones(4096, 1), torch.full((4096, 1), 1.0 + 2.0**-12)
        for _ in range(50):
            error.update(one, off)
        assert error.compute()["mean"].item() == pytest.approx(2.0**-24, rel=1e-12)

    def test_zero_energy(self):
        zero, one = torch.zeros(1, 3), torch.ones(1, 3)
        assert relative_squared_error(zero, zero).item() == 0
        assert relative_squared_error(zero, one).item() == math.inf
        assert relative_squared_error(one, zero).item() == 1

    @pytest.mark.parametrize("where", ["expected", "actual"])
    def test_nan_is_not_hidden(self, where):
        signals = {"expected": torch.zeros(3, 2), "actual": torch.zeros(3, 2)}
        signals[where] = torch.tensor([[0.0, 0.0], [math.nan, 0.0], [0.0, 0.0]])
        error = EquivarianceError()
        error.update(**signals)
        error.update(torch.ones(1, 2), torch.ones(1, 2))
        assert error.compute()["mean"].isnan()
        assert error.compute()["max"].isnan()

    def test_no_samples_are_nan_not_zero(self):
        error = EquivarianceError()
        error.update(torch.zeros(0, 2), torch.zeros(0, 2))
        assert error.compute()["mean"].isnan()
        assert error.compute()["max"].isnan()

    def test_refuses_what_is_no_pair(self):
        with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 4\)"):
            EquivarianceError().update(torch.zeros(2, 3), torch.zeros(2, 4))
        with pytest.raises(TypeError, match=r"torch.int64"):
            EquivarianceError().update(torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.int64))


class TestScaleConsistency:
    def test_against_the_definition(self):
        losses = torch.rand(200, 4).mul(4).round()  # with ties
        loose = [all(row[-1] <= coarse for coarse in row[:-1]) for row in losses.tolist()]
        strict = [all(b <= a for a, b in pairwise(row)) for row in losses.tolist()]
        for definition, metric in [(loose, ScaleConsistency()), (strict, ScaleConsistency(strict=True))]:
            metric.update(losses[:150])
            metric.update(losses[150:])
            assert metric.compute().item() == sum(definition) / 200
        assert sum(strict) < sum(loose)

    def test_one_resolution_is_consistent_and_nan_is_not(self):
        metric = ScaleConsistency()
        metric.update(torch.rand(3, 1))
        assert metric.compute() == 1
        metric.update(torch.tensor([[math.nan, 1.0, 0.5], [1.0, 1.0, math.nan], [1.0, 1.0, 1.0]]))
        assert metric.compute().item() == 4 / 6

    def test_refuses_other_shapes(self):
        with pytest.raises(ValueError, match=r"losses must be \(batch, resolutions\)"):
            ScaleConsistency().update(torch.rand(3))


NAN, INF = math.nan, math.inf
# The first and the last have a class, of which another may be impossible; argmax gives those between class 0.
SCORES = torch.tensor([[0.0, 1.0], [NAN, 1.0], [INF, -1.0], [-INF, -INF], [-INF, 1.0]])
ZEROS, ONES = torch.zeros(5, dtype=torch.int64), torch.ones(5, dtype=torch.int64)
LOSSES = torch.tensor([[INF, INF], [INF, 1.0], [NAN, NAN], [2.0, 1.0]])


@pytest.mark.parametrize(
    ("metric", "given", "read", "expected", "said"),
    [
        (Accuracy(), (SCORES, ZEROS), lambda value: value, 0, "Accuracy: 3 predictions"),
        (Accuracy(), (SCORES, ONES), lambda value: value, 2 / 5, "Accuracy: 3 predictions .* count as wrong"),
        (
            PerResolutionAccuracy([8]),
            (SCORES, ZEROS, 8),
            lambda values: values["overall"],
            0,
            "3 predictions",
        ),
        (OrbitAccuracy([0, 9]), (SCORES.repeat(2, 1, 1), ZEROS), lambda values: values["orbit"], 0, "6 pred"),
        (
            OrbitAccuracy([0, 9]),
            (SCORES.repeat(2, 1, 1), ONES),
            lambda v: v["orbit_all"],
            2 / 5,
            "6 predictions",
        ),
        (ShiftConsistency(), (SCORES.repeat(2, 1, 1),), lambda v: v["pairs"], 2 / 5, "6 .* agree with none"),
        (ScaleConsistency(), (LOSSES,), lambda value: value, 1 / 4, "3 samples .* count as inconsistent"),
        (ScaleConsistency(), (LOSSES[:, :1],), lambda value: value, 1 / 4, "3 samples"),
        (
            EquivarianceError(),
            (SCORES, SCORES),
            lambda values: values["mean"],
            NAN,
            "4 errors are not finite",
        ),
        (OrbitError([0, 9]), (SCORES.repeat(2, 1, 1),), lambda values: values["max"], NAN, "8 errors"),
    ],
)
def test_what_is_not_finite_counts_against_the_network_and_is_said(metric, given, read, expected, said):
    metric.update(*given)
    with pytest.warns(UserWarning, match=said):
        found = read(metric.compute())
    assert found.item() == pytest.approx(expected, nan_ok=True)


class TestPerResolutionAccuracy:
    def test_logits_labels_and_mixed_resolutions_agree(self):
        logits, targets = torch.randn(60, 5), torch.randint(0, 5, (60,))
        resolution = torch.randint(8, 11, (60,))
        mixed, sorted_batches = PerResolutionAccuracy(RESOLUTIONS), PerResolutionAccuracy(RESOLUTIONS)
        mixed.update(logits, targets, resolution)
        for r in RESOLUTIONS:
            of_r = resolution == r
            sorted_batches.update(logits[of_r].argmax(1), targets[of_r], r)
        hits = logits.argmax(1) == targets
        for metric in (mixed, sorted_batches):
            result = metric.compute()
            assert list(result) == [8, 9, 10, "overall"]
            for r in RESOLUTIONS:
                assert result[r].item() == hits[resolution == r].double().mean().item()
            assert result["overall"].item() == hits.double().mean().item()

    def test_a_resolution_without_samples_is_nan(self):
        metric = PerResolutionAccuracy(RESOLUTIONS)
        metric.update(torch.tensor([1]), torch.tensor([1]), 9)
        assert [value.item() for value in metric.compute().values()] == pytest.approx(
            [math.nan, 1, math.nan, 1], nan_ok=True
        )

    def test_refuses_by_name(self):
        metric = PerResolutionAccuracy(RESOLUTIONS)
        with pytest.raises(ValueError, match=r"resolution must be among \[8, 9, 10\], got \[11\]"):
            metric.update(torch.tensor([1, 1]), torch.tensor([1, 1]), torch.tensor([8, 11]))
        with pytest.raises(ValueError, match=r"resolution must be one integer or one per sample"):
            metric.update(torch.tensor([1, 1]), torch.tensor([1, 1]), torch.tensor([8]))
        with pytest.raises(ValueError, match=r"predictions must be"):
            metric.update(torch.rand(2, 3, 4), torch.tensor([1, 1]), 8)
        with pytest.raises(ValueError, match=r"resolutions must be distinct"):
            PerResolutionAccuracy([8, 8])


def test_states_inside_a_model_keep_float64():
    model = nn.Sequential(nn.Linear(2, 2))
    model.error = EquivarianceError()
    for cast in (lambda: model.to(torch.bfloat16), model.half, model.float):
        cast()
        model.error.update(torch.ones(1000, 1), torch.full((1000, 1), 2.0))
    model.error.reset()
    assert model.error.total.dtype == model.error.largest.dtype == torch.float64
    assert model.error.count.dtype == torch.int64
