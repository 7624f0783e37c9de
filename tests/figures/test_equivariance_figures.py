"""The figures draw what a log scale cannot hold, and leave pyplot alone."""

import math

import pytest
from matplotlib import pyplot

from sefl.equivariance import EquivarianceRow
from sefl.equivariance.table import combined
from sefl.figures.equivariance import curves, heat_map


def rows(*means: float) -> list[EquivarianceRow]:
    """One layer, at resolutions 8, 9, ..., and another that was measured at 8 alone."""
    measured = [EquivarianceRow("a", "downsample", 8 + i, mean, 2 * mean, 5) for i, mean in enumerate(means)]
    return [*measured, EquivarianceRow("b", "downsample", 8, 1e-3, 1e-3, 5)]


def test_zero_nan_infinity_and_gaps_are_told_apart(tmp_path):
    figure = heat_map(rows(0.0, math.nan, math.inf, 1e-30), "title")
    figure.savefig(tmp_path / "heat_map.png")
    cells = [text.get_text() for text in figure.axes[0].texts]
    assert cells == ["0", "nan", "inf", "-30.0", "-3.0"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "b"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["8", "9", "10", "11"]


def test_curves_show_zeros_at_the_lower_edge_and_say_so(tmp_path):
    figure = curves(rows(0.0, 1e-5, math.inf), "title")
    assert figure is not None
    figure.savefig(tmp_path / "curves.png")
    (axes,) = figure.axes
    lowest, highest = axes.get_ylim()
    mean = axes.get_lines()[0].get_ydata()
    assert list(mean) == pytest.approx([lowest, 1e-5, 1.0])
    assert highest > 1
    assert "exact zeros are drawn at the lower edge" in figure.get_supxlabel()
    assert "zeros" not in curves(rows(1e-5, 1e-6), "title").get_supxlabel()


def test_no_curves_without_a_numeric_parameter():
    assert curves([EquivarianceRow("a", "flip_vertical", "vertical", 0.1, 0.2, 5)], "title") is None
    assert curves([EquivarianceRow("a", "downsample", 8, 0.1, 0.2, 5)], "title") is None


def test_many_layers_and_several_transformations():
    several = [
        EquivarianceRow(f"layer.{i}", name, parameter, 10.0**-i, 10.0**-i, 1)
        for i in range(14)
        for name, parameter in [
            ("downsample", 8),
            ("downsample", 9),
            ("shift", 1),
            ("shift", 2),
            ("flip", "vertical"),
        ]
    ]
    figure = curves(several, "title")
    figure.canvas.draw()
    assert len(figure.axes) == 2
    assert all(axes.get_position().width > 0.3 for axes in figure.axes), (
        "side by side, and no narrower than that"
    )
    assert len(heat_map(several, "title").axes[0].texts) == 14 * 5


def test_pyplot_keeps_no_figures():
    heat_map(rows(0.1, 0.2), "title")
    curves(rows(0.1, 0.2), "title")
    assert pyplot.get_fignums() == []


def test_nan_in_one_row_is_nan_over_all():
    mean, largest = combined(rows(1e-3, math.nan))
    assert math.isnan(mean)
    assert math.isnan(largest)
