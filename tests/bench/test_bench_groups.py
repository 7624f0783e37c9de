"""python -m sefl.bench --only groups: that what it times is made anew, and that its numbers mean what they say."""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from sefl.bench.__main__ import main
from sefl.bench.comparisons import UP_TO_60
from sefl.bench.filters import SEARCH, VARIANTS, new_bandlimit, one_per_class, promises
from sefl.bench.group_layers import CanonicalField, Expansion, convolutions, group_layers
from sefl.bench.group_networks import group_networks
from sefl.bench.measurement import Row
from sefl.bench.tables import tables
from sefl.bench.work import LayerWork, MakeWork
from sefl.groups import Canonicalize, GroupConv, bandlimit, dihedral, finite_group, subgroup

EXACT = 1e-12
FAILS = 1e-3

# A stand-in for the module of the authors' repository that is imported, with the signature that is called.
DOWNSAMPLING = """
from torch import nn
class SubgroupDownsample(nn.Module):
    def __init__(self, group_type, order, sub_group_type, subsampling_factor, num_features, generator,
                 apply_antialiasing, anti_aliasing_kwargs):
        super().__init__()
        assert (group_type, order, subsampling_factor, generator) in [("cycle", 24, 3, "r"), ("dihedral", 12, 2, "r-s")]
        assert apply_antialiasing and anti_aliasing_kwargs["iterations"] == 100
        print("chatter")
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A folder that looks like the authors' repository."""
    file = tmp_path / "checkout" / "gsampling" / "layers" / "downsampling.py"
    file.parent.mkdir(parents=True)
    file.write_text(DOWNSAMPLING)
    yield tmp_path / "checkout"
    for name in [name for name in sys.modules if name.split(".")[0] == "gsampling"]:
        del sys.modules[name]


def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, *options: str) -> tuple[list[dict], str]:
    """The rows and the output of a tiny benchmark."""
    file = tmp_path / "bench.json"
    threads = str(torch.get_num_threads())
    main(["--quick", "--threads", threads, "--memory", "false", "--json", str(file), *options])
    return json.loads(file.read_text())["rows"], capsys.readouterr().out


def test_every_table_has_its_rows(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows, output = run(capsys, tmp_path, "--only", "groups", "--least", "2")
    shown = {
        name: [row for row in rows if row["table"] == name]
        for name in dict.fromkeys(r["table"] for r in rows)
    }
    assert list(shown) == ["filters", "designs", "layers", "convolutions", "networks"]
    for title in (
        "Making filters",
        "optimised design",
        "Layers of sefl.groups",
        "escnn's R2Conv",
        "the whole group",
    ):
        assert title in output

    for family, divisors, groups in (("cyclic, C2 to C6", 2 + 2 + 3 + 2 + 4, 5), ("S3, products", 4 + 5, 2)):
        of_family = {row["passes"]: row for row in shown["filters"] if row["work"] == family}
        assert list(of_family) == [*VARIANTS, SEARCH]
        assert [len(row["seconds"]) for row in of_family.values()] == [divisors] * len(VARIANTS) + [groups]
        assert all(len(times) == 2 for row in of_family.values() for times in row["seconds"].values())
    assert "C6 -> C3" in shown["filters"][0]["seconds"]

    (design,) = shown["designs"]
    assert set(design["seconds"]) == {"ours", "optimized"}
    assert design["facts"]["ours"]["equivariance"] < EXACT
    assert design["facts"]["optimized"]["equivariance"] > FAILS
    assert {design["facts"][name]["dimension"] for name in ("ours", "optimized")} == {3}

    for row in shown["layers"]:
        pooling = {"plain"} if row["work"] == "BlurPool" else set()
        assert set(row["ours_over"]) == {"GroupConv", "traffic"} | pooling
    assert shown["layers"][0]["flop"]["ours"] == 2 * 2 * 8 * 4 * 8 * 8  # batch, |G|, |H|, pixels
    assert [set(row["seconds"]) for row in shown["convolutions"]] == [{"ours"}]
    assert [row["passes"] for row in shown["networks"]] == ["construction", "forward", "forward + backward"]
    assert {*shown["networks"][0]["seconds"]} == {"ours", "full group", "subgroup"}


def test_the_named_groups_up_to_60_elements_are_surveyed() -> None:
    cyclic, dihedral, polyhedral, others = UP_TO_60.families.values()
    assert cyclic == tuple(f"C{order}" for order in range(2, 61))
    assert dihedral == tuple(f"D{order}" for order in range(1, 31))
    assert set(polyhedral) == {"T", "O", "Oh", "I"}
    assert max(len(finite_group(name)) for name in others if "T" not in name) == 60


@pytest.mark.parametrize(("name", "classes"), [("C12", 6), ("S3", 4), ("D4", 8), ("C2xC2", 5), ("S4", 11)])
def test_one_subgroup_of_each_class(name: str, classes: int) -> None:
    assert len(one_per_class(finite_group(name))) == classes


@pytest.mark.parametrize("options", VARIANTS.values())
def test_a_filter_is_made_anew_and_is_the_same(options: dict) -> None:
    pair = subgroup(dihedral(6), "D3")
    first, second = (new_bandlimit(pair, **options) for _ in range(2))
    assert first is not second
    assert first.kept[0] is not second.kept[0]
    cached = bandlimit(dihedral(6), pair, **options)
    assert bandlimit(dihedral(6), pair, **options) is cached
    np.testing.assert_array_equal(first.projector, cached.projector)


def test_broken_promises_are_seen() -> None:
    limit = bandlimit(dihedral(6), "D3")
    kept = promises(limit)
    assert max(kept["reconstruction"], kept["equivariance"]) < EXACT
    random = np.linalg.qr(np.random.default_rng(0).standard_normal((12, limit.dimension)))[0]
    broken = promises(replace(limit, projector=random @ random.T))
    assert min(broken["reconstruction"], broken["equivariance"]) > FAILS
    assert broken["dimension"] == kept["dimension"]


def test_the_worst_filter_is_named() -> None:
    seconds = {
        "C4 -> C2": [0.001, 0.09, 0.002],
        "C6 -> C2": [0.02, 0.03, 0.025],
        "C6 -> C3": [0.003, 0.003, 0.003],
    }
    row = Row("groups", "cyclic", "group", 1, seconds, {}, {}, table="filters")
    (shown,) = tables("groups", [row])
    console = Console(width=120)
    with console.capture() as capture:
        console.print(shown)
    assert re.search(r"cyclic +group +3 +3\.00 ms +25\.0 ms +C6 -> C2 +0\.50", capture.get())


def test_layers_do_the_work_that_they_are_named_for() -> None:
    features = torch.rand(2, 8, 6, 6)
    convolution = GroupConv(dihedral(4), 1, 1, 3)
    assert torch.equal(Expansion(lambda: convolution)(features), convolution.kernel())
    canonical = Canonicalize(subgroup(dihedral(4), "D2"))(features)[0]
    assert torch.equal(CanonicalField("D4", "D2")(features), canonical)
    sizes = replace(UP_TO_60, group="D4", subgroup="D2", fields=3, batch=2, resolution=6)
    for comparison in group_layers(sizes, copy_bytes=1):
        work = comparison.contestants["ours"]
        assert isinstance(work, LayerWork)
        pooled = comparison.work == "BlurPool"
        output = work.make()(work.signal())
        expected = {
            "SubgroupDownsample": (2, 12, 6, 6),
            "Canonicalize": (2, 24, 6, 6),
            "BlurPool": (2, 24, 3, 3),
        }
        assert output.shape == expected.get(comparison.work, (24, 24, 5, 5))
        assert ("plain" in comparison.contestants) == pooled


def test_escnn_makes_the_same_convolutions(
    capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    pytest.importorskip("escnn")
    (comparison,) = convolutions(replace(UP_TO_60, group="D4", fields=2, kernel_size=3))
    counts = []
    for name in ("ours", "escnn"):
        work = comparison.contestants[name]
        assert isinstance(work, MakeWork)
        counts.append([sum(weights.numel() for weights in stage.parameters()) for stage in work.make()])
    assert counts[0] == counts[1]
    assert capsys.readouterr() == ("", "")
    assert not recwarn


def test_networks_are_what_they_are_named_for() -> None:
    sizes = replace(
        UP_TO_60, widths=(2, 2, 3), networks=(("C8", "C4"),), batch=2, resolution=9, kernel_size=3
    )
    construction, forward, step = group_networks(sizes)
    assert (
        set(forward.contestants) == set(construction.contestants) == set(step.weighed) & set(step.contestants)
    )
    made = {name: work.make() for name, work in construction.contestants.items()}
    assert made["ours"].stages[2].output_type.channels == 3
    assert made["full group"].stages[2].output_type.channels == 8
    assert made["subgroup"].stages[2].output_type.channels == 4


def test_the_network_of_escnn_is_that_of_ours_in_another_basis() -> None:
    pytest.importorskip("escnn")
    sizes = replace(
        UP_TO_60, widths=(2, 2, 3), networks=(("C12", "C6"),), batch=2, resolution=9, kernel_size=3
    )
    comparison = group_networks(sizes)[1]
    # in float32, in which escnn samples its filters; .double() would reach the filters that it keeps for other networks
    theirs, ours = (comparison.contestants[name].make() for name in ("escnn", "ours"))
    relus = [stage[2] for stage in theirs.stages]
    assert [relu.in_type.size for relu in relus] == [2 * 5, 2 * 5, 3 * 5]
    assert [relu.A.shape[0] for relu in relus] == [12, 12, 12]
    pictures = torch.randn(2, 1, 9, 9)
    logits = theirs(pictures)
    assert logits.shape == ours(pictures).shape == (2, 10)
    turned = theirs(torch.rot90(pictures, 1, (2, 3)))
    torch.testing.assert_close(turned, logits)


def test_without_escnn_its_column_is_empty_and_the_table_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for module in ("sefl.bench.group_layers", "sefl.bench.tables"):
        monkeypatch.setattr(f"{module}.ESCNN_IS_INSTALLED", False)
    (comparison,) = convolutions(UP_TO_60)
    assert list(comparison.contestants) == ["ours"]
    _, output = run(capsys, tmp_path, "--only", "groups", "--least", "1")
    shown = " ".join(output.split())
    assert "escnn is not installed: uv run brings it; so does pip install -e '.[escnn]' beside" in shown
    assert "±0%" not in output
    assert "(once)" in output


def test_against_a_checkout(capsys: pytest.CaptureFixture[str], tmp_path: Path, checkout: Path) -> None:
    rows, output = run(capsys, tmp_path, "--only", "authors", "--against_groups", str(checkout))
    assert [row["work"] for row in rows] == ["filter C24 -> C8", "filter D12 -> D6"]
    for row in rows:
        assert set(row["seconds"]) == {"ours", "authors"}
    assert "chatter" not in output
    assert str(checkout) not in sys.path


def test_a_checkout_that_is_none_or_lacks_a_package(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--against_groups", "nowhere"])
    message = "against_groups must be a checkout .* got nowhere, which has no gsampling/.*git clone"
    assert re.search(message, capsys.readouterr().err.replace("\n", " "))
    (checkout / "gsampling" / "layers" / "downsampling.py").write_text("import a_package_that_nobody_has\n")
    with pytest.raises(SystemExit):
        main(["--against_groups", str(checkout)])
    assert "a_package_that_nobody_has" in capsys.readouterr().err
