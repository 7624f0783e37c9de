"""The agreement of predictions that the EquivarianceMonitor reports: its numbers, names, files; two processes."""

import csv
import json
from typing import Any

import pytest
import torch
from matplotlib.image import imread
from networks_for_monitoring import Classifier, Sharded, batches, control, measure, trainer
from torch import Tensor, nn

from callbacks import EquivarianceMonitor
from sefl.equivariance import CircularShift, Flip, IdealDownsampling
from sefl.equivariance.agreement import AgreementRow, class_scores
from sefl.figures.agreement import agreements

SHIFTS = [CircularShift([1, 3]), Flip()]
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*isinstance.treespec")


def invariant() -> Classifier:
    """Predicts the same for every circular shift: periodic convolutions without a stride, and a mean."""
    torch.manual_seed(0)
    return Classifier(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular", bias=False),
            nn.Tanh(),
            nn.Conv2d(4, 2, 3, padding=1, padding_mode="circular", bias=False),
        )
    )


def values(monitor: EquivarianceMonitor) -> dict[tuple[str, Any], float]:
    return {(row.transformation, row.parameter): row.agreement for row in monitor.agreement}


def test_an_invariant_model_agrees_and_the_control_does_not(tmp_path):
    good, bad = (
        measure(model, tmp_path, batches([40, 20], [13, 12]), transformations=SHIFTS, samples_per_step=30)
        for model in (invariant(), control())
    )
    shifts = [("shift", parameter) for parameter in (1, 3, "mean", "pairs")]
    flips = [("flip_horizontal", parameter) for parameter in ("horizontal", "mean")]
    assert list(values(good)) == list(values(bad)) == shifts + flips
    assert all(values(good)[key] == 1 for key in shifts)
    assert values(good)["flip_horizontal", "mean"] < 1, "a network that sees left and right apart"
    assert all(values(bad)[key] < 1 for key in shifts)
    assert [row.count for row in good.agreement] == [50, 50, 100, 150, 50, 50]


def test_against_the_definition(tmp_path):
    model, loader = control().double(), batches([30], [9])
    shift = CircularShift([1, 2, 4])
    monitor = measure(model, tmp_path, loader, transformations=[shift], samples_per_step=30)
    images, _ = next(iter(loader))
    labels = torch.stack(
        [model(copy).argmax(1) for copy in [images, *(shift.image(images, p) for p in (1, 2, 4))]]
    )
    found = values(monitor)
    for index, pixels in enumerate((1, 2, 4), start=1):
        assert found["shift", pixels] == (labels[index] == labels[0]).double().mean().item()
    assert found["shift", "mean"] == pytest.approx(
        (labels[1:] == labels[0]).double().mean().item(), rel=1e-12
    )
    pairs = torch.stack([labels[i] == labels[j] for i in range(4) for j in range(i)])
    assert found["shift", "pairs"] == pytest.approx(pairs.double().mean().item(), rel=1e-12)
    assert 0 < found["shift", "pairs"] < 1


class LastBandCounts(Classifier):
    """Scores ``(batch, bands, classes)`` whose first band is noise."""

    def forward(self, images: Tensor) -> Tensor:
        scores = super().forward(images)
        return torch.stack([torch.randn_like(scores), scores], dim=1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self(batch[0]).sum()


def test_of_several_bands_the_last_counts(tmp_path):
    monitor = measure(LastBandCounts(invariant().network), tmp_path, transformations=SHIFTS)
    assert values(monitor)["shift", "pairs"] == 1


class Dense(Classifier):
    """No classifier: puts out a grid."""

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self(batch[0]).mean()


def test_what_is_no_classifier_has_no_agreement_unless_a_subclass_says_which(tmp_path):
    dense = Dense(invariant().network)
    assert measure(dense, tmp_path, transformations=SHIFTS).agreement == []

    class Means(EquivarianceMonitor):
        def predictions(self, output: Tensor) -> Tensor:
            return output.mean((2, 3))

    monitor = Means(transformations=SHIFTS, figures=False)
    trainer(tmp_path, monitor).validate(dense.double(), batches(), verbose=False)
    assert values(monitor)["shift", "mean"] == 1
    for output in (
        torch.zeros(2, 1),
        torch.zeros(2, 3, dtype=torch.int64),
        torch.zeros(4),
        (torch.zeros(2, 2),),
    ):
        assert class_scores(output) is None


def test_a_network_that_refuses_other_sizes_has_the_agreement_of_the_rest(tmp_path):
    torch.manual_seed(0)
    model = Classifier(nn.Sequential(nn.Conv2d(2, 2, 1), nn.Flatten(), nn.Linear(2 * 12 * 12, 2)))
    with pytest.warns(UserWarning, match="the model fails on images of 8 x 8"):
        monitor = measure(model, tmp_path, batches([4], [12]), transformations=[IdealDownsampling(), Flip()])
    assert {row.transformation for row in monitor.agreement} == {"flip_horizontal"}


def test_is_logged_and_written(tmp_path):
    monitor = EquivarianceMonitor(transformations=SHIFTS)
    run = trainer(tmp_path, monitor, max_epochs=2)
    model = control().double()
    run.fit(model, batches(), batches())
    folder = tmp_path / "equivariance"
    with (folder / "fit-agreement.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["epoch"], row["step"]) for row in rows] == [("0", "3")] * 6 + [("1", "6")] * 6
    assert [float(row["agreement"]) for row in rows[6:]] == [row.agreement for row in monitor.agreement]
    assert imread(folder / "fit-agreement.png")[..., :3].std() > 0.05, "not blank"
    found = values(monitor)
    assert run.callback_metrics["agreement/shift/pairs"].item() == pytest.approx(found["shift", "pairs"])
    run.test(model, batches(), verbose=False)
    assert "agreement_test/flip_horizontal/mean" in run.callback_metrics


def test_two_processes_give_what_one_gives(tmp_path):
    for devices, strategy in ((1, "auto"), (2, "ddp_fork")):
        monitor = EquivarianceMonitor(transformations=SHIFTS, figures=False)
        model = Sharded(control().network, tmp_path, monitor).double()
        run = trainer(tmp_path, monitor, devices=devices, strategy=strategy, use_distributed_sampler=False)
        run.fit(model)
    one, *two = [
        json.loads((tmp_path / f"{name}.json").read_text())["metrics"] for name in ("1-0", "2-0", "2-1")
    ]
    assert two == [one, one]
    assert 0 < one["agreement/shift/pairs"] < 1


def test_the_figure_holds_many_parameters_and_none():
    many = [AgreementRow("shift", p, 0.5 + p / 100, 10) for p in range(30)]
    figure = agreements([*many, AgreementRow("shift", "mean", 0.6, 300)], "title")
    assert len(figure.axes[0].get_xticks()) <= 12
    assert agreements([], "title") is None
