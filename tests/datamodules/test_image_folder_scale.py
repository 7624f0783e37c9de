"""Images in folders: what is found, decoded and split, and what is refused."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms.v2 import functional as v2

from datamodules import Cutout, ImageFolderScale
from datamodules.image_files import ImageFiles

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}
SMALL = {"image_size": 16, "resolutions": [9, 12, 16], "batch_size": 4, "eval_batch_size": 3}


def write(folder: Path, per_class: int = 10) -> Path:
    """Images of one colour, of several sizes and formats, one folder for each colour."""
    for colour, value in COLOURS.items():
        (folder / colour).mkdir(parents=True)
        for number in range(per_class):
            suffix = ("png", "jpg", "bmp")[number % 3]
            size = (20 + number, 30 - number)
            Image.new("RGB", size, value).save(folder / colour / f"{number}.{suffix}")
    return folder


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    return write(tmp_path / "flat")


@pytest.fixture
def parted(tmp_path: Path) -> Path:
    for part, per_class in [("train", 8), ("val", 2), ("test", 4)]:
        write(tmp_path / "parted" / part, per_class)
    return tmp_path / "parted"


def ready(root: Path, **settings) -> ImageFolderScale:
    data = ImageFolderScale(root=str(root), **{**SMALL, **settings})
    data.setup()
    return data


@pytest.mark.parametrize("memory_limit", [2, 0])
def test_every_image_is_seen_once_with_its_label(flat: Path, memory_limit: float) -> None:
    data = ready(flat, val_fraction=0.2, memory_limit=memory_limit, mean=[0.0] * 3, std=[1.0] * 3)
    assert isinstance(data.load_images()[0], torch.Tensor if memory_limit else ImageFiles)
    assert (data.num_classes, data.class_names) == (3, sorted(COLOURS))
    loaders = [data.train_dataloader(), data.val_dataloader(), data.test_dataloader()[0]]
    sizes = []
    for loader in loaders:
        batches = list(loader)
        sizes.append(sum(len(labels) for _, labels in batches))
        for images, labels in batches:
            assert images.shape == (len(labels), 3, images.shape[-1], images.shape[-1])
            # Blue, green, red: the class is two less the channel that is bright.
            assert torch.equal(2 - images.mean(dim=(2, 3)).argmax(1), labels)
    assert sizes == [21, 6, 3]


def test_files_and_labels_are_those_of_torchvision(flat: Path) -> None:
    data = ready(flat, memory_limit=0)
    images, labels = data.load_images()
    expected = ImageFolder(str(flat))
    assert [name.decode() for name in images.files] == [path for path, _ in expected.samples]
    assert labels.tolist() == expected.targets
    assert data.class_names == expected.classes


@pytest.mark.parametrize(("size", "channels"), [((40, 20), 3), ((23, 64), 3), ((32, 32), 1)])
def test_images_are_resized_and_cropped_in_the_middle(tmp_path: Path, size, channels: int) -> None:
    smooth = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    whole = (torch.nn.functional.interpolate(smooth, size=size, mode="bilinear")[0] * 255).to(torch.uint8)
    v2.to_pil_image(whole).save(tmp_path / "image.png")
    decoded = ImageFiles([tmp_path / "image.png"], channels, 16)[torch.tensor([0, 0])]
    assert decoded.shape == (2, channels, 16, 16)
    assert decoded.dtype == torch.uint8
    expected = v2.center_crop(v2.resize(whole, [16], v2.InterpolationMode.BICUBIC, antialias=True), [16, 16])
    if channels == 1:
        expected = v2.rgb_to_grayscale(expected)
    # Where the crop is a fraction of a pixel off, and levels are rounded.
    assert (decoded[0].float() - expected.float()).abs().mean() < 3


def test_folders_make_the_parts(parted: Path) -> None:
    split = ready(parted).split
    assert sorted(split.train) == list(range(24))
    assert split.val.tolist() == list(range(24, 30))
    assert split.test.tolist() == list(range(30, 42))


def test_the_protocol_pool_mixes_the_folders(parted: Path) -> None:
    split = ready(parted, protocol="pool", test_fraction=0.3).split
    assert [len(split.samples(part)) for part in ("train", "val", "test")] == [25, 4, 13]
    assert split.train.max() > 30


def test_a_part_without_a_folder_is_held_out_of_the_training_images(parted: Path) -> None:
    (parted / "val").rename(parted / ".val")
    split = ready(parted, val_fraction=0.25).split
    assert split.test.tolist() == list(range(24, 36))
    assert len(split.val) == 6
    assert np.bincount(split.val // 8).tolist() == [2, 2, 2]
    assert sorted(np.concatenate([split.train, split.val])) == list(range(24))


def test_augmentation_is_for_training_alone(flat: Path) -> None:
    settings = {"cutout_augmentation": Cutout(16), "mean": [0.0] * 3, "std": [1.0] * 3}
    data = ready(flat, resolutions=[16], downsampling="bicubic", **settings)
    black = [(images == 0).all(dim=1).flatten(1).any(1) for images, _ in data.train_dataloader()]
    assert torch.cat(black).all()
    for loader in [data.val_dataloader(), *data.test_dataloader()]:
        assert not any((images.amax(dim=1) < 0.9).any() for images, _ in loader)


def test_a_stored_split_fits_the_same_files_only(flat: Path, tmp_path: Path) -> None:
    path = tmp_path / "split.npz"
    first = ready(flat, seed=1)
    first.save_split(path)
    assert ready(flat, seed=2, split_file=str(path)).split.test.tolist() == first.split.test.tolist()
    (flat / "red" / "0.png").rename(flat / "red" / "first.png")
    with pytest.raises(ValueError, match=r"split_file .* does not fit: it splits 'ImageFolderScale/standard"):
        ready(flat, split_file=str(path))


def test_worker_processes_decode_the_same(flat: Path) -> None:
    batches = [list(ready(flat, memory_limit=0, num_workers=workers).val_dataloader()) for workers in (0, 1)]
    for (images, labels), (expected, expected_labels) in zip(*batches, strict=True):
        torch.testing.assert_close(images, expected)
        assert torch.equal(labels, expected_labels)


def test_missing_folders_are_named(flat: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none does not exist; give a folder with one subfolder"):
        ImageFolderScale(root=str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty has no class folders"):
        ImageFolderScale(root=str(tmp_path / "empty"))
    (flat / "val").mkdir()
    with pytest.raises(FileNotFoundError, match=r"has the folder val but no folder train"):
        ImageFolderScale(root=str(flat))


def test_one_class_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images" / "red").mkdir(parents=True)
    with pytest.raises(
        ValueError, match=r"images has one class folder only, 'red'; give one with .* two classes"
    ):
        ImageFolderScale(root=str(tmp_path / "images"))


def test_what_is_left_out_or_measured_twice_is_said(flat: Path, parted: Path) -> None:
    Image.new("RGB", (20, 20)).save(flat / "loose.png")
    with pytest.warns(UserWarning, match=r"flat has 1 images outside the class folders, such as loose\.png"):
        ready(flat)
    (parted / "validation").mkdir()
    with (
        pytest.warns(UserWarning, match="has folders beside train, val, test that are not used: validation"),
        pytest.warns(UserWarning, match="18 of 18 images to validate and test on are training images too"),
    ):
        ready(parted)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (flat / "loose.png").unlink()
        ready(flat)


def test_a_class_without_images_is_named(flat: Path) -> None:
    (flat / "yellow").mkdir()
    (flat / "yellow" / ".hidden").write_text("")
    with pytest.raises(FileNotFoundError, match=r"yellow has no images; add some or remove the class"):
        ready(flat)


def test_folders_that_differ_in_classes_are_refused(parted: Path) -> None:
    (parted / "test" / "red").rename(parted / "test" / "rouge")
    with pytest.raises(
        ValueError, match=r"test must have the 3 classes .* got 3: red missing, rouge unknown"
    ):
        ready(parted)


def test_files_that_are_no_images_are_refused(flat: Path) -> None:
    (flat / "README.md").write_text("outside of the classes nothing is looked at")
    (flat / "red" / ".DS_Store").write_text("hidden")
    ready(flat)
    notes = flat / "red" / "notes.txt"
    notes.write_text("red")
    with pytest.raises(ValueError, match=r"notes\.txt is no image by its name; remove it, or call it \.jpg"):
        ready(flat)


def see_all(root: Path, memory_limit: float) -> None:
    data = ready(root, memory_limit=memory_limit)
    for loader in [data.train_dataloader(), data.val_dataloader(), *data.test_dataloader()]:
        list(loader)


@pytest.mark.parametrize("memory_limit", [2, 0])
def test_damaged_files_are_named(flat: Path, memory_limit: float) -> None:
    image = flat / "red" / "1.jpg"
    whole = image.read_bytes()
    for damage in (whole[: len(whole) // 2], b"not an image"):
        image.write_bytes(damage)
        with pytest.raises(ValueError, match=r"red/1\.jpg is damaged or no image .*repair or remove it"):
            see_all(flat, memory_limit)
    image.write_bytes(b"")
    with pytest.raises(ValueError, match=r"red/1\.jpg is empty"):
        ready(flat, memory_limit=memory_limit)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resolutions": [17]}, "resolutions must be integers from 1 to the image size of 16, got 17"),
        ({"channels": 4}, "channels must be one of 1, 3, got 4"),
        ({"protocol": "paper"}, "protocol must be one of 'standard', 'pool', got 'paper'"),
        ({"val_fraction": 0}, "val_fraction must be a finite number above 0 and below 1, got 0"),
        (
            {"val_fraction": 0.5, "test_fraction": 0.5},
            r"must leave something to train on, got 0\.5 and 0\.5",
        ),
        ({"memory_limit": float("nan")}, "memory_limit must be a finite number of at least 0, got nan"),
        ({"background": 256}, "background must be an integer from 0 to 255, got 256"),
        ({"image_size": 10**9}, "image_size must be an integer from 1 to 16384, got 1000000000"),
        ({"memory_limit": -1}, "memory_limit must be a finite number of at least 0, got -1"),
        ({"test_fraction": 0.01}, r"test_fraction must leave at least one of 30 images .* got 0\.01"),
        ({"train_size": 25}, "train_size must be at most the 24 training samples, got 25"),
    ],
)
def test_bad_arguments_are_refused(flat: Path, settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ready(flat, **settings)


def test_the_default_resolutions_are_the_upper_half(flat: Path) -> None:
    assert ImageFolderScale(root=str(flat), image_size=20).resolutions == list(range(10, 21))
