"""Measure speed and memory: python -m sefl.bench [--only PART] [--against DIR] [--key value ...]

The layers of sefl.fourier against plain layers and against memory traffic; a training step of the Fourier network
against one of a plain network, and a test against forward passes; how time grows with resolution; training loaders
against training steps; the filters of sefl.groups, in milliseconds, its layers, and sampled networks that keep the
whole group; and, with --against and --against_groups, the same work against the authors' implementations. Everything
that is compared runs in turns, and what is reported are ratios, which a noisy machine disturbs less than times.
"""

import json
import sys
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from sefl.bench.authors import AuthorsCode
from sefl.bench.comparisons import (
    HEAD_BASE,
    PAPER,
    TINY,
    Comparison,
    Part,
    Sizes,
    against_authors,
    layers,
    steps,
)
from sefl.bench.evaluation import evaluations
from sefl.bench.filters import designs, surveys
from sefl.bench.group_authors import GroupAuthorsCode, against_group_authors
from sefl.bench.group_layers import convolutions, group_layers
from sefl.bench.group_networks import group_networks
from sefl.bench.measurement import Row, measure
from sefl.bench.pipelines import pipelines
from sefl.bench.scaling import scaling, times
from sefl.bench.tables import tables
from sefl.bench.timing import Effort
from sefl.command_line.mistakes import OneLineParser
from sefl.figures.scaling import times_over_resolution
from sefl.files.own_packages import find_ours_first

PARTS: tuple[Part, ...] = get_args(Part)
PIPED_WIDTH = 160
LEAST: dict[Part, int] = {"layers": 5, "steps": 3, "scaling": 2, "data": 20, "groups": 5, "authors": 2}
"""Rounds: many of loaders, whose batches differ in resolution; few of the authors' half-minute steps."""


@dataclass(frozen=True)
class Benchmark:
    """What to measure, and how.

    Args:
        only: measure this part alone; ``authors`` needs ``against`` or ``against_groups``, and
            ``groups`` has sizes of its own.
        against: compare with the authors' code: a checkout of ashiq24/Scale_Equivarinat_Fourier_Layer.
        against_groups: compare with the authors' filters, which take them half a minute: a checkout of
            ashiq24/Group_Sampling.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        threads: processor threads, by default as many as torch takes.
        batch: images in a batch, by default 128 as published.
        channels: channels of the layers' input, by default 32.
        resolution: pixels per side of the layers' input, by default 28.
        resolutions: pixels per side of the training steps' images, by default 28, 20, 14 and 8.
        widths: channels of the networks' blocks, by default the published 32, 64, 100 and 100.
        seconds: keep on measuring a comparison for this long.
        least: rounds of a comparison, however long they take; by default 5 of layers and of groups, 3 of
            steps, 2 of scaling, 20 of loaders, 2 against the authors' code.
        memory: measure peak memory, on a CPU in a process of its own for each contestant.
        quick: tiny sizes and few rounds by default: says whether everything runs, not how fast.
        json: the file to write everything to, after each comparison.
        figure: the file to draw the scaling in: time over resolution, with fitted exponents.

    Raises:
        ValueError: if an argument is out of its range or contradicts another.
    """

    only: Part | None = None
    against: Path | None = None
    against_groups: Path | None = None
    device: str = "cpu"
    threads: int | None = None
    batch: int | None = None
    channels: int | None = None
    resolution: int | None = None
    resolutions: list[int] | None = None
    widths: list[int] | None = None
    seconds: float | None = None
    least: int | None = None
    memory: bool = True
    quick: bool = False
    json: Path | None = None
    figure: Path | None = None

    def __post_init__(self) -> None:
        """Find every mistake before anything is measured."""
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")
        for name in ("batch", "channels"):
            value = getattr(self.sizes, name)
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for name, values in (("resolutions", self.sizes.resolutions), ("widths", self.sizes.widths)):
            if not values or min(values) < 1:
                raise ValueError(f"{name} must be positive integers, one at least, got {list(values)}")
        for name, values in (
            ("resolution", (self.sizes.resolution,)),
            ("resolutions", self.sizes.resolutions),
        ):
            if min(values) < HEAD_BASE:
                raise ValueError(
                    f"{name} must be at least {HEAD_BASE}, the networks' base, got {min(values)}"
                )
        for name, file in (("json", self.json), ("figure", self.figure)):
            if file is not None and not file.absolute().parent.is_dir():
                raise ValueError(f"{name} {file}: there is no folder {file.absolute().parent}; make it first")
        if self.only == "authors" and self.against is None and self.against_groups is None:
            raise ValueError(
                "only authors: needs --against DIR or --against_groups DIR, checkouts of their repositories"
            )
        for part in PARTS:
            self.effort(part)
        _ = self.torch_device, self.comparisons

    @cached_property
    def torch_device(self) -> torch.device:
        try:
            device = torch.device(self.device)
        except RuntimeError as error:
            raise ValueError(f"device must be cpu, cuda or cuda:N, got {self.device!r}") from error
        if device.type not in ("cpu", "cuda"):
            raise ValueError(f"device must be cpu, cuda or cuda:N, got {self.device!r}")
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            raise ValueError(
                f"device {self.device}: torch {torch.__version__} sees {torch.cuda.device_count()} CUDA "
                "devices; use cpu"
            )
        return device

    @cached_property
    def sizes(self) -> Sizes:
        given: dict[str, Any] = {field.name: getattr(self, field.name, None) for field in fields(Sizes)}
        for name, value in given.items():
            given[name] = tuple(value) if isinstance(value, list) else value
        given = {name: value for name, value in given.items() if value is not None}
        return replace(TINY if self.quick else PAPER, **given)

    def effort(self, part: Part) -> Effort:
        """How long to measure a comparison of this part."""
        usual = Effort(least=1, seconds=0.0) if self.quick else Effort(least=LEAST[part])
        return replace(
            usual,
            least=usual.least if self.least is None else self.least,
            seconds=usual.seconds if self.seconds is None else self.seconds,
        )

    @cached_property
    def comparisons(self) -> dict[Part, list[Comparison]]:
        """What is compared, by part."""
        groups = self.sizes.groups
        planned: dict[Part, list[Comparison]] = {
            "layers": layers(self.sizes),
            "steps": [*steps(self.sizes), *evaluations(self.sizes.pipelines)],
            "scaling": scaling(self.sizes),
            "data": pipelines(self.sizes.pipelines),
            "groups": [
                *surveys(groups),
                *designs(groups),
                *group_layers(groups, self.sizes.copy_bytes),
                *convolutions(groups),
                *group_networks(groups),
            ],
            "authors": [],
        }
        if self.against is not None:
            planned["authors"] += against_authors(self.sizes, AuthorsCode(self.against))
        if self.against_groups is not None:
            planned["authors"] += against_group_authors(GroupAuthorsCode(self.against_groups))
        return {part: rows for part, rows in planned.items() if self.only in (None, part)}

    def run(self, console: Console) -> list[Row]:
        """Measure, show each part when it is done, and write the file after each comparison."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads or before)
        try:
            return self._run(console)
        finally:
            torch.set_num_threads(before)

    def _run(self, console: Console) -> list[Row]:
        rows: list[Row] = []
        machine = self.machine()
        console.print(", ".join(f"{name} {value}" for name, value in machine.items()), highlight=False)
        columns = SpinnerColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("", total=sum(map(len, self.comparisons.values())))
            for part, comparisons in self.comparisons.items():
                for comparison in comparisons:
                    progress.update(task, description=f"{part}: {comparison.work}, {comparison.passes}")
                    rows.append(
                        measure(
                            comparison,
                            self.torch_device,
                            self.effort(part),
                            torch.get_num_threads(),
                            self.memory,
                        )
                    )
                    self._write(machine, rows)
                    progress.advance(task)
                for shown in tables(part, [row for row in rows if row.part == part]):
                    console.print(shown)
        written = [] if self.json is None else [self.json]
        if self.figure is not None and (panels := times(rows)):
            times_over_resolution(panels).savefig(self.figure)
            written.append(self.figure)
        for path in written:
            console.print(f"Written to [bold]{escape(str(path))}[/bold]", soft_wrap=True)
        return rows

    def machine(self) -> dict[str, Any]:
        """What the numbers depend on besides the code."""
        device = self.torch_device
        name = (
            torch.cuda.get_device_name(device)
            if device.type == "cuda"
            else torch.backends.cpu.get_cpu_capability()
        )
        return {
            "torch": torch.__version__,
            "device": f"{device} ({name})",
            "threads": torch.get_num_threads(),
        }

    def _write(self, machine: dict[str, Any], rows: list[Row]) -> None:
        if self.json is None:
            return
        content = {"machine": machine, "sizes": asdict(self.sizes), "rows": [row.as_dict() for row in rows]}
        self.json.write_text(json.dumps(content, indent=2) + "\n")


def main(arguments: list[str] | None = None) -> None:
    """Measure as the command line says."""
    find_ours_first()
    parser = OneLineParser(prog="python -m sefl.bench", description=__doc__)
    parser.add_class_arguments(Benchmark, skip={"quick"})
    parser.add_argument(
        "--quick",
        action="store_true",
        help="Tiny sizes and few rounds by default: says whether everything runs, not how fast.",
    )
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    try:
        benchmark = Benchmark(**options.as_dict())
    except ValueError as error:
        parser.error(str(error))
    benchmark.run(Console(width=None if sys.stdout.isatty() else PIPED_WIDTH))


if __name__ == "__main__":
    main()
