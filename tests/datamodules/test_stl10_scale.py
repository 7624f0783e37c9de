"""STL10-scale on small files like STL-10's, and on the real ones."""

import hashlib
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor

from datamodules import STL10Scale, stl10, stl10_scale
from datamodules.protocols import OfficialParts
from datamodules.resampling import resample
from datamodules.stl10 import MEAN, STD, LabelledSTL10
from sefl.fourier import downsample

DATA = Path(__file__).parents[2] / "data"
needs_stl10 = pytest.mark.skipif(
    not (DATA / "stl10_binary" / "test_X.bin").is_file(), reason=f"the real STL-10 is not in {DATA}"
)
PUBLISHED_AUGMENTATION = ("crop_augmentation", "flip_augmentation", "cutout_augmentation")
TRAIN, TEST, POOL_TEST = 50, 80, 40
SMALL = {"val_size": 20, "batch_size": 8, "eval_batch_size": 16, "resolutions": [49, 64, 96, 97]}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an STL-10 of 50 and 80 images, of which torchvision knows the checksums."""
    folder = tmp_path / "data" / "stl10_binary"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    known = {}
    for part, size in [("train", TRAIN), ("test", TEST)]:
        contents = {
            f"{part}_X.bin": generator.integers(256, size=(size, 3, 96, 96), dtype=np.uint8),
            f"{part}_y.bin": (np.arange(size) % 10 + 1).astype(np.uint8),
        }
        for name, content in contents.items():
            (folder / name).write_bytes(content.tobytes())
        known[part] = [[name, hashlib.md5(content).hexdigest()] for name, content in contents.items()]
    monkeypatch.setattr(LabelledSTL10, "train_list", known["train"])
    monkeypatch.setattr(LabelledSTL10, "test_list", known["test"])
    monkeypatch.setattr(stl10, "_SIZES", {"train": TRAIN, "test": TEST})
    monkeypatch.setattr(stl10_scale, "OFFICIAL", OfficialParts(TRAIN, TEST, pool_test=POOL_TEST))
    return folder.parent


def ready(folder: Path, **settings) -> STL10Scale:
    data = STL10Scale(data_dir=str(folder), **{**SMALL, **settings})
    data.setup()
    return data


def normalised(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (images.float() / 255 - mean) / std


def test_the_images_are_those_that_torchvision_reads(files: Path) -> None:
    images, labels = ready(files).load_images()
    parts = [LabelledSTL10(str(files), split=split) for split in ("train", "test")]
    assert len(images) == TRAIN + TEST
    expected = torch.from_numpy(np.concatenate([part.data for part in parts]))
    assert torch.equal(images[torch.arange(TRAIN + TEST)], expected)
    mixed = torch.tensor([129, 3, 49, 50, 3])
    assert torch.equal(images[mixed], expected[mixed])
    assert labels.tolist() == np.concatenate([part.labels for part in parts]).tolist()


def test_files_are_mapped_and_travel_to_processes_by_name(files: Path) -> None:
    images, _ = ready(files).load_images()
    pickled = pickle.dumps(images)
    assert len(pickled) < 1_000
    assert torch.equal(pickle.loads(pickled)[torch.tensor([60])], images[torch.tensor([60])])


def test_protocols(files: Path) -> None:
    pool, standard = ready(files).split, ready(files, protocol="standard").split
    assert [len(pool.samples(part)) for part in ("train", "val", "test")] == [70, 20, 40]
    assert sorted(np.concatenate([pool.train, pool.val, pool.test])) == list(range(130))
    assert [len(standard.samples(part)) for part in ("train", "val", "test")] == [30, 20, 80]
    assert standard.test.tolist() == list(range(50, 130))
    for split in (pool, standard):
        for part in ("train", "val", "test"):
            samples = split.samples(part)
            assert np.bincount(samples % 10).tolist() == [len(samples) // 10] * 10


@pytest.mark.parametrize("downsampling", ["ideal", "bicubic"])
def test_evaluation_images_are_resampled_and_nothing_else(files: Path, downsampling) -> None:
    data = ready(files, downsampling=downsampling)
    assert len(data.settings.augmentations) == 3
    images, labels = data.load_images()
    loaders = {"val": data.val_dataloader(), "test": data.test_dataloader()[0]}
    for part, loader in loaders.items():
        samples, resolutions = data.split.samples(part), data.split.resolutions(part)
        order = torch.from_numpy(samples[np.argsort(resolutions, kind="stable")])
        seen = 0
        for batch, batch_labels in loader:
            chosen = order[seen : seen + len(batch)]
            seen += len(batch)
            expected = resample(normalised(images[chosen]), batch.shape[-1], downsampling)
            torch.testing.assert_close(batch, expected, atol=1e-4, rtol=0)
            assert torch.equal(batch_labels, labels[chosen])
        assert seen == len(samples)


def test_training_images_are_augmented_anew_in_each_epoch(files: Path) -> None:
    data = ready(files, resolutions=[96], batch_size=70)
    plain = ready(files, resolutions=[96], batch_size=70, **dict.fromkeys(PUBLISHED_AUGMENTATION))
    loader, of_plain = data.train_dataloader(), plain.train_dataloader()
    epochs = []
    for epoch in range(2):
        for each in (loader, of_plain):
            each.sampler.set_epoch(epoch)
        ((images, labels),) = loader
        ((original, original_labels),) = of_plain
        assert torch.equal(labels, original_labels)
        assert (images != original).flatten(1).any(1).all()
        epochs.append(images)
    assert not torch.equal(*epochs)


def test_the_resolution_above_the_images_holds_all_below(files: Path) -> None:
    finest = list(ready(files).finest_dataloader("val"))
    coarser = list(ready(files, resolutions=[96]).finest_dataloader("val"))
    for (images, _), (expected, _) in zip(finest, coarser, strict=True):
        assert images.shape[-1] == 97
        torch.testing.assert_close(downsample(images, 96), expected, atol=1e-4, rtol=0)


def test_a_split_is_stored_with_its_protocol(files: Path, tmp_path: Path) -> None:
    first = ready(files, seed=1)
    first.save_split(tmp_path / "split.npz")
    second = ready(files, split_file=str(tmp_path / "split.npz"))
    assert second.split.test.tolist() == first.split.test.tolist()
    with pytest.raises(
        ValueError, match="it splits 'STL10Scale/pool', the data set is 'STL10Scale/standard'"
    ):
        ready(files, protocol="standard", split_file=str(tmp_path / "split.npz"))


def test_missing_files_are_named_with_the_way_to_get_them(files: Path) -> None:
    for name in ("test_y.bin", "train_X.bin"):
        (files / "stl10_binary" / name).unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no labelled STL-10: .* lacks train_X.bin, test_y.bin; set download: true"
    ):
        ready(files)


@pytest.mark.parametrize("name", ["train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin"])
def test_truncated_and_damaged_files_are_named(files: Path, name: str) -> None:
    file = files / "stl10_binary" / name
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(
        ValueError, match=rf"{name} is damaged: it has {len(whole) - 1} bytes, not {len(whole)}"
    ):
        ready(files)
    file.write_bytes(whole[:10] + bytes([whole[10] ^ 1]) + whole[11:])
    with pytest.raises(
        ValueError, match=rf"{name} is damaged: it has another MD5 .*delete it and set download"
    ):
        ready(files)


def test_only_what_is_missing_is_downloaded(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []
    monkeypatch.setattr(
        torchvision.datasets.stl10, "download_and_extract_archive", lambda url, *_, **__: fetched.append(url)
    )
    STL10Scale(data_dir=str(files), download=True, val_size=20).prepare_data()
    assert fetched == []
    labels = files / "stl10_binary" / "train_y.bin"
    labels.write_bytes(b"\x01" * TRAIN)
    STL10Scale(data_dir=str(files), val_size=20).prepare_data()
    assert fetched == []
    STL10Scale(data_dir=str(files), download=True, val_size=20).prepare_data()
    assert fetched == [LabelledSTL10.url]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"protocol": "paper"}, "protocol must be one of 'pool', 'standard', got 'paper'"),
        ({"val_size": 8_000}, "val_size must be an integer from 1 to 7999, got 8000"),
        ({"val_size": 5_000, "protocol": "standard"}, "val_size must be an integer from 1 to 4999, got 5000"),
        ({"resolutions": [98]}, "resolutions must be integers from 1 to the image size of 97, got 98"),
        ({"mean": [0.5]}, r"mean must have one number for each of 3 channels, got \[0.5\]"),
    ],
)
def test_bad_arguments_are_refused(settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        STL10Scale(**settings)


@pytest.fixture(scope="module")
def real() -> STL10Scale:
    data = STL10Scale(data_dir=str(DATA))
    data.trainer = SimpleNamespace(global_rank=0, world_size=1, overfit_batches=0)
    data.setup()
    return data


@needs_stl10
def test_the_published_protocol_on_the_real_images(real: STL10Scale) -> None:
    split = real.split
    parts = [split.train, split.val, split.test]
    assert [len(part) for part in parts] == [7_000, 1_000, 5_000]
    assert sorted(np.concatenate(parts)) == list(range(13_000))
    _, labels = real.load_images()
    for part in parts:
        assert np.bincount(labels[part]).tolist() == [len(part) // 10] * 10
    assert np.unique(split.train_resolutions).tolist() == list(range(49, 98))


@needs_stl10
def test_real_batches_are_normalised(real: STL10Scale) -> None:
    for number, (images, _) in enumerate(real.val_dataloader()):
        assert images.mean().abs() < 0.2
        assert 0.8 < images.std() < 1.2
        if number == 9:
            break
    images, labels = next(iter(real.train_dataloader()))
    assert images.dtype == torch.float32
    assert 49 <= images.shape[-1] <= 97
    assert len(images) == len(labels)
