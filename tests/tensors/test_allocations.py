"""Sizes that no machine holds are one line, before memory is taken for them."""

from pathlib import Path

import pytest
import torch
from torch import nn

from sefl.fit import main
from sefl.tensors.allocations import sizes_checked

HUGE = "1000000000"


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--model.network.trunk.widths", f"[{HUGE}]", "GiB of memory, the machine has"),
        ("--model.network.in_channels", HUGE, "GiB of memory, the machine has"),
        ("--model.network.head.cells", HUGE, "GiB of memory, the machine has"),
        ("--model.network.trunk.convolutions", HUGE, "convolutions must be an integer from 1 to 10000"),
        ("--data.image_size", "1000000", "image_size must be"),
    ],
)
def test_sizes_without_measure_are_one_line(
    tiny: Path, capfd: pytest.CaptureFixture[str], option: str, value: str, expected: str
) -> None:
    with pytest.raises(SystemExit) as exit_status:
        main(["--config", str(tiny), option, value])
    assert exit_status.value.code == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "error: " in line]
    assert expected in line
    assert not Path("runs").exists()


def test_what_fits_is_made_as_ever() -> None:
    torch.manual_seed(0)
    with sizes_checked():
        checked = nn.Conv2d(3, 4, 5)
        with pytest.raises(
            ValueError, match=r"a tensor of 1000000 x 1000000000 takes 3,725,290 GiB of memory"
        ):
            torch.empty(10**6, 10**9)
        with pytest.raises(ValueError, match=r"a tensor of 1000000000000000000 "):
            torch.zeros(size=(10**18,), dtype=torch.int8)
        with pytest.raises(ValueError, match=r"3,725,290 GiB of memory for one tensor"):
            torch.ones(1).expand(10**15).clone()
    torch.manual_seed(0)
    torch.testing.assert_close(checked.weight, nn.Conv2d(3, 4, 5).weight, rtol=0, atol=0)
