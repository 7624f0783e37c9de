"""Names and folders that commands write into: refused in one line, and nothing written, where they are no such."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from models import ScaleClassifier
from sefl.demo.__main__ import main as demo
from sefl.evaluate import main as evaluate
from sefl.files.output_folders import check_folder, check_name, make_folder
from sefl.fit import main as fit
from sefl.report.__main__ import main as report
from sefl.runs.folder import name_of_merged
from sefl.sweep.__main__ import main as sweep

LONG = 300 * "x"
REFUSED_NAMES = [
    *("../../x", "a/../../x", "..", ".", "/", "/x", "", " ", "a/", "a//b", "a\\b", "a\nb", "a\0b", "\x1b[1m"),
    *("a\udcff", LONG, "a/" * 100 + "a"),
]
REFUSED_FOLDERS = ["", "a\0b", "a\nb", LONG, "file", "file/below", "/dev/null/below"]


class Pretrained(ScaleClassifier):
    """A model whose own arguments load weights."""

    pretrained = True


@pytest.mark.parametrize("name", REFUSED_NAMES)
def test_names_that_lie_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^--name '.*': must be a path below the folder of all runs"):
        check_name(name)


@pytest.mark.parametrize(
    "name", ["a", "a/b", "lr=1e-3,widths=8-16", "versuch ü", "...", ".hidden", "a" * 200]
)
def test_other_names_are_taken(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("folder", REFUSED_FOLDERS)
def test_folders_that_cannot_be_made_are_refused(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(ValueError, match=r"^--runs '.*': can't be made or written into; it "):
        check_folder(folder, "--runs")


def message(
    command: Callable[[list[str]], None], arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> str:
    before = set(Path().absolute().parent.rglob("*"))
    with pytest.raises(SystemExit) as exit_status:
        command(arguments)
    assert exit_status.value.code == 2
    assert set(Path().absolute().parent.rglob("*")) == before
    written = capfd.readouterr().err
    assert "Traceback" not in written
    mistake = written.partition("error: ")[2].rstrip("\n")
    assert "\n" not in mistake
    return mistake


@pytest.fixture
def pretrained(tiny: Path) -> list[str]:
    """What evaluates a model that came with weights."""
    settings = yaml.safe_load(tiny.read_text())
    settings["model"] = {"class_path": f"{__name__}.Pretrained", "init_args": settings["model"]["init_args"]}
    path = tiny.with_name("pretrained.yaml")
    path.write_text(yaml.safe_dump(settings))
    return ["--config", str(path)]


def test_every_command_refuses_them(
    tiny: Path, pretrained: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    named = tiny.with_name("named.yaml")
    swept = tiny.with_name("sweep.yaml")
    command = ["${env}", "python", "-m", "sefl.fit", "${args}"]
    parameters = {"config": {"value": str(named)}}
    swept.write_text(yaml.safe_dump({"method": "grid", "command": command, "parameters": parameters}))
    config = ["--config", str(tiny)]
    with_name = ["--config", str(named)]
    named.write_text(yaml.safe_dump(yaml.safe_load(tiny.read_text()) | {"name": "../../x"}))
    for run, arguments in [
        (fit, [*config, "--name", "../../x"]),
        (fit, [*config, *with_name]),
        (fit, ["--ckpt_path", "last", "--name", "../../x"]),
        (evaluate, [*pretrained, "--name", "../../x"]),
        (evaluate, [*pretrained, *with_name, "--model.class_path", f"{__name__}.Pretrained"]),
        (sweep, [str(swept), "--dry_run"]),
        (sweep, ["--configs", str(named)]),
    ]:
        assert "--name '../../x': must be a path below" in message(run, arguments, capfd), arguments

    Path("file").touch()
    for folder in ("", "file/below"):
        for run, arguments in [
            (fit, [*config, "--runs", folder]),
            (fit, [*config, "--run_dir", folder]),
            (evaluate, [*pretrained, "--runs", folder]),
            (evaluate, [*pretrained, "--run_dir", folder]),
            (sweep, ["--configs", str(tiny), "--dry_run", "--runs", folder]),
            (report, ["runs", "--output", folder]),
            (demo, ["--out", folder]),
        ]:
            mistake = message(run, arguments, capfd)
            assert mistake.startswith(f"{arguments[-2]} '"), arguments
            assert "can't be made or written into; it " in mistake


def test_a_configuration_beside_the_folder_of_all_does_not_leave_it() -> None:
    assert name_of_merged(["configs/../x.yaml"]) == "x"


def test_what_is_found_out_by_making_it_is_one_line_too(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere/below")
    with pytest.raises(ValueError, match=r"dangling: the folder can't be made \(File exists\)"):
        make_folder(tmp_path / "dangling")
    check_folder(tmp_path / "new" / "below", "--runs")


@pytest.mark.parametrize("seed", ["-1", "4294967296", "1.5", "x"])
@pytest.mark.parametrize("option", ["--seed", "--seed_everything", "--data.seed"])
def test_bad_seeds_are_one_line(
    tiny: Path, capfd: pytest.CaptureFixture[str], option: str, seed: str
) -> None:
    assert "seed" in message(fit, ["--config", str(tiny), f"{option}={seed}"], capfd)
