"""The table of layers at the start of a training."""

import pytest
import torch
from flat_settings import classifier
from pytorch_lightning import LightningModule, Trainer
from torch import nn
from torchmetrics import MeanMetric, MetricCollection

from sefl.training.network_summary import NetworkSummary


class Small(LightningModule):
    """Metrics beside two layers, one of them fixed and in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.val_loss = MeanMetric()
        self.collection = MetricCollection([MeanMetric()])
        self.first = nn.Sequential(nn.Linear(3, 5))
        self.second = nn.Linear(5, 2).requires_grad_(False).eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))


def summary_of(model: LightningModule, capsys: pytest.CaptureFixture[str], depth: int = 1) -> str:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    capsys.readouterr()
    NetworkSummary(depth).on_fit_start(trainer, model)
    return capsys.readouterr().out


def test_layers_without_metrics_and_without_operations_that_were_not_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = summary_of(classifier("FourierNetwork", widths=[4]), capsys, 2)
    for layer in ("network.blocks", "network.pooling", "network.head"):
        assert f" {layer} " in output
    for absent in ("Metric", "Accuracy", "Consistency", "FLOPs", "Mode", "eval"):
        assert absent not in output
    parameters = sum(p.numel() for p in classifier("FourierNetwork", widths=[4]).parameters())
    assert f"{parameters / 1000:.1f} K parameters" in output


@pytest.mark.parametrize("depth", [1, 2, -1])
def test_what_was_measured_or_differs_is_shown(capsys: pytest.CaptureFixture[str], depth: int) -> None:
    model = Small()
    output = summary_of(model, capsys, depth)
    assert "Metric" not in output
    assert "collection" not in output
    assert "Mode" in output
    assert "eval" in output
    assert ("first.0" in output) == (depth != 1)
    assert "32 parameters, 12 of them fixed" in output
    assert "FLOPs" not in output
    model.example_input_array = torch.zeros(1, 3)
    output = summary_of(model, capsys, depth)
    assert f"{2 * (3 * 5 + 5 * 2)} FLOPs" in output
    assert "In sizes" in output
