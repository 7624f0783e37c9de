"""A mistake in the options is one line that says where it stands and what was meant, in every command."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from sefl.bench.__main__ import main as bench
from sefl.command_line.mistakes import OneLineParser, one_line
from sefl.demo.__main__ import main as demo
from sefl.evaluate import main as evaluate
from sefl.fit import main as fit
from sefl.networks.conv import ConvTrunk
from sefl.networks.fourier import FourierTrunk
from sefl.networks.mixer import MixerTrunk
from sefl.report.__main__ import main as report
from sefl.sweep.__main__ import main as sweep

Command = Callable[[list[str]], None]

NETWORK = "{class_path: FourierNetwork, init_args: {trunk: {widths: [4]}}}"
ADAM = "{class_path: torch.optim.AdamW, init_args: {lr: 1, beta: [0, 1]}}"
WRITTEN = f"""
data:
  class_path: datamodules.Glyphs
model:
  class_path: models.ScaleClassifier
  init_args:
    network: {NETWORK}
    optimizer: {ADAM}
trainer:
  callbacks:
    - class_path: callbacks.OrbitEvaluation
    - class_path: callbacks.EquivarianceMonitor
      init_args:
        figures: false
"""


def message(command: Command, arguments: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit_status:
        command(arguments)
    assert exit_status.value.code == 2
    written = capfd.readouterr().err.splitlines()
    assert len(written) == 1, written
    program, _, mistake = written[0].partition(": error: ")
    assert program.startswith("python -m sefl.")
    return mistake


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        (
            "--model.consistency",
            "8",
            "models.ScaleClassifier has no argument consistency; did you mean --model.consistency_weight?",
        ),
        (
            "--model.network.max_resolutions",
            "8",
            "sefl.networks.FourierNetwork has no argument max_resolutions; did you mean --model.network.max_",
        ),
        (
            "--model.network.kernel_size",
            "8",
            "FourierNetwork has no argument kernel_size; did you mean --model.network.trunk.kernel_size?",
        ),
        (
            "--model.network.trunk.width",
            "8",
            "FourierNetwork has no argument width; did you mean --model.network.trunk.widths?",
        ),
        ("--model.network.trunk.widths", "8", "must be a list, got 8"),
        ("--model.network.trunk", "8", "must be keys with values, got 8"),
        ("--model.network.head.dropout", "much", "must be a number, got much"),
        ("--model", "models.ScaleClassifer", "there is no such class; did you mean models.ScaleClassifier?"),
        ("--model.network", "FourierNetwor", "there is no such class; did you mean FourierNetwork?"),
        ("--model.network", "torch.nn.Linear", "does not correspond to a subclass of ScaleNetwork"),
        ("--data", "datamodule.Glyphs", "there is no such class; did you mean datamodules.Glyphs?"),
        ("--model", "torch.nn.Linear", "does not correspond to a subclass of LightningModule"),
        (
            "--model.optimizer.learning_rate",
            "1",
            "torch.optim.AdamW has no argument learning_rate; it has lr, betas,",
        ),
        ("--model.optimizer.init_args.learning_rate", "1", "torch.optim.AdamW has no argument learning_rate"),
        ("--model.optimizer.lr", "fast", "must be a number, got fast"),
        ("--model.optimizer.lr", "[]", "must be a number, got []"),
        ("--model.optimizer", "torch.optim.AdamX", "there is no such class; did you mean torch.optim.Adam?"),
        ("--trainer.max_epoch", "2", "there is no such option; did you mean --trainer.max_epochs?"),
        ("--trainer.max_epochs", "two", "must be an integer or null, got two"),
        (
            "--trainer.callbacks.figure",
            "1",
            "callbacks.EquivarianceMonitor has no argument figure; did you mean --tr",
        ),
        ("--wandb.mode", "of", "must be one of 'auto', 'online', 'offline', 'disabled', got of"),
        ("--nam", "x", "there is no such option; did you mean --name?"),
        ("--seed_everything", "1.5", "must be true or false or an integer, got 1.5"),
        ("--seed", "x", "must be an integer or null, got x"),
        (
            "--trainer",
            "{max_epoch: 3}",
            "trainer.max_epoch: there is no such option; did you mean max_epochs?",
        ),
    ],
)
@pytest.mark.parametrize("command", [fit, evaluate])
def test_on_the_command_line(
    tiny: Path, capfd: pytest.CaptureFixture[str], command: Command, option: str, value: str, expected: str
) -> None:
    told = message(command, ["--config", str(tiny), option, value], capfd)
    assert told.startswith(f"{option.replace('.init_args', '')}: ")
    assert expected in told


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        (
            "{widths:",
            "{width:",
            "line 7, column 63: model.init_args.network.init_args.trunk.width: sefl.networks.FourierNetwork has no ",
        ),
        (
            "[4]",
            "four",
            "line 7, column 63: model.init_args.network.init_args.trunk.widths: must be a list, got four",
        ),
        (
            "[4]",
            "[4, a]",
            "line 7, column 75: model.init_args.network.init_args.trunk.widths.1: must be an integer, got a",
        ),
        (
            ".Glyphs",
            ".Glyph",
            "line 3, column 3: data.class_path: datamodules.Glyph: there is no such class; did",
        ),
        (
            "beta:",
            "beta:",
            "line 8, column 67: model.init_args.optimizer.init_args.beta: torch.optim.AdamW has no",
        ),
        (
            ADAM,
            "torch.optim.AdamX",
            "line 8, column 5: model.init_args.optimizer: torch.optim.AdamX: there is no",
        ),
        (
            "  callbacks:",
            "  callback:",
            "line 10, column 3: trainer.callback: there is no such option; did you mean c",
        ),
        (
            ".Orbit",
            ".Orbi",
            "line 11, column 7: trainer.callbacks.0.class_path: callbacks.OrbiEvaluation: there is",
        ),
        (
            "figures:",
            "figure:",
            "line 14, column 9: trainer.callbacks.1.init_args.figure: callbacks.Equivariance",
        ),
        (
            "\ntrainer:",
            "\ntrainers:",
            "line 9, column 1: trainers: there is no such option; did you mean trainer?",
        ),
        (
            "false",
            "maybe",
            "line 14, column 9: trainer.callbacks.1.init_args.figures: must be true or false, got may",
        ),
    ],
)
def test_in_a_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], right: str, wrong: str, expected: str
) -> None:
    file = tmp_path / "config.yaml"
    assert WRITTEN.count(right) == 1
    text = WRITTEN.replace(right, wrong)
    file.write_text(text if right == wrong else text.replace(", beta: [0, 1]", ""))
    for command in (fit, evaluate):
        assert message(command, ["--config", str(file)], capfd).startswith(f"{file}, {expected}")


@pytest.mark.parametrize(
    ("command", "arguments", "expected"),
    [
        (fit, [], "--model: needed, but not given; name a configuration with --config FILE"),
        (
            fit,
            ["--model.network", "SESN"],
            "--model.network: needs a class: give --model CLASS or a --config",
        ),
        (
            fit,
            ["--model.help", "models.ScaleClassifer"],
            "--model: models.ScaleClassifer: there is no such class; did",
        ),
        (fit, ["--data.help", "Glyph"], "--data: Glyph: there is no such class; did you mean Glyphs?"),
        (fit, ["stray"], "stray: is no option and no value of one"),
        (fit, ["--seed"], "--seed: expected one argument"),
        (report, [], "RUN_DIR: needed, but not given"),
        (report, ["runs", "--outpt", "x"], "--outpt: there is no such option; did you mean --output?"),
        (sweep, ["--job", "2"], "--job: there is no such option; did you mean --jobs?"),
        (sweep, ["--jobs", "two"], "--jobs: must be an integer, got two"),
        (sweep, ["--evaluate", "bst"], "--evaluate: "),
        (bench, ["--onl", "data"], "--onl: there is no such option; did you mean --only?"),
        (bench, ["--only", "dat"], "--only: must be one of 'layers'"),
        (bench, ["--batch", "x"], "--batch: must be an integer or null, got x"),
        (demo, ["--see", "1"], "--see: there is no such option; did you mean --seed?"),
        (demo, ["--seed", "x"], "--seed: must be an integer, got x"),
    ],
)
def test_in_every_command(
    capfd: pytest.CaptureFixture[str], command: Command, arguments: list[str], expected: str
) -> None:
    assert message(command, arguments, capfd).startswith(expected)


def test_an_option_before_its_class(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told = message(fit, ["--model.network.trunk.widths", "[8]", "--config", str(tiny)], capfd)
    assert (
        told
        == "--model.network.trunk.widths: stands before what names its class; write it behind --config FILE"
    )


def test_a_message_of_another_form_is_one_line_too() -> None:
    assert one_line("Something else:\n  - is\n\n  wrong", OneLineParser()) == "Something else: - is wrong"


@pytest.mark.parametrize(
    ("option", "listed", "left_out", "name", "argument"),
    [
        ("model", "models.ScaleClassifier", "OneCycle", "ScaleClassifier", "--model.consistency_weight"),
        (
            "model.network",
            "sefl.networks.FourierNetwork",
            "Resizing",
            "FourierNetwork",
            "--network.trunk.widths",
        ),
        ("data", "datamodules.Glyphs", "RandomFlip", "Glyphs", "--data.batch_size"),
        ("trainer.callbacks", "callbacks.OrbitEvaluation", "Flip", "EquivarianceMonitor", "figures"),
    ],
)
def test_help_of_our_classes_needs_no_configuration(
    capfd: pytest.CaptureFixture[str], option: str, listed: str, left_out: str, name: str, argument: str
) -> None:
    for command in (fit, evaluate):
        for arguments, expected in [
            ([f"--{option}.help"], f"  {listed} "),
            ([f"--{option}.help", name], argument),
            ([f"--{option}.help", listed], f"--{option.rpartition('model.')[2]}."),
        ]:
            with pytest.raises(SystemExit) as exit_status:
                command(arguments)
            assert exit_status.value.code == 0
            written = capfd.readouterr()
            assert not written.err
            assert expected in written.out
            assert left_out not in written.out or len(arguments) == 2


def test_classes_are_known_by_their_names_alone(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fit(
        [
            "--config",
            str(tiny),
            "--model.network",
            "ConvNetwork",
            "--model.network.trunk.widths",
            "[4]",
            "--trainer.fast_dev_run",
            "1",
        ]
    )
    assert "Run folder" in capfd.readouterr().out


def test_another_class_drops_what_it_has_not_of_settings_too(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """All settings of a kind if one of them is unknown to the new class; what is named behind it stays."""
    written = WRITTEN.replace("widths: [4]", "widths: [4, 4], norm: batch").replace("beta: [0, 1]", "eps: 1")
    (tmp_path / "c.yaml").write_text(written)
    options = ["--config", str(tmp_path / "c.yaml"), "--print_config", "--model.network"]
    for given, trunk in (
        (["ConvNetwork"], ConvTrunk()),
        (["ConvNetwork", "--model.network.trunk.widths", "[4, 8]"], ConvTrunk(widths=[4, 8])),
        (["FourierNetwork"], FourierTrunk(widths=[4, 4], norm="batch")),
        (["MixerNetwork", "--model.network.trunk.width", "4"], MixerTrunk(width=4)),
    ):
        with pytest.raises(SystemExit) as exit_status:
            fit([*options, *given])
        shown = capfd.readouterr()
        assert exit_status.value.code == 0, shown.err
        network = yaml.safe_load(shown.out)["model"]["init_args"]["network"]["init_args"]
        assert network["trunk"] == json.loads(json.dumps(asdict(trunk))), given
    wrong = [*options[:2], "--model.network", "ConvNetwork", "--model.network.trunk.norm", "batch"]
    assert "sefl.networks.ConvNetwork has no argument norm" in message(fit, wrong, capfd)
