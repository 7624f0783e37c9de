"""What is read from files of torch.save, by every command: nothing damaged, no code, one message of one line."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from flat_settings import classifier
from pytorch_lightning import Trainer
from torch.utils.data import DataLoader, TensorDataset

from sefl.evaluate import main as evaluate
from sefl.files.torch_files import UnreadableFile, read_checkpoint, read_torch_file
from sefl.fit import main as fit
from sefl.networks import TorchvisionNetwork
from sefl.runs.checkpoints import AtomicCheckpointIO

ROOT = Path(__file__).parents[2]
LAST = Path("runs/tiny/0/checkpoints/last.ckpt")


class Program:
    """Makes a folder where it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


def save(content: Any, path: Path, zipped: bool = True) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)


def flipped(content: bytes, at: float) -> bytes:
    """One bit of it, at a fraction of its length, is the other."""
    damaged = bytearray(content)
    damaged[int(at * len(content))] ^= 4
    return bytes(damaged)


def flipped_in(weight: torch.Tensor, content: bytes) -> bytes:
    """One bit of a weight in the file is the other; between what it holds lies padding."""
    return flipped(content, (content.index(weight.detach().numpy().tobytes()) + 0.5) / len(content))


def script(path: Path) -> None:
    torch.jit.trace(torch.nn.Linear(1, 1), torch.zeros(1)).save(path)  # type: ignore[no-untyped-call]


WEIGHTS = {"state_dict": {"weight": torch.arange(1000.0)}}
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "code": (
        lambda path: save({**WEIGHTS, "x": Program()}, path),
        "refused: it holds code or an object, posix",
    ),
    "object": (
        lambda path: save({**WEIGHTS, "x": torch.nn.Linear(1, 1)}, path),
        "refused: it holds code or an object, torch.nn.modules.linear.Linear",
    ),
    "code in the old format": (
        lambda path: save({"x": Program()}, path, zipped=False),
        "refused: it holds code",
    ),
    "script": (script, "refused: it holds a TorchScript program"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps(Program())), "is no file of torch.save"),
    "bit": (
        lambda path: (save(WEIGHTS, path), path.write_bytes(flipped(path.read_bytes(), 0.5))),
        "fails its checksum. Take another copy",
    ),
    "cut off": (
        lambda path: (save(WEIGHTS, path), path.write_bytes(path.read_bytes()[:-300])),
        "is damaged or cut off",
    ),
    "cut off in the old format": (
        lambda path: (save(WEIGHTS, path, zipped=False), path.write_bytes(path.read_bytes()[:-300])),
        "is no file of torch.save, or is damaged or cut off",
    ),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "text": (lambda path: path.write_text("weights"), "is no file of torch.save"),
    "gone": (lambda path: None, "cannot be read: No such file"),
    "weights alone": (lambda path: save({"weight": torch.zeros(1)}, path), "is not a Lightning checkpoint"),
    "list": (lambda path: save([1], path), "is not a Lightning checkpoint: it holds list"),
}
NOT_DAMAGED = ("weights alone", "list")


@pytest.fixture(params=DAMAGES)
def damaged(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A file, whether anything can be read from it at all, and the message."""
    monkeypatch.chdir(tmp_path)
    write, message = DAMAGES[request.param]
    write(tmp_path / "bad.ckpt")
    return tmp_path / "bad.ckpt", request.param in NOT_DAMAGED, message


def test_one_line_says_what_is_wrong_and_nothing_is_executed(damaged: tuple[Path, bool, str]) -> None:
    file, readable, message = damaged
    reads: list[Callable[[], object]] = [
        lambda: read_checkpoint(file, "--ckpt_path"),
        lambda: read_checkpoint(file, mmap=True),
        lambda: AtomicCheckpointIO().load_checkpoint(file),
    ]
    if readable:
        read_torch_file(file)
    else:
        reads += [lambda: read_torch_file(file)]
        if file.exists():
            reads += [lambda: TorchvisionNetwork(state_dict=str(file))]
    for read in reads:
        with pytest.raises(UnreadableFile) as error:
            read()
        said = str(error.value)
        assert message in said
        assert str(file) in said
        assert "weights_only" not in said
        assert "\n" not in said
        assert error.value.__cause__ is None or not isinstance(error.value.__cause__, pickle.UnpicklingError)
    assert not Path("executed").exists()


@pytest.mark.parametrize("mmap", [False, True])
def test_a_bit_anywhere_changes_nothing_unseen(tmp_path: Path, mmap: bool) -> None:
    file = tmp_path / "bad.ckpt"
    save(WEIGHTS, file)
    content = file.read_bytes()
    seen = 0
    for place in range(200):
        file.write_bytes(flipped(content, place / 200))
        try:
            read = read_checkpoint(file, mmap=mmap)
        except UnreadableFile:
            seen += 1
        else:
            torch.testing.assert_close(read, WEIGHTS, rtol=0, atol=0)
    assert seen > 150


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("mmap", [True, False])
def test_both_formats_are_read(tmp_path: Path, zipped: bool, mmap: bool) -> None:
    save(WEIGHTS, tmp_path / "a.ckpt", zipped)
    torch.testing.assert_close(read_checkpoint(tmp_path / "a.ckpt", mmap=mmap), WEIGHTS, rtol=0, atol=0)


def test_there_is_no_other_door() -> None:
    """But in tests."""
    sources = [
        path
        for folder in ("sefl", "models", "callbacks", "datamodules")
        for path in (ROOT / folder).rglob("*.py")
    ]
    assert len(sources) > 100
    assert [path.name for path in sources if "torch.load(" in path.read_text()] == ["torch_files.py"]


def test_commands_say_it_in_one_message(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fit(["--config", str(tiny), "--trainer.max_epochs", "1"])
    whole = LAST.read_bytes()
    state = torch.load(LAST)
    weight = max(state["state_dict"].values(), key=torch.numel)
    del state["optimizer_states"]
    for write, commands, message in [
        (lambda: LAST.write_bytes(flipped_in(weight, whole)), (fit, evaluate), "last.ckpt: is damaged"),
        (lambda: LAST.write_bytes(whole[:1000]), (fit, evaluate), "last.ckpt: is damaged or cut off"),
        (lambda: save({**state, "x": Program()}, LAST), (fit, evaluate), "last.ckpt: refused: it holds code"),
        (lambda: save({"state_dict": {}}, LAST), (fit, evaluate), "last.ckpt: is not a Lightning checkpoint"),
        (lambda: save(state, LAST), (fit,), "last.ckpt: holds weights without the state of the optimiser"),
    ]:
        write()
        for command in commands:
            capfd.readouterr()
            with pytest.raises(SystemExit) as exit_status:
                command(["--ckpt_path", str(LAST)])
            said = capfd.readouterr().err
            assert exit_status.value.code == 2
            assert message in said
            assert "Weights only" not in said
            assert "Traceback" not in said
    assert not Path("executed").exists()
    assert not Path("runs/tiny/0/evaluation").exists()


def test_a_trainer_reads_through_it(tmp_path: Path) -> None:
    model = classifier("ConvNetwork", widths=[2], head_hidden=4, base_resolution=8, max_resolution=8)
    data = DataLoader(TensorDataset(torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64)))
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, default_root_dir=tmp_path, plugins=[AtomicCheckpointIO()], **quiet
    )
    trainer.fit(model, data)
    file = tmp_path / "last.ckpt"
    trainer.save_checkpoint(file)
    trainer.fit(model, data, ckpt_path=file)
    file.write_bytes(flipped_in(model.network.head[2].weight, file.read_bytes()))
    with pytest.raises(UnreadableFile, match="checksum"):
        trainer.fit(model, data, ckpt_path=file)
