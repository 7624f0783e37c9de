"""The pictures of the README and of the tables of results that are no demonstration: of networks, and of runs."""

import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from datamodules.glyphs import base_glyphs
from sefl.equivariance import EquivarianceRow, measure
from sefl.figures.depth import propagation_of_runs
from sefl.figures.equivariance import heat_map
from sefl.figures.features import features_of_networks
from sefl.fourier import downsample
from sefl.networks import ConvNetwork, FourierNetwork
from sefl.runs.evaluation import Evaluation
from sefl.runs.experiments import group_runs
from sefl.runs.folder import versions
from sefl.runs.run import Run, find_runs, read_run

FINEST = 28

FEATURES_OF = ("stl10_scale/fourier_small", "stl10_scale/cnn_small")
ERRORS_OF = {  # those with all layers first, whose order the picture has
    "naive": "rotated_mnist/c12_to_c6_naive",
    "anti-aliased": "rotated_mnist/c12_to_c6",
    "not subsampled": "rotated_mnist/c12",
    "whole group": "rotated_mnist/c12_to_c6_whole_wide",
}
RECONSTRUCTION_OF = "rotated_mnist/c12_to_c6"


def equivariance_picture(file: Path, seed: int) -> str:
    """The error of every layer at every resolution, of a Fourier network above and of a CNN below.

    It is a property of the layers: the networks have their initial weights, and statistics of the images that are
    measured, rendered digits.
    """
    images = downsample(base_glyphs()[:, :1].float(), FINEST)
    torch.manual_seed(seed)
    networks: list[nn.Module] = [FourierNetwork(), ConvNetwork()]
    maps = []
    for network in networks:
        network.train()(images)
        rows = measure(network.eval(), images).rows
        maps.append(heat_map(rows, f"Equivariance error of {type(network).__name__}"))
    _one_below_the_other(maps).save(file)
    return file.name


def pictures_of_runs(runs: Path, folder: Path) -> Iterator[str]:
    """Those beside the tables of results, of the newest evaluated runs of their configurations.

    Raises:
        ValueError: if there is no such run.
    """
    experiments, _ = group_runs(map(read_run, find_runs(runs / name for name in FEATURES_OF)))
    figure = features_of_networks(experiments)
    if figure is None:
        raise ValueError(
            f"--runs {runs}: {' and '.join(FEATURES_OF)} must be an exact and an ordinary network"
        )
    yield _written(figure, folder / "features.png")
    rows = {label: _evaluated(runs / name) for label, name in ERRORS_OF.items()}
    yield _written(propagation_of_runs(rows, "Equivariance error under C12"), folder / "group_errors.png")
    pictures = sorted((runs / RECONSTRUCTION_OF).glob("**/reconstruction/*.png"))
    if not pictures:
        raise ValueError(
            f"--runs {runs}: {RECONSTRUCTION_OF} was not tested with callbacks.ReconstructionFigure"
        )
    shutil.copyfile(pictures[-1], folder / "reconstruction.png")
    yield "reconstruction.png"


def _evaluated(path: Path) -> list[EquivarianceRow]:
    """The rows of the newest evaluation of a configuration's runs."""
    for version in reversed(versions(path)):
        for evaluation in reversed(Run(version).evaluations):
            return [EquivarianceRow(**row) for row in Evaluation.read(evaluation).equivariance]
    raise ValueError(f"{path}: there is no evaluated run; python -m sefl.evaluate evaluates one")


def _written(figure: Figure, file: Path) -> str:
    figure.savefig(file)
    return file.name


def _one_below_the_other(figures: list[Figure]) -> Image.Image:
    pictures = []
    for figure in figures:
        memory = BytesIO()
        figure.savefig(memory, format="png")
        pictures.append(Image.open(memory).convert("RGB"))
    sheet = Image.new("RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)), "white")
    for index, picture in enumerate(pictures):
        sheet.paste(picture, (0, sum(above.height for above in pictures[:index])))
    return sheet
