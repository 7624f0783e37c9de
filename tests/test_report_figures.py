"""Figures of python -m sefl.report: what is drawn where."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from sefl.reporting.experiments import Experiment
from sefl.reporting.figures import error_over_depth


def network(label: str, *layers: str) -> Experiment:
    errors = {"downsample": {layer: [10.0**-depth] for depth, layer in enumerate(layers, 1)}}
    return cast(Experiment, SimpleNamespace(label=label, origin="test", runs=(None,), errors_by_layer=errors))


def lines_of(*experiments: Experiment) -> dict[str, list[float]]:
    figure: Any = error_over_depth(experiments)
    assert figure is not None
    return {line.get_label(): list(line.get_xdata()) for line in figure.axes[0].get_lines()}


@pytest.mark.parametrize("short_first", [True, False])
def test_networks_of_other_layers_are_drawn_by_number_though_they_share_a_name(short_first: bool) -> None:
    deep, short = (
        network("deep", "blocks.0", "blocks.1", "blocks.2", "head"),
        network("short", "stem", "head"),
    )
    lines = lines_of(*([short, deep] if short_first else [deep, short]))
    assert lines == {"deep": [1, 2, 3, 4], "short": [1, 2]}


def test_layers_of_the_same_names_stand_above_each_other() -> None:
    lines = lines_of(network("deep", "blocks.0", "blocks.1", "head"), network("short", "blocks.0", "head"))
    assert lines == {"deep": [1, 2, 3], "short": [1, 3]}
