"""The compiled functions beside PyTorch's operations, and when they are taken."""

import copy
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from sefl.fourier import (
    BandPooling2d,
    ScaleEquivariantMaxPool2d,
    SpectralConv1d,
    SpectralConv2d,
    native,
    to_coefficients,
)

pytestmark = pytest.mark.skipif(
    native.library() is None, reason="needs a C++ compiler, and SEFL_NATIVE not to be 0"
)

NONLINEARITIES = {
    "": {},
    "norm": {"channels": 5},
    "shared grids": {"grid_sharing": 1.5},
    "norm, shared grids": {"channels": 5, "grid_sharing": 1.5},
    "pooled": {"window": 2},
    "pooled, norm, shared grids": {"window": 2, "channels": 5, "grid_sharing": 1.5},
    "windows of three on finer grids": {"window": 3, "oversampling": 1.5},
    "bands skipped": {"band_step": 3, "channels": 5},
    "bands skipped, pooled, shared grids": {"window": 2, "band_step": 2, "grid_sharing": 2.0},
}


def nonlinearity(dtype: torch.dtype = torch.float64, **options: object) -> nn.Module:
    defaults = {"window": 1, "activation": nn.ReLU(), "base_resolution": 4, "max_resolution": 19}
    layer = ScaleEquivariantMaxPool2d(**{**defaults, **options}).to(dtype)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer


def outcomes(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """The output, and the gradients of the input and of the parameters."""
    layer, leaf = copy.deepcopy(layer), x.clone().requires_grad_()
    output = layer(leaf)
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).sin().view_as(output)
    (output * weights).sum().backward()
    return [output.detach(), leaf.grad, *(parameter.grad for parameter in layer.parameters())]


def by_torch(monkeypatch: pytest.MonkeyPatch, what: Callable[[], list[Tensor]]) -> list[Tensor]:
    with monkeypatch.context() as patch:
        patch.setattr(native, "takes", lambda _: False)
        return what()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the compiled functions that were called."""
    seen, run = [], native._run
    monkeypatch.setattr(native, "_run", lambda name, *rest: (seen.append(name), run(name, *rest)))
    return seen


def close(found: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= tolerance * other.norm()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("options", NONLINEARITIES.values(), ids=NONLINEARITIES)
@pytest.mark.parametrize("size", [4, 11, 18, 19])
def test_a_non_linearity_is_that_of_torch(
    options: dict[str, object],
    size: int,
    dtype: torch.dtype,
    tolerance: float,
    monkeypatch: pytest.MonkeyPatch,
    calls: list[str],
) -> None:
    layer = nonlinearity(dtype, **options)
    x = to_coefficients(torch.randn(7, 5, size, size, dtype=dtype))
    expected = by_torch(monkeypatch, lambda: outcomes(layer, x))
    assert calls == []
    close(outcomes(layer, x), expected, tolerance)
    assert calls == ["rectify"] * 2


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize(
    ("batch", "inputs", "outputs", "kernel", "size"),
    [(3, 5, 7, 5, 13), (1, 2, 40, 3, 12), (9, 33, 17, 7, 7), (2, 1, 1, 3, 1), (2, 3, 129, 3, 6)],
)
def test_a_convolution_is_that_of_torch(
    batch: int,
    inputs: int,
    outputs: int,
    kernel: int,
    size: int,
    dtype: torch.dtype,
    tolerance: float,
    monkeypatch: pytest.MonkeyPatch,
    calls: list[str],
) -> None:
    for layer, shape in (
        (SpectralConv2d(inputs, outputs, kernel, 14, residual=True), (batch, inputs, size, size)),
        (SpectralConv1d(inputs, outputs, kernel, 14), (batch, inputs, size)),
    ):
        x = to_coefficients(torch.randn(shape, dtype=dtype))
        layer = layer.to(dtype)
        expected = by_torch(monkeypatch, lambda layer=layer, x=x: outcomes(layer, x))
        assert calls == []
        close(outcomes(layer, x), expected, tolerance)
        assert calls == ["convolve"] * 3
        calls.clear()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("places", [None, [0], [3], [1, 2, 6]])
@pytest.mark.parametrize(
    ("cells", "grid", "center"), [(2, None, "pixel"), (5, 25, "image"), (1, None, "pixel")]
)
def test_pooled_bands_are_those_of_torch(
    cells: int,
    grid: int | None,
    center: str,
    places: list[int] | None,
    dtype: torch.dtype,
    tolerance: float,
    monkeypatch: pytest.MonkeyPatch,
    calls: list[str],
) -> None:
    class Pooled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return BandPooling2d(4, 20, cells, grid, center=center)(x, places)

    x = to_coefficients(torch.randn(3, 7, 19, 19, dtype=dtype))
    expected = by_torch(monkeypatch, lambda: outcomes(Pooled(), x))
    assert calls == []
    found = outcomes(Pooled(), x)
    close(found, expected, tolerance)
    assert calls == ["pool_bands"] * 2
    with torch.no_grad():  # without the places
        assert torch.equal(Pooled()(x), found[0])


def test_the_largest_of_a_window_is_the_first_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Constant images: everywhere the same value, and its gradient goes to one place."""
    layer = nonlinearity(window=2)
    x = torch.zeros(19, 19, 2, 3, dtype=torch.float64)
    x[0, 0] = 1
    assert torch.equal(*[outcomes(layer, x)[1].gt(1e-9).sum() for _ in range(2)])
    close(outcomes(layer, x), by_torch(monkeypatch, lambda: outcomes(layer, x)), 1e-12)


def test_what_is_no_number_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A diverged network must not look as if it had not."""
    for options in NONLINEARITIES.values():
        x = torch.randn(19, 19, 2, 5, dtype=torch.float64)
        x[1, 1, 0, 0] = torch.nan
        layer = nonlinearity(**options)
        (output,) = by_torch(monkeypatch, lambda layer=layer, x=x: [layer(x)])
        assert output.isnan().any()
        assert torch.equal(layer(x).isnan(), output.isnan())


@pytest.mark.parametrize("columns", [(1, 1), (16, 1), (33, 3), (5, 40)])
def test_threads_and_neighbours_change_no_bit(columns: tuple[int, int]) -> None:
    batch, channels = columns
    x = torch.randn(19, 19, batch, channels, dtype=torch.float32)
    layers = [nonlinearity(torch.float32), SpectralConv2d(channels, 70, 3, 19), BandPooling2d(8, 19)]
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append([tensor for layer in layers for tensor in outcomes(layer, x)])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    alone = layers[0](x[:, :, -1:])
    assert torch.equal(alone, layers[0](x)[:, :, -1:])


def test_one_channel_or_one_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where what is expanded over the other looks contiguous and is not."""
    for batch, channels in ((1, 1), (1, 9), (9, 1)):
        layer = nonlinearity(channels=channels)
        x = torch.randn(19, 19, batch, channels, dtype=torch.float64)
        close(outcomes(layer, x), by_torch(monkeypatch, lambda layer=layer, x=x: outcomes(layer, x)), 1e-12)


def test_a_strided_input_is_read_as_it_is() -> None:
    x = torch.randn(19, 19, 4, 6, dtype=torch.float64)
    for layer in (nonlinearity(), SpectralConv2d(3, 4, 3, 19).double()):
        close(outcomes(layer, x[..., ::2]), outcomes(layer, x[..., ::2].contiguous()), 0)


def test_what_it_is_not_for(calls: list[str]) -> None:
    images = to_coefficients(torch.randn(2, 3, 9, 9))
    nonlinearity(torch.float32, activation=F.gelu)(images)
    nonlinearity(torch.float32)(images.bfloat16())
    SpectralConv2d(3, 4, 3, 9).bfloat16()(images.bfloat16())
    SpectralConv2d(3, 4, 3, 9, bias=False)(images[:, :, :0])
    assert calls == ["rectify"]  # the one in bfloat16, which is computed in float32
    torch.func.grad(lambda x: SpectralConv2d(3, 4, 3, 9)(x).sum())(images)
    with FlopCounterMode(display=False) as counter:
        SpectralConv2d(3, 4, 3, 9)(images)
    assert counter.get_total_flops() > 0
    assert calls == ["rectify"]


STATEMENT = """
import torch, sys
from sefl.fourier import SpectralConv2d, native
SpectralConv2d(1, 1, 3, 9)(torch.zeros(9, 9, 1, 1))
print(native.library() is not None)
"""


def run(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache"), **environment}
    return subprocess.run(
        [sys.executable, "-c", STATEMENT],
        env={**os.environ, **cache},
        capture_output=True,
        text=True,
        check=True,
    )


def test_it_is_compiled_once(tmp_path: Path) -> None:
    assert run(tmp_path).stdout == "True\n"
    (made,) = (tmp_path / "cache/sefl").iterdir()
    before = made.stat().st_mtime_ns
    again = run(tmp_path)
    assert (again.stdout, again.stderr) == ("True\n", "")
    assert made.stat().st_mtime_ns == before
    assert list(made.parent.iterdir()) == [made]
    made.unlink()
    made.mkdir()  # nothing can be put in its place, and nothing is left beside it
    assert run(tmp_path).stdout == "True\n"
    assert list(made.parent.iterdir()) == [made]


def test_without_it(tmp_path: Path) -> None:
    assert run(tmp_path, SEFL_NATIVE="0").stdout == "False\n"
    none = run(tmp_path, PATH=str(tmp_path), CXX="")
    assert (none.stdout, none.stderr) == ("False\n", "")
    assert not (tmp_path / "cache").exists()


def test_a_folder_that_cannot_be_written_to_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    found = run(tmp_path)
    assert (found.stdout, found.stderr) == ("True\n", "")


def test_a_compiler_that_fails_is_told_of(tmp_path: Path) -> None:
    compiler = tmp_path / "broken"
    compiler.write_text('#!/bin/sh\n[ "$1" = --version ] || { echo no such option >&2; exit 1; }\n')
    compiler.chmod(0o755)
    found = run(tmp_path, CXX=str(compiler))
    assert found.stdout == "False\n"
    assert "native.cpp could not be compiled" in found.stderr
    assert "no such option" in found.stderr
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert native.library() is not None
