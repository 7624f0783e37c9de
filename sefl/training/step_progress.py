"""Progress within one step of a loop, where it takes long: transformed copies of a batch, resolutions."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import RichProgressBar

PATIENCE = 1.0
"""Seconds after which a step counts as long."""


Item = TypeVar("Item")


def counted(items: Iterable[Item], total: int, description: str, trainer: Trainer | None) -> Iterator[Item]:
    """The items; below the trainer's own bar, if that is Lightning's rich one, how many of them are done.

    Args:
        items: what is worked through.
        total: how many they are.
        description: what they are.
        trainer: ``None`` where there is none.
    """
    bar = None if trainer is None else trainer.progress_bar_callback
    progress = bar.progress if isinstance(bar, RichProgressBar) and bar.is_enabled else None
    if progress is None:
        yield from items
        return
    start, task = time.monotonic(), None
    try:
        for done, item in enumerate(items):
            if task is None and time.monotonic() - start > PATIENCE:
                task = progress.add_task(description, total=total)
            if task is not None:
                progress.update(task, completed=done, refresh=True)
            yield item
    finally:
        if task is not None:
            progress.remove_task(task)
