"""What the commands leave out of what Lightning prints, and what they do not."""

import logging
import warnings
from collections.abc import Iterator

import pytest
import torch
from lightning_fabric.utilities.rank_zero import rank_zero_info
from pytorch_lightning.utilities.rank_zero import rank_zero_info as lightnings_info

from sefl.command_line.harmless_messages import leave_out_harmless_messages

HARMLESS = (
    "Checkpoint directory runs/a/0/checkpoints exists and is not empty.",
    "`isinstance(treespec, LeafSpec)` is deprecated, use `isinstance(treespec, TreeSpec) and treespec.is_leaf()`.",
    "The `srun` command is available on your system but is not used. HINT: ...",
)
WORKERS = "The 'train_dataloader' does not have many workers which may be a bottleneck. Consider ..."
CALLBACKS = (
    "Be aware that when using `ckpt_path`, callbacks used to create the checkpoint need to be provided"
)
TRUE = (
    "The number of training batches (2) is smaller than the logging interval Trainer(log_every_n_steps=50).",
    "`ModelCheckpoint(monitor='val/accuracy')` could not find the monitored key in the returned metrics",
    "Found 3 module(s) in eval mode at the start of training.",
)


@pytest.fixture(autouse=True)
def unfiltered() -> Iterator[None]:
    """Pytest restores the warnings' filters for each test, and this the logger's, which an earlier command has set."""
    log = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    before = list(log.filters)
    log.filters.clear()
    yield
    log.filters[:] = before


def shown(messages: tuple[str, ...]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        for message in messages:
            warnings.warn(message, UserWarning, stacklevel=1)
    return [str(each.message) for each in caught]


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("evaluation", [False, True])
def test_warnings_are_left_out_by_their_own_message(
    monkeypatch: pytest.MonkeyPatch, gpu: bool, evaluation: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    everything = (*HARMLESS, WORKERS, CALLBACKS, *TRUE)
    warnings.simplefilter("always")
    assert shown(everything) == list(everything)  # the control
    leave_out_harmless_messages(evaluation)
    expected = [WORKERS] * gpu + [CALLBACKS] * (not evaluation) + list(TRUE)
    assert shown(everything) == expected


def test_notices_are_left_out_by_their_own_message(caplog: pytest.LogCaptureFixture) -> None:
    tip = "💡 Tip: For seamless cloud logging and experiment tracking, try installing"
    stopped = "`Trainer.fit` stopped: `max_epochs=1` reached."
    with caplog.at_level(logging.INFO):
        lightnings_info(tip)
        assert caplog.messages == [tip]  # the control
        leave_out_harmless_messages()
        leave_out_harmless_messages()
        caplog.clear()
        for message in (tip, stopped, "Loading `train_dataloader` to estimate number of stepping batches."):
            lightnings_info(message)
        assert caplog.messages == [stopped]
        rank_zero_info("GPU available: False")
        assert caplog.messages[1:] == ["GPU available: False"]
