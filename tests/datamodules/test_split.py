"""Splitting, dealing and storing: proportions, sizes, determinism, damage."""

import numpy as np
import pytest

from datamodules.split import Split, deal_resolutions, draw_stratified_parts, stratified_order

RESOLUTIONS = list(range(8, 29))


def uneven_labels(samples: int = 5_000) -> np.ndarray:
    return np.random.default_rng(7).choice(5, size=samples, p=[0.4, 0.3, 0.2, 0.08, 0.02])


def test_every_prefix_of_a_stratified_order_has_every_class_in_proportion() -> None:
    labels = uneven_labels()
    order = stratified_order(labels, np.random.default_rng(0))
    assert sorted(order) == list(range(len(labels)))
    for size in (10, 333, 2_500, 4_999):
        expected = np.bincount(labels) * size / len(labels)
        assert np.abs(np.bincount(labels[order[:size]], minlength=5) - expected).max() <= 2


def test_an_unstratified_order_is_not_in_proportion() -> None:
    labels = uneven_labels()
    order = np.random.default_rng(0).permutation(len(labels))
    expected = np.bincount(labels) / 2
    assert np.abs(np.bincount(labels[order[:2_500]]) - expected).max() > 2


def test_parts_are_disjoint_and_of_the_sizes_asked_for() -> None:
    labels = uneven_labels()
    parts = draw_stratified_parts(labels, [1_000, 500, 3_500], np.random.default_rng(0))
    assert [len(part) for part in parts] == [1_000, 500, 3_500]
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))


def test_parts_beyond_the_samples_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sizes must sum to at most the 5000 samples, got \[4000, 1001\]"):
        draw_stratified_parts(uneven_labels(), [4_000, 1_001], np.random.default_rng(0))


def test_resolutions_are_dealt_evenly_over_all_and_in_each_class() -> None:
    labels = uneven_labels()
    dealt = deal_resolutions(labels, RESOLUTIONS, np.random.default_rng(0))
    for group in [dealt, *(dealt[labels == label] for label in range(5))]:
        counts = np.array([(group == resolution).sum() for resolution in RESOLUTIONS])
        assert counts.max() - counts.min() <= 1


def test_the_generator_decides_everything() -> None:
    labels = uneven_labels()
    draws = [
        (
            stratified_order(labels, np.random.default_rng(s)),
            deal_resolutions(labels, RESOLUTIONS, np.random.default_rng(s)),
        )
        for s in (1, 1, 2)
    ]
    for first, same, other in zip(*draws, strict=True):
        assert (first == same).all()
        assert (first != other).any()


@pytest.fixture
def split() -> Split:
    indices = np.arange(30)
    return Split(
        train=indices[:10],
        val=indices[10:20],
        test=indices[20:],
        train_resolutions=np.full(10, 8),
        val_resolutions=np.full(10, 9),
        test_resolutions=np.full(10, 10),
        seed=3,
        dataset="thirty",
        fingerprint=(30, 1234),
    )


def test_a_saved_split_is_read_back_as_it_was(split: Split, tmp_path) -> None:
    split.save(tmp_path / "run" / "split.npz")
    loaded = Split.load(tmp_path / "run" / "split.npz")
    for part in ("train", "val", "test"):
        assert (loaded.samples(part) == split.samples(part)).all()
        assert (loaded.resolutions(part) == split.resolutions(part)).all()
    assert (loaded.seed, loaded.dataset, loaded.fingerprint) == (3, "thirty", (30, 1234))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["split.npz"]


def test_a_damaged_file_is_refused_by_name(split: Split, tmp_path) -> None:
    path = tmp_path / "split.npz"
    split.save(path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:60] + bytes([whole[60] ^ 255]) + whole[61:]
    for damage in (b"", b"nothing of the kind", whole[:middle], flipped):
        path.write_bytes(damage)
        with pytest.raises(
            ValueError,
            match=r"split_file .*split\.npz is damaged.*put back a copy, or write it again with save_split",
        ):
            Split.load(path)
    np.savez(path, something=np.arange(3))
    with pytest.raises(ValueError, match="is damaged or is no split"):
        Split.load(path)


def test_a_missing_file_is_refused_by_name(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"split_file .*none\.npz does not exist"):
        Split.load(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"val": np.arange(10)}, "a sample occurs twice"),
        ({"val": np.arange(100, 110)}, "outside the 30 of the data set"),
        ({"val": np.arange(10, 15)}, "resolutions"),
        ({"val": np.arange(0), "val_resolutions": np.arange(0)}, "val has no samples"),
    ],
)
def test_a_contradictory_split_is_refused(split: Split, tmp_path, changed, message) -> None:
    Split(**{**vars(split), **changed}).save(tmp_path / "split.npz")
    with pytest.raises(ValueError, match=message):
        Split.load(tmp_path / "split.npz")
