"""Which layers of a model to look at, and what each puts out, without disturbing the model."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.loss import _Loss
from torchmetrics import Metric, MetricCollection

from sefl.equivariance.regular_fields import transformed_field
from sefl.equivariance.transformations import NotMeasurable, Parameter, Size, Transformation, center_of
from sefl.fourier import to_grid
from sefl.fourier.sampling import Center
from sefl.groups.field import FieldFeatures, RegularField
from sefl.metrics.functional import in_float64
from sefl.tensors.output_types import Bands, Coefficients, Grid, Invariant

OutputType = Grid | Coefficients | Invariant | Bands | RegularField
"""How a layer's output transforms: what a module says in its attribute ``output_type``."""
LEAST_AXES: dict[type, int] = {RegularField: 2, Invariant: 1, Bands: 2}
GRID_AXES = {1: "length", 2: "h, w", 3: "d, h, w"}
MOST_NAMES_IN_AN_ERROR = 40


@dataclass(frozen=True)
class LayerOutput:
    """What a layer put out, in float64, and how transformations act on it.

    An orthogonal transformation moves a regular field ``(batch, fields * |H|, *space)``, on a grid of 2 or 3 axes or of
    none, and permutes its fibres; ``cosets`` ``(batch,)`` are by what each sample was moved before.
    """

    output_type: OutputType
    values: Tensor
    cosets: Tensor | None = None

    def transformed(
        self, transformation: Transformation, parameter: Parameter, image_size: Size, like: "LayerOutput"
    ) -> "LayerOutput":
        """``T f(x)`` from this ``f(x)``, of the shape of ``like``, which is ``f(T x)``.

        Raises:
            NotMeasurable: if the two cannot be compared.
        """
        values, other = self.values, like.values
        match self.output_type:
            case RegularField() as field:
                cosets = None if self.cosets is None or like.cosets is None else (self.cosets, like.cosets)
                size = tuple(other.shape[2:])
                values = transformed_field(field, values, cosets, transformation, parameter, image_size, size)
            case Grid():
                size = tuple(other.shape[-len(image_size) :])
                values = transformation.grid(values, parameter, image_size, size)
            case Coefficients():
                values = transformation.coefficients(values, parameter, image_size, tuple(other.shape[:-2]))
            case Bands():
                values = values[:, : other.shape[1]]
        if values.shape != other.shape:
            raise NotMeasurable(
                f"its output for the transformed image has shape {tuple(other.shape)}, "
                f"its transformed output {tuple(values.shape)}"
            )
        return replace(self, values=values)

    def there_and_back(self, transformation: Transformation, parameter: Parameter) -> "LayerOutput | None":
        """``T^-1 T f(x)`` where the transformation interpolates this ``f(x)``; ``None`` where nothing is lost."""
        if not self.is_on_a_grid:
            return None
        values = transformation.there_and_back(self.values, parameter)
        return None if values is None else replace(self, values=values)

    def compared(self, transformation: Transformation, parameter: Parameter) -> Tensor:
        """The values with the batch axis in front, zero where the transformation asks for no agreement."""
        if self.is_on_a_grid:
            return transformation.compared(self.values, parameter)
        return self.values.movedim(self._sample_axis, 0)

    @property
    def samples(self) -> int:
        """How many there are."""
        return self.values.shape[self._sample_axis]

    def part(self, samples: slice) -> "LayerOutput":
        """That of some of the samples."""
        values = self.values[(slice(None),) * self._sample_axis + (samples,)]
        return replace(self, values=values, cosets=None if self.cosets is None else self.cosets[samples])

    @property
    def _sample_axis(self) -> int:
        return self.values.dim() - 2 if self.output_type == Coefficients() else 0

    @property
    def is_on_a_grid(self) -> bool:
        """Whether there is space to move it in."""
        return isinstance(self.output_type, Grid | RegularField) and self.values.dim() > 2


def read_output(
    module: nn.Module, output: Any, spatial_axes: int = 2, center: Center = "pixel"
) -> LayerOutput:
    """Tell how a module's output transforms.

    A module says so itself by an attribute ``output_type``. Otherwise four axes are a grid (five, where the images are
    volumes, of three spatial axes, and three for signals, of one) and two are invariant features. Coefficients in a
    network whose grids share the image's middle, its ``center``, and those of regular fields are read as their critical
    grid, which loses nothing: what flips and turns make of that has one answer.

    Raises:
        NotMeasurable: if it is none of these.
    """
    values, cosets = output if isinstance(output, FieldFeatures) else (output, None)
    if not isinstance(values, Tensor):
        raise NotMeasurable(f"its output is a {type(values).__name__}, not a tensor")
    if not values.is_floating_point():
        raise NotMeasurable(f"its output is {values.dtype}, not floating point")
    by_axes = {2 + spatial_axes: Grid(), 2: Invariant()}
    output_type: Any = getattr(module, "output_type", by_axes.get(values.dim()))
    names = [each.__name__ for each in get_args(OutputType)]
    if output_type is None:
        raise NotMeasurable(
            f"its output has {values.dim()} axes: neither a grid (batch, channels, {GRID_AXES[spatial_axes]}) "
            f"nor features (batch, features). If it is one of {names}, say so in its attribute output_type"
        )
    if not isinstance(output_type, OutputType):
        raise NotMeasurable(f"its output_type is {output_type!r}, not one of {names}")
    least = (axes for kind, axes in LEAST_AXES.items() if isinstance(output_type, kind))
    least_axes = next(least, 2 + spatial_axes)
    if values.dim() < least_axes:
        raise NotMeasurable(f"{type(output_type).__name__} has {least_axes} axes, its output {values.dim()}")
    if isinstance(output_type, Coefficients) and not (
        values.dim() == least_axes and all(count % 2 for count in values.shape[:-2])
    ):
        nested = (
            "(K, batch, channels) with K" if spatial_axes == 1 else "(K1, K2, batch, channels) with K1 and K2"
        )
        raise NotMeasurable(
            f"nested coefficients are {nested} odd, its output has shape {tuple(values.shape)}"
        )
    # A copy: a layer behind may overwrite the output in place.
    values = in_float64(values.detach().clone() if values.dtype == torch.float64 else values.detach())
    if isinstance(output_type, Coefficients) and (output_type.field or center == "image"):
        values = to_grid(values, tuple(values.shape[:-2]), "image")
        output_type = output_type.field or Grid()
    if cosets is not None:
        cosets = cosets.detach().to(values.device, copy=True)
    return LayerOutput(output_type, values, cosets)


def layer_outputs(
    model: nn.Module,
    layers: Sequence[str],
    images: Tensor,
    forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> tuple[dict[str, LayerOutput | NotMeasurable], Any, Exception | None]:
    """The outputs of the named modules in ``model(images)``, its own, and the error that stopped it, if one did.

    Buffers that the forward pass writes to are copies. Gradients, random state and training mode are the
    caller's to protect, by :func:`sefl.equivariance.evaluating.undisturbed`.

    Args:
        model: called as ``model(images)``.
        layers: names as in ``model.named_modules()``.
        images: ``(batch, channels, height, width)``, volumes with a depth before the height, or signals ``(batch,
            channels, length)``.
        forward_context: the precision to run in, such as autocast.
    """
    outputs: dict[str, LayerOutput | NotMeasurable] = {}
    center = center_of(model)

    def record(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if name in outputs:
            outputs[name] = NotMeasurable(
                "it runs several times in a forward pass; give each use its own module"
            )
            return
        try:
            outputs[name] = read_output(module, output, images.dim() - 2, center)
        except NotMeasurable as reason:
            outputs[name] = reason

    model_output: Any = None
    failure: Exception | None = None
    with ExitStack() as stack:
        for name in layers:
            stack.callback(model.get_submodule(name).register_forward_hook(partial(record, name)).remove)
        buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
        stack.enter_context(forward_context())
        try:
            model_output = functional_call(model, buffers, (images,))
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, TypeError) as error:
            failure = error
    for name in layers:
        if name not in outputs:
            outputs[name] = NotMeasurable("it does not run in the model's forward pass")
    return outputs, model_output, failure


def select_layers(model: nn.Module, patterns: Iterable[str], argument: str = "layers") -> list[str]:
    """The names of the model's modules that match any of the patterns, in the model's order.

    Patterns are those of :mod:`fnmatch`; their ``*`` also matches dots.

    Raises:
        ValueError: if a pattern matches no module.

    >>> select_layers(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)), ["2", "[01]"])
    ['0', '1', '2']
    """
    names = [name for name, _ in model.named_modules() if name]
    chosen: set[str] = set()
    for pattern in patterns:
        matching = {name for name in names if fnmatchcase(name, pattern)}
        if not matching:
            shown = ", ".join(names[:MOST_NAMES_IN_AN_ERROR])
            more = f" and {len(names) - MOST_NAMES_IN_AN_ERROR} more" * (len(names) > MOST_NAMES_IN_AN_ERROR)
            raise ValueError(
                f"{argument}: no module of {type(model).__name__} matches {pattern!r}; it has {shown}{more}"
            )
        chosen |= matching
    return [name for name in names if name in chosen]


def default_layers(model: nn.Module) -> list[str]:
    """The layers to look at when nobody says which: the model's top-level blocks.

    Those are its children; while there is only one with children of its own, such as the wrapped network,
    that one's children instead. Lists of modules are replaced by their items; losses and metrics are left
    out.

    >>> model = nn.Module()
    >>> model.network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten())
    >>> model.loss = nn.CrossEntropyLoss()
    >>> default_layers(model)
    ['network.0', 'network.1', 'network.2']
    """
    layers = _blocks(model, "")
    while len(layers) == 1 and (inner := _blocks(model.get_submodule(layers[0]), layers[0] + ".")):
        layers = inner
    return layers


def _blocks(module: nn.Module, prefix: str) -> list[str]:
    names: list[str] = []
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict) and not isinstance(child, MetricCollection):
            names += _blocks(child, f"{prefix}{name}.")
        elif not isinstance(child, _Loss | Metric | MetricCollection):
            names.append(prefix + name)
    return names
