"""What every datamodule promises: parts, resolutions, subsets, splits, refusals, fitting, resuming."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numbered_images import IMAGE_SIZE, NumberedImages, Witness, numbers, trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from datamodules import CircularShift, Cutout, RandomAffine, RandomCrop, RandomFlip

# 26 training samples at each of five resolutions, in batches of at most 8.
EPOCH_STEPS = 20


def ready(**settings) -> NumberedImages:
    data = NumberedImages(**settings)
    data.setup()
    return data


def seen(loader) -> dict[int, int]:
    """The resolution at which a loader gave each sample; each must come once."""
    found: dict[int, int] = {}
    for images, labels in loader:
        assert images.shape[1:] == (1, images.shape[-1], images.shape[-1])
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64
        for number, label in zip(numbers(images), labels.tolist(), strict=True):
            assert number not in found
            assert label == min(number % 7, 3)
            found[number] = images.shape[-1]
    return found


def test_each_part_is_seen_once_at_the_resolution_of_the_split() -> None:
    data = ready()
    parts = {
        "train": data.train_dataloader(),
        "val": data.val_dataloader(),
        "test": data.test_dataloader()[0],
    }
    everything = []
    for part, loader in parts.items():
        found = seen(loader)
        split = zip(data.split.samples(part).tolist(), data.split.resolutions(part).tolist(), strict=True)
        assert found == dict(split)
        everything += list(found)
    assert sorted(everything) == list(range(230))


def test_the_finest_loaders_give_the_same_samples_at_the_finest_resolution() -> None:
    data = ready(resolutions=[7, 5])
    assert seen(data.test_dataloader()[1]) == dict.fromkeys(data.split.test.tolist(), 7)
    assert seen(data.finest_dataloader("val")) == dict.fromkeys(data.split.val.tolist(), 7)


def test_scale_consistency_may_be_measured_on_a_part_of_the_test_samples() -> None:
    data = ready(resolutions=[7, 5], consistency_size=20)
    own, finest = data.test_dataloader()
    assert len(seen(own)) == len(data.split.test)
    assert seen(finest) == dict.fromkeys(data.split.test[:20].tolist(), 7)


def test_resolutions_are_dealt_evenly_in_every_part() -> None:
    data = ready()
    for part in ("train", "val", "test"):
        counts = np.unique(data.split.resolutions(part), return_counts=True)[1]
        assert len(counts) == 5
        assert counts.max() - counts.min() <= 1


def test_held_out_resolutions_are_never_trained_on_but_evaluated() -> None:
    data = ready(held_out_resolutions=[6, 9])
    train = seen(data.train_dataloader())
    assert len(train) == 130
    assert set(train.values()) == {5, 7, 8}
    assert set(seen(data.val_dataloader()).values()) == {5, 6, 7, 8, 9}
    assert set(seen(data.test_dataloader()[0]).values()) == {5, 6, 7, 8, 9}


def test_training_subsets_are_nested_stratified_and_keep_their_resolutions() -> None:
    whole = seen(ready().train_dataloader())
    smaller: dict[int, int] = {}
    for size in (20, 60, 100):
        subset = seen(ready(train_size=size).train_dataloader())
        assert len(subset) == size
        assert smaller.items() <= subset.items() <= whole.items()
        smaller = subset
        for of in (lambda sample: min(sample % 7, 3), lambda sample: whole[sample]):
            share = np.bincount([of(sample) for sample in subset]) - size / 130 * np.bincount(
                [of(s) for s in whole]
            )
            assert np.abs(share).max() <= 3


def test_the_seed_decides_the_split() -> None:
    first, same, other = (ready(seed=seed).split for seed in (1, 1, 2))
    for part in ("train", "val", "test"):
        assert (first.samples(part) == same.samples(part)).all()
        assert (first.resolutions(part) == same.resolutions(part)).all()
        assert (first.samples(part) != other.samples(part)).any()


def test_augmentation_is_for_training_alone() -> None:
    every = {
        "crop_augmentation": RandomCrop(2),
        "flip_augmentation": RandomFlip(),
        "affine_augmentation": RandomAffine(rotation=10),
        "shift_augmentation": CircularShift(),
        "cutout_augmentation": Cutout(4),
    }
    data = ready(**every)
    assert data.train_dataloader().dataset.augmentations == tuple(every.values())
    for loader in [data.val_dataloader(), *data.test_dataloader(), data.finest_dataloader("val")]:
        assert loader.dataset.augmentations == ()


def test_a_stored_split_replaces_the_drawn_one(tmp_path: Path) -> None:
    path = tmp_path / "split.npz"
    stored = ready(seed=1)
    stored.save_split(path)
    reused = ready(seed=2, split_file=str(path))
    assert (reused.split.test == stored.split.test).all()
    assert seen(reused.train_dataloader()) == seen(stored.train_dataloader())
    # The whole training part is stored: a subset can be taken of it later.
    assert len(seen(ready(seed=2, split_file=str(path), train_size=30).train_dataloader())) == 30


def test_a_stored_split_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.npz"
    ready().save_split(path)
    with pytest.raises(ValueError, match=r"split_file .* does not fit: it splits 230 samples .* has 231"):
        ready(sizes=(131, 53, 47), split_file=str(path))
    with pytest.raises(ValueError, match=r"does not fit: its train samples have the resolutions \[9\]"):
        ready(held_out_resolutions=[9], split_file=str(path))
    other = NumberedImages(split_file=str(path))
    other.dataset = "Others"
    with pytest.raises(ValueError, match=r"it splits 'NumberedImages', the data set is 'Others'"):
        other.setup()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resolutions": []}, "resolutions must name at least one resolution"),
        (
            {"resolutions": [5, IMAGE_SIZE + 1]},
            r"resolutions must be integers from 1 to the image size of 9, got 10",
        ),
        ({"resolutions": [0, 5]}, "resolutions must be integers from 1 .* got 0"),
        ({"resolutions": [5.5]}, r"resolutions must be integers from 1 .* got 5\.5"),
        ({"resolutions": [5, 5]}, "resolutions must differ"),
        ({"held_out_resolutions": [4]}, r"held_out_resolutions must be among the resolutions .* got \[4\]"),
        ({"held_out_resolutions": [5, 6, 7, 8, 9]}, "held_out_resolutions must leave at least one"),
        ({"batch_size": 0}, "batch_size must be a positive integer, got 0"),
        ({"eval_batch_size": 0}, "eval_batch_size must be a positive integer, got 0"),
        ({"train_size": 0}, "train_size must be an integer of at least 1, got 0"),
        ({"num_workers": -1}, "num_workers must be an integer from 0 to 1024, got -1"),
        ({"seed": -1}, "seed must be an integer from 0 to 4294967295, got -1"),
        ({"seed": True}, "seed must be an integer from 0 to 4294967295, got True"),
        ({"std": [math.nan]}, "std must be a finite number above 0, got nan"),
        ({"std": [0.0]}, "std must be a finite number above 0, got 0.0"),
        ({"mean": [math.inf]}, "mean must be a finite number, got inf"),
        ({"mean": [0.0, 0.0]}, r"mean must have one number for each of 1 channels, got \[0.0, 0.0\]"),
        ({"channels": 0}, "channels must be a positive integer, got 0"),
        ({"class_names": ["one"]}, r"class_names must be of at least two classes, got \['one'\]"),
        ({"image_size": 10**6}, "image_size must be an integer from 1 to 16384, got 1000000"),
        (
            {"downsampling": "naive"},
            "downsampling must be one of 'ideal', 'centered', 'bicubic', got 'naive'",
        ),
    ],
)
def test_bad_arguments_are_refused_at_construction(settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NumberedImages(**settings)


def test_numbers_of_numpy_are_numbers() -> None:
    data = NumberedImages(
        resolutions=list(np.arange(5, 8)), batch_size=np.int64(4), seed=np.int32(3), std=[np.float32(2)]
    )
    batch_size, seed = data.settings.batch_size, data.settings.seed
    assert (data.resolutions, batch_size, seed, data.std) == ([5, 6, 7], 4, 3, [2.0])
    assert {type(number) for number in [*data.resolutions, batch_size, seed]} == {int}


def test_images_that_no_batch_can_be_made_of_are_refused() -> None:
    images, labels = NumberedImages().load_images()
    damaged = images.clone()
    damaged[7, 0, 2, 2] = math.nan
    for wrong, message in [
        (damaged, "must have finite values, got others in image 7"),
        (images.int(), r"must have images of uint8 or floating point, got torch\.int32"),
        (
            images.expand(-1, 3, -1, -1),
            r"must have images of shape \(samples, 1, size, size\), got \(230, 3, 9, 9\)",
        ),
    ]:
        data = NumberedImages()
        data.load_images = lambda wrong=wrong: (wrong, labels)
        with pytest.raises(ValueError, match=f"NumberedImages {message}"):
            data.setup()


def test_what_only_the_data_can_tell_is_refused_at_setup() -> None:
    with pytest.raises(ValueError, match="train_size must be at most the 130 training samples, got 131"):
        ready(train_size=131)
    with pytest.raises(ValueError, match="consistency_size must be at most the 47 test samples, got 48"):
        ready(consistency_size=48)
    with pytest.raises(ValueError, match="val_size must leave at least one sample"):
        ready(sizes=(130, 0, 47))


def test_labels_that_do_not_fit_the_images_or_the_classes_are_refused() -> None:
    images, labels = NumberedImages().load_images()
    for wrong, found in [
        (labels[:-1], "one label for each image, got 229 for 230 images"),
        (labels + 1, "every label from 0 to 3 and no other, got 4 out of range; 0 missing"),
        (labels * 0, "every label from 0 to 3 and no other, got 1, 2, 3 missing"),
        (
            labels.float(),
            r"labels of shape \(samples,\) and of an integer type, got \(230,\) of torch.float32",
        ),
    ]:
        data = NumberedImages()
        data.load_images = lambda wrong=wrong: (images, wrong)
        with pytest.raises(ValueError, match=f"NumberedImages must have {found}"):
            data.setup()


def test_a_split_asked_for_before_setup_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"call it first"):
        _ = NumberedImages().split


def test_overfitting_batches_is_refused_and_train_size_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--trainer.overfit_batches: must be 0, got 2.*train_size"):
        trainer(tmp_path, overfit_batches=2).fit(Witness(), NumberedImages())


def test_a_fit_shuffles_anew_in_each_epoch_and_validates_alike(tmp_path: Path) -> None:
    model = Witness()
    trainer(tmp_path, max_epochs=3).fit(model, NumberedImages())
    epochs = [[batch[1:] for batch in model.seen["train"] if batch[0] == epoch] for epoch in range(3)]
    for epoch in epochs:
        assert sorted(sample for _, batch in epoch for sample in batch) == sorted(
            sample for _, batch in epochs[0] for sample in batch
        )
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    validations = [[batch[1:] for batch in model.seen["val"] if batch[0] == epoch] for epoch in range(3)]
    assert validations[0] == validations[1] == validations[2]


@pytest.mark.parametrize(("steps", "num_workers"), [(7, 0), (EPOCH_STEPS, 0), (31, 0), (31, 1)])
def test_a_resumed_fit_sees_what_an_uninterrupted_one_sees(
    tmp_path: Path, steps: int, num_workers: int
) -> None:
    data = {"num_workers": num_workers}
    uninterrupted = Witness()
    trainer(tmp_path, max_epochs=3).fit(uninterrupted, NumberedImages())
    assert len(uninterrupted.seen["train"]) == 3 * EPOCH_STEPS

    save = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=steps, save_top_k=-1)
    interrupted = Witness()
    trainer(tmp_path, callbacks=[save], enable_checkpointing=True, max_steps=steps).fit(
        interrupted, NumberedImages(**data)
    )
    resumed = Witness()
    trainer(tmp_path, max_epochs=3).fit(
        resumed, NumberedImages(**data), ckpt_path=str(tmp_path / f"step={steps}.ckpt"), weights_only=False
    )
    assert interrupted.seen["train"] + resumed.seen["train"] == uninterrupted.seen["train"]
