"""Which samples form the training, validation and test parts, and at which resolution each is seen.

Everything here is a pure function of its arguments and a seeded generator, so that every process of a run and
every later run draw the same split; :class:`Split` is what a run stores beside its results.
"""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sefl.files.writing import write_atomically

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
# The indices of the samples of each part, in this order.
Parts = Sequence[NDArray[np.int64]]

_FORMAT = 1


def stratified_order(strata: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """A random order of which every prefix holds every stratum in proportion, to within two samples.

    Consecutive slices of it are stratified parts, and its prefixes are nested stratified subsets.

    Args:
        strata: the stratum, such as the class, of each sample: ``(samples,)``, non-negative.
        generator: the source of the order.

    Returns:
        A permutation of ``0 .. samples - 1``.
    """
    shuffled = generator.permutation(len(strata))
    of = strata[shuffled]
    counts = np.bincount(of)
    first = np.cumsum(counts) - counts
    grouped = np.argsort(of, kind="stable")
    rank = np.empty(len(of), dtype=np.int64)
    rank[grouped] = np.arange(len(of)) - first[of[grouped]]
    # Member k of n stands at (k + offset) / n of the way: each stratum is spread evenly over the whole order.
    offset = generator.random(len(counts))
    place = (rank + offset[of]) / counts[of]
    return shuffled[np.argsort(place, kind="stable")]


def draw_stratified_parts(
    labels: NDArray[np.int64], sizes: Sequence[int], generator: np.random.Generator
) -> Parts:
    """Disjoint random parts of the given sizes, each with every class in proportion.

    Raises:
        ValueError: if the sizes exceed the number of labels.
    """
    if sum(sizes) > len(labels):
        raise ValueError(f"sizes must sum to at most the {len(labels)} samples, got {list(sizes)}")
    order = stratified_order(labels, generator)
    ends = np.cumsum(sizes)
    return [order[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def deal_resolutions(
    labels: NDArray[np.int64], resolutions: Sequence[int], generator: np.random.Generator
) -> NDArray[np.int64]:
    """Deal one resolution to each sample, like cards: counts differ by one at most, in each class too.

    Args:
        labels: the class of each sample: ``(samples,)``.
        resolutions: what to deal.
        generator: the source of the order.

    Returns:
        The resolution of each sample: ``(samples,)``.
    """
    shuffled = generator.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    dealt = np.empty(len(labels), dtype=np.int64)
    dealt[by_class] = generator.permutation(resolutions)[np.arange(len(labels)) % len(resolutions)]
    return dealt


@dataclass(frozen=True)
class Split:
    """The samples of each part and the resolution that each was dealt.

    ``train`` is in an order of which every prefix is a stratified subset, over classes and resolutions at
    once: a smaller training set is a prefix of a larger one.

    Attributes:
        train, val, test: indices into the data set: ``(samples of the part,)``, int64.
        train_resolutions, val_resolutions, test_resolutions: the resolution of each of them.
        seed: what the split was drawn from, for the record.
        dataset: the data set and protocol that it splits.
        fingerprint: the number of samples and the CRC-32 of their labels.
    """

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]
    train_resolutions: NDArray[np.int64]
    val_resolutions: NDArray[np.int64]
    test_resolutions: NDArray[np.int64]
    seed: int
    dataset: str
    fingerprint: tuple[int, int]

    def samples(self, part: Part) -> NDArray[np.int64]:
        """The indices of one part: ``(samples,)``."""
        samples: NDArray[np.int64] = getattr(self, part)
        return samples

    def resolutions(self, part: Part) -> NDArray[np.int64]:
        """The resolution of each sample of one part: ``(samples,)``."""
        resolutions: NDArray[np.int64] = getattr(self, f"{part}_resolutions")
        return resolutions

    def save(self, path: Path) -> None:
        """Write the split to ``path`` as a compressed NumPy archive, replacing what was there."""
        content: dict[str, Any] = {"format": _FORMAT, **vars(self)}
        write_atomically(path, lambda file: np.savez_compressed(file, **content))

    @classmethod
    def load(cls, path: Path) -> "Split":
        """Read a split that :meth:`save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is damaged or holds something else.
        """
        if not path.is_file():
            raise FileNotFoundError(
                f"split_file {path} does not exist; give one that save_split wrote, or none"
            )
        with reading_split(path, "is damaged or is no split"), np.load(path, allow_pickle=False) as archive:
            if int(archive["format"]) != _FORMAT:
                raise ValueError(f"format {int(archive['format'])}, expected {_FORMAT}")
            names = [f"{part}{suffix}" for part in PARTS for suffix in ("", "_resolutions")]
            split = cls(
                **{name: archive[name].astype(np.int64, casting="safe") for name in names},
                seed=int(archive["seed"]),
                dataset=str(archive["dataset"]),
                fingerprint=(int(archive["fingerprint"][0]), int(archive["fingerprint"][1])),
            )
            split._check_consistency()
        return split

    def _check_consistency(self) -> None:
        for part in PARTS:
            samples, resolutions = self.samples(part), self.resolutions(part)
            if samples.ndim != 1 or samples.shape != resolutions.shape:
                raise ValueError(f"{part} has {samples.shape} samples but {resolutions.shape} resolutions")
            if len(samples) == 0:
                raise ValueError(f"{part} has no samples")
        everything = np.concatenate([self.samples(part) for part in PARTS])
        if len(np.unique(everything)) != len(everything):
            raise ValueError("a sample occurs twice")
        if len(everything) and not 0 <= everything.min() <= everything.max() < self.fingerprint[0]:
            raise ValueError(f"a sample is outside the {self.fingerprint[0]} of the data set")


@contextmanager
def reading_split(path: Path, problem: str) -> Iterator[None]:
    """Name the file, and what to do, in whatever damaged archives raise, a ValueError."""
    try:
        yield
    except (ValueError, TypeError, LookupError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"split_file {path} {problem} ({error}); "
            "put back a copy, or write it again with save_split of the same data and seed"
        ) from error


def fingerprint(labels: NDArray[np.int64]) -> tuple[int, int]:
    """The number of labels and their CRC-32: two data sets that agree in it are taken to be the same."""
    return len(labels), zlib.crc32(np.ascontiguousarray(labels, dtype=np.int64).tobytes())
