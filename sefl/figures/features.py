"""The features of one image at several resolutions, of a scale-equivariant network and of an ordinary one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pytorch_lightning import LightningModule
from torch import Tensor

from sefl.equivariance.feature_maps import FeatureMap, feature_maps, layers_with_maps
from sefl.figures.style import SIGNED, frame, new_figure
from sefl.fourier import downsample
from sefl.runs.experiments import Experiment
from sefl.runs.run import Run
from sefl.runs.stored_networks import NotLoadable, load_network, load_test_image

DOWNSAMPLING = "downsample"
"""The name under which evaluations have the error under ideal downsampling."""

EXACT = 1e-6
"""A network all of whose layers have less relative squared error is scale-equivariant; float32 leaves 1e-12."""

COLUMNS = 5
LABEL_WIDTH = 1.7
CELL = 1.08
MARGIN = 0.5
"""Sizes in inches."""

LEAST_DECIMAL = 0.01
NOTE = "difference: features of the downsampled image less downsampled features; error: over all channels"


@runtime_checkable
class MeasuresLayers(Protocol):
    """A network that says which of its layers are worth a look."""

    def measured_layers(self) -> list[str]: ...


class NotDrawn(Exception):
    """A figure whose data should be there cannot be drawn; the message says why."""


@dataclass(frozen=True)
class NetworkMaps:
    """What the figure shows of one network.

    Args:
        label: its name.
        layer: the layer.
        maps: the layer's features by resolution, of one image.
    """

    label: str
    layer: str
    maps: Mapping[int, FeatureMap]

    @property
    def channel(self) -> int:
        """The channel that varies most over space at the finest resolution."""
        return int(self.maps[max(self.maps)].features[0].var((1, 2)).argmax())


def features_of_networks(experiments: Sequence[Experiment]) -> Figure | None:
    """An image of the test part on top, below it the features of the most accurate network of either kind.

    ``None`` unless both kinds, scale-equivariant and ordinary, are among the experiments, as their evaluations say.

    Raises:
        NotDrawn: if no network of a kind, or not the data, can be loaded.
    """
    measured = [each for each in experiments if DOWNSAMPLING in each.errors_by_layer]
    exact = [each for each in measured if _is_exact(each)]
    ordinary = [each for each in measured if not _is_exact(each)]
    if not exact or not ordinary:
        return None
    try:
        sample = load_test_image(_runs(exact)[0][1])
    except NotLoadable as reason:
        raise NotDrawn(str(reason)) from reason
    # the coarsest, the finest, and some between
    every = np.linspace(0, len(sample.resolutions) - 1, min(COLUMNS, len(sample.resolutions)))
    resolutions = [sample.resolutions[round(index)] for index in every]
    networks = [_network_maps(each, sample.image, resolutions) for each in (exact, ordinary)]
    return draw(sample.image, networks)


def draw(image: Tensor, networks: Sequence[NetworkMaps]) -> Figure:
    """A column for each resolution; rows: the image, and of each network the features and their error.

    Args:
        image: ``(1, channels, r, r)`` of one or three channels.
        networks: with features at the same resolutions.
    """
    resolutions = list(networks[0].maps)
    rows = 1 + 2 * len(networks)
    figure = new_figure(LABEL_WIDTH + CELL * len(resolutions), MARGIN + CELL * rows)
    grid = figure.subplots(rows, len(resolutions), squeeze=False)
    _draw_images(grid[0], image, resolutions)
    for index, network in enumerate(networks):
        _draw_network(grid[1 + 2 * index], grid[2 + 2 * index], network)
    for axes in grid.flat:
        frame(axes)
    figure.supxlabel(NOTE, fontsize=8, x=0.01, ha="left")
    return figure


def _draw_images(row: Sequence[Axes], image: Tensor, resolutions: Sequence[int]) -> None:
    low, high = float(image.min()), float(image.max())
    _label(row[0], "image")
    for axes, resolution in zip(row, resolutions, strict=True):
        pixels = (downsample(image, resolution)[0] - low) / ((high - low) or 1.0)
        axes.imshow(pixels.clamp(0, 1).permute(1, 2, 0), cmap="gray", vmin=0, vmax=1)
        axes.set_title(f"{resolution} x {resolution}", fontsize=9)


def _draw_network(features: Sequence[Axes], differences: Sequence[Axes], network: NetworkMaps) -> None:
    """One scale of colours for all maps of a network, white at zero."""
    channel = network.channel
    limit = max(float(shown.features[0, channel].abs().max()) for shown in network.maps.values()) or 1.0
    _label(features[0], f"{network.label}\n{network.layer}")
    _label(differences[0], "difference")
    for above, below, shown in zip(features, differences, network.maps.values(), strict=True):
        above.imshow(shown.features[0, channel], cmap=SIGNED, vmin=-limit, vmax=limit)
        below.imshow(shown.difference[0, channel], cmap=SIGNED, vmin=-limit, vmax=limit)
        error = float(shown.error[0])
        spelled = f"{error:.1e}" if 0 < error < LEAST_DECIMAL else f"{error:.2g}"
        below.set_xlabel(f"error {spelled}", fontsize=8, labelpad=2)


def _label(axes: Axes, text: str) -> None:
    axes.set_ylabel(text, fontsize=8.5, rotation=0, ha="right", va="center", labelpad=8)


def _network_maps(
    experiments: Sequence[Experiment], image: Tensor, resolutions: Sequence[int]
) -> NetworkMaps:
    """The most accurate network that has a checkpoint which loads and takes the image at each resolution.

    Raises:
        NotDrawn: if there is none.
    """
    reasons = []
    for label, run in _runs(experiments):
        try:
            network = load_network(run)
            layer = _middle_layer(network, image)
            return NetworkMaps(label, layer, feature_maps(network, image, layer, resolutions))
        except NotLoadable as reason:
            reasons.append(str(reason))
        except ValueError as reason:
            reasons.append(f"{run.path}: {reason}")
    raise NotDrawn("; ".join(reasons))


def _middle_layer(network: LightningModule, image: Tensor) -> str:
    """The middle one of the layers that a network measures by default and that put out maps.

    Raises:
        ValueError: if no layer does.
    """
    if not isinstance(network, MeasuresLayers):
        raise ValueError(
            f"{type(network).__name__} has no method measured_layers that names layers to look at"
        )
    layers = layers_with_maps(network, image, network.measured_layers())
    if not layers:
        raise ValueError(f"no layer among {', '.join(network.measured_layers())} puts out maps")
    return layers[(len(layers) - 1) // 2]


def _runs(experiments: Sequence[Experiment]) -> list[tuple[str, Run]]:
    """All runs with the labels of their experiments, those of the most accurate experiment first."""
    ordered = sorted(experiments, key=lambda each: each.accuracy, reverse=True)
    return [(experiment.label, run) for experiment in ordered for run in experiment.runs]


def _is_exact(experiment: Experiment) -> bool:
    errors = experiment.errors_by_layer[DOWNSAMPLING].values()
    return all(error < EXACT for of_layer in errors for error in of_layer)
