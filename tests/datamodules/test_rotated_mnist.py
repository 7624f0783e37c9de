"""Rotated MNIST on files whose images tell their number, and on the real ones."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from datamodules import RandomAffine, RotatedMNIST
from datamodules.mnist import MEAN, STD
from datamodules.rotated_mnist import RotatedSplit, pad_to, turn
from sefl.metrics import relative_squared_error

DATA = Path(__file__).parents[2] / "data"
needs_mnist = pytest.mark.skipif(
    not (DATA / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file(),
    reason=f"the real MNIST is not in {DATA}",
)
OFFICIAL_TRAIN, TOTAL = 60_000, 70_000
BITS = 2 ** np.arange(17)
# Small parts for what does not depend on their size.
SMALL = {"train_size": 150, "val_size": 61, "test_size": 83, "batch_size": 40, "eval_batch_size": 20}


def numbered(count: int, first: int) -> np.ndarray:
    """Images of which row 14 spells their number in bits from column 5 on."""
    images = np.zeros((count, 28, 28), dtype=np.uint8)
    number = np.arange(first, first + count)
    images[:, 14, 5:22] = 255 * ((number[:, None] & BITS) > 0)
    return images


def write_idx(path: Path, array: np.ndarray) -> None:
    header = np.array([0x0800 + array.ndim, *array.shape], dtype=">i4")
    path.write_bytes(header.tobytes() + array.tobytes())


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> str:
    """The folder of an MNIST of numbered images."""
    folder = tmp_path_factory.mktemp("numbered")
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, first, last in [("train", 0, OFFICIAL_TRAIN), ("t10k", OFFICIAL_TRAIN, TOTAL)]:
        write_idx(raw / f"{name}-images-idx3-ubyte", numbered(last - first, first))
        write_idx(raw / f"{name}-labels-idx1-ubyte", (np.arange(first, last) * 7 % 10).astype(np.uint8))
    return str(folder)


def ready(folder: str, rank: int = 0, world_size: int = 1, **settings) -> RotatedMNIST:
    data = RotatedMNIST(data_dir=folder, checksums=False, **settings)
    data.trainer = SimpleNamespace(global_rank=rank, world_size=world_size, overfit_batches=0)
    data.setup()
    return data


def pixels(images: Tensor) -> Tensor:
    """Images as they were before normalisation, on a scale from 0 to 255."""
    return (images * STD + MEAN) * 255


def numbers(images: Tensor) -> list[int]:
    """Which upright images a batch holds, at 28 or 29 pixels."""
    return ((pixels(images)[:, 0, 14, 5:22] > 128) * torch.from_numpy(BITS)).sum(1).tolist()


def all_images(loader) -> Tensor:
    return torch.cat([images for images, _ in loader])


def test_the_upright_protocol_keeps_the_official_parts(files: str) -> None:
    data = ready(files)
    assert (data.num_classes, data.channels, data.image_size, data.resolutions) == (10, 1, 29, [29])
    (test,) = data.test_dataloader()
    seen = {
        part: [number for images, _ in loader for number in numbers(images)]
        for part, loader in [
            ("train", data.train_dataloader()),
            ("val", data.val_dataloader()),
            ("test", test),
        ]
    }
    assert [len(samples) for samples in seen.values()] == [5_000, 2_000, 10_000]
    assert len(set(seen["train"]) | set(seen["val"])) == 7_000
    assert max(seen["train"] + seen["val"]) < OFFICIAL_TRAIN
    assert sorted(seen["test"]) == list(range(OFFICIAL_TRAIN, TOTAL))
    assert np.bincount(np.array(seen["train"]) * 7 % 10).tolist() == [500] * 10


def test_batches_are_what_the_files_hold(files: str) -> None:
    for size in (28, 29):
        for images, labels in ready(files, image_size=size, **SMALL).val_dataloader():
            samples = numbers(images)
            assert images.dtype == torch.float32
            assert images.shape == (len(samples), 1, size, size)
            assert labels.dtype == torch.int64
            assert labels.tolist() == [sample * 7 % 10 for sample in samples]
            original = torch.from_numpy(np.concatenate([numbered(1, sample) for sample in samples]))
            torch.testing.assert_close(pixels(images)[:, 0, :28, :28], original.float(), rtol=0, atol=1e-4)


def test_smaller_training_and_test_sets_are_parts_of_larger_ones(files: str) -> None:
    for part, argument in [("train", "train_size"), ("test", "test_size")]:
        smaller: set[int] = set()
        for size in (30, 100, 1_000):
            data = ready(files, **{**SMALL, argument: size})
            loader = data.train_dataloader() if part == "train" else data.test_dataloader()[0]
            samples = set(numbers(all_images(loader)))
            assert len(samples) == size
            assert smaller < samples
            smaller = samples


def test_the_rotated_protocol_pools_and_draws_angles_uniformly(files: str) -> None:
    split = ready(files, protocol="rotated", reflections=True).split
    assert isinstance(split, RotatedSplit)
    assert [len(split.samples(part)) for part in ("train", "val", "test")] == [10_000, 2_000, 50_000]
    assert len(np.unique(np.concatenate([split.train, split.val, split.test]))) == 62_000
    assert (np.bincount(split.test * 7 % 10) == 5_000).all()
    counts = np.histogram(split.angles, bins=12, range=(0, 360))[0]
    assert np.abs(counts - TOTAL / 12).max() < 5 * (TOTAL / 12) ** 0.5
    assert abs(split.mirrored.mean() - 0.5) < 0.01


def test_every_image_of_every_part_is_turned_by_its_angle_once(files: str) -> None:
    data = ready(files, protocol="rotated", reflections=True, **SMALL)
    upright, _ = data.load_images()
    for part, loader in [("val", data.val_dataloader()), ("test", data.test_dataloader()[0])]:
        samples = data.split.samples(part)
        angles, mirrored = data.split.angles[samples], data.split.mirrored[samples]
        images = pixels(all_images(loader))
        expected = turn(upright[samples], angles, mirrored).float()
        torch.testing.assert_close(images, expected, rtol=0, atol=1e-3)
        assert not images.allclose(turn(upright[samples], -angles, mirrored).float(), atol=100)
        assert not images.allclose(turn(upright[samples], angles, ~mirrored).float(), atol=100)
    samples = data.split.train[:150]
    train = turn(upright[samples], data.split.angles[samples], data.split.mirrored[samples])
    known = {image.numpy().tobytes() for image in train}
    given = pixels(all_images(data.train_dataloader())).round().to(torch.uint8)
    assert {image.numpy().tobytes() for image in given} == known


def test_reflections_leave_the_angles_as_they_are(files: str) -> None:
    plain, reflected = (
        ready(files, protocol="rotated", reflections=flag, **SMALL).split for flag in (False, True)
    )
    assert (plain.angles == reflected.angles).all()
    assert not plain.mirrored.any()


def test_quarter_turns_keep_every_level_of_grey() -> None:
    images = torch.randint(0, 256, (4, 1, 29, 29), dtype=torch.uint8)
    turned = turn(images, np.array([0, 90, 180, 270], dtype=np.float32), np.array([False, True, False, True]))
    assert turned[0].equal(images[0])
    assert turned[1].equal(images[1].flip(-1).rot90(1, dims=(-2, -1)))
    assert turned[2].equal(images[2].rot90(2, dims=(-2, -1)))
    assert turned[3].equal(images[3].flip(-1).rot90(3, dims=(-2, -1)))
    assert not turn(images, np.full(4, 45, dtype=np.float32), np.zeros(4, dtype=bool)).equal(images)


@pytest.mark.parametrize("protocol", ["upright", "rotated"])
def test_the_seed_decides_and_a_stored_split_replaces_it(files: str, tmp_path: Path, protocol: str) -> None:
    path = tmp_path / "split.npz"
    settings = {"protocol": protocol, "reflections": protocol == "rotated", **SMALL}
    first = ready(files, seed=1, **settings)
    same, other = (ready(files, seed=seed, **settings) for seed in (1, 2))
    images = all_images(first.val_dataloader())
    assert all_images(same.val_dataloader()).equal(images)
    assert not all_images(other.val_dataloader()).equal(images)
    first.save_split(path)
    assert all_images(ready(files, seed=2, split_file=str(path), **settings).val_dataloader()).equal(images)
    other.load_split(path)
    assert all_images(other.val_dataloader()).equal(images)


def test_a_split_of_something_else_is_refused(files: str, tmp_path: Path) -> None:
    path = tmp_path / "split.npz"
    ready(files, protocol="rotated", **SMALL).save_split(path)
    with pytest.raises(
        ValueError, match=r"it splits 'RotatedMNIST/rotated', the data set is 'RotatedMNIST/upright'"
    ):
        ready(files, split_file=str(path), **SMALL)
    with pytest.raises(ValueError, match=r"the data set is 'RotatedMNIST/rotated\+reflections'"):
        ready(files, protocol="rotated", reflections=True, split_file=str(path), **SMALL)
    with pytest.raises(ValueError, match=r"it has 83 test samples, test_size is 84"):
        ready(files, protocol="rotated", split_file=str(path), **{**SMALL, "test_size": 84})
    with pytest.raises(ValueError, match=r"have the resolutions \[29\], not in \[31\]"):
        ready(files, protocol="rotated", image_size=31, split_file=str(path), **SMALL)


@pytest.mark.parametrize("damage", ["absent", "short", "nan"])
def test_damaged_angles_are_refused(files: str, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "split.npz"
    ready(files, protocol="rotated", **SMALL).save_split(path)
    with np.load(path) as archive:
        content = dict(archive)
    angles = content.pop("angles")
    if damage != "absent":
        content["angles"] = angles[:9] if damage == "short" else np.full_like(angles, np.nan)
    np.savez(path, **content)
    with pytest.raises(ValueError, match=r"split_file .* has no valid angles"):
        ready(files, protocol="rotated", split_file=str(path), **SMALL)


@pytest.mark.parametrize("augmentation", [None, RandomAffine(rotation=180)])
def test_two_processes_share_the_batches_of_one(files: str, augmentation: RandomAffine | None) -> None:
    settings = {**SMALL, "protocol": "rotated", "affine_augmentation": augmentation}
    one = ready(files, **settings)
    # The same global batch on half the processes' share each.
    two = [ready(files, rank, 2, **{**settings, "batch_size": 20}) for rank in range(2)]
    both = zip(*(data.train_dataloader() for data in two), strict=True)
    for (whole, labels), shares in zip(one.train_dataloader(), both, strict=True):
        for rank, (images, share_labels) in enumerate(shares):
            assert images.equal(whole[rank :: len(shares)])
            assert share_labels.equal(labels[rank :: len(shares)])


def test_two_processes_evaluate_every_image_once(files: str) -> None:
    seen = [
        number
        for rank in range(2)
        for images, _ in ready(files, rank, 2, **SMALL).test_dataloader()[0]
        for number in numbers(images)
    ]
    assert sorted(seen) == sorted(ready(files, **SMALL).split.test.tolist())


@needs_mnist
@pytest.mark.parametrize("size", [28, 29, 30, 33])
def test_digits_stand_on_the_centre_of_odd_images(size: int) -> None:
    images, _ = RotatedMNIST(data_dir=str(DATA), image_size=size).load_images()
    mean = images[:20_000].double().mean((0, 1))
    place = torch.arange(size) - (size - 1) / 2
    centre = torch.stack([(mean.sum(1) * place).sum(), (mean.sum(0) * place).sum()]) / mean.sum()
    # An even image has no central pixel: half a pixel off.
    expected = 0.0 if size % 2 else 0.5
    assert (centre - expected).abs().max() < 0.1


@needs_mnist
def test_turning_digits_there_and_back_loses_little() -> None:
    images = RotatedMNIST(data_dir=str(DATA)).load_images()[0][:1_000]
    angles = np.random.default_rng(0).uniform(0, 360, 1_000).astype(np.float32)
    unmirrored = np.zeros(1_000, dtype=bool)
    back = turn(turn(images, angles, unmirrored), -angles, unmirrored)
    assert relative_squared_error(images.float(), back.float()).mean() < 0.01
    off = turn(turn(images, angles, unmirrored), 5 - angles, unmirrored)
    assert relative_squared_error(images.float(), off.float()).mean() > 0.03


@needs_mnist
def test_real_batches_are_normalised() -> None:
    for protocol in ("upright", "rotated"):
        images = all_images(
            ready(str(DATA), protocol=protocol, image_size=28, test_size=100).val_dataloader()
        )
        assert images.mean().abs() < 0.05
        assert abs(images.std() - 1) < 0.1
        assert images.min().item() == pytest.approx(-MEAN / STD, abs=1e-6)


def test_padding_keeps_every_pixel() -> None:
    images = torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8)
    assert pad_to(images, 28).equal(images)
    assert pad_to(images, 29)[:, :, :28, :28].equal(images)
    assert pad_to(images, 33)[:, :, 2:30, 2:30].equal(images)
    assert pad_to(images, 32)[:, :, 2:30, 2:30].equal(images)


def test_missing_files_are_named_with_the_way_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no MNIST: .*set download: true"):
        RotatedMNIST(data_dir=str(tmp_path)).setup()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"protocol": "turned"}, r"protocol must be one of 'upright', 'rotated', got 'turned'"),
        ({"reflections": True}, r"reflections must be false in the protocol 'upright'"),
        ({"image_size": 27}, r"image_size must be an integer of at least 28, got 27"),
        ({"image_size": 29.0}, r"image_size must be an integer of at least 28, got 29\.0"),
        ({"val_size": 60_000}, r"val_size must be an integer from 1 to 59999, got 60000"),
        (
            {"val_size": 12_000, "protocol": "rotated"},
            r"val_size must be an integer from 1 to 11999, got 12000",
        ),
        ({"test_size": 0}, r"test_size must be an integer from 1 to 10000, got 0"),
        (
            {"test_size": 50_001, "protocol": "rotated"},
            r"test_size must be an integer from 1 to 50000, got 50001",
        ),
        ({"train_size": 0}, r"train_size must be an integer of at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused(settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RotatedMNIST(**settings)


def test_more_training_images_than_there_are_is_refused(files: str) -> None:
    with pytest.raises(ValueError, match=r"train_size must be at most the 10000 training samples, got 10001"):
        ready(files, protocol="rotated", train_size=10_001)
