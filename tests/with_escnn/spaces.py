"""Spaces of escnn's with a subgroup of each, and double precision by default."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from escnn import gspaces
from escnn.gspaces import GSpace

PLANE: dict[str, tuple[GSpace, Any]] = {
    "C8 to C4": (gspaces.rot2dOnR2(8), 4),
    "C4 to C2": (gspaces.rot2dOnR2(4), gspaces.rot2dOnR2(2)),
    "D4 to C4": (gspaces.flipRot2dOnR2(4), (None, 4)),
    "D4 to D2 of another axis": (gspaces.flipRot2dOnR2(4), (1, 2)),
    "D6 to C3": (gspaces.flipRot2dOnR2(6), (None, 3)),
    "D4 of a tilted axis to D2": (gspaces.flipRot2dOnR2(4, axis=0.3), (0, 2)),
}
SPACE: dict[str, tuple[GSpace, Any]] = {
    "O to D4": (gspaces.octaOnR3(), gspaces.dihedralOnR3(4)),
    "C4 about z to C2": (gspaces.rot2dOnR3(4), gspaces.rot2dOnR3(2)),
}
EVERYWHERE = PLANE | SPACE
EXACT = 1e-12


@pytest.fixture(autouse=True)
def in_double_precision() -> Iterator[None]:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
