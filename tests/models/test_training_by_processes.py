"""A network per resolution under Lightning's plain DDP: as if unused parameters were searched for, and left alone."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import training_by_processes
from training_by_processes import REFERENCE, model_of_noise


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("processes")
    script = Path(training_by_processes.__file__)
    root = script.parents[2]
    process = subprocess.run(
        [sys.executable, str(script), str(folder), "2"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return [torch.load(folder / f"found-{rank}.pt") for rank in range(2)]


def test_processes_agree_and_searching_for_unused_parameters_changes_nothing(ranks) -> None:
    plain, searched = (ranks[0][strategy]["parameters"] for strategy in ("ddp", REFERENCE))
    initial = dict(model_of_noise().named_parameters())
    for name, value in plain.items():
        assert torch.equal(value, ranks[1]["ddp"]["parameters"][name])
        torch.testing.assert_close(value, searched[name], rtol=1e-6, atol=1e-7)
        held_out = name.split(".")[3] == "5"
        assert torch.equal(value, initial[name]) == held_out, name


def test_the_optimiser_steps_for_the_networks_of_a_batch_alone(ranks) -> None:
    """A gradient of zero would be a step, with weight decay and what momentum is left."""
    batches = ranks[0]["ddp"]["batches"]
    assert batches[5] == 0
    assert batches[4] > 0
    assert batches[6] > 0
    for name, steps in ranks[0]["ddp"]["steps"].items():
        assert steps == batches[int(name.split(".")[3])], name


def test_without_gradients_of_zero_processes_wait_for_each_other(ranks) -> None:
    """The control."""
    for rank in ranks:
        assert "Expected to have finished reduction in the prior iteration" in rank["control"]


def test_what_was_not_measured_is_not_computed(ranks) -> None:
    for rank in ranks:
        found = rank["ddp"]
        assert not [message for message in found["warnings"] if "compute" in message and "update" in message]
        assert "test/accuracy" in found["results"]
        assert not [name for name in found["results"] if "consistency" in name]
