"""MNIST-scale on the real files, and what it says when they are missing or damaged."""

from pathlib import Path

import numpy as np
import pytest

from datamodules import MNISTScale
from datamodules.mnist import CHECKSUMS

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


def linked(folder: Path) -> Path:
    """The folder of MNIST's files, to damage one of."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in CHECKSUMS:
        (raw / name).symlink_to(DATA / "MNIST" / "raw" / name)
    return raw


def replace(file: Path, content: bytes) -> None:
    file.unlink()
    file.write_bytes(content)


@needs_mnist
@pytest.mark.parametrize("damage", [b"", b"\x00" * 100, "half"])
def test_damaged_files_are_named_with_the_way_out(tmp_path: Path, damage) -> None:
    labels = linked(tmp_path) / "t10k-labels-idx1-ubyte"
    replace(labels, labels.read_bytes()[:5_000] if damage == "half" else damage)
    for checksums, problem in [
        (True, "has another MD5, .*, than MNIST's"),
        (False, "is damaged or no file|holds"),
    ]:
        with pytest.raises(
            ValueError, match=rf"t10k-labels-idx1-ubyte.* ({problem}).*; delete .*raw and set download: true"
        ):
            MNISTScale(data_dir=str(tmp_path), checksums=checksums).setup()


@needs_mnist
def test_other_files_of_its_format_are_taken_only_when_asked_for(tmp_path: Path) -> None:
    raw = linked(tmp_path)
    labels, images = raw / "train-labels-idx1-ubyte", raw / "t10k-images-idx3-ubyte"
    reversed_labels = labels.read_bytes()[:8] + labels.read_bytes()[:7:-1]
    for file, content in [(labels, reversed_labels), (images, images.read_bytes()[:16] + bytes(7_840_000))]:
        whole = file.read_bytes()
        replace(file, content)
        with pytest.raises(
            ValueError, match=rf"{file.name} has another MD5.*or checksums: false for other images"
        ):
            MNISTScale(data_dir=str(tmp_path)).setup()
        if file == labels:
            others = MNISTScale(data_dir=str(tmp_path), checksums=False)
            assert others.load_images()[1][:60_000].flip(0).equal(ready().load_images()[1][:60_000])
        replace(file, whole)
    for name in ("images-idx3-ubyte", "labels-idx1-ubyte"):
        (raw / f"train-{name}").rename(raw / "kept")
        (raw / f"t10k-{name}").rename(raw / f"train-{name}")
        (raw / "kept").rename(raw / f"t10k-{name}")
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte is MNIST's t10k-images-idx3-ubyte"):
        MNISTScale(data_dir=str(tmp_path)).setup()
    with pytest.raises(
        ValueError, match=r"train-images.* holds \(10000, 28, 28\) of torch.uint8, not \(60000, 28"
    ):
        MNISTScale(data_dir=str(tmp_path), checksums=False).setup()


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
