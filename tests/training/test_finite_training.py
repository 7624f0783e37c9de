"""Training that is no longer finite stops, in one line, before a checkpoint holds it; on all processes together."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from sefl.files.writing import TrainingStopped
from sefl.fit import main
from sefl.training.finite import SKIPPED_IN_A_ROW, FiniteTraining

BATCHES = 6
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*isinstance.treespec")


class Breaking(LightningModule):
    """Its losses are NaN from one step on (of one process), or its gradients alone, or its losses of some steps."""

    def __init__(self, at: int = 8, what: str = "loss", rank: int | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)
        self.at, self.what, self.rank = at, what, rank

    def training_step(self, batch: tuple[Tensor], batch_idx: int) -> Tensor:
        loss = self.linear(batch[0]).square().mean()
        if self.global_step < self.at or self.rank not in (None, self.global_rank):
            return loss
        if self.what == "loss":
            return loss * math.nan
        # The value is that of the loss; the derivative of the square root at zero is infinite, times zero.
        return loss + (0 * loss).sqrt()

    def validation_step(self, batch: tuple[Tensor], batch_idx: int) -> None:
        self.log("score", self.linear(batch[0]).mean(), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0625)


def fit(model: LightningModule, folder: Path, finite: FiniteTraining | None, **settings: Any) -> None:
    loader = DataLoader(TensorDataset(torch.ones(4 * BATCHES, 3)), batch_size=4)
    last = ModelCheckpoint(
        folder, filename="last", enable_version_counter=False, save_on_train_epoch_end=True
    )
    defaults = {"accelerator": "cpu", "devices": 1, "max_epochs": 3, "log_every_n_steps": 4, "logger": False}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "default_root_dir": folder}
    callbacks = [last] if finite is None else [finite, last]
    Trainer(callbacks=callbacks, **(defaults | quiet | settings)).fit(model, loader, loader)


def stored(folder: Path) -> Tensor:
    weight: Tensor = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]["linear.weight"]
    return weight


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (
            "loss",
            "epoch 1, step 8, at learning rate 0.0625: not finite: the loss and the weights linear.weight, linear",
        ),
        ("gradients", "epoch 1, step 9, .*: not finite: the loss and the weights"),
    ],
)
def test_it_stops_where_it_began_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, what: str, said: str
) -> None:
    with pytest.raises(TrainingStopped, match=said):
        fit(Breaking(what=what), tmp_path, FiniteTraining())
    assert stored(tmp_path).isfinite().all()


@pytest.mark.parametrize("finite", [None, FiniteTraining(stop=False)], ids=["without", "switched off"])
def test_otherwise_weights_that_are_not_finite_are_stored(
    tmp_path: Path, finite: FiniteTraining | None
) -> None:
    """The control."""
    if finite is None:
        fit(Breaking(), tmp_path, None)
    else:
        with pytest.warns(UserWarning, match="not finite in epoch 1, step 8"):
            fit(Breaking(), tmp_path, finite)
    assert stored(tmp_path).isnan().all()


def test_every_checkpoint_is_looked_at_and_no_step_between_waits(tmp_path: Path, monkeypatch: Any) -> None:
    """A checkpoint in the middle of an epoch, in which the trainer never logs, is refused too."""
    often = ModelCheckpoint(tmp_path, filename="often", every_n_train_steps=1, enable_version_counter=False)
    asked: list[int] = []
    check = FiniteTraining._check
    monkeypatch.setattr(
        FiniteTraining, "_check", lambda self, *of: (asked.append(len(self._seen)), check(self, *of))
    )
    fit(Breaking(at=99), tmp_path, FiniteTraining(), max_epochs=1)
    # After the fourth batch, before the validation, at the epoch's end and before the checkpoint: nothing is new there.
    assert asked == [4, 2, 0, 0]
    settings = {"log_every_n_steps": 99, "callbacks": [FiniteTraining(), often]}
    loader = DataLoader(TensorDataset(torch.ones(4 * BATCHES, 3)), batch_size=4)
    with pytest.raises(TrainingStopped, match="step 3"):
        Trainer(
            accelerator="cpu", devices=1, max_epochs=1, logger=False, enable_progress_bar=False, **settings
        ).fit(Breaking(at=3), loader)
    often_stored = torch.load(tmp_path / "often.ckpt", weights_only=True)
    assert often_stored["global_step"] == 3
    assert often_stored["state_dict"]["linear.weight"].isfinite().all()


@pytest.mark.parametrize(("bad", "stops"), [(SKIPPED_IN_A_ROW - 1, False), (SKIPPED_IN_A_ROW, True)])
def test_steps_that_a_gradient_scaler_skips_do_not_stop(bad: int, stops: bool) -> None:
    model, finite = Breaking(), FiniteTraining(every_n_steps=1)

    class Running:
        current_epoch, global_step, optimizers, log_every_n_steps = 0, 0, (), 1
        sanity_checking = False
        precision_plugin = type("Precision", (), {"scaler": object()})
        strategy = type("Strategy", (), {"reduce": staticmethod(lambda tensor, reduce_op: tensor)})
        state = type("State", (), {"fn": TrainerFn.FITTING})

    def losses(value: float, count: int) -> None:
        for number in range(count):
            finite.on_train_batch_start(Running, model, None, number)
            finite.on_train_batch_end(Running, model, {"loss": torch.tensor(value)}, None, number)

    losses(math.inf, SKIPPED_IN_A_ROW - 1)
    losses(1.0, 1)
    if stops:
        with pytest.raises(TrainingStopped, match="the loss"):
            losses(math.nan, bad)
    else:
        losses(math.nan, bad)
        model.linear.weight.data[0, 0] = math.inf
        with pytest.raises(TrainingStopped, match=r"not finite: the weights linear\.weight\."):
            losses(1.0, 1)


def test_all_processes_stop_when_one_is_not_finite(tmp_path: Path) -> None:
    """One rank's loss makes the gradients of both NaN; a buffer's NaN would be its own. Both raise, none waits."""
    with pytest.raises(Exception, match="epoch 2, step 8") as raised:
        fit(Breaking(rank=1), tmp_path, FiniteTraining(), devices=2, strategy="ddp_fork")
    assert "TrainingStopped" in f"{type(raised.value)} {raised.value}"
    assert stored(tmp_path).isfinite().all()


def test_the_command_says_so_in_one_line(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["--config", str(tiny), "--model.optimizer.lr", "1e30"])
    error = capsys.readouterr().err
    assert exited.value.code == 1
    assert "training is not finite in epoch 0, step 1, at learning rate" in error
    assert "Traceback" not in error
    assert not list(Path("runs/tiny/0/checkpoints").glob("*.ckpt"))
