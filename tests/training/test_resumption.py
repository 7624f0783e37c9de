"""A run that goes on from a checkpoint is the run that never stopped, bit for bit."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from sefl.fit import main
from sefl.runs.metrics_file import iterate_rows
from sefl.training.resumption import KEY

EVERY = 7
"""Optimiser steps between the checkpoints: the last one lies inside the last epoch."""


def checkpoints_in_between(**options: object) -> str:
    arguments = {"filename": "steps", "enable_version_counter": False, **options}
    return json.dumps([{"class_path": "pytorch_lightning.callbacks.ModelCheckpoint", "init_args": arguments}])


def logged(run: str) -> dict[tuple[str, str], str]:
    """The last value of every measure at every step; the resumed part of a run repeats none that the kill cut off."""
    rows = list(iterate_rows(Path(run) / "metrics.csv"))
    return {(row["step"], name): value for row in rows for name, value in row.items() if value}


def goes_on_alike(options: list[str], checkpoint: str) -> None:
    main([*options, "--run_dir", "whole"])
    main([*options, "--run_dir", "resumed", "--ckpt_path", f"whole/checkpoints/{checkpoint}.ckpt"])
    whole, resumed = (torch.load(f"{run}/checkpoints/last.ckpt") for run in ("whole", "resumed"))
    stopped = torch.load(f"whole/checkpoints/{checkpoint}.ckpt")
    assert stopped["global_step"] < whole["global_step"] == resumed["global_step"]
    torch.testing.assert_close(resumed["state_dict"], whole["state_dict"], rtol=0, atol=0)
    of_whole = logged("whole")
    different = {key: value for key, value in logged("resumed").items() if of_whole[key] != value}
    assert not different


@pytest.mark.parametrize(
    ("options", "saving", "checkpoint"),
    [
        pytest.param([], {"every_n_train_steps": EVERY}, "steps", id="one cycle"),
        pytest.param(
            ["--model.lr_scheduler", "null"], {"every_n_train_steps": EVERY}, "steps", id="no schedule"
        ),
        pytest.param([], {"save_top_k": -1, "filename": "{epoch}"}, "epoch=0", id="end of an epoch"),
        pytest.param(
            ["--trainer.accumulate_grad_batches", "3", "--trainer.val_check_interval", "4"],
            {"monitor": "val/loss", "save_top_k": -1, "filename": "{step}"},
            "step=1",
            id="inside an accumulation, after a validation inside an epoch",
        ),
        pytest.param(
            ["--data.num_workers", "1", "--data.shift_augmentation.fraction", "0.2"],
            {"every_n_train_steps": EVERY},
            "steps",
            id="augmentation in a worker",
        ),
    ],
)
def test_a_resumed_run_is_the_run(
    tiny: Path, options: list[str], saving: dict[str, object], checkpoint: str
) -> None:
    settings = yaml.safe_load(tiny.read_text())
    settings["model"]["init_args"]["network"]["init_args"]["head"]["dropout"] = 0.5
    tiny.write_text(yaml.safe_dump(settings))
    arguments = ["--config", str(tiny), *options, "--trainer.callbacks", checkpoints_in_between(**saving)]
    goes_on_alike(arguments, checkpoint)


def test_a_checkpoint_holds_plain_values_alone(tiny: Path) -> None:
    main(["--config", str(tiny), "--trainer.max_epochs", "1"])
    checkpoint = Path("runs/tiny/0/checkpoints/last.ckpt")
    assert torch.serialization.get_unsafe_globals_in_checkpoint(checkpoint) == []
    assert len(torch.load(checkpoint, weights_only=True)[KEY]) == 1
