"""python -m sefl.fit, through its entry point: run folders, resuming, mistakes, two processes."""

import csv
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
import torch
import yaml
from side_by_side import SideBySide

from models import ScaleClassifier
from sefl.evaluate import main as evaluate
from sefl.files.writing import write_atomically
from sefl.fit import main
from sefl.networks import ScaleNetwork
from sefl.runs.checkpoints import AtomicCheckpointIO
from sefl.runs.folder import RunFolder, make_next_version, name_of, name_of_merged
from sefl.runs.loggers import MetricsCSV, wandb_mode
from sefl.runs.metrics_file import iterate_rows

Start = Callable[..., subprocess.Popen[str]]

DEADLINE = 120.0
RUN = Path("runs/tiny/0")
MODEL_CHECKPOINT = "pytorch_lightning.callbacks.ModelCheckpoint"


class RememberingClassifier(ScaleClassifier):
    """Stores its hyper-parameters in checkpoints, from where Lightning's own command line takes them back."""

    def __init__(self, network: ScaleNetwork, consistency_weight: float = 0.5, **others: Any) -> None:
        super().__init__(network, consistency_weight, **others)
        self.save_hyperparameters(ignore=["network", "optimizer", "lr_scheduler"])


class DefectiveClassifier(ScaleClassifier):
    """Has a defect, in its constructor or in a step."""

    def __init__(self, network: ScaleNetwork, where: str = "step", **others: Any) -> None:
        super().__init__(network, **others)
        self.where = where
        if where == "constructor":
            raise TypeError("a defect")

    def training_step(self, batch: Any, batch_index: int) -> Any:
        raise ValueError("a defect")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, output
    return output


def test_a_run_has_its_own_folder(tiny: Path) -> None:
    main(["--config", str(tiny), "--trainer.callbacks.figures", "true"])
    files = {str(path.relative_to(RUN)) for path in contents(RUN)}
    assert {
        "config.yaml",
        "split.npz",
        "metrics.csv",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
    } <= files
    assert any(name.startswith("equivariance/") and name.endswith(".png") for name in files)
    rows = list(iterate_rows(RUN / "metrics.csv"))
    assert any(row["train/loss"] for row in rows)
    assert len([row for row in rows if row["val/accuracy"]]) == 2
    # the latest epoch, also where it is not the best
    assert torch.load(RUN / "checkpoints/last.ckpt")["epoch"] == 1

    before = contents(RUN)
    main(["--config", str(tiny), "--trainer.max_epochs", "1"])
    assert contents(RUN) == before
    assert (RUN.parent / "1" / "checkpoints/last.ckpt").is_file()


def test_stored_configuration_starts_a_further_run(tiny: Path) -> None:
    main(["--config", str(tiny), "--trainer.max_epochs", "1", "--model.network.head.hidden", "9"])
    main(["--config", str(RUN / "config.yaml")])
    stored = yaml.safe_load((RUN.parent / "1" / "config.yaml").read_text())
    assert stored["model"]["init_args"]["network"]["init_args"]["head"]["hidden"] == 9


def test_several_configurations_merge(tiny: Path) -> None:
    further = tiny.with_name("further.yaml")
    further.write_text("trainer: {max_epochs: 1}\nname: merged\n")
    main(["--config", str(tiny), "--config", str(further), "--model.network.head.hidden", "9"])
    stored = yaml.safe_load(Path("runs/merged/0/config.yaml").read_text())
    assert stored["trainer"]["max_epochs"] == 1
    assert stored["trainer"]["log_every_n_steps"] == 1
    assert stored["model"]["init_args"]["network"]["init_args"]["head"]["hidden"] == 9


def test_epochs_without_validation_can_be_resumed(tiny: Path) -> None:
    main(["--config", str(tiny), "--trainer.check_val_every_n_epoch", "2", "--trainer.max_epochs", "1"])
    assert [path.name for path in (RUN / "checkpoints").iterdir()] == ["last.ckpt"]
    main(["--ckpt_path", str(RUN / "checkpoints/last.ckpt"), "--trainer.max_epochs", "3"])
    assert torch.load(RUN / "checkpoints/last.ckpt")["epoch"] == 2
    assert torch.load(RUN / "checkpoints/best.ckpt")["epoch"] == 1


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ("quickstart.yaml", "quickstart"),
        ("configs/quickstart.yaml", "quickstart"),
        ("/any/where/configs/mnist_scale/fourier.yaml", "mnist_scale/fourier"),
        (None, "unnamed"),
    ],
)
def test_name_of(config: str | None, name: str) -> None:
    assert name_of(config) == name


@pytest.mark.parametrize(
    ("configs", "name"),
    [
        ([], "unnamed"),
        (["configs/quickstart.yaml"], "quickstart"),
        (["configs/a/fourier.yaml", "configs/a/data/bicubic.yaml", "mine.yml"], "a/fourier-bicubic-mine"),
        (["configs/quickstart.yaml", "configs/trainer/ddp.yaml"], "quickstart"),
    ],
)
def test_merged_files_name_the_runs_together_but_for_the_trainer(configs: list[str], name: str) -> None:
    assert name_of_merged(configs) == name


def test_versions_are_never_shared(tmp_path: Path) -> None:
    made = [make_next_version(tmp_path) for _ in range(12)]
    assert [path.name for path in made] == [str(version) for version in range(12)]


def test_resume_in_the_same_folder(tiny: Path) -> None:
    main(["--config", str(tiny)])
    config, metrics = (RUN / "config.yaml").read_bytes(), list(iterate_rows(RUN / "metrics.csv"))
    main(["--config", str(tiny), "--ckpt_path", "last", "--trainer.max_epochs", "3"])
    # without --config: the configuration of the latest start, three epochs
    main(["--ckpt_path", str(RUN / "checkpoints/last.ckpt"), "--trainer.max_epochs", "4"])

    assert [path.name for path in RUN.parent.iterdir()] == ["0"]
    assert (RUN / "config.yaml").read_bytes() == config
    assert yaml.safe_load((RUN / "config_2.yaml").read_text())["trainer"]["max_epochs"] == 4
    rows = list(iterate_rows(RUN / "metrics.csv"))
    assert [row["train/loss"] for row in rows[: len(metrics)]] == [row["train/loss"] for row in metrics]
    assert [float(row["epoch"]) for row in rows if row["val/accuracy"]] == [0, 1, 2, 3]
    assert sorted(path.name for path in (RUN / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


def test_command_line_wins_over_checkpoint(tiny: Path) -> None:
    settings = yaml.safe_load(tiny.read_text())
    settings["model"]["class_path"] = f"{__name__}.RememberingClassifier"
    tiny.write_text(yaml.safe_dump(settings))
    main(["--config", str(tiny), "--trainer.max_epochs", "1"])
    assert torch.load(RUN / "checkpoints/last.ckpt")["hyper_parameters"]["consistency_weight"] == 0.5
    main(["--config", str(tiny), "--ckpt_path", "last", "--model.consistency_weight", "0.25"])
    stored = yaml.safe_load((RUN / "config_1.yaml").read_text())
    assert stored["model"]["init_args"]["consistency_weight"] == 0.25
    assert torch.load(RUN / "checkpoints/last.ckpt")["hyper_parameters"]["consistency_weight"] == 0.25


def test_sigkill_in_the_middle_of_an_epoch(tiny: Path, side_by_side: Callable[..., SideBySide]) -> None:
    # two layers of the head drop out hidden units: a resumed run needs the random states of the killed one
    options = ["--config", str(tiny), "--data.train_samples", "1000", "--trainer.max_epochs", "3"]
    options += ["--model.network.head.dropout", "0.5"]
    killed = side_by_side("alone", main, options)
    killed.wait_for(lambda: epochs_begun(RUN / "metrics.csv") == 2)
    killed.signal([0], signal.SIGKILL)
    assert killed.end() == [-signal.SIGKILL], killed.said
    assert torch.load(RUN / "checkpoints/last.ckpt")["epoch"] == 0
    killed_after = list(iterate_rows(RUN / "metrics.csv"))

    main(["--ckpt_path", str(RUN / "checkpoints/last.ckpt")])
    state = torch.load(RUN / "checkpoints/last.ckpt")
    assert state["epoch"] == 2
    assert state["global_step"] == 3 * steps_of_an_epoch(RUN)
    rows = list(iterate_rows(RUN / "metrics.csv"))
    assert len(rows) > len(killed_after)
    assert [float(row["epoch"]) for row in rows if row["val/accuracy"]] == [0, 1, 2]
    main([*options, "--run_dir", "whole"])
    assert_same_weights(state, torch.load("whole/checkpoints/last.ckpt"))


def test_a_run_without_a_checkpoint_yet_begins_again(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ["--config", str(tiny), "--model.network.head.dropout", "0.5", "--trainer.max_epochs", "1"]
    main([*options, "--data.seed", "5"])
    whole = torch.load(RUN / "checkpoints/last.ckpt")
    split = (RUN / "split.npz").read_bytes()
    for checkpoint in (RUN / "checkpoints").iterdir():
        checkpoint.unlink()

    # each message names what goes on
    for arguments, command in [
        ([*options, "--run_dir", str(RUN)], main),
        (["--run_dir", str(RUN)], evaluate),
    ]:
        last = ["--ckpt_path", "last"] if command is evaluate else []
        with pytest.raises(SystemExit):
            command([*arguments, *last])
        assert "--ckpt_path last" in capfd.readouterr().err
    for which in (["--run_dir", str(RUN)], ["--name", "tiny"]):
        main([*which, "--ckpt_path", "last"])
        assert "stopped before its first checkpoint: it begins again" in capfd.readouterr().out
        assert [path.name for path in RUN.parent.iterdir()] == ["0"]
        assert (RUN / "split.npz").read_bytes() == split
        assert_same_weights(torch.load(RUN / "checkpoints/last.ckpt"), whole)
        shutil.rmtree(RUN / "checkpoints")


def assert_same_weights(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one["global_step"] == other["global_step"]
    torch.testing.assert_close(one["state_dict"], other["state_dict"], rtol=0, atol=0)


def epochs_begun(metrics: Path) -> int:
    """How many epochs have logged a training loss."""
    if not metrics.exists():
        return 0
    return len({row["epoch"] for row in iterate_rows(metrics) if row.get("train/loss")})


def steps_of_an_epoch(run: Path) -> int:
    rows = list(iterate_rows(run / "metrics.csv"))
    return 1 + max(int(row["step"]) for row in rows if row["train/loss"] and float(row["epoch"]) == 0)


def test_two_processes_share_one_folder(
    tiny: Path, start: Start, side_by_side: Callable[..., SideBySide]
) -> None:
    checkpoint = {"filename": "steps", "every_n_train_steps": 5, "enable_version_counter": False}
    settings = yaml.safe_load(tiny.read_text())
    settings["trainer"]["callbacks"].append({"class_path": MODEL_CHECKPOINT, "init_args": checkpoint})
    tiny.write_text(yaml.safe_dump(settings))
    options = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    run = side_by_side("torchrun", main, ["--config", str(tiny), *options])
    assert run.end() == [0, 0], run.said
    assert "".join(run.said).count("validation accuracy, best") == 1
    assert [str(path) for path in Path("runs").glob("*/*")] == [str(RUN)]
    assert [path.name for path in RUN.glob("config*.yaml")] == ["config.yaml"]
    rows = list(iterate_rows(RUN / "metrics.csv"))
    assert [float(row["epoch"]) for row in rows if row["val/accuracy"]] == [0, 1]

    # from the middle of the last epoch, each process with its own random state; Lightning starts the second one
    whole = torch.load(RUN / "checkpoints/last.ckpt")
    steps = str(RUN / "checkpoints/steps.ckpt")
    finish(start("sefl.fit", "--ckpt_path", steps))
    assert [str(path) for path in Path("runs").glob("*/*")] == [str(RUN)]
    assert_same_weights(whole, torch.load(RUN / "checkpoints/last.ckpt"))
    alone = ["--run_dir", "alone", "--trainer.devices", "1", "--trainer.strategy", "auto"]
    with pytest.warns(UserWarning, match="was written by 2 processes, and 1 go on"):
        main(["--ckpt_path", steps, *alone])
    assert torch.load("alone/checkpoints/last.ckpt")["epoch"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "model"),
        (["--config", "absent.yaml"], "absent.yaml"),
        (["--config", "empty.yaml"], "--config empty.yaml: is empty"),
        (["--config", "modelless.yaml"], "model"),
        (["--config", "tiny.yaml", "--model.class_path", "models.Absent"], "models.Absent"),
        (["--config", "tiny.yaml", "--trainer.precision", "17"], "trainer.precision"),
        (["--config", "tiny.yaml", "--trainer.devices", "0"], "devices"),
        (["--config", "tiny.yaml", "--trainer.strategy", "absent"], "strategy='absent'"),
        (["--config", "tiny.yaml", "--trainer.devices", "2", "--trainer.strategy", "ddp_spawn"], "Use ddp."),
        (["--config", "tiny.yaml", "--trainer.absent", "1"], "--trainer.absent"),
        (["--config", "tiny.yaml", "--model.network.trunk.kernel_size", "4"], "kernel_size"),
        (["--config", "tiny.yaml", "--data.resolutions", "[7, 12]"], "base_resolution"),
        (
            ["--config", "tiny.yaml", "--model.network.in_channels", "3"],
            "--model.network.in_channels: must be 1, the channels",
        ),
        (
            ["--config", "tiny.yaml", "--model.network.classes", "9"],
            "--model.network.classes: must be 10, the classes of",
        ),
        (
            ["--config", "tiny.yaml", "--model.network.dimensions", "1"],
            "Glyphs gives images, of 2 axes, the model takes signals",
        ),
        (["--config", "tiny.yaml", "--data.split_file", "absent.npz"], "absent.npz"),
        (
            ["--config", "tiny.yaml", "--trainer.overfit_batches", "2"],
            "overfit_batches: must be 0, got 2: it would break up",
        ),
        (["--config", "tiny.yaml", "--ckpt_path", "absent.ckpt"], "absent.ckpt"),
        (["--config", "tiny.yaml", "--ckpt_path", "tiny.yaml"], "is no file of torch.save"),
        (["--config", "tiny.yaml", "--ckpt_path", "last"], "there is no last.ckpt"),
        (["--ckpt_path", "last"], "of which run?"),
        (["--config", "tiny.yaml", "--run_dir", "used"], "holds a run already"),
    ],
)
def test_a_mistake_is_one_message(
    tiny: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    Path("empty.yaml").write_text("# nothing\n")
    Path("modelless.yaml").write_text("trainer: {max_epochs: 1}\n")
    Path("used").mkdir()
    Path("used/config.yaml").write_text("")
    with pytest.raises(SystemExit) as exit_status:
        main(arguments)
    error = capfd.readouterr().err
    assert exit_status.value.code == 2
    assert error.count("error: ") == 1
    assert message in error.partition("error: ")[2]
    assert "Traceback" not in error
    assert not list(Path("runs").glob("*/*"))


@pytest.mark.parametrize("where", ["constructor", "step"])
def test_a_defect_keeps_its_traceback(tiny: Path, where: str) -> None:
    settings = yaml.safe_load(tiny.read_text())
    settings["model"]["class_path"] = f"{__name__}.DefectiveClassifier"
    settings["model"]["init_args"]["where"] = where
    tiny.write_text(yaml.safe_dump(settings))
    # that of a constructor arrives as the cause of jsonargparse's ValueError
    with pytest.raises(ValueError, match="a defect"):
        main(["--config", str(tiny)])


def test_checkpoint_of_another_model(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    main(["--config", str(tiny), "--trainer.max_epochs", "1"])
    with pytest.raises(SystemExit):
        main(["--config", str(tiny), "--ckpt_path", "last", "--model.network.head.hidden", "9"])
    assert "was written by another model" in capfd.readouterr().err


@pytest.mark.parametrize("option", ["--help", "--print_config"])
def test_options_that_only_print(tiny: Path, capfd: pytest.CaptureFixture[str], option: str) -> None:
    with pytest.raises(SystemExit) as exit_status:
        main(["--config", str(tiny), option])
    assert exit_status.value.code == 0
    assert "max_epochs" in capfd.readouterr().out
    assert not Path("runs").exists()


def test_loggers_and_callbacks_can_be_switched_off(tiny: Path) -> None:
    switches = ["--trainer.logger", "false", "--trainer.enable_checkpointing", "false"]
    main(["--config", str(tiny), "--trainer.max_epochs", "1", *switches])
    assert (RUN / "config.yaml").is_file()
    assert not (RUN / "metrics.csv").exists()
    assert not (RUN / "checkpoints").exists()


def test_wandb_offline(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    main(["--config", str(tiny), "--trainer.max_epochs", "1", "--wandb.mode", "offline"])
    (first,) = (RUN / "wandb").glob("offline-run-*/run-*.wandb")
    # a resumed run is the same run, of which wandb sync uploads the parts in their order; an evaluation is not
    resumed = ["--ckpt_path", "last", "--run_dir", str(RUN), "--wandb.mode", "offline"]
    time.sleep(1)  # folders are named by the second
    main([*resumed, "--trainer.max_epochs", "2"])
    files = list((RUN / "wandb").glob("offline-run-*/run-*.wandb"))
    assert [file.name for file in files] == [first.name] * 2
    evaluate(resumed)
    (other,) = (RUN / "evaluation/0/wandb").glob("offline-run-*/run-*.wandb")
    assert other.name != first.name
    assert not Path("wandb").exists()


@pytest.mark.parametrize(
    ("checkpoint", "clashes"),
    [
        ({"filename": "last"}, "last.ckpt"),
        ({"filename": "steps", "save_last": True}, "last.ckpt"),
        ({"filename": "best"}, "best.ckpt"),
        ({"filename": "steps"}, None),
        ({"filename": "last", "dirpath": "elsewhere"}, None),
        ({"filename": "{epoch}"}, None),
        ({"filename": "best", "monitor": "val/loss"}, None),
    ],
)
def test_a_checkpoint_of_ones_own_takes_the_place_of_none(
    checkpoint: dict[str, Any], clashes: str | None, tiny: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = yaml.safe_load(tiny.read_text())
    settings["trainer"]["callbacks"] = [{"class_path": MODEL_CHECKPOINT, "init_args": checkpoint}]
    tiny.write_text(yaml.safe_dump(settings))
    command = ["--config", str(tiny), "--trainer.max_epochs", "1", "--trainer.limit_val_batches", "1"]
    if clashes:
        with pytest.raises(SystemExit) as exit_status:
            main(command)
        assert exit_status.value.code == 2
        said = f"Checkpoint and ModelCheckpoint both write {clashes}. Give the second another filename"
        assert said in capfd.readouterr().err
        assert not list(Path("runs/tiny").iterdir())
        return
    main(command)
    file = Path(checkpoint.get("dirpath", RUN / "checkpoints")) / f"{checkpoint['filename']}.ckpt"
    assert file.is_file() or "{" in checkpoint["filename"]
    assert torch.load(RUN / "checkpoints/last.ckpt")["epoch"] == 0


def test_wandb_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for logged_in, mode in [(True, "online"), (False, "offline")]:
        monkeypatch.setattr("wandb.login", lambda logged_in=logged_in, **_: logged_in)
        assert wandb_mode("auto") == mode
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert wandb_mode("auto") == "disabled"
    assert wandb_mode("online") == "online"


def test_interrupted_checkpoint_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, target)

    def die(file: IO[bytes]) -> None:
        file.write(b"a part")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(target, die)
    assert torch.load(target) == {"epoch": 1}


def test_metrics_are_appended_after_a_cut_off_line(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    logger = MetricsCSV(folder)
    logger.log_metrics({"a": 1.0}, step=0)
    logger.log_metrics({"a": 2.0}, step=1)
    logger.log_metrics({"b": 3.0}, step=2)
    with folder.metrics.open("a") as file:
        file.write("3,4.")
    MetricsCSV(folder).log_metrics({"a": 5.0}, step=3)
    with folder.metrics.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["a"], row["b"]) for row in rows] == [
        ("0", "1.0", ""),
        ("1", "2.0", ""),
        ("2", "", "3.0"),
        ("3", "5.0", ""),
    ]
