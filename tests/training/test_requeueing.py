"""A SLURM job that runs out of time is queued again, and is then the run that never stopped, bit for bit."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pytorch_lightning import Callback, Trainer
from side_by_side import SideBySide, environment, free_port

from sefl.evaluate import main as evaluate
from sefl.fit import main
from sefl.runs.folder import RunFolder
from sefl.runs.slurm import FILE, record_job, run_of_job

SLURM = Path(__file__).parents[2] / "configs/trainer/slurm.yaml"
AT = "STEP_AT_WHICH_THE_TIME_IS_OVER"
OUT_OF_TIME = 128 + signal.SIGUSR1


class TimeIsOver(Callback):
    """SLURM's signal, in the middle of a step of the first process."""

    def on_before_zero_grad(self, trainer: Trainer, *_: Any) -> None:
        if str(trainer.global_step) == os.environ.get(AT) and trainer.is_global_zero:
            os.kill(os.getpid(), signal.SIGUSR1)


@pytest.fixture
def dropping(tiny: Path) -> list[str]:
    """The options of an experiment with dropout: what is drawn has to go on as well."""
    settings = yaml.safe_load(tiny.read_text())
    settings["model"]["init_args"]["network"]["init_args"]["head"]["dropout"] = 0.5
    settings["trainer"]["callbacks"] = [{"class_path": f"{__name__}.TimeIsOver"}]
    tiny.write_text(yaml.safe_dump(settings))
    return ["--config", str(tiny), "--config", str(SLURM), "--trainer.accelerator", "cpu"]


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What was handed to ``scontrol``."""
    scontrol, handed = tmp_path / "bin/scontrol", tmp_path / "handed"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {handed}\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
    return handed


def on_one_process(arguments: list[str], rank: int = 0) -> None:
    """The only task of a job."""
    variables = environment("slurm", rank, free_port()) | {"SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1"}
    os.environ.update(variables)
    main(arguments)


# 12 batches an epoch on one process, 6 on two: behind the last batch of the first epoch, before it has a checkpoint,
# and amid the second
@pytest.mark.parametrize(("how", "step"), [("alone", 11), ("alone", 5), ("slurm", 8)])
def test_a_job_that_is_queued_again_is_the_run(
    dropping: list[str],
    queue: Path,
    side_by_side: Callable[..., SideBySide],
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    step: int,
) -> None:
    command = on_one_process if how == "alone" else main
    assert set((run := side_by_side(how, command, dropping)).end()) == {0}, run.said
    assert not queue.exists()
    monkeypatch.setenv(AT, str(step))
    assert set((run := side_by_side(how, command, dropping)).end()) == {OUT_OF_TIME}, run.said
    assert "Stopped by SIGUSR1. To go on: python -m sefl.fit --ckpt_path last" in run.said[0]
    assert "Traceback" not in "".join(run.said)
    assert queue.read_text() == "requeue 7\n"
    whole, resumed = (Path(f"runs/tiny/{version}/checkpoints/last.ckpt") for version in (0, 1))
    assert torch.load(resumed)["global_step"] == step + 1
    monkeypatch.delenv(AT)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert set((run := side_by_side(how, command, dropping)).end()) == {0}, run.said
    assert sorted(path.name for path in Path("runs/tiny").iterdir()) == ["0", "1"]
    expected, found = torch.load(whole), torch.load(resumed)
    assert found["global_step"] == expected["global_step"] > step
    torch.testing.assert_close(found["state_dict"], expected["state_dict"], rtol=0, atol=0)
    # and is evaluated where there is no SLURM, of which the stored configuration tells
    assert "SLURMEnvironment" in Path("runs/tiny/1/config.yaml").read_text()
    evaluate(["--ckpt_path", "last", "--run_dir", "runs/tiny/1"])


def test_the_run_of_a_job_is_that_of_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [RunFolder(tmp_path / str(number)) for number in range(5)]
    for folder in folders:
        folder.path.mkdir()
    record_job(folders[0], "fit A")
    assert not (folders[0].path / FILE).exists()
    for job, commands in {"7": ["fit A", "fit B"], "8": ["fit A", "fit A"]}.items():
        monkeypatch.setenv("SLURM_JOB_ID", job)
        for command in commands:
            folder = next(one for one in folders[1:] if not (one.path / FILE).exists())
            record_job(folder, command)
    assert run_of_job(folders, "fit A") is None
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    assert run_of_job(folders, "fit A") == folders[4]
    assert run_of_job(folders, "fit B") is None
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert run_of_job(folders, "fit A") == folders[1]
    assert run_of_job(folders, "fit B") == folders[2]
