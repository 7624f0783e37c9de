"""Files in folders, one folder for each class, as torchvision lays them out; and the parts that they make."""

import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datamodules.protocols import Protocol
from datamodules.split import PARTS, Parts, draw_stratified_parts
from sefl.arguments import require_one_of


class ClassFolders:
    """The files of one kind in ``root/CLASS/``, or in ``root/train/CLASS/``, ``root/val/CLASS/``, ``root/test/CLASS/``.

    The second where ``root`` has a folder ``train``. Validation or test files that have no folder are held out of the
    training files, stratified. The protocol ``pool`` puts the files of all folders together first.

    Args:
        root: the folder.
        extensions: how the names of files of the kind end, in lower case.
        kind: what to call one of them in messages.
        protocol: ``standard`` (the parts that the folders make) or ``pool`` (all files, split anew).
        val_fraction: the fraction of the files to hold out for validation, where there is no folder of them.
        test_fraction: the fraction of the files to hold out for test, where there is no folder of them.

    Attributes:
        classes: the names of the class folders, sorted.

    Raises:
        FileNotFoundError: if ``root`` has no class folders, or a folder ``val`` or ``test`` but none called ``train``.
        ValueError: if an argument is outside its range.
    """

    def __init__(
        self,
        root: str,
        extensions: Sequence[str],
        kind: str,
        protocol: Protocol,
        val_fraction: float,
        test_fraction: float,
    ) -> None:
        require_one_of("protocol", protocol, ("standard", "pool"))
        for name, value in [("val_fraction", val_fraction), ("test_fraction", test_fraction)]:
            if not 0 < value < 1:
                raise ValueError(f"{name} must be between 0 and 1, got {value}")
        if val_fraction + test_fraction >= 1:
            raise ValueError(
                "val_fraction and test_fraction must leave something to train on, "
                f"got {val_fraction} and {test_fraction}"
            )
        self.root = Path(root).absolute()
        self.folders = {part: self.root / part for part in PARTS if (self.root / part).is_dir()}
        if self.folders and "train" not in self.folders:
            raise FileNotFoundError(
                f"root {root!r} has the folder {', '.join(self.folders)} but no folder train"
            )
        self.folders = self.folders or {"train": self.root}
        self.classes = class_names(self.folders["train"])
        self.extensions = tuple(extensions)
        self.kind = kind
        self.protocol = protocol
        self.fractions = {"val": val_fraction, "test": test_fraction}
        self._sizes: dict[str, int] = {}

    def find(self) -> tuple[list[Path], list[int]]:
        """The files of all folders, training files first, and the class of each.

        Raises:
            FileNotFoundError: if a class has no file in a folder.
            ValueError: if folders differ in classes, or a file is of another kind by its name, or empty; hidden files
                do not count.
        """
        files: list[Path] = []
        labels: list[int] = []
        for part, folder in self.folders.items():
            of_part = self._find_in(folder)
            self._sizes[part] = sum(map(len, of_part))
            for label, of_class in enumerate(of_part):
                files += of_class
                labels += [label] * len(of_class)
        return files, labels

    def checksum(self, files: list[Path]) -> str:
        """Of the names of the files: a stored split, which holds indices into them, fits those of the same names."""
        names = "\n".join(file.relative_to(self.root).as_posix() for file in files)
        return f"{zlib.crc32(names.encode(errors='replace')):08x}"

    def draw_parts(self, labels: NDArray[np.int64], generator: np.random.Generator) -> Parts:
        """Training, validation and test indices of the files that :meth:`find` found, stratified where they are drawn.

        Raises:
            ValueError: if a part that is drawn has no file, or a class has too few to draw from.
        """
        fixed: dict[str, NDArray[np.int64]] = {}
        drawn_from = len(labels)
        if self.protocol == "standard":
            ends = np.cumsum(list(self._sizes.values()))
            for (part, size), end in zip(self._sizes.items(), ends, strict=True):
                fixed[part] = np.arange(end - size, end)
            drawn_from = len(fixed.pop("train"))
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
        files = sorted(
            Path(parent) / file
            for parent, _, names in os.walk(folder, followlinks=True)
            for file in names
            if not _is_hidden(file)
        )
        if not files:
            raise FileNotFoundError(f"{folder} has no {self.kind}s; add some or remove the class")
        for file in files:
            if not file.name.lower().endswith(self.extensions):
                raise ValueError(
                    f"{file} is no {self.kind} by its name; "
                    f"remove it, or call it {', '.join(self.extensions)} if it is"
                )
            if file.stat().st_size == 0:
                raise ValueError(f"{file} is empty; repair or remove it")
        return files

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
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist; give a folder with one subfolder for each class")
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not _is_hidden(entry.name))
    if not names:
        raise FileNotFoundError(f"{folder} has no class folders; give one with one subfolder for each class")
    return names


def _is_hidden(name: str) -> bool:
    return name.startswith(".")
