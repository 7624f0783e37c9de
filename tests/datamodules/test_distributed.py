"""Two real processes under Lightning's DDP."""

import os
import subprocess
import sys
from pathlib import Path

import numbered_images
import pytest
import torch
from numbered_images import NumberedImages


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("distributed")
    root = Path(numbered_images.__file__).parents[2]
    process = subprocess.run(
        [sys.executable, numbered_images.__file__, str(folder), "2"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return [torch.load(folder / f"seen-{rank}.pt") for rank in range(2)]


def test_training_steps_have_the_same_resolution_and_size_and_different_samples(ranks) -> None:
    for (epoch, resolution, samples), (other_epoch, other_resolution, others) in zip(
        ranks[0]["train"], ranks[1]["train"], strict=True
    ):
        assert (epoch, resolution, len(samples)) == (other_epoch, other_resolution, len(others))
        assert not set(samples) & set(others)
    epochs = [[batch for batch in ranks[0]["train"] if batch[0] == epoch] for epoch in (0, 1)]
    assert [batch[1:] for batch in epochs[0]] != [batch[1:] for batch in epochs[1]]


@pytest.mark.parametrize("stage", ["val", "test", "finest"])
def test_evaluation_counts_every_sample_exactly_once(ranks, stage: str) -> None:
    data = NumberedImages()
    data.setup()
    expected = sorted(data.split.samples("val" if stage == "val" else "test").tolist())
    epochs = {batch[0] for batch in ranks[0][stage]}
    assert len(epochs) == (2 if stage == "val" else 1)
    for epoch in epochs:
        seen = [sample for rank in ranks for batch in rank[stage] if batch[0] == epoch for sample in batch[2]]
        assert sorted(seen) == expected
