"""The folder of one run: where it lies, what it holds, and which checkpoint a name stands for.

runs/<name>/<version>/
    config.yaml         the whole configuration; config_1.yaml, ... of each resumption
    split.npz           which samples are for training, validation and test
    command.txt         the command of each start
    slurm.txt           the SLURM job that began it
    metrics.csv         everything logged
    resources.json      seconds per epoch and peak memory
    checkpoints/        best.ckpt (by validation accuracy), last.ckpt (of the latest epoch)
    network/            config.json, model.safetensors and a card of the best checkpoint's network
    equivariance/       figures of the equivariance error
    wandb/              the Weights & Biases run
    evaluation/<n>/     what python -m sefl.evaluate wrote
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from sefl.files.output_folders import folder_error, make_folder
from sefl.runs.commands import FILE as COMMANDS

DEFAULT_RUNS = "runs"
CHECKPOINT_NAMES = ("last", "best")
EQUIVARIANCE = "equivariance"
"""The folder, in a run's, of the errors that its callback measures."""
MONITOR = "val/accuracy"
"""What the best checkpoint is best by."""


@dataclass(frozen=True)
class RunFolder:
    """The paths inside one run's folder."""

    path: Path

    @property
    def split(self) -> Path:
        return self.path / "split.npz"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def resources(self) -> Path:
        return self.path / "resources.json"

    @property
    def errors(self) -> Path:
        """The equivariance errors of every validation."""
        return self.path / EQUIVARIANCE / "fit.csv"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def network(self) -> Path:
        """The network of the best checkpoint, as ``save_pretrained`` writes it."""
        return self.path / "network"

    @property
    def evaluation(self) -> Path:
        return self.path / "evaluation"

    def checkpoint(self, name: str) -> Path:
        return self.checkpoints / f"{name}.ckpt"

    @property
    def configs(self) -> list[Path]:
        """The stored configurations, oldest first: of the first start, then of every resumption."""
        first = self.path / "config.yaml"
        resumed = [path for path in self.path.glob("config_*.yaml") if re.fullmatch(r"config_\d+", path.stem)]
        ordered = sorted(resumed, key=lambda path: int(path.stem.removeprefix("config_")))
        return [first, *ordered] if first.is_file() else ordered

    def next_config(self) -> Path:
        stored = len(self.configs)
        return self.path / (f"config_{stored}.yaml" if stored else "config.yaml")

    def use_split(self, options: Any) -> bool:
        """Put the run's own split among the options of its data, in place, unless they name one or take none.

        Returns:
            Whether the data are on a split that is known: not if they take one and the run's is gone.
        """
        if options.get("split_file", "") is None and self.split.is_file():
            options["split_file"] = str(self.split)
        return options.get("split_file", "") is not None

    def leave_split_out(self, options: Any) -> None:
        """Undo :meth:`use_split`, which a resumed run stored with its options."""
        named = options.get("split_file")
        if named and Path(named).absolute() == self.split.absolute():
            options["split_file"] = None

    def holds_a_start_alone(self) -> bool:
        """Whether there is nothing but what is written before the training begins."""
        return {path.name for path in self.path.iterdir()} <= {
            *("config.yaml", COMMANDS, "slurm.txt", "split.npz", "wandb")
        }

    def holds_a_run(self) -> bool:
        return bool(self.configs) or self.metrics.exists() or any(self.checkpoints.glob("*"))


def folder_of(checkpoint: Path) -> RunFolder | None:
    """The run folder whose ``checkpoints/`` holds the checkpoint, if it lies in one."""
    folder = RunFolder(checkpoint.absolute().parent.parent)
    return folder if folder.checkpoints == checkpoint.absolute().parent and folder.configs else None


def name_of(config: str | None) -> str:
    """The name of the runs of a configuration file: its path below ``configs/``, without the suffix."""
    if config is None:
        return "unnamed"
    parts = Path(os.path.normpath(config)).with_suffix("").parts
    below = len(parts) - parts[::-1].index("configs") if "configs" in parts[:-1] else len(parts) - 1
    return "/".join(parts[below:])


def name_of_merged(configs: Sequence[str]) -> str:
    """The name of the runs of several merged files: the first one's, and the stems of those that change the experiment.

    Those in a folder called ``trainer`` say where and how long to train, and do not count:
    ``mnist_scale/fourier.yaml``, ``mnist_scale/data/bicubic.yaml`` and ``trainer/ddp.yaml`` make
    ``mnist_scale/fourier-bicubic``.
    """
    if not configs:
        return name_of(None)
    further = [Path(config) for config in configs[1:]]
    return "-".join([name_of(configs[0]), *(path.stem for path in further if path.parent.name != "trainer")])


def versions(parent: Path) -> list[Path]:
    """The numbered folders in ``parent``, oldest first."""
    numbered = [path for path in parent.glob("*") if path.is_dir() and path.name.isdecimal()]
    return sorted(numbered, key=lambda path: int(path.name))


def make_next_version(parent: Path) -> Path:
    """Make the next numbered folder; two runs that start at once get two.

    Raises:
        ValueError: if it can't be made.
    """
    make_folder(parent)
    existing = versions(parent)
    for version in count(int(existing[-1].name) + 1 if existing else 0):
        folder = parent / str(version)
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise folder_error(folder, error) from error
        return folder
    raise AssertionError("unreachable: the numbers do not end")


def find_checkpoint(ckpt_path: str, run_dir: str | None, runs: str, name: str | None) -> Path:
    """The file that ``--ckpt_path`` means: a path, or ``last`` or ``best`` of a run.

    ``last`` and ``best`` are looked up in ``run_dir`` or else in the newest run of ``name`` that has one.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: ``last`` or ``best`` of an unknown run.
    """
    if ckpt_path not in CHECKPOINT_NAMES:
        if not Path(ckpt_path).is_file():
            raise FileNotFoundError(
                f"--ckpt_path {ckpt_path}: there is no such file. "
                "Give a file, or 'last' or 'best' for that of the newest run."
            )
        return Path(ckpt_path).absolute()
    if run_dir is None and name is None:
        raise ValueError(f"--ckpt_path {ckpt_path}: of which run? Add --config, --name or --run_dir.")
    folders = searched_folders(run_dir, runs, name)
    found = [path for folder in folders if (path := folder.checkpoint(ckpt_path)).is_file()]
    if not found:
        stopped = stopped_before_its_first_checkpoint(run_dir, runs, name)
        raise FileNotFoundError(
            f"--ckpt_path {ckpt_path}: there is no {ckpt_path}.ckpt in {run_dir or Path(runs) / str(name)}. "
            + (
                f"The run in {stopped.path} was stopped before its first: "
                f"python -m sefl.fit --ckpt_path last --run_dir {stopped.path} begins it again."
                if stopped
                else "Give a file, or name its run with --run_dir or --name."
            )
        )
    return found[-1].absolute()


def searched_folders(run_dir: str | None, runs: str, name: str | None) -> list[RunFolder]:
    """Where ``last`` and ``best`` are looked up, oldest first."""
    if run_dir is not None:
        return [RunFolder(Path(run_dir))]
    return [RunFolder(path) for path in versions(Path(runs) / name)] if name is not None else []


def stopped_before_its_first_checkpoint(run_dir: str | None, runs: str, name: str | None) -> RunFolder | None:
    """The newest run that was begun, of those that ``last`` may mean, if none of them has a checkpoint yet."""
    folders = searched_folders(run_dir, runs, name)
    begun = [folder for folder in folders if folder.configs]
    if not begun or any(path for folder in folders for path in folder.checkpoints.glob("*.ckpt")):
        return None
    return RunFolder(begun[-1].path.absolute())


def open_run_folder(run_dir: str | None, runs: str, name: str, resumed: RunFolder | None) -> RunFolder:
    """The folder to write a run into: the resumed run's own, ``run_dir``, or a new version.

    Raises:
        ValueError: ``run_dir`` holds a run other than the resumed one.
    """
    if run_dir is None:
        return resumed or RunFolder(make_next_version(Path(runs) / name))
    folder = RunFolder(Path(run_dir).absolute())
    if folder.holds_a_run() and (resumed is None or not folder.path.samefile(resumed.path)):
        # also where it has no checkpoint yet: stopped_before_its_first_checkpoint
        continued = "Continue that run with --ckpt_path last, or name" if folder.configs else "Name"
        raise ValueError(
            f"--run_dir {run_dir}: holds a run already, which would be overwritten. {continued} another folder."
        )
    make_folder(folder.path)
    return folder
