"""A disk that takes no more: no partial file is left, and a command ends with one message."""

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from pytorch_lightning import Trainer
from side_by_side import SideBySide

from datamodules.split import Split
from sefl.files.torch_files import read_checkpoint
from sefl.files.writing import WriteFailed
from sefl.fit import main
from sefl.runs.checkpoints import AtomicCheckpointIO
from sefl.runs.commands import record_command
from sefl.runs.evaluation import Evaluation
from sefl.runs.folder import RunFolder
from sefl.runs.logged_figures import save_figure
from sefl.runs.loggers import MetricsCSV
from sefl.runs.resources import Resources

RUN = Path("runs/tiny/0")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As a full disk, but for the error's number; Python ignores the signal beside it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def split(size: int) -> Split:
    numbers = np.random.default_rng(0).integers(0, 2**40, size)
    return Split(*[numbers] * 6, 0, "numbers", (size, 0))


def figure() -> Figure:
    drawn = Figure()
    drawn.subplots().imshow(np.random.default_rng(0).random((50, 50)))
    return drawn


WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "checkpoint": (
        "last.ckpt",
        lambda file: AtomicCheckpointIO().save_checkpoint({"state_dict": {"a": torch.zeros(5000)}}, file),
    ),
    "split": ("split.npz", lambda file: split(5000).save(file)),
    "metrics": (
        "metrics.csv",
        lambda file: [
            MetricsCSV(RunFolder(file.parent)).log_metrics({"a": 1.0}, step) for step in range(2000)
        ],
    ),
    "command": ("command.txt", lambda file: record_command(file.parent, "x" * 5000)),
    "resources": ("resources.json", lambda file: Resources("x" * 5000).save(file)),
    "evaluation": (
        "evaluation.json",
        lambda file: Evaluation("x" * 5000, None, None, 0, {}, []).write(file.parent),
    ),
    "figure": ("figure.png", lambda file: save_figure(figure(), file, Trainer(logger=False), "figure")),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_what_is_not_written_is_named_and_leaves_nothing(kind: str, tmp_path: Path) -> None:
    name, write = WRITERS[kind]
    file = tmp_path / name
    if kind != "metrics":
        file.write_bytes(b"old")
    if kind == "command":
        file.write_text("old\n")
    before = file.read_bytes() if file.exists() else None
    with files_of_at_most(4000), pytest.raises(WriteFailed) as error:
        write(file)
    said = str(error.value.strerror)
    assert f"{file} cannot be written: File too large; " in said
    assert "MB are free there. Make room." in said
    assert {path.name for path in tmp_path.iterdir()} == {name}
    if before is not None:
        assert file.read_bytes() == before


def fit_with_files_of_at_most(size: int, arguments: list[str]) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    main(arguments)


def test_a_run_ends_with_one_message_and_goes_on(tiny: Path, side_by_side: Callable[..., SideBySide]) -> None:
    going_on = ["--ckpt_path", "last", "--run_dir", str(RUN)]
    main(["--config", str(tiny), "--trainer.max_epochs", "1"])
    last = (RUN / "checkpoints/last.ckpt").read_bytes()
    limited = partial(fit_with_files_of_at_most, len(last) // 2)
    stopped = side_by_side("alone", limited, [*going_on, "--trainer.max_epochs", "2"])
    assert stopped.end() == [1], stopped.said
    assert "Traceback" not in stopped.said[0]
    said = stopped.said[0].splitlines()[-1]
    assert said.startswith("python -m sefl.fit: ")
    assert ".ckpt cannot be written: File too large; " in said
    assert said.endswith(f"To go on: python -m sefl.fit --ckpt_path last --run_dir {RUN.absolute()}")
    assert sorted(path.name for path in (RUN / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert (RUN / "checkpoints/last.ckpt").read_bytes() == last
    main(going_on)
    assert read_checkpoint(RUN / "checkpoints/last.ckpt")["epoch"] == 1


def test_the_first_checkpoint_alone_goes_on(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sefl.runs.checkpoints.LastCheckpoint._save_checkpoint", full)
        with pytest.raises(SystemExit):
            main(["--config", str(tiny)])
    assert [path.name for path in (RUN / "checkpoints").iterdir()] == ["best.ckpt"]
    said = capfd.readouterr().err
    assert said.endswith(f"python -m sefl.fit --ckpt_path best --run_dir {RUN.absolute()}\n")
    main(["--ckpt_path", "best", "--run_dir", str(RUN)])
    assert read_checkpoint(RUN / "checkpoints/last.ckpt")["epoch"] == 1


def test_files_of_others_too(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever writes: the error's number says what it is, however deep."""

    def full(*_: Any, **__: Any) -> None:
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "elsewhere.log")
        except OSError as error:
            raise RuntimeError("some library") from error

    monkeypatch.setattr("pytorch_lightning.callbacks.LearningRateMonitor.on_train_batch_start", full)
    with pytest.raises(SystemExit) as exit_status:
        main(["--config", str(tiny)])
    assert exit_status.value.code == 1
    assert (
        "sefl.fit: elsewhere.log cannot be written: No space left on device. Make room. To go on:"
        in capfd.readouterr().err
    )
