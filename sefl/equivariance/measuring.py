"""Measure how far from equivariant every layer of a network is."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, fields
from itertools import accumulate, pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from sefl.equivariance.agreement import AgreementRow, PredictionAgreement, class_scores
from sefl.equivariance.evaluating import undisturbed
from sefl.equivariance.layer_outputs import LayerOutput, default_layers, layer_outputs, select_layers
from sefl.equivariance.orthogonal_actions import GroupAction
from sefl.equivariance.table import EquivarianceRow, combined, floor_of
from sefl.equivariance.transformations import (
    IdealDownsampling,
    NotMeasurable,
    Parameter,
    Transformation,
    parameter_order,
)
from sefl.metrics import EquivarianceError
from sefl.metrics.functional import float64_device, in_float64

Key = tuple[str, str, Parameter]
Reason = tuple[str, str]
Applied = tuple[Transformation, Parameter]
State = tuple[dict[Key, dict[str, Tensor]], Any, dict[Reason, str]]
Name = TypeVar("Name")

PIXELS_AT_ONCE = 2**16
"""Of the images that are taken through a network together; where one batch alone has more, so many."""


@dataclass(frozen=True)
class _Pass:
    """What layers put out for images of a size, the class scores of the network, and what stopped it, if anything."""

    image_size: tuple[int, ...]
    outputs: Mapping[str, LayerOutput | NotMeasurable]
    scores: Tensor | None
    failure: Exception | None = None

    def is_of_each(self, images: int) -> bool:
        """Whether all went well, and everything that was put out has an entry for each of so many images."""
        counts = [each.samples for each in self.outputs.values() if isinstance(each, LayerOutput)]
        counts += [] if self.scores is None else [len(self.scores)]
        return self.failure is None and set(counts) <= {images}

    def part(self, images: slice) -> "_Pass":
        """That of some of the images."""
        outputs = {
            layer: each.part(images) if isinstance(each, LayerOutput) else each
            for layer, each in self.outputs.items()
        }
        return _Pass(self.image_size, outputs, None if self.scores is None else self.scores[images])


@dataclass(frozen=True)
class EquivarianceTable:
    """What was measured of a network.

    Args:
        rows: by layer in the network's order, transformation, parameter.
        agreement: of predictions, by transformation and parameter; none if the network puts out no class scores.
        unmeasured: why a layer could not be measured under a transformation, by ``(layer, transformation)``.
    """

    rows: tuple[EquivarianceRow, ...]
    agreement: tuple[AgreementRow, ...] = ()
    unmeasured: Mapping[Reason, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[EquivarianceRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def error(self, layer: str | None = None, transformation: str | None = None) -> tuple[float, float]:
        """Mean and maximum over samples and parameters, of one layer or all, under one transformation or all.

        Raises:
            KeyError: if nothing of these was measured.
        """
        rows = [
            row
            for row in self.rows
            if layer in (None, row.layer) and transformation in (None, row.transformation)
        ]
        if not rows:
            measured = sorted({(row.layer, row.transformation) for row in self.rows})
            raise KeyError(f"layer {layer!r} under {transformation!r} was not measured; there are {measured}")
        return combined(rows)

    def to_dict(self) -> dict[str, list[Any]]:
        """The rows by column, as ``pandas.DataFrame`` and others take them."""
        return {
            column.name: [getattr(row, column.name) for row in self.rows]
            for column in fields(EquivarianceRow)
        }

    def to_dataframe(self) -> Any:
        """The rows as a ``pandas.DataFrame``.

        Raises:
            ImportError: if pandas is not installed.
        """
        import pandas

        return pandas.DataFrame([asdict(row) for row in self.rows], columns=list(self.to_dict()))


class Measurement:
    """Sums of equivariance errors over batches of images, which processes can share.

    Args:
        network: called as ``network(images)``.
        transformations: by default all elements of the network's group, if it declares one as ``symmetry_group``, such
            as ``"D4"``; else ideal downsampling to every resolution from its ``base_resolution``.
        layers: module names as in ``named_modules()``, :mod:`fnmatch` patterns of them, or ``""`` for the network
            itself. By default those that its ``measured_layers()`` lists, or its top-level blocks.
        predictions: the class scores ``(batch, classes)`` in what the network puts out, or ``None``.

    Raises:
        ValueError: if transformations have no name of their own each, or a layer matches no module.
    """

    def __init__(
        self,
        network: nn.Module,
        transformations: Sequence[Transformation] | None = None,
        layers: Sequence[str] | None = None,
        predictions: Callable[[Any], Tensor | None] = class_scores,
    ) -> None:
        self.network = network
        group: str | None = getattr(network, "symmetry_group", None)
        if transformations is None:
            transformations = [IdealDownsampling() if group is None else GroupAction(group)]
        self.transformations = require_different(transformations)
        for transformation in self.transformations:
            transformation.setup(network)
        self.layers = _selected(network, layers)
        self.predictions = predictions
        self.unmeasured: dict[Reason, str]
        self._errors: dict[Key, EquivarianceError]
        self._agreement: PredictionAgreement
        self.clear()

    def update(
        self,
        images: Tensor | Sequence[Tensor],
        forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        progress: Callable[[Sequence[Applied]], Iterable[Applied]] = iter,
    ) -> None:
        """Add the errors of images; the network is left as it was.

        Images and transformed copies of one size are taken through the network together, up to :data:`PIXELS_AT_ONCE`:
        several small batches are measured in fewer passes than one after the other. A network that mixes the images of
        a batch, even in evaluation mode, wants them one by one.

        Args:
            images: ``(batch, channels, height, width)``, volumes with a depth before the height, or signals ``(batch,
                channels, length)``; or several batches of them, of any sizes.
            forward_context: the precision to run in, such as autocast.
            progress: goes through what is applied, and may show how far it is.
        """
        batches = [images] if isinstance(images, Tensor) else images
        with undisturbed(self.network):
            self._update([batch.detach() for batch in batches], forward_context, progress)

    def _update(
        self,
        batches: Sequence[Tensor],
        forward_context: Callable[[], AbstractContextManager[Any]],
        progress: Callable[[Sequence[Applied]], Iterable[Applied]],
    ) -> None:
        by_applied: dict[Applied, list[int]] = {}
        for number, images in enumerate(batches):
            for each in self._applicable(images.dim() - 2, tuple(images.shape[2:])):
                by_applied.setdefault(each, []).append(number)
        if not by_applied or not self.layers:
            return

        def moved(applied: Applied) -> Iterator[tuple[tuple[Applied, int], Tensor]]:
            for number in by_applied[applied]:
                images, (transformation, parameter) = batches[number], applied
                yield (applied, number), transformation.image(in_float64(images), parameter).to(images)

        used = [(number, batches[number]) for number in sorted(set().union(*by_applied.values()))]
        originals: dict[int, _Pass] = {}
        for together in _together([used]):
            originals |= self._passes(together, forward_context)
        for original in originals.values():
            if original.failure is not None:
                raise original.failure
        of_copies: dict[tuple[int, str], tuple[Tensor, dict[Parameter, Tensor]]] = {}
        for copied in _together(map(moved, progress(list(by_applied)))):
            for (applied, number), of_moved in self._passes(copied, forward_context).items():
                original, (transformation, parameter) = originals[number], applied
                self._compare(original, of_moved, transformation, parameter)
                scores, copy = original.scores, of_moved.scores
                if scores is not None and copy is not None and scores.shape == copy.shape:
                    of_copies.setdefault((number, transformation.name), (scores, {}))[1][parameter] = copy
        for (_, name), (scores, copies) in of_copies.items():
            self._agreement.update(name, scores, copies)

    def _passes(
        self, together: Mapping[Name, Tensor], forward_context: Callable[[], AbstractContextManager[Any]]
    ) -> "dict[Name, _Pass]":
        """One pass for all of these batches, or one for each where what comes out cannot be told apart."""
        sizes = [len(images) for images in together.values()]
        whole = self._pass(torch.cat(list(together.values())), forward_context)
        if len(together) == 1:
            return dict.fromkeys(together, whole)
        if not whole.is_of_each(sum(sizes)):
            return {name: self._pass(images, forward_context) for name, images in together.items()}
        ends = accumulate(sizes, initial=0)
        parts = (whole.part(slice(*ends_of_one)) for ends_of_one in pairwise(ends))
        return dict(zip(together, parts, strict=True))

    def _pass(self, images: Tensor, forward_context: Callable[[], AbstractContextManager[Any]]) -> "_Pass":
        outputs, network_output, failure = layer_outputs(self.network, self.layers, images, forward_context)
        scores = None if failure is not None else self.predictions(network_output)
        return _Pass(tuple(images.shape[2:]), outputs, scores, failure)

    def _compare(
        self, original: "_Pass", moved: "_Pass", transformation: Transformation, parameter: Parameter
    ) -> None:
        """Add the errors of all layers."""
        for layer in self.layers:
            output, other = original.outputs[layer], moved.outputs[layer]
            try:
                if isinstance(output, NotMeasurable):
                    raise output
                if isinstance(other, NotMeasurable) and moved.failure is not None:
                    shape = " x ".join(map(str, moved.image_size))
                    raise NotMeasurable(
                        f"the model fails on images of {shape} pixels before or in it: {moved.failure}"
                    )
                if isinstance(other, NotMeasurable):
                    raise other
                expected = output.transformed(transformation, parameter, original.image_size, like=other)
            except NotMeasurable as reason:
                self.unmeasured.setdefault((layer, transformation.name), str(reason))
                continue
            self._add((layer, transformation.name, parameter), expected, other, transformation)
            back = output.there_and_back(transformation, parameter)
            if back is not None:
                self._add((layer, floor_of(transformation.name), parameter), output, back, transformation)

    def state(self) -> State:
        """What other processes need to :meth:`table` these sums with theirs."""
        errors = {
            key: {name: getattr(error, name).cpu() for name in error.metric_state}
            for key, error in self._errors.items()
        }
        return errors, self._agreement.states(), self.unmeasured

    def table(self, states: Iterable[State] | None = None) -> EquivarianceTable:
        """What was measured, here or, of their states, by several processes in their order."""
        errors: dict[Key, EquivarianceError] = {}
        agreement = PredictionAgreement()
        reasons: dict[Reason, str] = {}
        for of_process, agreements, unmeasured in [self.state()] if states is None else states:
            agreement.merge(agreements)
            reasons = unmeasured | reasons
            for key, state in of_process.items():
                errors.setdefault(key, EquivarianceError(sync_on_compute=False)).merge_state(state)
        rows = [
            EquivarianceRow(*key, (error.total / error.count).item(), error.largest.item(), int(error.count))
            for key, error in sorted(errors.items(), key=lambda item: self._order(item[0]))
        ]
        return EquivarianceTable(tuple(rows), tuple(agreement.rows(self._transformation_order)), reasons)

    def clear(self) -> None:
        """Begin anew."""
        self.unmeasured = {}
        self._errors = {}
        self._agreement = PredictionAgreement()

    def _applicable(self, axes: int, image_size: tuple[int, ...]) -> list[Applied]:
        applicable: list[Applied] = []
        for transformation in self.transformations:
            if axes in transformation.spatial_axes:
                applicable += [(transformation, p) for p in transformation.parameters(image_size)]
                continue
            wanted = " or ".join(map(str, transformation.spatial_axes))
            reason = f"{transformation.name} transforms images of {wanted} spatial axes, these have {axes}"
            for layer in self.layers:
                self.unmeasured.setdefault((layer, transformation.name), reason)
        return applicable

    def _add(self, key: Key, expected: LayerOutput, actual: LayerOutput, by: Transformation) -> None:
        if key not in self._errors:
            device = float64_device(expected.values.device)
            self._errors[key] = EquivarianceError(sync_on_compute=False).to(device)
        parameter = key[2]
        self._errors[key].update(expected.compared(by, parameter), actual.compared(by, parameter))

    def _order(self, key: Key) -> tuple[int, int, tuple[bool, float, str]]:
        layer, transformation, parameter = key
        return self.layers.index(layer), *self._transformation_order(transformation, parameter)

    def _transformation_order(
        self, transformation: str, parameter: Parameter
    ) -> tuple[int, tuple[bool, float, str]]:
        return _names(self.transformations).index(transformation), parameter_order(parameter)


def measure(
    network: nn.Module,
    images: Tensor | Iterable[Tensor],
    transformations: Sequence[Transformation] | None = None,
    layers: Sequence[str] | None = None,
) -> EquivarianceTable:
    """The equivariance error of a network's layers, ``|| T f(x) - f(T x) ||^2 / || T f(x) ||^2`` in float64.

    ``f`` is the network up to and including a layer, which runs in its own precision: float32 shows about 1e-13 where
    it is exact. The network is left as it was; it may be any module.

    Args:
        network: called as ``network(images)``, with images of the transformed sizes too.
        images: floating point ``(batch, channels, height, width)``, volumes with a depth before the height, or signals
            ``(batch, channels, length)``; or batches of them, of any sizes.
        transformations: see :class:`Measurement`.
        layers: see :class:`Measurement`; ``[""]`` is the network as a whole.

    Raises:
        TypeError: if images are no such tensors.
        ValueError: if transformations share a name, a layer matches no module, or nothing at all could be measured.

    >>> import torch
    >>> from sefl.equivariance import Flip
    >>> network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 3))
    >>> table = measure(network.double(), torch.randn(4, 1, 9, 9).double(), [Flip()], layers=["1", "2"])
    >>> [(row.layer, row.transformation, row.count) for row in table]
    [('1', 'flip_horizontal', 4), ('2', 'flip_horizontal', 4)]
    >>> table.error("1")[0] < 1e-20 < table.error("2")[0]
    True
    """
    measurement = Measurement(network, transformations, layers)
    waiting: list[Tensor] = []
    for batch in [images] if isinstance(images, Tensor) else images:
        if not isinstance(batch, Tensor) or batch.dim() not in (3, 4, 5) or not batch.is_floating_point():
            found = (
                f"{batch.dtype} {tuple(batch.shape)}" if isinstance(batch, Tensor) else type(batch).__name__
            )
            raise TypeError(
                "images must be floating point (batch, channels, height, width), (batch, channels, depth, height, "
                f"width) or (batch, channels, length), got {found}"
            )
        waiting.append(batch)
        if is_full_pass(waiting):
            measurement.update(waiting)
            waiting = []
    measurement.update(waiting)
    table = measurement.table()
    if not table.rows:
        reasons = "; ".join(dict.fromkeys(table.unmeasured.values()))
        raise ValueError(
            f"nothing was measured of the layers {measurement.layers}: "
            f"{reasons or 'no transformation applies to these images'}"
        )
    return table


def require_different(transformations: Sequence[Transformation]) -> list[Transformation]:
    """The transformations, if they are at least one and of different names.

    Raises:
        ValueError: if not.
    """
    if not transformations or len(set(_names(transformations))) < 2 * len(transformations):
        names = [transformation.name for transformation in transformations]
        raise ValueError(f"transformations must be at least one, of different names, got {names}")
    return list(transformations)


def is_full_pass(batches: Iterable[Tensor]) -> bool:
    """Whether these are as many images as are taken through a network together."""
    return sum(images.numel() // max(1, images.shape[1]) for images in batches) >= PIXELS_AT_ONCE


def _together(rounds: Iterable[Iterable[tuple[Name, Tensor]]]) -> Iterator[dict[Name, Tensor]]:
    """Named batches of one shape, as many as fill a pass or come before a round in which there are none of it."""
    waiting: dict[Any, dict[Name, Tensor]] = {}
    for batches in rounds:
        extended = set()
        for name, images in batches:
            kind = images.shape[1:], images.dtype
            if kind in waiting and is_full_pass([*waiting[kind].values(), images]):
                yield waiting.pop(kind)
            waiting.setdefault(kind, {})[name] = images
            extended.add(kind)
        for kind in [kind for kind in waiting if kind not in extended]:
            yield waiting.pop(kind)
    yield from waiting.values()


def _selected(network: nn.Module, layers: Sequence[str] | None) -> list[str]:
    declared: Callable[[], list[str]] | None = getattr(network, "measured_layers", None)
    if layers is not None:
        whole = [layer for layer in layers if not layer]
        parts = [layer for layer in layers if layer]
        return [*(select_layers(network, parts) if parts or not whole else []), *whole[:1]]
    if declared is not None:
        return select_layers(network, declared(), f"{type(network).__name__}.measured_layers()")
    return default_layers(network)


def _names(transformations: Sequence[Transformation]) -> list[str]:
    """Of all transformations, each followed by its floor."""
    return [name for each in transformations for name in (each.name, floor_of(each.name))]
