"""What takes most of the time, compiled for this machine's processor.

``native.cpp`` has the passes of :mod:`sefl.fourier.shellwise` over the bands of images for ReLU, and the products of
:mod:`sefl.fourier.convolution`, of float32 or float64 on a CPU. It is compiled at its first use, in some seconds, into
``$XDG_CACHE_HOME/sefl`` (``~/.cache/sefl``), for this source, compiler and processor. Where there is no C++ compiler
(``$CXX``, ``c++``, ``g++`` or ``clang++``), or with ``SEFL_NATIVE=0`` in the environment, PyTorch's own operations do
the same, to rounding.
"""

import ctypes
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from sefl.fourier.shellwise import Grid

_SOURCE = Path(__file__).with_suffix(".cpp")
_OPTIONS = "-O3 -march=native -std=gnu++17 -shared -fPIC -pthread -Wno-psabi"
_PRECISIONS = {torch.float32: "float32", torch.float64: "float64"}


class _Run(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("start", "stop", "points")),
        ("synthesis", ctypes.c_void_p),
        ("synthesis_columns", ctypes.c_int64),
        ("analysis", ctypes.c_void_p),
    )


class _Place(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int64) for name in ("input_band", "first", "last"))


class _Convolution(ctypes.Structure):
    _fields_ = (
        *(
            (name, ctypes.c_int64)
            for name in (
                "rows",
                "columns",
                "batch",
                "inputs",
                "outputs",
                "height",
                "width",
                "grid",
                "threads",
                "turned",
            )
        ),
        *((name, ctypes.c_void_p) for name in ("coefficients", "taps", "out", "upstream", "taps_gradient")),
    )


class _Task(ctypes.Structure):
    _fields_ = (
        *(
            (name, ctypes.c_int64)
            for name in ("columns", "inputs", "outputs", "window", "runs", "places", "threads")
        ),
        ("run", ctypes.POINTER(_Run)),
        ("place", ctypes.POINTER(_Place)),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "coefficients",
                "scale",
                "offset",
                "out",
                "upstream",
                "scale_gradient",
                "offset_gradient",
            )
        ),
    )


class _Pooling(ctypes.Structure):
    _fields_ = (
        ("grid", _Task),
        *((name, ctypes.c_int64) for name in ("cells", "bands")),
        ("band", ctypes.POINTER(ctypes.c_int64)),
        *((name, ctypes.c_void_p) for name in ("pooled", "places")),
        ("backward", ctypes.c_int64),
    )


def takes(coefficients: Tensor) -> bool:
    """Whether the compiled functions are there, and for such coefficients.

    What looks at the operations that run, a tracer or a counter of them, would not see the compiled ones.
    """
    watched = torch.jit.is_tracing() or torch._C._len_torch_dispatch_stack() > 0
    plain = type(coefficients) in (Tensor, nn.Parameter) and coefficients.device.type == "cpu"
    fits = plain and not watched and coefficients.dtype in _PRECISIONS and coefficients.numel() > 0
    return fits and library() is not None


def convolve(coefficients: Tensor, taps: Tensor, grid: int, turned: bool = False) -> Tensor:
    """``(rows, K, batch, inputs)`` convolved with ``(height, width, inputs, outputs)`` taps on such a grid.

    Or, ``turned``, the gradient by the input from that by the output.
    """
    outputs = taps.shape[2 if turned else 3]
    out = coefficients.new_empty(*coefficients.shape[:3], outputs)
    _convolve(coefficients, taps, grid, turned, out, None, None)
    return out


def convolve_backward(upstream: Tensor, coefficients: Tensor, taps: Tensor, grid: int) -> Tensor:
    """The gradient of :func:`convolve` by the taps."""
    taps_gradient = torch.empty_like(taps, memory_format=torch.contiguous_format)
    _convolve(coefficients, taps, grid, False, None, upstream, taps_gradient)
    return taps_gradient


def _convolve(coefficients: Tensor, taps: Tensor, grid: int, turned: bool, *tensors: Tensor | None) -> None:
    held = [None if each is None else each.contiguous() for each in (coefficients, taps, *tensors)]
    task = _Convolution(
        *coefficients.shape,
        taps.shape[2 if turned else 3],
        *taps.shape[:2],
        grid,
        torch.get_num_threads(),
        turned,
        *map(_address, held),
    )
    _run("convolve", coefficients.dtype, task)


def rectify(
    flat: Tensor, grids: Sequence["Grid"], outputs: int, scale: Tensor | None, offset: Tensor | None
) -> Tensor:
    """Shells of the rectified and pooled grids: ``(outputs, outputs, columns)``.

    Args:
        flat: coefficients, contiguous, ``(K, K, columns)``.
        grids: those of all runs, from the coarsest.
        outputs: coefficients per axis of the result.
        scale: of the norm of each band and column, ``(bands, columns)``; ``None`` for no norm.
        offset: likewise.
    """
    out = flat.new_empty(outputs, outputs, flat.shape[-1])
    _call(flat, grids, outputs, scale, offset, out)
    return out


def rectify_backward(
    upstream: Tensor, flat: Tensor, grids: Sequence["Grid"], scale: Tensor | None, offset: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The gradients by ``flat``, with these norms held fixed, by ``scale`` and by ``offset``, of :func:`rectify`."""
    by_scale, by_offset = (None if norm is None else torch.empty_like(norm) for norm in (scale, offset))
    out = torch.empty_like(flat)
    _call(flat, grids, len(upstream), scale, offset, out, upstream, by_scale, by_offset)
    return out, by_scale, by_offset


def _call(flat: Tensor, grids: Sequence["Grid"], outputs: int, *tensors: Tensor | None) -> None:
    runs = [
        _Run(
            grid.run.start,
            grid.run.stop,
            grid.pooled_points,
            _address(grid.synthesis),
            grid.synthesis.shape[1],
            _address(grid.analysis),
        )
        for grid in grids
    ]
    places = []
    for grid in grids:
        for place, input_band in enumerate(grid.input_bands):
            shells = grid.shells_read(place)
            places.append(_Place(input_band, shells.start, shells.stop - 1))
    task = _Task(
        flat.shape[-1],
        len(flat),
        outputs,
        grids[0].plan.window,
        len(runs),
        len(places),
        torch.get_num_threads(),
        (_Run * len(runs))(*runs),
        (_Place * len(places))(*places),
        _address(flat),
        *map(_address, tensors),
    )
    _run("rectify", flat.dtype, task, len(tensors) > 3)


def pool_bands(
    flat: Tensor, synthesis: Tensor, cells: int, bands: Sequence[int], with_places: bool
) -> tuple[Tensor, Tensor | None]:
    """The largest value in each cell of the grid of each band, ``(bands, cells^2, columns)``, and where on the grid.

    Args:
        flat: coefficients, contiguous, ``(K, K, columns)``.
        synthesis: ``(points, 2 band + 1)`` or more columns, of the finest band.
        cells: per axis, of which ``points`` is a multiple.
        bands: ascending.
        with_places: whether to say where.
    """
    pooled = flat.new_empty(len(bands), cells * cells, flat.shape[-1])
    places = torch.empty_like(pooled, dtype=torch.int64) if with_places else None
    _pool(flat, None, synthesis, cells, bands, pooled, places)
    return pooled, places


def pool_bands_backward(
    upstream: Tensor, places: Tensor, count: int, synthesis: Tensor, cells: int, bands: Sequence[int]
) -> Tensor:
    """The gradient of :func:`pool_bands` by ``flat``, of ``count`` coefficients per axis."""
    out = upstream.new_empty(count, count, upstream.shape[-1])
    _pool(out, out, synthesis, cells, bands, upstream, places)
    return out


def _pool(
    flat: Tensor,
    out: Tensor | None,
    synthesis: Tensor,
    cells: int,
    bands: Sequence[int],
    pooled: Tensor,
    places: Tensor | None,
) -> None:
    run = _Run(0, 0, len(synthesis), _address(synthesis), synthesis.shape[1], None)
    task = _Task(flat.shape[-1], len(flat), 1, 1, 1, 0, torch.get_num_threads(), ctypes.pointer(run), None)
    task.coefficients, task.out = _address(flat), _address(out)
    pooling = _Pooling(
        task,
        cells,
        len(bands),
        (ctypes.c_int64 * len(bands))(*bands),
        _address(pooled),
        _address(places),
        out is not None,
    )
    _run("pool_bands", flat.dtype, pooling)


def _address(tensor: Tensor | None) -> int | None:
    assert tensor is None or (tensor.is_contiguous() and tensor.device.type == "cpu")
    return None if tensor is None else tensor.data_ptr()


def _run(name: str, dtype: torch.dtype, task: ctypes.Structure, *options: bool) -> None:
    if getattr(library(), f"{name}_{_PRECISIONS[dtype]}")(ctypes.byref(task), *options):
        raise MemoryError("the scratch memory of a layer on coefficients, of a few images, finds no room")


@cache
def library() -> ctypes.CDLL | None:
    """The compiled source, made if this machine has not made it before; ``None`` where that cannot be done."""
    if os.environ.get("SEFL_NATIVE") == "0":
        return None
    named = (os.environ.get("CXX", ""), "c++", "g++", "clang++")
    compiler = next((found for name in named if name and (found := shutil.which(shlex.split(name)[0]))), None)
    if compiler is None:
        return None
    command = [compiler, *shlex.split(_OPTIONS)]
    try:
        version = subprocess.run([compiler, "--version"], capture_output=True, check=True).stdout
        parts = (_SOURCE.read_bytes(), " ".join(command).encode(), version, _processor().encode())
        name = f"native-{hashlib.sha256(b'|'.join(parts)).hexdigest()[:16]}.so"
        kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sefl" / name
        return ctypes.CDLL(str(kept)) if kept.is_file() else _compiled(command, kept)
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip()
    except (OSError, RuntimeError) as error:
        reason = str(error)
    warnings.warn(
        f"{_SOURCE.name} could not be compiled, so that layers on coefficients run on PyTorch's operations, which take "
        f"1.5 to 3 times as long (SEFL_NATIVE=0 in the environment says that this is meant): {reason}",
        stacklevel=2,
    )
    return None


def _compiled(command: list[str], kept: Path) -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / kept.name
        loaded = _first_that_loads(command, made)
        try:  # a folder that others read, at the same time too
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=kept.parent) as beside:
                Path(shutil.copy(made, beside)).replace(kept)
        except OSError:
            pass  # compiled again the next time
    return loaded


def _first_that_loads(command: list[str], made: Path) -> ctypes.CDLL:
    """With OpenMP, whose library and threads are PyTorch's, or without. What is loaded stays when the file goes."""

    def loaded(*options: str) -> ctypes.CDLL:
        subprocess.run([*command, *options, "-o", str(made), str(_SOURCE)], capture_output=True, check=True)
        return ctypes.CDLL(str(made))

    try:
        return loaded("-fopenmp")
    except (subprocess.CalledProcessError, OSError):
        return loaded()


def _processor() -> str:
    """What tells processors apart whose instructions differ, where homes are shared between machines."""
    try:
        found = re.search(r"^(flags|Features)\s*:.*$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return f"{platform.machine()} {found[0] if found else platform.processor()}"
