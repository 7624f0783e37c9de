"""Figures of python -m sefl.report: what is drawn where."""

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sefl.figures.accuracy import accuracy_over_resolution, error_over_depth, most_accurate
from sefl.runs.experiments import Experiment


def network(label: str, *layers: str) -> Experiment:
    errors = {"downsample": {layer: [10.0**-depth] for depth, layer in enumerate(layers, 1)}}
    return cast(
        Experiment,
        SimpleNamespace(label=label, title=label, origin="test", runs=(None,), errors_by_layer=errors),
    )


def lines_of(*experiments: Experiment) -> dict[str, list[float]]:
    figure: Any = error_over_depth(experiments)
    assert figure is not None
    return {line.get_label(): list(line.get_xdata()) for line in figure.axes[0].get_lines()}


def run(accuracies: dict[int, float], samples: dict[int, int]) -> Any:
    values = {f"accuracy_{resolution}": accuracy for resolution, accuracy in accuracies.items()}
    return SimpleNamespace(values=values, results=SimpleNamespace(samples=samples))


def bands_of(*runs: Any) -> list[list[float]]:
    """Lower and upper end of the band at each resolution."""
    figure: Any = accuracy_over_resolution([Experiment("network", "test", runs)])
    (axes,) = figure.axes
    if not axes.collections:
        return []
    corners = axes.collections[0].get_paths()[0].vertices
    return [sorted({round(y, 6) for x, y in corners.tolist() if x == at}) for at in (8, 12)]


def test_the_band_of_a_single_run_is_its_standard_error() -> None:
    accuracies = {8: 0.8, 12: 0.9}
    assert bands_of(run(accuracies, {8: 100, 12: 400})) == [[0.76, 0.84], [0.885, 0.915]]
    assert bands_of(run(accuracies, {})) == []


def test_the_band_of_several_seeds_is_their_standard_deviation() -> None:
    first, second = run({8: 0.7, 12: 0.9}, {8: 1, 12: 1}), run({8: 0.9, 12: 0.9}, {8: 1, 12: 1})
    assert bands_of(first, second) == [[0.658579, 0.941421], [0.9]]


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


def test_of_many_experiments_the_most_accurate_are_drawn() -> None:
    runs: Any = [SimpleNamespace(values={"accuracy": index % 50 / 50}) for index in range(200)]
    runs[3].values = {}
    runs[5].values["accuracy"] = math.nan
    many = [Experiment("network", "test", (run,)) for run in runs]
    drawn = most_accurate(many)
    assert len(drawn) == 10
    assert min(each.accuracy for each in drawn) == 47 / 50
    assert most_accurate(many[:10]) == many[:10]
