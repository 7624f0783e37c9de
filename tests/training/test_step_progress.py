"""Progress within a long step, and nothing of it where there is no terminal or no long step."""

from io import StringIO
from types import SimpleNamespace

import pytest
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import RichProgressBar
from rich.console import Console
from rich.progress import Progress

from sefl.training import step_progress
from sefl.training.step_progress import counted


@pytest.mark.parametrize(("patience", "shown"), [(-1.0, True), (60.0, False)])
@pytest.mark.parametrize("terminal", [False, True])
def test_a_long_step_is_counted_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, patience: float, shown: bool, terminal: bool
) -> None:
    monkeypatch.setattr(step_progress, "PATIENCE", patience)
    output = StringIO()
    bar = RichProgressBar()
    bar.progress = Progress(console=Console(file=output, force_terminal=terminal, width=80), transient=True)
    trainer = SimpleNamespace(progress_bar_callback=bar)
    with bar.progress:
        bar.progress.add_task("Testing", total=2)
        assert list(counted(iter("abcd"), 4, "Transformed copies", trainer)) == list("abcd")
        assert [task.description for task in bar.progress.tasks] == ["Testing"]
    assert ("Transformed copies" in output.getvalue()) == (shown and terminal)
    assert ("75%" in output.getvalue()) == (shown and terminal)


def test_the_bar_is_cleared_where_the_step_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_progress, "PATIENCE", -1.0)
    bar = RichProgressBar()
    with Progress(console=Console(file=StringIO())) as bar.progress:
        items = counted([1, 2], 2, "Equivariance", SimpleNamespace(progress_bar_callback=bar))
        next(items)
        assert len(bar.progress.tasks) == 1
        items.close()
        assert not bar.progress.tasks


def test_without_lightnings_rich_bar_the_items_alone() -> None:
    trainer = Trainer(accelerator="cpu", enable_progress_bar=False, logger=False, enable_checkpointing=False)
    assert list(counted([1, 2], 2, "Resolutions", trainer)) == [1, 2]
    assert list(counted([1, 2], 2, "Resolutions", None)) == [1, 2]
