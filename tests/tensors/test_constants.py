"""Constants of layers belong to no trace, and come back by themselves in a module whose memory is uninitialised."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sefl import compat
from sefl.groups import Canonicalize, GroupConv, SubgroupDownsample, bandlimit, dihedral, subgroup
from sefl.networks.sesn import ScaleConv2d
from sefl.tensors.constants import constant, forget_constants

ROOT = Path(__file__).parents[2]


def test_no_trace_leaves_its_tensors_behind() -> None:
    script = ROOT / "tests/tensors/constants_in_traces.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, str(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert found.returncode == 0, found.stderr


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "GroupConv": (lambda: GroupConv(dihedral(4), 2, 1, 3), (2, 16, 6, 6)),
    "SubgroupDownsample": (lambda: SubgroupDownsample(bandlimit(dihedral(4), "C4")), (2, 16, 6, 6)),
    "Canonicalize": (lambda: Canonicalize(subgroup(dihedral(4), "C4")), (2, 16, 6, 6)),
    "ScaleConv2d": (lambda: ScaleConv2d(2, 3, [1.0, 1.5], 2), (2, 2, 1, 9, 9)),
    "compat SubgroupDownsample": (
        lambda: compat.SubgroupDownsample("dihedral", 4, "cycle", 2, 2, cannonicalize=True),
        (2, 16, 6, 6),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_made_on_meta_and_filled(name: str) -> None:
    make, shape = LAYERS[name]
    with torch.device("meta"):
        layer = make()
    layer.to_empty(device="cpu")
    for memory in (*layer.parameters(), *layer.buffers()):
        memory.data.fill_(7)  # what to_empty leaves may be zeros
    for module in layer.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    assert all((weight != 7).any() for weight in layer.parameters())
    ordinary = make()
    ordinary.load_state_dict(layer.state_dict())
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for one, other in zip(tensors(layer(x)), tensors(ordinary(x)), strict=True):
        assert torch.equal(one, other)


def test_localized_convolution_keeps_its_penalty() -> None:
    ordinary = compat.SpectralConv2dLocalized(2, 3, 8, 3)
    with torch.device("meta"):
        layer = compat.SpectralConv2dLocalized(2, 3, 8, 3)
    layer.to_empty(device="cpu").load_state_dict(ordinary.state_dict())
    assert torch.equal(layer.get_reg_loss(), ordinary.get_reg_loss())


def test_the_oldest_constants_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_constants()
    monkeypatch.setattr("sefl.tensors.constants._MOST", 2)
    kinds = [torch.float32, torch.float64, torch.float16]
    limit = bandlimit(dihedral(4), "C4")
    made = [constant(projector, limit, dtype=dtype, device=torch.device("cpu")) for dtype in kinds]
    again = [constant(projector, limit, dtype=dtype, device=torch.device("cpu")) for dtype in reversed(kinds)]
    assert again[0] is made[2]
    assert again[1] is made[1]
    assert again[2] is not made[0]


def projector(limit: object) -> object:
    return limit.projector  # type: ignore[attr-defined]


def tensors(outcome: Any) -> list[Tensor]:
    """What a layer puts out: a tensor, or several, or one beside a list of group elements."""
    return [torch.as_tensor(each) for each in (outcome if isinstance(outcome, tuple) else (outcome,))]
