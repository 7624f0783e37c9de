"""Configurations of the package are found by their names."""

from pathlib import Path

import pytest

from sefl.command_line.first_look import exit_at_a_mistake
from sefl.command_line.packaged import CONFIGS, completed, packaged, packaged_names


def test_a_name_is_found_in_each_way_to_write_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = str(CONFIGS / "mnist_scale/cnn.yaml")
    for name in ("mnist_scale/cnn", "configs/mnist_scale/cnn.yaml", "mnist_scale/cnn.yaml"):
        assert completed(["--config", name, "--seed", "1"]) == ["--config", file, "--seed", "1"]
        assert completed([f"--config={name}"]) == [f"--config={file}"]
        assert completed(["-c", name]) == ["-c", file]
    assert all(Path(str(packaged(name))).is_file() for name in packaged_names())
    assert "quickstart" in packaged_names()


def test_files_of_the_user_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart.yaml").write_text("a: 1")
    assert completed(["--config", "quickstart.yaml"]) == ["--config", "quickstart.yaml"]
    # not what is no configuration, nor a configuration itself
    assert completed(["--name", "quickstart", "--config", "{a: quickstart}"])[1::2] == [
        "quickstart",
        "{a: quickstart}",
    ]


def test_a_name_that_there_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        exit_at_a_mistake("fit", ["--config", "quikstart"])
    assert "quikstart: there is no such file; did you mean quickstart?" in capsys.readouterr().err
