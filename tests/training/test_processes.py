"""Runs of several processes: one folder, one message, and all end when one does."""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import SIGTERMException
from side_by_side import DEADLINE, SideBySide, environment, free_port

from datamodules import Glyphs
from sefl.evaluate import main as evaluate
from sefl.fit import main
from sefl.training import processes as run_processes
from sefl.training.signals import ENDING, handled

Start = Callable[..., subprocess.Popen[str]]

SOON = 30.0
"""Seconds within which all processes have to end; most of it is for busy test machines."""
LAST = Path("runs/tiny/0/checkpoints/last.ckpt")
GO_ON = "python -m sefl.fit --ckpt_path last --run_dir"


Run = Callable[..., SideBySide]


class SlowGlyphs(Glyphs):
    """Takes its time."""

    def setup(self, stage: str) -> None:
        Path("setting_up").touch()
        time.sleep(DEADLINE)


def options(tiny: Path, epochs: int = 1) -> list[str]:
    return ["--config", str(tiny), "--trainer.max_epochs", str(epochs), "--trainer.callbacks", "null"]


@pytest.mark.parametrize(
    ("how", "which"), [("torchrun", ["--name", "tiny"]), ("slurm", ["--run_dir", "runs/tiny/0"])]
)
def test_processes_agree_on_a_folder(tiny: Path, side_by_side: Run, how: str, which: list[str]) -> None:
    run = side_by_side(how, main, options(tiny))
    assert run.end() == [0, 0], run.said
    assert [str(path) for path in Path("runs").glob("*/*")] == ["runs/tiny/0"]
    assert LAST.is_file()
    run = side_by_side(how, evaluate, ["--ckpt_path", "last", *which])
    assert run.end() == [0, 0], run.said
    assert [path.name for path in Path("runs/tiny/0/evaluation").iterdir()] == ["0"]


def test_torchrun_itself(tiny: Path, start: Start) -> None:
    process = start("torch.distributed.run", "--nproc_per_node", "2", "-m", "sefl.fit", *options(tiny))
    output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, output
    assert [str(path) for path in Path("runs").glob("*/*")] == ["runs/tiny/0"]


ON_TWO_NODES = ["--trainer.num_nodes", "2", "--trainer.devices", "1", "--trainer.strategy", "ddp"]


def test_two_nodes_train_as_two_processes_of_one(tiny: Path, side_by_side: Run) -> None:
    """To the last bit, however the processes of the nodes were started."""
    runs = {"torchrun": [], "two_agents": [], "slurm_nodes": [], "by_hand": ON_TWO_NODES}
    for how, added in runs.items():
        run = side_by_side(how, main, [*options(tiny), "--run_dir", how, *added])
        assert run.end() == [0, 0], run.said
    assert not Path("runs").exists()
    one, *others = [torch.load(Path(how, "checkpoints/last.ckpt")) for how in runs]
    tables = [Path(how, "metrics.csv").read_text() for how in runs]
    assert len(one["processes"]) == 2
    for other, table in zip(others, tables[1:], strict=True):
        assert table == tables[0]
        torch.testing.assert_close(other["state_dict"], one["state_dict"], rtol=0, atol=0)


def test_a_node_that_comes_late_hears_of_a_mistake(tiny: Path, side_by_side: Run) -> None:
    run = side_by_side("by_hand", late, [*options(tiny), *ON_TWO_NODES, "--trainer.precision", "17"])
    assert run.end() == [2, 2], run.said


def test_the_first_process_does_not_come(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_processes, "MEETING_SECONDS", 1.0)
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    for name, value in environment("torchrun", 1, free_port()).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as end:
        main(options(tiny))
    assert end.value.code == 1
    assert "rank 1: no meeting with the first process at 127.0.0.1" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("added", "message"),
    [
        # found by the parser, by a constructor, by the choice of a folder, and by the data in their setup
        (["--trainer.precision", "17"], "trainer.precision"),
        (["--model.network.trunk.kernel_size", "4"], "kernel_size must be odd"),
        (["--trainer.devices", "1"], "--trainer.devices: 2 processes were started, and the trainer is for 1"),
        (["--run_dir", "used"], "--run_dir used: holds a run already"),
        (["--data.split_file", "absent.npz"], "absent.npz"),
    ],
)
def test_a_mistake_of_all_is_said_once(tiny: Path, side_by_side: Run, added: list[str], message: str) -> None:
    Path("used").mkdir()
    Path("used/config.yaml").write_text("")
    run = side_by_side("slurm", main, [*options(tiny), *added])
    assert run.end() == [2, 2], run.said
    of_first, of_other = run.said
    assert of_first.count("error: ") == 1
    assert message in of_first.partition("error: ")[2]
    assert "rank 1" not in of_first.partition("error: ")[2]
    assert "error" not in of_other
    assert not list(Path("runs").glob("*/*"))


def late(arguments: list[str]) -> None:
    """The second process comes when the first one has long found its mistake."""
    if "1" in (os.environ.get("SLURM_PROCID"), os.environ.get("NODE_RANK")):
        time.sleep(5)
    main(arguments)


def test_a_process_that_comes_late_hears_of_a_mistake(tiny: Path, side_by_side: Run) -> None:
    run = side_by_side("slurm", late, [*options(tiny), "--trainer.precision", "17"])
    assert run.end() == [2, 2], run.said


@pytest.mark.parametrize(
    "added", [["--model.network.trunk.kernel_size", "4"], ["--data.split_file", "absent.npz"]]
)
def test_a_mistake_of_one_names_its_rank(tiny: Path, side_by_side: Run, added: list[str]) -> None:
    run = side_by_side("torchrun", main, options(tiny), [*options(tiny), *added])
    assert run.end() == [2, 2], run.said
    of_first, of_other = run.said
    assert "error: " in of_first.partition("\nrank 1: ")[2]
    assert "error" not in of_other
    assert not list(Path("runs").glob("*/*"))


@pytest.mark.parametrize(
    ("ranks", "number", "status"),
    [
        ([0], signal.SIGTERM, 143),
        ([1], signal.SIGTERM, 143),
        ([0, 1], signal.SIGTERM, 143),
        ([1], signal.SIGINT, 130),
        ([0, 1], signal.SIGINT, 130),
    ],
)
def test_a_signal_to_any_process_ends_all(
    tiny: Path, side_by_side: Run, ranks: list[int], number: int, status: int
) -> None:
    run = side_by_side("torchrun", main, options(tiny, epochs=1000))
    run.wait_for(LAST.is_file)
    run.signal(ranks, number)
    assert run.end(SOON) == [status, status], run.said
    assert [said.count(GO_ON) for said in run.said] == [1, 0], run.said
    assert "Traceback" not in "".join(run.said)
    assert torch.load(LAST)["state_dict"]
    assert not list(LAST.parent.glob(".*"))


class EndOfOne:
    """A process that has not heard yet of the signal to another, and leaves its training with it."""

    signal = None
    said = ""

    def finished(self) -> None:
        self.said += "finished"

    def failed(self, error: BaseException) -> None:
        self.said += "failed"


def test_a_signal_that_comes_when_the_run_has_ended_by_another_is_none() -> None:
    """Ctrl-C reaches every process, and one of them may have heard of it from another before."""
    before = {number: signal.getsignal(number) for number in ENDING}
    process: Any = EndOfOne()
    try:
        with handled(process):
            pass
        assert {number: signal.getsignal(number) for number in ENDING} == before
        with handled(process):
            process.signal = signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize(
    ("end", "said"), [(SIGTERMException(), "failed"), (SystemExit(2), "failed"), (SystemExit(), "finished")]
)
def test_leaving_with_another_is_no_success(end: SystemExit, said: str) -> None:
    process: Any = EndOfOne()
    with pytest.raises(SystemExit), run_processes.ended_together(process):
        raise end
    assert process.said == said


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_a_signal_ended_goes_on(tiny: Path, side_by_side: Run, number: int, status: int) -> None:
    run = side_by_side("alone", main, options(tiny, epochs=1000))
    run.wait_for(LAST.is_file)
    run.signal([0], number)
    assert run.end(SOON) == [status], run.said
    command = next(line for line in run.said[0].splitlines() if GO_ON in line)
    before = torch.load(LAST)["epoch"]
    main([*shlex.split(command.partition("sefl.fit ")[2]), "--trainer.max_epochs", str(before + 2)])
    assert torch.load(LAST)["epoch"] == before + 1


@pytest.mark.parametrize(("how", "number"), [("alone", signal.SIGTERM), ("slurm", signal.SIGINT)])
def test_a_signal_before_the_training_leaves_no_folder(
    tiny: Path, side_by_side: Run, how: str, number: int
) -> None:
    settings = yaml.safe_load(tiny.read_text())
    settings["data"]["class_path"] = f"{__name__}.SlowGlyphs"
    tiny.write_text(yaml.safe_dump(settings))
    run = side_by_side(how, main, options(tiny))
    run.wait_for(Path("setting_up").exists)
    run.signal([len(run.processes) - 1], number)
    assert set(run.end(SOON)) == {128 + number}, run.said
    assert "The run had not begun." in run.said[0]
    assert "Traceback" not in "".join(run.said)
    assert not list(Path("runs").glob("*/*"))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_death_ends_all(tiny: Path, side_by_side: Run, rank: int) -> None:
    run = side_by_side("slurm", main, options(tiny, epochs=1000))
    run.wait_for(LAST.is_file)
    run.signal([rank], signal.SIGKILL)
    expected = [1, 1]
    expected[rank] = -signal.SIGKILL
    assert run.end(SOON) == expected, run.said
    survivor = run.said[1 - rank]
    assert survivor.count(" died: ") == 1, survivor
    assert f"rank {rank} " in survivor
    assert "Traceback" not in survivor


def started_by(parent: int, module: str) -> int:
    """The process that another one started to run a module."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # processes end meanwhile
            state = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(state[1]) == parent and module.encode() in (folder / "cmdline").read_bytes():
                return int(folder.name)
    raise AssertionError(f"{parent} started no {module}")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the process in /proc")
def test_the_death_of_a_process_that_lightning_started(tiny: Path, start: Start) -> None:
    process = start("sefl.fit", *options(tiny, epochs=1000), "--trainer.devices", "2")
    deadline = time.monotonic() + DEADLINE
    while not LAST.is_file():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    other = started_by(process.pid, "sefl.fit")
    os.kill(other, signal.SIGKILL)
    output, _ = process.communicate(timeout=SOON)
    assert process.returncode == 1, output
    assert f"rank 1 (process {other} on " in output
    assert "was killed by SIGKILL. The run ends." in output
    assert "Traceback" not in output
