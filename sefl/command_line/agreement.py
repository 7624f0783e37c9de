"""What a model and its data have to agree on: axes, channels, classes, resolutions."""

from collections.abc import Callable, Sequence
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from pytorch_lightning import LightningDataModule, LightningModule

OF_THE_DATA: dict[str, Callable[[Any, Any], Any]] = {
    "dimensions": lambda data, _: getattr(data, "dimensions", None),
    "in_channels": lambda data, _: getattr(data, "channels", None),
    "classes": lambda data, _: getattr(data, "num_classes", None),
    "base_resolution": lambda data, before: _coarsest(getattr(data, "resolutions", None), before),
    "max_resolution": lambda data, _: max(getattr(data, "resolutions", None) or [0]) or None,
}
"""Arguments of networks that follow from the data, unless they are given: of the data and what they are by default."""


def link_network(config: Namespace, given: Namespace) -> dict[str, Any]:
    """Give the network the channels, classes and resolutions of the data, as far as nobody said others.

    Args:
        config: what a command has read, changed in place.
        given: the same, less what is there by default.

    Returns:
        What was changed, by name.

    Raises:
        ValueError, FileNotFoundError: as the constructor of the data.
    """
    network, data = config.get("model.init_args.network"), config.get("data")
    if not data or not isinstance(network, Namespace) or "init_args" not in network:
        return {}
    said = given.get("model.init_args.network.init_args") or Namespace()
    asked = [name for name in OF_THE_DATA if name in network.init_args and name not in said]
    if not asked:
        return {}
    of_data = ArgumentParser(exit_on_error=False)
    of_data.add_subclass_arguments(LightningDataModule, "data")
    made = of_data.instantiate(Namespace(data=data)).data
    found = {name: OF_THE_DATA[name](made, network.init_args[name]) for name in asked}
    linked = {name: value for name, value in found.items() if value not in (None, network.init_args[name])}
    for name, value in linked.items():
        network.init_args[name] = value
    return linked


def check_fit(model: LightningModule, data: LightningDataModule | None) -> None:
    """Refuse data that the model does not take: of other axes, channels, classes or resolutions, where both say theirs.

    Raises:
        ValueError: if it does not.
    """

    def both(model_has: str, data_have: str) -> tuple[Any, Any]:
        of_network = getattr(getattr(model, "network", None), model_has, None)
        said = of_network or getattr(model, model_has, None), getattr(data, data_have, None)
        return (None, None) if None in said else said

    taken, given = both("dimensions", "dimensions")
    if taken != given:
        called = {1: "signals, of 1 axis", 2: "images, of 2 axes"}
        raise ValueError(
            f"--data.class_path: {type(data).__name__} gives {called.get(given, given)}, the model takes "
            f"{called.get(taken, taken)}. Change the data or --model.network.dimensions."
        )
    taken, given = both("in_channels", "channels")
    if taken != given:
        raise ValueError(
            f"--model.network.in_channels: must be {given}, the channels of the data, got {taken}."
        )
    taken, given = both("classes", "num_classes")
    if given is not None and taken < given:
        raise ValueError(
            f"--model.network.classes: must be {given}, the classes of the data, or more, got {taken}."
        )
    (base, resolutions), (finest, _) = (
        both("base_resolution", "resolutions"),
        both("max_resolution", "resolutions"),
    )
    if base is None or finest is None:
        return
    if outside := [resolution for resolution in resolutions if not base <= resolution <= finest]:
        raise ValueError(
            f"--data.resolutions: {outside} lie outside the model's range, base_resolution {base} to "
            f"max_resolution {finest}. Leave them out, or change the model's range."
        )


def _coarsest(resolutions: Sequence[int] | None, before: int) -> int | None:
    """From where on a network has to predict: of data of one resolution from where it does by default, if that does."""
    if not resolutions:
        return None
    return min(resolutions) if len(resolutions) > 1 else min(before, *resolutions)
