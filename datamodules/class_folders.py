"""Files in folders, one folder for each class, as torchvision lays them out; and the parts that they make."""

import hashlib
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from datamodules.reading import reading, require_folder
from datamodules.settings import ScaleSettings
from datamodules.split import PARTS, Parts, draw_stratified_parts
from sefl.arguments import require_number, require_one_of

# Bytes that tell most files of one size apart.
_BLOCK = 4_096


@dataclass
class FolderSettings(ScaleSettings):
    """The options of files in folders, beside those of :class:`ScaleSettings`.

    Args:
        protocol: ``standard`` (the parts that the folders make) or ``pool`` (all files, split anew).
        val_fraction: the fraction of the files to hold out for validation, where there is no folder of them.
        test_fraction: the fraction of the files to hold out for test, where there is no folder of them.
    """

    protocol: Literal["standard", "pool"] = "standard"
    val_fraction: float = 0.1
    test_fraction: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("protocol", self.protocol, ("standard", "pool"))
        for name in ("val_fraction", "test_fraction"):
            require_number(name, getattr(self, name), above=0, below=1)
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                "val_fraction and test_fraction must leave something to train on, "
                f"got {self.val_fraction} and {self.test_fraction}"
            )


class ClassFolders:
    """The files of one kind, where :class:`datamodules.ImageFolderScale` says, and the parts that they make.

    Args:
        root: the folder.
        extensions: how the names of files of the kind end, in lower case.
        kind: what to call one of them in messages.
        settings: how parts are made of them.

    Attributes:
        classes: the names of the class folders, sorted.

    Raises:
        FileNotFoundError: if ``root`` has no class folders, or a folder ``val`` or ``test`` but none called ``train``.
        ValueError: if ``root`` is a file or cannot be read, or has one class only.
    """

    def __init__(self, root: str, extensions: Sequence[str], kind: str, settings: FolderSettings) -> None:
        self.root = Path(root).absolute()
        require_folder(self.root, "one subfolder for each class")
        self.folders = {part: self.root / part for part in PARTS if (self.root / part).is_dir()}
        if self.folders and "train" not in self.folders:
            raise FileNotFoundError(
                f"root {root!r} has the folder {', '.join(self.folders)} but no folder train"
            )
        self.folders = self.folders or {"train": self.root}
        self.classes = class_names(self.folders["train"])
        if len(self.classes) < 2:
            raise ValueError(
                f"{self.folders['train']} has one class folder only, {self.classes[0]!r}; "
                "give one with a subfolder for each of at least two classes"
            )
        self.extensions = tuple(extensions)
        self.kind = kind
        self.pooled = settings.protocol == "pool"
        self.fractions = {"val": settings.val_fraction, "test": settings.test_fraction}
        self._parts: dict[str, NDArray[np.int64]] = {}

    def find(self) -> tuple[list[Path], Tensor]:
        """The files of all folders, training files first, and the class of each: ``(files,)``.

        Raises:
            FileNotFoundError: if a class has no file in a folder.
            ValueError: if a folder cannot be read, folders differ in classes, or a file is of another kind by its name,
                or empty; hidden files do not count.
        """
        self._warn_of_misplaced_files()
        found: list[tuple[Path, int]] = []
        for part, folder in self.folders.items():
            before = len(found)
            for label, of_class in enumerate(self._find_in(folder)):
                found += [(file, label) for file in of_class]
            self._parts[part] = np.arange(before, len(found))
        files, labels = zip(*found, strict=True)
        if not self.pooled:
            self._warn_of_shared_files(files)
        return list(files), torch.tensor(labels)

    def some(self, most: int) -> list[Path]:
        """The first files of each class of the training part, together about so many.

        Raises:
            FileNotFoundError, ValueError: as :meth:`find`.
        """
        of_each = -(-most // len(self.classes))
        found = (self._find_class(self.folders["train"] / name)[:of_each] for name in self.classes)
        return [file for files in found for file in files]

    def checksum(self, files: list[Path]) -> str:
        """Of the names of the files: a stored split, which holds indices into them, fits those of the same names."""
        names = "\n".join(file.relative_to(self.root).as_posix() for file in files)
        return f"{zlib.crc32(names.encode(errors='replace')):08x}"

    def draw_parts(self, labels: NDArray[np.int64], generator: np.random.Generator) -> Parts:
        """Training, validation and test indices of the files that :meth:`find` found, stratified where they are drawn.

        Raises:
            ValueError: if a part that is drawn has no file, or a class has too few to draw from.
        """
        fixed = {} if self.pooled else dict(self._parts)
        drawn_from = len(fixed.pop("train", labels))
        sizes = [0 if part in fixed else round(share * drawn_from) for part, share in self.fractions.items()]
        for (part, fraction), size in zip(self.fractions.items(), sizes, strict=True):
            if part not in fixed and size == 0:
                raise ValueError(
                    f"{part}_fraction must leave at least one of {drawn_from} {self.kind}s to the {part} part, "
                    f"got {fraction}"
                )
        train, val, test = draw_stratified_parts(
            labels[:drawn_from], [drawn_from - sum(sizes), *sizes], generator
        )
        if any(sizes):
            self._check_classes(labels[:drawn_from], labels[train])
        return train, fixed.get("val", val), fixed.get("test", test)

    def _find_in(self, folder: Path) -> list[list[Path]]:
        """The files of each class, at any depth, sorted."""
        found = class_names(folder)
        if found != self.classes:
            raise ValueError(
                f"{folder} must have the {len(self.classes)} classes of the training {self.kind}s, got {len(found)}: "
                f"{', '.join(sorted(set(self.classes) - set(found))) or 'none'} missing, "
                f"{', '.join(sorted(set(found) - set(self.classes))) or 'none'} unknown"
            )
        return [self._find_class(folder / name) for name in self.classes]

    def _find_class(self, folder: Path) -> list[Path]:
        files = sorted(files_below(folder))
        if not files:
            raise FileNotFoundError(f"{folder} has no {self.kind}s; add some or remove the class")
        for file in files:
            if not file.name.lower().endswith(self.extensions):
                raise ValueError(
                    f"{file} is no {self.kind} by its name; "
                    f"remove it, or call it {', '.join(self.extensions)} if it is"
                )
            with reading(file, self.kind):
                found = file.stat()
            if not stat.S_ISREG(found.st_mode):
                raise ValueError(f"{file} is no file; remove it")
            if found.st_size == 0:
                raise ValueError(f"{file} is empty; repair or remove it")
        return files

    def _warn_of_misplaced_files(self) -> None:
        """Say which files and folders are left out although they look like a part of the data."""
        for folder in {self.root, *self.folders.values()}:
            loose = [path.name for path in _visible(folder) if path.name.lower().endswith(self.extensions)]
            if loose:
                rank_zero_warn(
                    f"{folder} has {len(loose)} {self.kind}s outside the class folders, such as {min(loose)}: "
                    "they are not used"
                )
        if self.folders["train"] == self.root:
            inner = [sorted(path.name for path in _visible(self.root / name)) for name in self.classes]
            below = [self.root / name / each for name in self.classes for each in inner[0]]
            if inner[0] and inner.count(inner[0]) == len(inner) and all(folder.is_dir() for folder in below):
                rank_zero_warn(
                    f"the classes are {', '.join(self.classes)}, and all of them hold folders of the same names, "
                    f"{', '.join(inner[0])}; if these are the classes, give another root, or call the parts "
                    "train, val and test"
                )
            return
        others = sorted(path.name for path in _visible(self.root) if path.is_dir() and path.name not in PARTS)
        if others:
            rank_zero_warn(
                f"{self.root} has folders beside {', '.join(self.folders)} that are not used: {', '.join(others)}; "
                "parts are called train, val and test"
            )

    def _warn_of_shared_files(self, files: Sequence[Path]) -> None:
        """Say which files of the validation and test parts are training files too, by their bytes."""
        training = len(self._parts["train"])
        train, others = files[:training], files[training:]
        shared = same_files(others, train)
        if shared:
            copy, original = next(iter(shared.items()))
            rank_zero_warn(
                f"{len(shared)} of {len(others)} {self.kind}s to validate and test on are training {self.kind}s too, "
                f"such as {copy}, which is {original}: what is measured on them is too good"
            )

    def _check_classes(self, labels: NDArray[np.int64], train_labels: NDArray[np.int64]) -> None:
        counts, train_counts = (np.bincount(of, minlength=len(self.classes)) for of in (labels, train_labels))
        for name, count, train_count in zip(self.classes, counts, train_counts, strict=True):
            if count < 2 or train_count == 0:
                raise ValueError(
                    f"class {name!r} has too few {self.kind}s, {count}, to train on some and hold out others; "
                    "add some, remove the class, or make folders train, val and test"
                )


def class_names(folder: Path) -> list[str]:
    """The names of the class folders in ``folder``, sorted; hidden ones do not count.

    Raises:
        FileNotFoundError: if there is none.
    """
    require_folder(folder, "one subfolder for each class")
    names = sorted(path.name for path in _visible(folder) if path.is_dir())
    if not names:
        raise FileNotFoundError(f"{folder} has no class folders; give one with one subfolder for each class")
    return names


def files_below(folder: Path) -> Iterator[Path]:
    """The files in a folder, at any depth, links followed; hidden ones do not count.

    Raises:
        ValueError: if a folder cannot be read, or links lead back to a folder that they come from.
    """

    def refuse(error: OSError) -> None:
        raise ValueError(f"{error.filename} can't be read: {error.strerror}") from error

    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        above = Path(parent).resolve()
        for path in (Path(parent, name) for name in folders):
            if path.is_symlink() and path.resolve() in (above, *above.parents):
                raise ValueError(f"{path} links back to a folder above it, {path.resolve()}; remove it")
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def same_files(files: Sequence[Path], others: Sequence[Path]) -> dict[Path, Path]:
    """Which of the files have the bytes of one of the others: first by size, then by a part, then by all of them."""
    remaining, candidates = list(files), list(others)
    same: dict[Path, Path] = {}
    for key in (lambda file: file.stat().st_size, _middle, _digest):
        of_files, of_others = ({file: key(file) for file in paths} for paths in (remaining, candidates))
        known = {of: other for other, of in of_others.items()}
        same = {file: known[of] for file, of in of_files.items() if of in known}
        wanted = {of_files[file] for file in same}
        remaining, candidates = list(same), [other for other, of in of_others.items() if of in wanted]
    return same


def _middle(file: Path) -> object:
    size = file.stat().st_size
    with file.open("rb") as content:
        content.seek(size // 2)
        return size, zlib.crc32(content.read(_BLOCK))


def _digest(file: Path) -> object:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()


def _visible(folder: Path) -> list[Path]:
    require_folder(folder, "files that may be read")
    return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
