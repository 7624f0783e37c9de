"""Draw what the library is about: python -m sefl.demo [--out DIR] [--seed N] [--readme true [--runs RUNS]]

An animation of the features of one image while its resolution grows, of an ordinary network and of its
scale-equivariant twin; a filter in space and in frequency; the error of the non-linearity at every resolution; and a
signal on a group before and after subsampling. Nothing is trained or downloaded; it takes some seconds. The
pictures are written to DIR/N.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from sefl.command_line.mistakes import OneLineParser
from sefl.demo.sizes import KERNEL, LEAST_RESOLUTION, MOST_RESOLUTION
from sefl.files.output_folders import check_folder
from sefl.files.own_packages import find_ours_first
from sefl.runs.folder import make_next_version

README_PICTURES = Path(".github")
PIPED_WIDTH = 120
FIGURES = 3
LARGEST_SEED = 2**63 - 1
"""That of torch's generators."""


@dataclass(frozen=True)
class Demo:
    """What to draw, and where to.

    Args:
        out: the pictures are written to OUT/0, 1, ...; nothing is overwritten.
        seed: of the random kernels and images.
        coarsest: pixels per side of the animation's first frame, at least 6.
        finest: pixels per side of its last frame, above coarsest, 11 to 72.
        readme: write over the README's pictures instead, in .github: these, and the errors of two networks.
        runs: a folder of trained runs; with readme also the pictures beside the tables of results.

    Raises:
        ValueError: if an argument is out of its range.
    """

    out: str = "demo"
    seed: int = 0
    coarsest: int = 8
    finest: int = 64
    readme: bool = False
    runs: str | None = None

    def __post_init__(self) -> None:
        check_folder(self.out, "--out")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ValueError(f"--seed must lie in 0..2^63 - 1, got {self.seed}")
        if not LEAST_RESOLUTION <= self.coarsest < self.finest:
            raise ValueError(
                f"--coarsest must be at least {LEAST_RESOLUTION} and below --finest, {self.finest}, got {self.coarsest}"
            )
        if self.readme and not README_PICTURES.is_dir():
            raise ValueError(
                f"--readme: there is no folder {README_PICTURES} here; give it in the repository"
            )
        if self.runs is not None and not self.readme:
            raise ValueError(f"--runs {self.runs}: is for --readme true")
        if not KERNEL <= self.finest <= MOST_RESOLUTION:
            raise ValueError(f"--finest must lie in {KERNEL}..{MOST_RESOLUTION}, got {self.finest}")

    def run(self, console: Console) -> None:
        """Draw everything.

        Raises:
            ValueError: if a run whose pictures are wanted is missing.
        """
        folder = README_PICTURES if self.readme else make_next_version(Path(self.out))
        drawn: dict[str, None] = {}
        columns = SpinnerColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("", total=FIGURES + self.finest - self.coarsest + 1)
            for name in self._draw(folder):
                progress.update(task, description=name, advance=1)
                drawn[name] = None
        written = f"Written to [bold]{escape(str(folder))}[/bold]: {', '.join(sorted(drawn))}"
        console.print(written, soft_wrap=True, highlight=False)

    def _draw(self, folder: Path) -> Iterator[str]:
        """Write one picture after the other; yields the name of the current one after each figure and each frame."""
        # with torch and Lightning, after seconds
        from sefl.demo.features_animation import animate
        from sefl.demo.filter_figure import filter_figure
        from sefl.demo.group_figure import group_figure
        from sefl.demo.nonlinearity_figure import nonlinearity_figure
        from sefl.demo.readme_pictures import equivariance_picture, pictures_of_runs

        yield _write(filter_figure(), folder / "filter.png")
        yield _write(group_figure(), folder / "group.png")
        yield _write(nonlinearity_figure(self.seed), folder / "nonlinearity.png")
        if self.readme:
            yield equivariance_picture(folder / "equivariance.png", self.seed)
        if self.readme and find_spec("escnn") is not None:
            from sefl.demo.escnn_figure import escnn_figure

            yield _write(escnn_figure(self.seed), folder / "escnn.png")
        if self.runs is not None:
            yield from pictures_of_runs(Path(self.runs), folder)
        for _ in animate(folder / "features.gif", self.seed, self.coarsest, self.finest):
            yield "features.gif"


def _write(figure: Any, path: Path) -> str:
    figure.savefig(path)
    return path.name


def main(arguments: list[str] | None = None) -> None:
    """Draw as the command line says."""
    find_ours_first()
    parser = OneLineParser(prog="python -m sefl.demo", description=__doc__)
    parser.add_class_arguments(Demo)
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    try:
        Demo(**options.as_dict()).run(Console(width=None if sys.stdout.isatty() else PIPED_WIDTH))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
