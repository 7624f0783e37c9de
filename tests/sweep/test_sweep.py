"""python -m sefl.sweep: its plan, what it finds done, its processes; and every file in configs/sweeps/."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import IO, Any

import pytest
import torch.multiprocessing as mp
import wandb
import yaml
from pytorch_lightning import Callback, LightningModule, Trainer
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from sefl.fit import main as fit
from sefl.runs.folder import RunFolder
from sefl.runs.loggers import WandbOptions, wandb_finished, wandb_loggers
from sefl.sweep.__main__ import main
from sefl.sweep.jobs import locked
from sefl.sweep.plan import Trial, read_sweep_file, trials
from sefl.sweep.runner import reason
from sefl.sweep.trials import FitParser, find_run

ROOT = Path(__file__).parents[2]
SWEEP_FILES = sorted((ROOT / "configs/sweeps").glob("*.yaml"))
DEADLINE = 120.0
SWEEPS = Path("runs/sweeps")
DEBUG = ["--cluster", "debug"]
ONE_EPOCH = ["--trainer.max_epochs", "1"]


class Forked:
    """What ``subprocess.Popen`` is to a sweep, of a process that runs the same command and has nothing to import."""

    last: "Forked"

    def __init__(
        self,
        command: Sequence[str],
        env: dict[str, str],
        stdout: IO[bytes],
        start_new_session: bool,
        **_inherited: Any,
    ) -> None:
        _python, _m, module, *arguments = command

        def begin() -> None:
            if start_new_session:
                os.setsid()
            os.environ.update(env)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            for number in (1, 2):
                os.dup2(stdout.fileno(), number)
            sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
            run(arguments)

        run = import_module(module).main
        self._process = mp.get_context("fork").Process(target=begin)
        self._process.start()
        self.pid = self._process.pid or 0
        Forked.last = self

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode


class Interruption(Callback):
    """Ends the run at the start of its second epoch."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 1:
            raise RuntimeError("interrupted")


@pytest.fixture(scope="module")
def parser() -> FitParser:
    return FitParser()


@pytest.fixture
def for_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """What processes need to find this checkout, and to be quick."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of a sweep with ``DEBUG`` are forked: most of the time of one that is not goes into its imports."""
    standing_in = SimpleNamespace(Popen=Forked, DEVNULL=subprocess.DEVNULL, STDOUT=subprocess.STDOUT)
    monkeypatch.setattr("sefl.sweep.jobs.subprocess", standing_in)


@pytest.fixture
def in_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def sweep(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int | str | None, str]:
    """The exit status and the output of the command."""
    with pytest.raises(SystemExit) as exit_status:
        main([*arguments])
    output, error = capfd.readouterr()
    return exit_status.value.code, output + error


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + DEADLINE
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)


def write_sweep(content: dict[str, object], path: Path) -> Path:
    usual = {"method": "grid", "command": ["${env}", "python", "-m", "sefl.fit", "${args}"]}
    path.write_text(yaml.safe_dump({**usual, **content}))
    return path


def test_a_plan_is_every_combination_seeds_last(tiny: Path) -> None:
    other = tiny.with_name("other.yaml")
    other.write_text(tiny.read_text())
    sizes = {"data.train_size": [50, 30], "model.network.trunk.kernel_size": [5]}
    grid = {"config": [str(tiny), str(other)], **sizes, "seed": [3, 4]}
    planned = trials(grid, ["--trainer.max_epochs", "7"])
    assert len(set(planned)) == len(planned) == 8
    assert [one.seed for one in planned] == [3] * 4 + [4] * 4
    size, width = "--data.train_size=50", "--model.network.trunk.kernel_size=5"
    assert planned[0] == Trial(str(tiny), "train_size=50", 3, (size, width, "--trainer.max_epochs", "7"))
    assert planned[0].arguments[:2] == ["--config", str(tiny)]
    assert planned[0].arguments[-2:] == ["--seed", "3"]


@pytest.mark.parametrize(
    ("grid", "options", "message"),
    [
        ({}, [], "no configuration: give --configs"),
        ({"config": ["absent.yaml"]}, [], "absent.yaml: there is no such file"),
        ({"config": ["tiny.yaml", "tiny.yaml"]}, [], "config: must have .* each once"),
        ({"config": ["tiny.yaml"], "seed": [0, 0]}, [], "seed: must have .* each once"),
        ({"config": ["tiny.yaml"], "seed": [-1]}, [], "seed must be an integer from 0 to 4294967295, got -1"),
        ({"config": ["tiny.yaml"], "data.train_size": []}, [], "data.train_size: must have one value"),
        ({"config": ["tiny.yaml"], "a.b": [[1, 2], "1-2"]}, [], "runs of one name, b=1-2"),
        ({"config": ["tiny.yaml"]}, ["--run_dir=x"], "--run_dir=x: is set by the sweep"),
        ({"config": ["tiny.yaml"]}, ["--data.seed", "1"], "--data.seed: is set by the sweep"),
        ({"config": ["tiny.yaml"], "seed_everything": [1]}, [], "--seed_everything: is set by the sweep"),
    ],
)
def test_a_plan_refuses(tiny: Path, grid: dict, options: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trials(grid, options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"method": "bayes", "parameters": {}}, "method must be grid, got 'bayes'; .* wandb sweep"),
        (
            {"parameters": {"a": {"min": 0, "max": 1}}},
            "parameter a must have either value or a list of values",
        ),
        ({"parameters": {"a": {"values": 3}}}, "parameter a must have"),
        ({"parameters": {}, "command": ["python", "x.py"]}, "command must be .* got \\['python', 'x.py'\\]"),
        ({}, "must have parameters"),
    ],
)
def test_a_sweep_file_refuses(tmp_path: Path, content: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_sweep_file(write_sweep(content, tmp_path / "sweep.yaml"))


@pytest.mark.usefixtures("in_root")
@pytest.mark.parametrize("file", SWEEP_FILES, ids=lambda path: path.stem)
def test_sweep_files_agree_with_wandb_and_with_the_configurations(file: Path, parser: FitParser) -> None:
    """Its agent's command, as wandb builds it, is parsed to the same configuration as ours is."""
    content = yaml.safe_load(file.read_text())
    assert Path(content["program"]).is_file()
    grid = read_sweep_file(file)
    planned = trials({**grid, "seed": grid["seed"][:1]})
    names = set()
    for one in planned:
        ours = parser.plan(one)
        names.add(ours.name)
        assert ours.config["seed_everything"] == ours.config["data"]["init_args"]["seed"] == one.seed
        values = dict(option.removeprefix("--").split("=") for option in one.options)
        values = {"config": one.config, "seed": one.seed, **values}
        # as W&B's grid search does, in alphabetical order
        sent = {"args": {name: {"value": values[name]} for name in sorted(values)}}
        *command, last = create_sweep_command(content["command"])
        assert command == ["${env}", "python", "-m", "sefl.fit"]
        assert last == "${args}"
        config, *options = create_sweep_command_args(sent)["args"]
        assert config == f"--config={one.config}"
        assert parser.plan(Trial(one.config, options=tuple(options))).config == ours.config
    assert len(names) == len(planned)


def test_a_parameter_that_no_configuration_has(tiny: Path, parser: FitParser) -> None:
    with pytest.raises(
        ValueError,
        match=r"(?s)tiny.yaml --data.tran_size=5: .*no argument tran_size; did you mean --data.train_size",
    ):
        parser.plan(trials({"config": [str(tiny)], "data.tran_size": [5]})[0])


def test_mistakes_are_found_before_anything_runs(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["--configs", str(tiny), "--", "--model.absent", "1"],
        ["--configs", str(tiny), "--jobs", "0"],
        ["--configs", str(tiny), "--submitit", "timeout_min"],
        ["--configs", str(tiny), "--submitit", "gpus=1"],
        ["--configs", str(tiny), "--submitit", "timeout_min=4h"],
        ["--configs", str(tiny), "--cluster", "slurm"],
        ["--configs", str(tiny), "--cluster", "slurm", "--submitit", "timeout_min=5"],
    ):
        status, output = sweep(capfd, *arguments)
        assert status == 2, output
        assert output.count("error: ") == 1
    assert not Path("runs").exists()


def test_the_same_experiment_and_seed_is_found(tiny: Path, parser: FitParser) -> None:
    """However it was started; other options or another seed make it another."""
    fit(["--config", str(tiny), *ONE_EPOCH, "--seed", "3"])
    fit(["--config", str(tiny), *ONE_EPOCH, "--seed_everything", "4", "--data.seed", "4"])
    fit(["--config", str(tiny), *ONE_EPOCH, "--seed_everything", "5"])

    def found(*options: str, **grid: list[object]) -> str | None:
        planned = parser.plan(trials({"config": [str(tiny)], **grid}, options)[0])
        run = find_run(planned, Path("runs"), parser, print)
        assert run is None or run.finished
        return run and run.folder.path.name

    assert found(*ONE_EPOCH, seed=[3]) == "0"
    assert found(*ONE_EPOCH, "--wandb.project", "other", seed=[4]) == "1"
    assert found(*ONE_EPOCH, seed=[5]) is None
    assert found(*ONE_EPOCH, "--model.network.head.hidden", "9", seed=[3]) is None
    assert found("--trainer.max_epochs", "2", seed=[3]) is None
    # options that there were not yet when the run was made have their defaults
    stored = Path("runs/tiny/0/config.yaml")
    content = yaml.safe_load(stored.read_text())
    del content["data"]["init_args"]["train_size"]
    stored.write_text(yaml.safe_dump(content))
    assert found(*ONE_EPOCH, seed=[3]) == "0"


def test_what_is_left_is_done_and_what_fails_stops_no_other(
    tiny: Path, capfd: pytest.CaptureFixture[str], forked: None
) -> None:
    fit(["--config", str(tiny), "--seed", "0"])
    with pytest.raises(RuntimeError, match="interrupted"):
        fit(["--config", str(tiny), "--seed", "1", f"--trainer.callbacks+={__name__}.Interruption"])
    # as if it had been killed from without: the callback is no part of the experiment
    stored = Path("runs/tiny/1/config.yaml")
    content = yaml.safe_load(stored.read_text())
    content["trainer"]["callbacks"].pop()
    stored.write_text(yaml.safe_dump(content))
    before = {path: path.read_bytes() for path in Path("runs/tiny/0").rglob("*") if path.is_file()}
    # a mistake that is found only when the network is made
    bad = tiny.with_name("bad.yaml")
    bad.write_text(tiny.read_text().replace("kernel_size: 3", "kernel_size: 4"))

    status, output = sweep(capfd, "--configs", str(bad), str(tiny), "--seeds", "1", *DEBUG)
    assert status == 1, output
    words = " ".join(output.split())
    assert "bad.yaml seed 1: failed" in words
    assert "error: kernel_size must be" in words, words
    assert "tiny.yaml seed 1: finished" in words
    assert "went on after 1 epochs" in words
    assert "python -m sefl.report runs/tiny/1" in words
    assert not list(Path("runs/bad").iterdir())
    logs = {path.name for path in Path("runs/sweeps/0").iterdir()}
    assert logs == {"command.txt", "submitit", "bad_seed=1.log", "tiny_seed=1.log"}
    assert yaml.safe_load(Path("runs/tiny/1/config_1.yaml").read_text())["data"]["init_args"]["seed"] == 1

    # now both seeds are there, and only evaluations are missing
    both = ["--configs", str(tiny), "--seeds", "0", "1"]
    main([*both, "--evaluate", "last", "--dry_run"])
    assert capfd.readouterr().out.splitlines() == [
        f"python -m sefl.evaluate --run_dir runs/tiny/{seed} --ckpt_path last --trust" for seed in (0, 1)
    ]
    status, output = sweep(capfd, *both)
    assert status == 0
    assert output.count("finished before") == 2
    assert "python -m sefl.report runs/tiny/0 runs/tiny/1" in output
    assert {path: path.read_bytes() for path in before} == before
    assert sorted(path.name for path in Path("runs/tiny").iterdir()) == ["0", "1"]


def test_shown_commands_name_the_folder_of_all_runs(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    main(["--configs", str(tiny), "--runs", "elsewhere", "--evaluate", "best", "--dry_run"])
    training, evaluation = capfd.readouterr().out.splitlines()
    assert training.endswith("--name tiny --runs elsewhere")
    assert evaluation == "python -m sefl.evaluate --name tiny --runs elsewhere --ckpt_path best --trust"


def test_a_damaged_checkpoint_costs_its_own_experiment_alone(
    tiny: Path, capfd: pytest.CaptureFixture[str], forked: None
) -> None:
    fit(["--config", str(tiny), *ONE_EPOCH, "--seed", "0"])
    last = Path("runs/tiny/0/checkpoints/last.ckpt")
    last.write_bytes(last.read_bytes()[:1000])
    options = ["--configs", str(tiny), "--seeds", "0", "1", "--", *ONE_EPOCH]
    capfd.readouterr()
    main(["--dry_run", *options])
    damaged, command = capfd.readouterr().out.splitlines()
    assert "seed 0: runs/tiny/0/checkpoints/last.ckpt: is damaged or cut off" in damaged
    assert command.endswith("--seed 1 --name tiny")
    status, output = sweep(capfd, *DEBUG, *options)
    assert status == 1
    assert "tiny.yaml seed 1: finished" in output
    words = " ".join(output.split())
    assert "tiny.yaml seed 0: runs/tiny/0/checkpoints/last.ckpt: is damaged or cut off" in words, words
    assert Path("runs/tiny/1/checkpoints/last.ckpt").is_file()


def test_ctrl_c_stops_the_runs_too(tiny: Path, capfd: pytest.CaptureFixture[str], for_children: None) -> None:
    busy = []

    def interrupt() -> None:
        wait_for(Path("runs/tiny/0/metrics.csv"))
        for lock in (".lock", ".running"):
            with pytest.raises(ValueError, match="--runs runs: another sweep"), locked(SWEEPS / lock):
                pass
        busy.append(True)
        os.kill(os.getpid(), signal.SIGINT)

    Thread(target=interrupt).start()
    command = ["--configs", str(tiny), "--seeds", "0", "1", "--", "--trainer.max_epochs", "10000"]
    status, output = sweep(capfd, *command)
    assert status == 130, output
    assert busy
    assert "the same command goes on" in output
    assert not Path("runs/tiny/1").exists()
    # the run held it while it lived, also without the sweep
    with locked(SWEEPS / ".running"):
        pass
    assert "Stopped by Ctrl-C. To go on:" in Path("runs/sweeps/0/tiny_seed=0.log").read_text()


def test_a_run_that_is_stopped_from_without_is_not_finished(
    tiny: Path, capfd: pytest.CaptureFixture[str], forked: None
) -> None:
    def terminate() -> None:
        wait_for(Path("runs/tiny/0/checkpoints/last.ckpt"))
        os.kill(Forked.last.pid, signal.SIGTERM)

    Thread(target=terminate).start()
    options = ["--trainer.max_epochs", "10000", "--trainer.callbacks", "null"]
    status, output = sweep(capfd, "--configs", str(tiny), "--evaluate", "last", *DEBUG, "--", *options)
    assert status == 1, output
    words = " ".join(output.split())
    assert "tiny.yaml: interrupted" in words
    assert "by SIGTERM: the same command goes on" in words
    log = Path("runs/sweeps/0/tiny.log").read_text()
    assert "python -m sefl.fit --ckpt_path last --run_dir" in log.splitlines()[-1]
    assert "sefl.evaluate" not in log.splitlines()[-1]
    assert not Path("runs/tiny/0/evaluation").exists()


def test_a_sweep_of_wandb_offline_in_place_of_its_agent(
    tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], forked: None
) -> None:
    """The same file as an agent's, to its end: every run is one of W&B's, with its options, figures and tables."""
    parameters: dict[str, object] = {
        "config": {"value": str(tiny)},
        "model.optimizer.init_args.lr": {"values": [0.01, 0.02]},
        "trainer.callbacks": {"value": "callbacks.EquivarianceMonitor"},
        "trainer.max_epochs": {"value": 1},
        "wandb.mode": {"value": "offline"},
    }
    file = write_sweep({"parameters": parameters}, tmp_path / "sweep.yaml")
    status, output = sweep(capfd, str(file), "--evaluate", "last", *DEBUG)
    assert status == 0, output
    for rate in ("0.01", "0.02"):
        run = Path(f"runs/tiny/lr={rate}/0")
        (of_training,) = run.glob("wandb/offline-run-*")
        (of_evaluation,) = run.glob("evaluation/0/wandb/offline-run-*")
        for logged, folder, named in (
            (of_training, run, "equivariance/fit-*.png"),
            (of_evaluation, run / "evaluation/0", "**/*.png"),
        ):
            drawn = {path.read_bytes() for path in folder.glob(named) if "wandb" not in path.parts}
            assert len(drawn) >= 3
            assert {path.read_bytes() for path in (logged / "files/media").rglob("*.png")} == drawn
        evaluation = json.loads((run / "evaluation/0/evaluation.json").read_text())
        (table,) = (of_evaluation / "files/media/table").rglob("*.table.json")
        content = json.loads(table.read_text())
        rows = [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
        assert [row["mean"] for row in rows] == [row["mean"] for row in evaluation["equivariance"]]
        assert f'"lr":{rate},'.encode() in next(of_training.glob("run-*.wandb")).read_bytes()


def test_the_reason_of_a_failure(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("python -m sefl.fit\nValueError: a defect\nmore about it\n\n")
    assert reason(log) == "ValueError: a defect"
    log.write_text("python -m sefl.fit\nepoch 3\n")
    assert reason(log) == "epoch 3"


def test_data_without_a_seed(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fit(["--config", str(tiny), "--seed", "1", "--data", "pytorch_lightning.LightningDataModule"])
    assert "--seed 1: the data have no option --data.seed" in capfd.readouterr().err


def test_under_an_agent_the_run_is_the_agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = tmp_path / "config-run7.yaml"
    parameters.write_text(yaml.safe_dump({"wandb_version": 1, "data.train_size": {"value": 50}}))
    agent = {
        "SWEEP_ID": "sweep5",
        "RUN_ID": "run7",
        "PROJECT": "of_the_sweep",
        "SWEEP_PARAM_PATH": str(parameters),
    }
    for name, value in {**agent, "MODE": "offline"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    wandb.teardown()
    loggers = wandb_loggers(tmp_path / "run", "tiny/0", WandbOptions())
    with wandb_finished(loggers):
        run = loggers[0].experiment
        assert (run.id, run.sweep_id, run.project) == ("run7", "sweep5", "of_the_sweep")
        assert run.config["data.train_size"] == 50
        loggers[0].log_hyperparams({"data": {"init_args": {"train_size": 50}}})
    wandb.teardown()
    assert len(list((tmp_path / "run/wandb").glob("offline-run-*-run7"))) == 1
    assert RunFolder(tmp_path / "run").configs == []
