"""python -m sefl.bench: how it measures, on fakes; what it reports, on tiny sizes. No test looks at a time."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from sefl.bench.__main__ import main
from sefl.bench.measurement import Row
from sefl.bench.memory import peak_bytes
from sefl.bench.pipelines import mapped_photographs
from sefl.bench.scaling import exponents, times
from sefl.bench.tables import tables
from sefl.bench.timing import Effort, Spread, interleaved, ratios
from sefl.bench.work import LayerWork, StepWork, flops, images, lightning_loss

CPU = torch.device("cpu")

# Stand-ins for the modules of the authors' repository that are imported, with the signatures that are called.
CHECKOUT = {
    "layers/scalq_eq_nonlin.py": """
        from torch import nn
        class scaleEqNonlin(nn.Module):
            def __init__(self, non_lin, base_res, normalization=None, channels=None, max_res=28):
                super().__init__()
                print("chatter")
            def forward(self, spectrum):
                return 2 * spectrum
        """,
    "layers/spectral_conv.py": """
        import torch
        from torch import nn
        class SpectralConv2dLocalized(nn.Module):
            def __init__(self, in_channel, out_channel, global_modes, local_modes):
                super().__init__()
                self.L = nn.Parameter(torch.ones(in_channel, out_channel, dtype=torch.complex64))
            def forward(self, spectrum):
                return torch.einsum("bixy,io->boxy", spectrum, self.L)
        """,
    "models/fourier_seq_mnist.py": """
        from timm.utils import accuracy
        from torch import nn
        from torch.nn import functional as F
        class FourierSeqMist(nn.Module):
            def __init__(self, in_channel, learning_rate, weight_decay, C1, C2, C3, C4, FC1, dropout_fc2):
                super().__init__()
                self.head = nn.Linear(in_channel, 10)
            def _forward_step(self, batch, batch_idx, stage):
                images, labels = batch
                logits = self.head(images.mean((2, 3)))
                assert 0 <= accuracy(logits, labels)[0] <= 100
                return logits, F.cross_entropy(logits, labels)
        """,
}


class FakeTime:
    """A clock that only the fake work moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.done: list[str] = []

    def clock(self) -> float:
        return self.now

    def work(self, name: str, *seconds: float) -> Callable[[], None]:
        """Takes so many seconds at its first, second, ... call, from the last on always the same."""

        def action() -> None:
            self.now += seconds[min(self.done.count(name), len(seconds) - 1)]
            self.done.append(name)

        return action


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A folder that looks like the authors' repository."""
    folder = tmp_path / "checkout"
    for name, text in CHECKOUT.items():
        path = folder / "scale_eq" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = text.strip("\n").splitlines()
        path.write_text("\n".join(line[8:] for line in lines) + "\n")
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "scale_eq"]:
        del sys.modules[name]


def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, *options: str) -> tuple[list[dict], str]:
    """The rows and the output of a tiny benchmark."""
    file = tmp_path / "bench.json"
    threads = str(torch.get_num_threads())
    always = ["--quick", "--threads", threads, "--memory", "false", "--json", str(file)]
    main([*always, *options])
    content = json.loads(file.read_text())
    assert set(content) == {"machine", "sizes", "rows"}
    assert set(content["machine"]) == {"torch", "device", "threads"}
    return content["rows"], capsys.readouterr().out


def test_actions_take_turns_after_a_warm_up() -> None:
    fake = FakeTime()
    actions = {"a": fake.work("a", 9.0, 1.0), "b": fake.work("b", 9.0, 2.0)}
    effort = Effort(warmups=1, least=2, most=2)
    assert interleaved(actions, effort, clock=fake.clock) == {"a": [1.0, 1.0], "b": [2.0, 2.0]}
    assert "".join(fake.done) == "ab" + "abab"


def test_waiting_for_the_device_is_part_of_the_time() -> None:
    fake = FakeTime()
    wait = fake.work("wait", 0.5)
    measured = interleaved({"a": fake.work("a", 1.0)}, Effort(least=1, most=1), wait, fake.clock)
    assert measured == {"a": [1.5]}


@pytest.mark.parametrize(
    ("least", "most", "seconds", "rounds"), [(1, 50, 10.0, 10), (20, 50, 10.0, 20), (1, 5, 10.0, 5)]
)
def test_rounds_go_on_for_some_time(least: int, most: int, seconds: float, rounds: int) -> None:
    fake = FakeTime()
    effort = Effort(least=least, most=most, seconds=seconds)
    assert len(interleaved({"a": fake.work("a", 1.0)}, effort, clock=fake.clock)["a"]) == rounds


def test_a_slow_spell_of_the_machine_cancels_in_the_ratio() -> None:
    fake = FakeTime()
    spell = [1.0, 1.0, 7.0, 30.0, 2.0]
    actions = {"a": fake.work("a", *(6 * s for s in spell)), "b": fake.work("b", *(2 * s for s in spell))}
    measured = interleaved(actions, Effort(warmups=0, least=5, most=5), clock=fake.clock)
    assert ratios(measured["a"], measured["b"]) == Spread(3.0, 3.0, 3.0, 5)
    control = Spread.of(measured["a"])
    assert control.high > 3 * control.low


def test_spread_is_median_and_quartiles() -> None:
    assert Spread.of([5.0, 1.0, 3.0, 2.0, 4.0]) == Spread(3.0, 2.0, 4.0, 5)
    assert Spread.of([7.0]) == Spread(7.0, 7.0, 7.0, 1)


@pytest.mark.parametrize(("argument", "value"), [("least", 0), ("seconds", -1.0)])
def test_effort_refuses(argument: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{argument} .*got {value}"):
        Effort(**{argument: value})


def test_memory_traffic_is_bytes_over_the_bandwidth_of_the_same_round() -> None:
    row = Row(
        part="layers",
        work="w",
        passes="forward",
        items=1,
        seconds={"ours": [1.0, 4.0], "copy": [2.0, 8.0]},
        peak_bytes={"ours": 30, "plain": 10},
        flop={"ours": 5 * 10**9},
        traffic=10,
        copied=100,
    )
    assert row.ratio("ours", "traffic") == Spread(5.0, 5.0, 5.0, 2)
    assert row.bandwidth == Spread(31.25, 21.875, 40.625, 2)
    assert row.rate("ours") == 2.0
    assert row.memory_ratio("ours", "plain") == 3.0
    assert row.memory_ratio("ours", "authors") is None


def test_flops_count_products_in_place_and_into_given_memory() -> None:
    a, b, c = torch.ones(2, 3), torch.ones(3, 5), torch.ones(2, 5)
    product = 2 * 2 * 3 * 5
    assert flops(lambda: a @ b) == product
    assert flops(lambda: torch.mm(a, b, out=c)) == product
    assert flops(lambda: c.addmm_(a, b)) == product
    batched = a.expand(4, 2, 3), b.expand(4, 3, 5)
    assert flops(lambda: torch.ones(4, 2, 5).baddbmm_(*batched)) == 4 * product


def test_a_layer_with_backward_costs_three_products() -> None:
    linear, signal = partial(nn.Conv2d, 4, 4, 1, bias=False), partial(images, 2, 4, 3)
    forward, both = LayerWork(linear, signal, False), LayerWork(linear, signal, True)
    assert flops(both.build(CPU)) == 3 * flops(forward.build(CPU)) > 0
    assert forward.least_traffic(CPU) == 4 * (2 * 2 * 4 * 9 + 16)
    assert both.least_traffic(CPU) == 3 * forward.least_traffic(CPU)


def test_a_training_step_trains_and_leaves_the_random_state() -> None:
    from flat_settings import classifier

    made = []

    def make() -> nn.Module:
        made.append(classifier("ConvNetwork", widths=[2], max_resolution=8))
        return made[-1]

    state = torch.random.get_rng_state()
    step = StepWork(make, lightning_loss, batch=3, resolution=8).build(CPU)
    assert torch.equal(torch.random.get_rng_state(), state)
    before = [parameter.clone() for parameter in made[0].parameters()]
    step()
    changed = [not torch.equal(a, b) for a, b in zip(before, made[0].parameters(), strict=True)]
    assert all(changed)


def test_peak_memory_is_that_of_the_work_alone() -> None:
    mebibyte = 2**20
    ballast = torch.ones(300 * mebibyte, dtype=torch.uint8)
    work = LayerWork(nn.ReLU, partial(images, 1, 1, 4096), backward=False)
    peak = peak_bytes(work, CPU, threads=1)
    # The output of the layer is 64 MiB; the ballast of this process and the input do not count.
    assert 64 * mebibyte <= peak < 100 * mebibyte
    assert ballast[0] == 1


def test_layers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows, output = run(capsys, tmp_path, "--only", "layers", "--least", "2")
    names = dict.fromkeys(row["work"] for row in rows)
    assert len(names) == 8
    assert "Layers of sefl.fourier" in output
    for name in names:
        assert name in output
        assert [row["passes"] for row in rows if row["work"] == name] == ["forward", "forward + backward"]
    for row in rows:
        assert set(row["seconds"]) == {"ours", "plain", "convolution + ReLU", "copy"}
        assert {len(rounds) for rounds in row["seconds"].values()} == {2}
        assert set(row["ours_over"]) == {"plain", "convolution + ReLU", "traffic"}
        assert row["flop"]["ours"] > 0
        assert row["traffic"] > 0


def test_steps(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows, output = run(capsys, tmp_path, "--only", "steps", "--resolutions", "[9,8]", "--widths", "[3]")
    *steps, evaluation = rows
    names = ["training step, 9 x 9", "training step, 8 x 8", "... that pools, 13 x 13"]
    assert [row["work"] for row in steps] == names
    assert "ConvNetwork" in output
    assert evaluation["work"].startswith("quickstart, 20 images")
    assert set(evaluation["seconds"]) == {"ours", "forward"}
    assert "/ forward" in output
    for row in steps:
        assert set(row["seconds"]) == set(row["flop"]) == {"ours", "plain"}


def test_scaling(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    figure = tmp_path / "scaling.png"
    rows, output = run(capsys, tmp_path, "--only", "scaling", "--figure", str(figure))
    assert [row["facts"]["ours"]["size"] for row in rows] == [9, 13, 16, 1040, 9]
    grids = [set(row["seconds"]) & {"ours", "own grids"} for row in rows]
    assert grids == [{"ours", "own grids"}] * 3 + [{"ours"}] * 2
    assert all({"plain", "copy"} < set(row["seconds"]) for row in rows)
    assert "Time grows with size to the power of: a grid per band" in " ".join(output.split())
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert f"Written to {figure}\n" in output


def test_exponents_and_curves() -> None:
    def row(table: str, size: int, seconds: dict[str, list[float]]) -> Row:
        facts = {"ours": {"size": size}}
        return Row("scaling", "w", "forward + backward", 1, seconds, {}, {}, table=table, facts=facts)

    rows = [
        *(
            row("length", n, {"ours": [1e-6 * n**2], "own grids": [1e-9 * n**3], "copy": [1.0]})
            for n in (8, 16, 64)
        ),
        row("block", 9, {"ours": [1.0]}),
    ]
    assert times(rows) == {
        "length": {
            "shared grids, 1.3": {n: 1e-6 * n**2 for n in (8, 16, 64)},
            "a grid per band": {n: 1e-9 * n**3 for n in (8, 16, 64)},
        }
    }
    assert exponents(rows).endswith("a grid per band 3.00, shared grids, 1.3 2.00. ")
    assert exponents(rows[-1:]) == ""


def test_data(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows, output = run(capsys, tmp_path, "--only", "data")
    assert [row["work"] for row in rows] == ["STL10Scale", "MNISTScale"]
    for row, networks in zip(rows, (("fourier_small", "cnn_small"), ("fourier", "cnn")), strict=True):
        folder = {"STL10Scale": "stl10_scale", "MNISTScale": "mnist_scale"}[row["work"]]
        steps = {f"{folder}/{network}": {"images": 2} for network in networks}
        assert row["facts"] == {"0 workers": {"images": 20}, "1 workers": {"images": 20}, **steps}
        assert row["seconds"].keys() == row["facts"].keys()
    assert "Loaders without training" in output


def test_a_loader_is_compared_by_images_not_by_rounds() -> None:
    row = Row(
        part="data",
        work="w",
        passes="forward + backward",
        items=10,
        seconds={"0 workers": [2.0, 2.0], "net": [5.0, 5.0]},
        peak_bytes={},
        flop={},
        table="pipelines",
        facts={"0 workers": {"images": 80}, "net": {"images": 20}},
    )
    (shown,) = tables("data", [row])
    # 80 images in 2 s, and 20 in 5 s
    assert [list(column.cells) for column in shown.columns] == [
        *(["w"], ["0 workers"], ["40"], ["net"], ["4"], ["10.0 ±<1%"])
    ]


def test_the_photographs_are_mapped_and_stay_bytes(tmp_path: Path) -> None:
    from datamodules.stl10 import MappedImages

    images = mapped_photographs(tmp_path, size=1000)
    assert isinstance(images, MappedImages)
    assert {part.dtype for part in images._parts} == {torch.uint8}
    (file,) = tmp_path.iterdir()
    first = images[torch.tensor([0, 500])]
    assert first.shape == (2, 3, 96, 96)
    assert first.dtype == torch.uint8
    # what is written to the file is seen: it is mapped, not read
    with file.open("r+b") as opened:
        opened.write(bytes([255 - int(first[0, 0, 0, 0])]))
    assert images[torch.tensor([0])][0, 0, 0, 0] == 255 - first[0, 0, 0, 0]


def test_against_a_checkout(capsys: pytest.CaptureFixture[str], tmp_path: Path, checkout: Path) -> None:
    rows, output = run(capsys, tmp_path, "--only", "authors", "--against", str(checkout))
    assert [row["work"].split(",")[0] for row in rows] == [
        *("non-linearity", "non-linearity", "convolution", "convolution", "training step")
    ]
    for row in rows:
        assert set(row["seconds"]) == {"ours", "authors"}
        assert set(row["flop"]) == {"ours"}
    assert "authors' implementation" in output
    assert "chatter" not in output
    assert str(checkout) not in sys.path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--device tpu", "device must be cpu, cuda or cuda:N, got 'tpu'"),
        ("--device meta", "device must be cpu, cuda or cuda:N, got 'meta'"),
        ("--device cuda:99", "device cuda:99: .* CUDA devices; use cpu"),
        ("--threads 0", "threads must be at least 1, got 0"),
        ("--batch 0", "batch must be at least 1, got 0"),
        ("--widths []", "widths must be positive integers"),
        ("--resolution 7", "resolution must be at least 8, .* got 7"),
        ("--resolutions [28,7]", "resolutions must be at least 8, .* got 7"),
        ("--least 0", "least must be a positive integer, got 0"),
        ("--seconds .nan", "seconds must be a finite number"),
        ("--json nowhere/b.json", "json nowhere/b.json: there is no folder"),
        ("--only authors", "only authors: needs --against DIR"),
        ("--only sums", "sums"),
        ("--against nowhere", "against must be a checkout .* got nowhere, which has no scale_eq/.*git clone"),
        ("--against CHECKOUT --resolution 9", "resolution must be even with against, .* got 9"),
        ("--against CHECKOUT --resolutions [30]", "resolutions must be at most 28 with against"),
        ("--against CHECKOUT --widths [2]", "widths must be 4 with against"),
    ],
)
def test_mistakes_are_named_before_anything_is_measured(
    options: str, message: str, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["--quick", *options.replace("CHECKOUT", str(checkout)).split()])
    assert exit.value.code == 2
    error = capsys.readouterr().err.replace("\n", " ")
    assert re.search(message, error), error


def test_a_checkout_that_lacks_a_package(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = checkout / "scale_eq" / "layers" / "spectral_conv.py"
    broken.write_text("import a_package_that_nobody_has\n")
    with pytest.raises(SystemExit):
        main(["--against", str(checkout)])
    assert "a_package_that_nobody_has" in capsys.readouterr().err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["--help"])
    assert exit.value.code == 0
    output = capsys.readouterr().out
    for option in ("--only", "--against", "--device", "--quick", "--json"):
        assert option in output
