"""Lightning models whose checkpoints open by themselves: they hold what the model was made of and trained on."""

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Self, TypeVar

import torch
from pytorch_lightning import LightningModule

from sefl.files.made_of import INSTANCE, ITSELF, KIND, LOST, PARTIAL, MadeOf, import_path
from sefl.files.torch_files import UnreadableFile, read_checkpoint
from sefl.files.trust import Reading
from sefl.networks.trained_on import TrainedOn, described

KEY = "made_of"
TRAINED_ON = "trained_on"
"""Where a checkpoint holds the model's class with its arguments, and its data's normalisation with class names."""

ONLY_TO_TRAIN = ("optimizer", "lr_scheduler")
"""Arguments without which a model predicts what it did."""

_POINTWISE = ("leaky_relu", "elu", "celu", "gelu", "softplus", "hardtanh")
POINTWISE = {f"torch.nn.functional.{name}" for name in _POINTWISE}
"""Functions that may be stored with options."""

Model = TypeVar("Model", bound=LightningModule)


class StoredModel(MadeOf, LightningModule):
    """Base of models whose checkpoints hold the arguments that the model was made with.

    What cannot be stored (see :class:`sefl.files.made_of.MadeOf`: a lambda, a network of another kind than those of
    :mod:`sefl.networks`) opening says, and takes as an argument.

    :attr:`trained_on` is what the datamodule says about itself once there is a checkpoint, or ``None``.
    """

    trained_on: TrainedOn | None = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint[KEY] = self.made_of()
        data = getattr(self._trainer, "datamodule", None)
        if data is not None:
            self.trained_on = described(data)
        if self.trained_on is not None:
            checkpoint[TRAINED_ON] = dataclasses.asdict(self.trained_on)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if TRAINED_ON in checkpoint:
            self.trained_on = TrainedOn(**checkpoint[TRAINED_ON])

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # Lightning's is no method of instances either
        cls,
        checkpoint_path: str | Path,
        map_location: torch.device | str = "cpu",
        hparams_file: None = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **arguments: Any,
    ) -> Self:
        """As :func:`open_checkpoint`, of this class or a subclass."""
        return open_checkpoint(checkpoint_path, map_location, cls, strict=strict is not False, **arguments)


def open_checkpoint(
    checkpoint_path: str | Path,
    map_location: torch.device | str = "cpu",
    expected: type[Model] = StoredModel,  # type: ignore[assignment]
    strict: bool = True,
    trust: bool = False,
    **arguments: Any,
) -> Model:
    """The model of a checkpoint as it was made, with its weights, in training mode as any new one.

    Args:
        checkpoint_path: a file that a trainer wrote of a :class:`StoredModel`.
        map_location: where to bring the model.
        expected: the class that it must be of.
        strict: whether the checkpoint must hold all weights and no others.
        trust: whether classes may be imported that are neither this project's nor installed, nor imported already.
        **arguments: arguments of the model instead of those stored.

    Raises:
        UnreadableFile: if it is damaged, no checkpoint, or does not hold what the model was made of.
        UntrustedCode: if it names what reading it must not run.
        ValueError: if it is of another class, or was made with what cannot be stored and is not given.
    """
    file = Path(checkpoint_path)
    content = read_checkpoint(file)
    if KEY in content:
        made_of = content[KEY]
        model_class = _class_of(made_of["class_path"], file, expected, trust)
        stored = {name: value for name, value in made_of["init_args"].items() if name not in arguments}
        arguments = {**_decoded(stored, Reading(file, trust)), **arguments}
        _require_found(arguments, file)
    else:
        model_class = expected
        remembered = content.get("hyper_parameters", {}).items()
        arguments = {**{name: value for name, value in remembered if name[0] != "_"}, **arguments}
        missing = [name for name in _parameters(model_class) if name not in (*arguments, *ONLY_TO_TRAIN)]
        if missing or inspect.isabstract(model_class) or model_class is StoredModel:
            raise UnreadableFile(
                f"{file}: does not hold what the model was made of, as checkpoints of earlier versions. Give its "
                f"arguments to CLASS.load_from_checkpoint: {', '.join(missing) or 'all of them'}."
            )
    model = model_class(**arguments)
    model.on_load_checkpoint(content)
    model.load_state_dict(content["state_dict"], strict=strict)
    return model.to(map_location)


class _Lost:
    """Stands where something was that a checkpoint could not hold; may only be called, to raise."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise ValueError(
            f"the model was opened from a checkpoint, which could not hold its {self.what}: give one to train on "
            "(load_from_checkpoint(FILE, optimizer=..., lr_scheduler=...))"
        )

    def __repr__(self) -> str:
        return self.what


def _decoded(value: Any, reading: Reading) -> Any:
    """What :func:`~sefl.files.made_of.encoded` was given.

    Raises:
        UntrustedCode: if it names what must not run.
    """
    if isinstance(value, list | tuple):
        return type(value)(_decoded(each, reading) for each in value)
    if not isinstance(value, dict):
        return value
    if KIND not in value:
        return {key: _decoded(each, reading) for key, each in value.items()}
    if value[KIND] == LOST:
        return _Lost(str(value["what"]))
    with reading.imports():
        found = resolve_name(value["class_path"])
    if value[KIND] == ITSELF:
        reading.check([found])
        return found
    options = _decoded(value["init_args"], reading)
    if value[KIND] == INSTANCE and isinstance(found, type) and dataclasses.is_dataclass(found):
        reading.check([found])
    elif value[KIND] == INSTANCE and _has_lost(options):
        return _Lost(f"{found.__name__}, of {options}")
    elif not (value[KIND] == PARTIAL and import_path(found) in POINTWISE):
        reading.check({"class_path": value["class_path"]})
    return partial(found, **options) if value[KIND] == PARTIAL else found(**options)


def _class_of(path: str | None, file: Path, expected: type[Model], trust: bool) -> type[Model]:
    """The class that a checkpoint names.

    Raises:
        UntrustedCode: if it must not be imported.
        ValueError: if it is not to be found, or not of the class expected.
    """
    if path == import_path(expected):
        return expected
    if path is None:
        raise UnreadableFile(
            f"{file}: was written by a model whose class cannot be imported, as one defined within a function: open it "
            "by that class's own load_from_checkpoint, or move the class to a module."
        )
    reading = Reading(file, trust)
    try:
        with reading.imports():
            found = resolve_name(path)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{file}: was written by a {path}, which is not to be found: {error}") from error
    if not (isinstance(found, type) and issubclass(found, expected)):
        raise ValueError(f"{file}: must be a checkpoint of {expected.__name__}, got one of {path}")
    reading.check({"class_path": path})
    return found


def _require_found(arguments: Mapping[str, Any], file: Path) -> None:
    """Refuse to open a model without what made it predict what it did.

    Raises:
        UnreadableFile: if something of it could not be stored.
    """
    lost = [name for name, value in arguments.items() if name not in ONLY_TO_TRAIN and _has_lost(value)]
    if lost:
        name, what = lost[0], arguments[lost[0]]
        raise UnreadableFile(
            f"{file}: was written by a model made with {name}={what!r}, which a checkpoint cannot hold: give it, by "
            f"load_from_checkpoint(FILE, {', '.join(f'{name}=...' for name in lost)})."
        )


def _has_lost(value: Any) -> bool:
    if isinstance(value, partial):
        return _has_lost(value.keywords)
    if isinstance(value, Mapping):
        return any(map(_has_lost, value.values()))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _has_lost(vars(value))
    return any(map(_has_lost, value)) if isinstance(value, list | tuple) else isinstance(value, _Lost)


def _parameters(model_class: type) -> Iterator[str]:
    """The names of a constructor's parameters, and where it hands on others, of those of the class above it."""
    for each in model_class.__mro__:
        constructor: Callable[..., None] | None = vars(each).get("__init__")
        if constructor is None:
            continue
        parameters = list(inspect.signature(constructor).parameters.values())[1:]
        yield from (each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD)
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            return
