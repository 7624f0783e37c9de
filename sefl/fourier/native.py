"""The passes of :mod:`sefl.fourier.shellwise` over the bands of images compiled for this machine's processor.

``native.cpp`` takes the common case, ReLU on float32 or float64 images on a CPU. It is compiled at its first use, in
some seconds, into ``$XDG_CACHE_HOME/sefl`` (``~/.cache/sefl``), for this source, compiler and processor. Where there
is no C++ compiler (``$CXX``, ``c++``, ``g++`` or ``clang++``), or with ``SEFL_NATIVE=0`` in the environment, PyTorch's
own operations do the same, to rounding.
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
from torch import Tensor

if TYPE_CHECKING:
    from sefl.fourier.shellwise import Grid

_SOURCE = Path(__file__).with_suffix(".cpp")
_OPTIONS = "-O3 -march=native -std=gnu++17 -shared -fPIC -pthread -Wno-psabi"
_FUNCTIONS = {torch.float32: "shellwise_float32", torch.float64: "shellwise_float64"}


class _Run(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("start", "stop", "points")),
        ("synthesis", ctypes.c_void_p),
        ("synthesis_columns", ctypes.c_int64),
        ("analysis", ctypes.c_void_p),
    )


class _Place(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int64) for name in ("input_band", "first", "last"))


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


def takes(flat: Tensor) -> bool:
    """Whether the compiled passes are there, and for such coefficients, ``(K, K, columns)``.

    What looks at the operations that run, a tracer or a counter of them, would not see the compiled ones.
    """
    watched = torch.jit.is_tracing() or torch._C._len_torch_dispatch_stack() > 0
    real = type(flat) is Tensor and flat.device.type == "cpu" and flat.dtype in _FUNCTIONS
    return real and not watched and flat.dim() == 3 and flat.numel() > 0 and library() is not None


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
            grid.synthesis.data_ptr(),
            grid.synthesis.shape[1],
            grid.analysis.data_ptr(),
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
        flat.data_ptr(),
        *(None if tensor is None else tensor.data_ptr() for tensor in tensors),
    )
    backward = len(tensors) > 3
    failure = getattr(library(), _FUNCTIONS[flat.dtype])(ctypes.byref(task), backward)
    if failure:
        raise MemoryError(
            f"the grids of a block of columns of {len(flat)} x {len(flat)} coefficients find no memory"
        )


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
        f"{_SOURCE.name} could not be compiled, so that non-linearities run on PyTorch's operations, which take 1.5 to "
        f"3 times as long (SEFL_NATIVE=0 in the environment says that this is meant): {reason}",
        stacklevel=2,
    )
    return None


def _compiled(command: list[str], kept: Path) -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / kept.name
        subprocess.run([*command, "-o", str(made), str(_SOURCE)], capture_output=True, check=True)
        loaded = ctypes.CDLL(str(made))  # which stays when the file goes
        try:  # a folder that others read, at the same time too
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=kept.parent, delete=False) as beside:
                beside.write(made.read_bytes())
            Path(beside.name).replace(kept)
        except OSError:
            pass  # compiled again the next time
    return loaded


def _processor() -> str:
    """What tells processors apart whose instructions differ, where homes are shared between machines."""
    try:
        found = re.search(r"^(flags|Features)\s*:.*$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return f"{platform.machine()} {found[0] if found else platform.processor()}"
