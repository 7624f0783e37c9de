"""A scale-equivariant network tells rendered sounds apart after seconds of training, at every length."""

from functools import partial

import torch
from flat_settings import classifier
from pytorch_lightning import Trainer, seed_everything

from datamodules import Waveforms
from models import OneCycle

CHANCE = 0.1
LENGTHS = [48, 57, 64]


def test_sounds_are_told_apart_after_seconds() -> None:
    seed_everything(0)
    data = Waveforms(
        length=64, resolutions=LENGTHS, train_samples=800, val_samples=300, test_samples=300, batch_size=32
    )
    model = classifier(
        "FourierNetwork",
        dimensions=1,
        widths=[12, 24],
        kernel_size=[9, 5],
        pools=[1, 2],
        base_resolution=48,
        max_resolution=64,
        layer_base_resolution=48,
        head_cells=8,
        head_hidden=64,
        head_dropout=0.2,
        optimizer=partial(torch.optim.AdamW, lr=1e-2),
        lr_scheduler=OneCycle,
    )
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=5,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=5,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=False,  # the metrics of the untrained network are those that training goes on with
    )
    # the control: before training it guesses
    (untrained,) = trainer.validate(model, data, verbose=False)
    assert untrained["val/accuracy"] < 2 * CHANCE
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    for length in LENGTHS:
        assert trainer.callback_metrics[f"test/accuracy_{length}"] > 5 * CHANCE
