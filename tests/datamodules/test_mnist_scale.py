"""MNIST-scale on the real files, and what it says when they are missing or damaged."""

from pathlib import Path

import numpy as np
import pytest

from datamodules import MNISTScale

DATA = Path(__file__).parents[2] / "data"
needs_mnist = pytest.mark.skipif(
    not (DATA / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file(),
    reason=f"the real MNIST is not in {DATA}",
)


def ready(**settings) -> MNISTScale:
    data = MNISTScale(data_dir=str(DATA), **settings)
    data.setup()
    return data


@needs_mnist
def test_the_published_protocol_pools_and_stratifies() -> None:
    split = ready().split
    parts = [split.train, split.val, split.test]
    assert [len(part) for part in parts] == [10_000, 10_000, 50_000]
    assert sorted(np.concatenate(parts)) == list(range(70_000))
    for resolutions in (split.train_resolutions, split.val_resolutions, split.test_resolutions):
        values, counts = np.unique(resolutions, return_counts=True)
        assert values.tolist() == list(range(8, 29))
        assert counts.max() - counts.min() <= 1


@needs_mnist
def test_every_part_has_every_class_in_proportion() -> None:
    data = ready()
    _, labels = data.load_images()
    for part in ("train", "val", "test"):
        samples = data.split.samples(part)
        expected = np.bincount(labels) * len(samples) / 70_000
        assert np.abs(np.bincount(labels[samples]) - expected).max() <= 4


@needs_mnist
def test_the_standard_protocol_keeps_the_official_test_images() -> None:
    split = ready(protocol="standard", val_size=5_000).split
    assert split.test.tolist() == list(range(60_000, 70_000))
    assert len(split.val) == 5_000
    assert sorted(np.concatenate([split.train, split.val])) == list(range(60_000))


@needs_mnist
def test_batches_are_normalised_digits_of_the_resolutions() -> None:
    data = ready(train_size=500, resolutions=[8, 17, 28])
    batches = list(data.train_dataloader())
    assert {images.shape[-1] for images, _ in batches} == {8, 17, 28}
    pixels = np.concatenate([images.flatten().numpy() for images, _ in batches if images.shape[-1] == 28])
    assert abs(pixels.mean()) < 0.1
    assert 0.8 < pixels.std() < 1.2


@needs_mnist
def test_a_split_of_the_other_protocol_is_refused(tmp_path: Path) -> None:
    ready().save_split(tmp_path / "split.npz")
    with pytest.raises(
        ValueError, match=r"it splits 'MNISTScale/pool', the data set is 'MNISTScale/standard'"
    ):
        ready(protocol="standard", split_file=str(tmp_path / "split.npz"))


def test_missing_files_are_named_with_the_way_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"has no MNIST: .*raw lacks train-images.*set download: true"
    ):
        MNISTScale(data_dir=str(tmp_path)).setup()


@needs_mnist
@pytest.mark.parametrize("damage", [b"", b"\x00" * 100, "half"])
def test_damaged_files_are_named_with_the_way_out(tmp_path: Path, damage) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in (DATA / "MNIST" / "raw").glob("*ubyte"):
        (raw / file.name).symlink_to(file)
    labels = raw / "t10k-labels-idx1-ubyte"
    content = labels.read_bytes()[:5_000] if damage == "half" else damage
    labels.unlink()
    labels.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"t10k-labels-idx1-ubyte has another MD5, .*delete .*raw and set download: true"
    ):
        MNISTScale(data_dir=str(tmp_path)).setup()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"protocol": "paper"}, "protocol must be one of 'pool', 'standard', got 'paper'"),
        ({"val_size": 60_000}, "val_size must be an integer from 1 to 59999, got 60000"),
        ({"val_size": 0, "protocol": "standard"}, "val_size must be an integer from 1 to 59999, got 0"),
        ({"resolutions": [29]}, "resolutions must be integers from 1 to the image size of 28, got 29"),
    ],
)
def test_bad_arguments_are_refused(settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MNISTScale(**settings)
