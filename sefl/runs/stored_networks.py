"""The trained Lightning model of a run and an image of its data, from what the run's folder holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

from jsonargparse import ArgumentParser
from pytorch_lightning import LightningDataModule, LightningModule
from torch import Tensor

from sefl.files.torch_files import read_checkpoint
from sefl.files.trust import Reading, UntrustedCode
from sefl.runs.run import Run

LONGEST_REASON = 320


class NotLoadable(Exception):
    """The network or the data of a run do not load; the message names the run and says why."""


@dataclass(frozen=True)
class SampleImage:
    """An image of the test part of a run's data.

    Args:
        image: ``(1, channels, r, r)``, at the finest resolution.
        resolutions: those of the data, from coarse to fine.
    """

    image: Tensor
    resolutions: Sequence[int]


def load_network(run: Run) -> LightningModule:
    """The model of the run's newest configuration with the weights of its best checkpoint, else of its last.

    Raises:
        NotLoadable: if there is no checkpoint, or it or the configuration is damaged or of another version.
    """
    if run.checkpoint is None:
        raise NotLoadable(f"{run.path} has no checkpoint")
    model: LightningModule = _made_of(run, "model", LightningModule, run.config.get("model"))
    try:
        model.load_state_dict(read_checkpoint(run.checkpoint)["state_dict"])
    # What a damaged file does to the reading of it has no end of forms; all are one reason for one network.
    except Exception as error:
        raise NotLoadable(f"{run.checkpoint} does not load: {_reason(error)}") from error
    return model


def load_test_image(run: Run) -> SampleImage:
    """The first image of the run's test part, in the order in which the data module serves it.

    Raises:
        NotLoadable: if the data are missing or damaged, or the configuration is.
    """
    options = dict(run.data.get("init_args") or {})
    run.folder.use_split(options)
    data: Any = _made_of(run, "data", LightningDataModule, {**run.data, "init_args": options})
    try:
        data.setup("test")
        loaders = data.test_dataloader()
        # Where there are two, the last one has all images at the finest resolution.
        images, *_ = next(iter(loaders[-1] if isinstance(loaders, list) else loaders))
    except Exception as error:
        raise NotLoadable(f"the data of {run.path} do not load: {_reason(error)}") from error
    return SampleImage(images[:1], sorted(data.resolutions))


def _made_of(run: Run, part: str, base: type, config: Any) -> Any:
    """The object that a part of a run's configuration describes."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(base, part, required=True)
    reading = Reading(run.folder.configs[-1], run.trusted)
    try:
        with reading.imports():
            parsed = parser.parse_object({part: config})
            reading.check(parsed)
        return parser.instantiate_classes(parsed)[part]
    except UntrustedCode as error:
        raise NotLoadable(str(error)) from error
    except Exception as error:
        raise NotLoadable(f"the {part} of {run.path} cannot be made: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """An error of any length in a part of one line."""
    # jsonargparse says what is wrong, then repeats the whole configuration.
    text, _, _ = str(error).partition("Given value")
    return shorten(text, LONGEST_REASON, placeholder=" ...")
