"""Errors over depth: a line per transformation or run, floors only where something interpolates."""

import math

import numpy as np
import pytest
from matplotlib.colors import to_hex

from sefl.equivariance import EquivarianceRow
from sefl.figures.depth import propagation, propagation_of_runs
from sefl.figures.equivariance import curves, heat_map

LAYERS = ["network.stem", "network.blocks.0", "network.blocks.1"]
FLOOR = 2e-3


def rows(scale: float, exact: float = 1e-13) -> list[EquivarianceRow]:
    """Rotations by 45 (with a floor), 90 and 22.5 degrees of three layers, and an invariant head that has no floor."""
    found = []
    for depth, layer in enumerate([*LAYERS, "network.head"]):
        error = scale * (1 + depth)
        found += [
            EquivarianceRow(layer, "rotate", 22.5, error, 3 * error, 4),
            EquivarianceRow(layer, "rotate", 45, 3 * error, 5 * error, 4),
            EquivarianceRow(layer, "rotate", 90, exact, 2 * exact, 4),
        ]
        if layer in LAYERS:
            found += [
                EquivarianceRow(layer, "rotate_floor", angle, FLOOR, 2 * FLOOR, 4) for angle in (22.5, 45)
            ]
        found.append(EquivarianceRow(layer, "flip_vertical", "vertical", error, error, 4))
    return found


def lines(axes) -> dict[str, list[float]]:
    return {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}


def test_interpolated_and_exact_parameters_are_lines_of_their_own(tmp_path):
    figure = propagation(rows(1e-2), "title")
    figure.savefig(tmp_path / "depth.png")
    (axes,) = figure.axes
    named = lines(axes)
    assert named["rotated, interpolated"] == pytest.approx([2e-2, 4e-2, 6e-2, 8e-2])
    assert named["rotated, pixels to pixels"] == pytest.approx([1e-13] * 4)
    assert named["flip vertical"] == pytest.approx([1e-2, 2e-2, 3e-2, 4e-2])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["stem", "blocks.0", "blocks.1", "head"]
    assert axes.get_xlabel() == "layer of network"
    floors = [line for line in axes.get_lines() if list(line.get_ydata())[:3] == [FLOOR] * 3]
    assert len(floors) == 1
    assert math.isnan(floors[0].get_ydata()[3])
    (line,) = [line for line in axes.get_lines() if line.get_label() == "rotated, interpolated"]
    assert to_hex(floors[0].get_color()) == to_hex(line.get_color())
    band = axes.collections[
        [c.get_label() for c in axes.get_lines() if "_" not in c.get_label()].index("rotated, interpolated")
    ]
    assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(0.2)


def test_zeros_infinities_and_gaps():
    measured = [
        EquivarianceRow("a", "flip", "x", 0.0, 0.0, 1),
        EquivarianceRow("b", "flip", "x", math.nan, math.nan, 1),
        EquivarianceRow("c", "flip", "x", math.inf, math.inf, 1),
    ]
    figure = propagation(measured, "title")
    (axes,) = figure.axes
    lowest, highest = axes.get_ylim()
    mean = lines(axes)["flip"]
    assert mean[0] == pytest.approx(lowest)
    assert math.isnan(mean[1])
    assert 1 <= mean[2] <= highest
    assert "exact zeros" in figure.get_supxlabel()
    assert "floor" not in figure.get_supxlabel()


def test_runs_side_by_side(tmp_path):
    figure = propagation_of_runs({"anti-aliased": rows(1e-3), "naive": rows(1e-1, exact=1e-2)[5:]}, "title")
    figure.savefig(tmp_path / "runs.png")
    assert [axes.get_title() for axes in figure.axes] == [
        "rotated, pixels to pixels",
        "rotated, interpolated",
        "flip vertical",
    ]
    exact, between, _ = figure.axes
    assert lines(exact)["anti-aliased"] == pytest.approx([1e-13] * 4)
    assert lines(exact)["naive"] == pytest.approx([math.nan] + [1e-2] * 3, nan_ok=True)
    assert lines(between)["naive"] == pytest.approx([math.nan, 0.4, 0.6, 0.8], nan_ok=True)


def test_curves_pass_by_the_exact_parameters_and_show_floors():
    figure = curves(rows(1e-2), "title")
    (axes,) = figure.axes
    stem, exact, largest, floor = axes.get_lines()[:4]
    assert list(stem.get_xdata()) == [22.5, 45]
    assert list(exact.get_xdata()) == [90]
    assert list(largest.get_ydata()) == pytest.approx([3e-2, 5e-2])
    assert list(floor.get_ydata()) == [FLOOR, FLOOR]
    assert "floor" in figure.get_supxlabel()


def test_heat_map_has_floors_behind_their_transformation():
    figure = heat_map(rows(1e-2)[-4:] + rows(1e-2), "title")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["22.5", "45", "90", "22.5", "45", ""]
    below = [label.get_text() for label in axes.child_axes[0].get_xticklabels()]
    assert below == ["rotated\nby\ndegrees", "floor", "flip\nvertical"]
    assert np.isin(["-2.7"], [text.get_text() for text in axes.texts]).all()
