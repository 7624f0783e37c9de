"""Batches of one resolution: who gets what, in which order, and what becomes of an image."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from datamodules.augmentation import CircularShift, RandomAffine
from datamodules.batches import (
    BatchRequest,
    EvaluationBatches,
    ResolutionImages,
    TrainingBatches,
    make_loader,
)
from datamodules.colour import RandomColour
from datamodules.crop_flip_cutout import Cutout, RandomCrop, RandomFlip
from sefl.fourier import downsample

SAMPLES = np.arange(500, 1_200)
RESOLUTIONS = np.random.default_rng(0).choice([8, 9, 10, 11, 28], size=len(SAMPLES))
AT = dict(zip(SAMPLES.tolist(), RESOLUTIONS.tolist(), strict=True))


def training(
    batch_size: int = 32, seed: int = 0, epoch: int = 0, rank: int = 0, world_size: int = 1
) -> list[BatchRequest]:
    sampler = TrainingBatches(SAMPLES, RESOLUTIONS, batch_size, seed, rank, world_size)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(sampler) == len(batches)
    return batches


def samples(batches: list[BatchRequest]) -> list[int]:
    return torch.cat([batch.samples for batch in batches]).tolist()


def key(batches: list[BatchRequest]) -> list[tuple[int, ...]]:
    return [(batch.resolution, *batch.samples.tolist()) for batch in batches]


def test_one_process_trains_on_every_sample_once_per_epoch_at_its_resolution() -> None:
    batches = training()
    assert sorted(samples(batches)) == SAMPLES.tolist()
    for batch in batches:
        assert {AT[sample] for sample in batch.samples.tolist()} == {batch.resolution}
        assert 1 <= len(batch.samples) <= 32


def test_resolutions_are_mixed_and_batches_nearly_equal() -> None:
    batches = training()
    order = [batch.resolution for batch in batches]
    assert order != sorted(order)
    assert min(len(batch.samples) for batch in batches) >= 16


def test_order_depends_on_seed_and_epoch_alone() -> None:
    assert key(training(seed=1, epoch=2)) == key(training(seed=1, epoch=2))
    assert key(training(seed=1, epoch=2)) != key(training(seed=1, epoch=3))
    assert key(training(seed=1, epoch=2)) != key(training(seed=2, epoch=2))


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_processes_train_on_equal_shares_of_the_same_resolution(world_size: int) -> None:
    ranks = [training(rank=rank, world_size=world_size) for rank in range(world_size)]
    for step in zip(*ranks, strict=True):
        assert len({batch.resolution for batch in step}) == 1
        assert len({len(batch.samples) for batch in step}) == 1
        assert len({batch.entropy for batch in step}) == 1
    seen = list(itertools.chain.from_iterable(samples(batches) for batches in ranks))
    assert len(set(seen)) == len(seen)
    assert len(SAMPLES) - len(seen) < world_size * len(set(RESOLUTIONS))


def test_samples_left_out_differ_between_epochs() -> None:
    left_out = set()
    for epoch in range(6):
        seen = {
            sample for rank in range(3) for sample in samples(training(epoch=epoch, rank=rank, world_size=3))
        }
        left_out.add(frozenset(SAMPLES.tolist()) - seen)
    assert frozenset() not in left_out
    assert len(left_out) > 1


def test_the_global_batches_do_not_depend_on_the_number_of_processes() -> None:
    alone = training(batch_size=32)
    ranks = [training(batch_size=16, rank=rank, world_size=2) for rank in range(2)]
    assert len(alone) == len(ranks[0])
    for whole, *shares in zip(alone, *ranks, strict=True):
        together = torch.stack([share.samples for share in shares], dim=1).flatten().tolist()
        # An odd group leaves its last sample out.
        assert together == whole.samples.tolist()[: len(together)]
        assert len(whole.samples) - len(together) <= 1


def test_a_resolution_with_fewer_samples_than_processes_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"leaves 1 training samples at resolution 9, fewer than the 2 processes"
    ):
        TrainingBatches(np.arange(5), np.array([8, 8, 8, 8, 9]), 4, 0, 0, 2)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 8, 30, 1_000])
@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("group", [8, 9, 63, 64, 65, 131])
def test_no_batch_is_empty_or_too_large(batch_size: int, world_size: int, group: int) -> None:
    sampler = TrainingBatches(np.arange(group), np.full(group, 8), batch_size, 0, 0, world_size)
    sizes = [len(batch.samples) for batch in sampler]
    assert 1 <= min(sizes) <= max(sizes) <= batch_size
    assert sum(sizes) == group // world_size


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [7, 8, 700])
def test_evaluation_sees_every_sample_once_over_all_processes(world_size: int, count: int) -> None:
    ranks = [
        EvaluationBatches(SAMPLES[:count], RESOLUTIONS[:count], 50, 0, rank, world_size)
        for rank in range(world_size)
    ]
    assert sorted(sample for rank in ranks for sample in samples(list(rank))) == SAMPLES[:count].tolist()
    lengths = [len(rank) for rank in ranks]
    assert lengths == [len(list(rank)) for rank in ranks]
    assert 1 <= min(lengths) <= max(lengths) <= min(lengths) + 1
    for batch in itertools.chain.from_iterable(ranks):
        assert {AT[sample] for sample in batch.samples.tolist()} == {batch.resolution}


def test_fewer_evaluation_samples_than_processes_are_refused() -> None:
    with pytest.raises(ValueError, match="world_size must be at most the 3 samples to evaluate, got 4"):
        EvaluationBatches(SAMPLES[:3], RESOLUTIONS[:3], 50, 0, 0, 4)


IMAGES = torch.randint(256, (1_200, 2, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(1_200) % 10


def dataset(**settings) -> ResolutionImages:
    return ResolutionImages(
        IMAGES, LABELS, **{"downsampling": "ideal", "mean": [0.1, 0.2], "std": [0.5, 2.0], **settings}
    )


def test_a_batch_is_the_ideal_downsampling_of_its_normalised_images() -> None:
    for request in training():
        images, labels = dataset()[request]
        whole = IMAGES[request.samples].double() / 255
        normalised = (whole - torch.tensor([[[0.1]], [[0.2]]])) / torch.tensor([[[0.5]], [[2.0]]])
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64
        torch.testing.assert_close(
            images.double(), downsample(normalised, request.resolution), atol=1e-5, rtol=0
        )
        assert torch.equal(labels, LABELS[request.samples])


def test_bicubic_downsampling_is_antialiased_and_leaves_full_resolution_alone() -> None:
    for request in training():
        images, _ = dataset(downsampling="bicubic", mean=[0.0, 0.0], std=[1.0, 1.0])[request]
        whole = IMAGES[request.samples].float() / 255
        if request.resolution < 28:
            size = (request.resolution,) * 2
            whole = F.interpolate(whole, size=size, mode="bicubic", antialias=True, align_corners=False)
        torch.testing.assert_close(images, whole, atol=1e-5, rtol=0)


def test_ideal_downsampling_at_full_resolution_removes_the_nyquist_term() -> None:
    checkerboard = (torch.arange(28) % 2 * 255).to(torch.uint8).expand(1, 1, 28, 28)
    images = ResolutionImages(checkerboard, torch.zeros(1, dtype=torch.int64), "ideal", [0.0], [1.0])
    request = BatchRequest(28, torch.tensor([0]), (), 1, slice(None))
    torch.testing.assert_close(images[request][0], torch.full((1, 1, 28, 28), 0.5))


AUGMENTED = {
    "augmentations": (
        RandomCrop(4),
        RandomFlip(),
        RandomAffine(20, 1.2, 10, 0.1, 0.05),
        CircularShift(),
        Cutout(8),
    )
}


def test_augmentation_does_not_depend_on_the_number_of_processes() -> None:
    images = dataset(**AUGMENTED)
    for whole, *shares in zip(
        training(batch_size=32),
        *(training(batch_size=16, rank=rank, world_size=2) for rank in range(2)),
        strict=True,
    ):
        if whole.global_size != shares[0].global_size:
            continue
        together = torch.stack([images[share][0] for share in shares], dim=1).flatten(0, 1)
        torch.testing.assert_close(together, images[whole][0], atol=1e-5, rtol=0)


def test_augmentation_differs_between_batches_and_epochs_and_repeats_itself() -> None:
    images = dataset(augmentations=[CircularShift(probability=1)])
    first, again, later = training(epoch=0)[0], training(epoch=0)[0], training(epoch=1)[0]
    assert torch.equal(images[first][0], images[again][0])
    same_samples = [
        BatchRequest(28, first.samples, r.entropy, first.global_size, first.share)
        for r in (first, training()[1], later)
    ]
    drawn = [images[request][0] for request in same_samples]
    for a, b in itertools.combinations(drawn, 2):
        assert not torch.allclose(a, b)


def test_a_shift_is_a_shift_of_the_full_image_before_downsampling() -> None:
    images = dataset(augmentations=[CircularShift(probability=1)], mean=[0.0, 0.0], std=[1.0, 1.0])
    request = BatchRequest(13, torch.tensor([5]), (0, 2, 0, 0), 1, slice(None))
    whole = IMAGES[5].float() / 255
    candidates = [
        downsample(whole.roll(offset, (1, 2)), (13, 13))
        for offset in itertools.product(range(-7, 8), repeat=2)
    ]
    errors = [(images[request][0][0] - candidate).abs().max() for candidate in candidates]
    assert min(errors) < 1e-5
    assert sum(error < 1e-2 for error in errors) == 1


@pytest.mark.parametrize("num_workers", [1, 2])
def test_loader_processes_change_nothing(num_workers: int) -> None:
    def batches(workers: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        loader = make_loader(dataset(**AUGMENTED), TrainingBatches(SAMPLES, RESOLUTIONS, 128, 0), workers)
        epochs = []
        for epoch in (0, 1):
            loader.sampler.set_epoch(epoch)
            epochs += list(loader)
        assert len(epochs) == 2 * len(loader)
        return epochs

    for (images, labels), (expected, expected_labels) in zip(batches(num_workers), batches(0), strict=True):
        torch.testing.assert_close(images, expected, atol=1e-6, rtol=0)
        assert torch.equal(labels, expected_labels)


def test_loading_does_not_disturb_the_global_generator() -> None:
    before = torch.get_rng_state()
    list(make_loader(dataset(**AUGMENTED), TrainingBatches(SAMPLES, RESOLUTIONS, 128, 0), 0))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loader_continues_where_another_stopped() -> None:
    def loader():
        made = make_loader(dataset(), TrainingBatches(SAMPLES, RESOLUTIONS, 32, 0), 0)
        made.sampler.set_epoch(4)
        return made

    whole = list(loader())
    interrupted = loader()
    list(itertools.islice(interrupted, 3))
    resumed = loader()
    resumed.load_state_dict(interrupted.state_dict())
    assert len(resumed) == len(whole)
    rest = list(resumed)
    assert len(rest) == len(whole) - 3
    for (images, _), (expected, _) in zip(rest, whole[3:], strict=True):
        assert torch.equal(images, expected)
    resumed.sampler.set_epoch(5)
    assert len(list(resumed)) == len(whole)


def test_bytes_are_augmented_as_floats_are() -> None:
    """Whatever stands in front of an augmentation: some hand on floats up to 255."""
    every = [
        RandomCrop(4),
        RandomFlip(),
        RandomAffine(rotation=20, scale=1.2, elastic=0.05),
        CircularShift(),
        RandomColour(),
        Cutout(4),
    ]
    images = torch.randint(256, (8, 3, 12, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    request = BatchRequest(9, torch.arange(8), (0, 1, 2), 8, slice(None))
    for augmentations in itertools.permutations(every, 2):
        of_bytes, of_floats = (
            ResolutionImages(
                given, torch.zeros(8, dtype=torch.int64), "ideal", [0.5] * 3, [0.2] * 3, augmentations
            )[request][0]
            for given in (images, images / 255)
        )
        torch.testing.assert_close(of_bytes, of_floats)
