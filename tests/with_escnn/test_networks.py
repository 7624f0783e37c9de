"""Networks of our modules and escnn's: those of the README, trained, checked and exported; what importing needs."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from escnn import gspaces
from escnn.nn import EquivariantModule, FieldType, GroupPooling, InnerBatchNorm, ReLU, SequentialModule
from torch import nn

from sefl.escnn import FieldConv, SubgroupDownsampling, SubgroupUpsampling, field_type

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def readme() -> dict[str, Any]:
    """What the blocks of the README leave behind, run one after the other."""
    left: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "sefl/escnn/README.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(block, left)
    return left


def test_the_network_of_the_first_page() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (block,) = (block for block in blocks if "sefl.escnn" in block)
    left: dict[str, Any] = {}
    exec(block, left)
    assert left["features"].shape == (4, 10, 24, 24)


def test_the_network_of_the_readme_learns_and_is_invariant_to_quarter_turns(readme: dict[str, Any]) -> None:
    assert readme["loss"] < 0.3  # 0.69 by chance
    pictures, plain = readme["pictures"], readme["plain"]
    before, after = plain(pictures), plain(pictures.rot90(1, (2, 3)))
    assert not any(isinstance(module, EquivariantModule) for module in plain.modules())
    torch.testing.assert_close(after.rot90(-1, (2, 3)), before, rtol=1e-4, atol=1e-4)
    program = torch.export.export(plain, (pictures,)).module()
    torch.testing.assert_close(program(pictures), before, rtol=1e-4, atol=1e-4)


def test_the_whole_group_network_of_the_readme(readme: dict[str, Any]) -> None:
    whole = readme["whole"]
    assert len(whole) == 4
    whole[2].layer = nn.ReLU()  # a control: on coefficients
    with pytest.raises(AssertionError, match="too high"):
        whole.check_equivariance(atol=1e-2)


def test_gradients_reach_every_weight_and_training_in_a_sequence_of_groups() -> None:
    """D4 to D2 and back, with spatial stride, in double precision: exact for all of D4 where the filter is its last."""
    torch.manual_seed(0)
    space = gspaces.flipRot2dOnR2(4)
    images, wide = FieldType(space, 2 * [space.trivial_repr]), field_type(space, 4)
    down = SubgroupDownsampling(wide, (0, 2))
    up = SubgroupUpsampling(down.out_type, space)
    network = SequentialModule(
        FieldConv(images, wide, 3, padding=1),
        InnerBatchNorm(wide),
        ReLU(wide),
        FieldConv(wide, wide, 3, stride=2),
        down,
        up,
        FieldConv(wide, wide, 3, padding=1),
        GroupPooling(wide),
    ).double()
    x = images(torch.randn(6, 2, 9, 9, dtype=torch.float64))
    assert network(x).shape == network.evaluate_output_shape(x.shape)
    wanted = torch.randn(6, 4, dtype=torch.float64)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    for _ in range(5):
        loss = (network(x).tensor.mean((2, 3)) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    network.eval()
    for element in space.fibergroup.elements:
        moved = network(x.transform(element)).tensor
        torch.testing.assert_close(moved, network(x).transform(element).tensor, rtol=0, atol=1e-12)
    expected = network(x).tensor.float()
    exported = network.float().export()  # escnn exports batch norm in single precision
    torch.testing.assert_close(exported(x.tensor.float()), expected, rtol=1e-4, atol=1e-4)


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stderr


def test_the_other_rooms_do_not_import_it() -> None:
    assert not python("import sys, sefl.groups, sefl.networks; assert 'escnn' not in sys.modules")


def test_without_escnn_it_says_what_is_missing() -> None:
    said = python("import sys; sys.modules['escnn'] = None; import sefl.escnn")
    assert said.splitlines()[-1].startswith(
        "ModuleNotFoundError: sefl.escnn needs escnn, which is not installed"
    )
