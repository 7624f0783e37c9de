"""python -m sefl.demo: the pictures it writes, and what they say."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from sefl.demo import group_figure, nonlinearity_figure
from sefl.demo.__main__ import main
from sefl.demo.features_animation import Equivariant, Ordinary, circular_convolution, rendered_digit
from sefl.demo.filter_figure import FINEST, KERNEL, edge_filter, impulse_response
from sefl.equivariance.feature_maps import feature_maps
from sefl.figures.style import power_of_ten
from sefl.fourier import SpectralConv2d, to_coefficients, to_grid
from sefl.groups import bandlimit, finite_group


@pytest.fixture
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_writes_every_picture(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--coarsest", "8", "--finest", "13", "--seed", "3"])
    written = "features.gif, filter.png, group.png, nonlinearity.png"
    assert capsys.readouterr().out.splitlines()[-1] == f"Written to demo/0: {written}"
    assert [path.name for path in sorted(Path("demo/0").iterdir())] == written.split(", ")
    for name in ("filter.png", "group.png", "nonlinearity.png"):
        with Image.open(Path("demo/0", name)) as picture:
            assert picture.width == 810
            assert np.asarray(picture.convert("L")).std() > 10
    with Image.open("demo/0/features.gif") as animation:
        assert animation.n_frames == 6  # type: ignore[attr-defined]
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(animation)]
    assert all((one != other).any() for one, other in pairwise(frames))


def test_nothing_is_overwritten(in_tmp_path: Path) -> None:
    Path("pictures/4").mkdir(parents=True)
    main(["--out", "pictures", "--coarsest", "10", "--finest", "11"])
    assert not list(Path("pictures/4").iterdir())
    assert len(list(Path("pictures/5").iterdir())) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--coarsest", "5"], "--coarsest must be at least 6 and below --finest, 64, got 5"),
        (["--coarsest", "20", "--finest", "20"], "below --finest, 20, got 20"),
        (["--finest", "73"], "--finest must lie in 11..72, got 73"),
        (["--finest", "10"], "--finest must lie in 11..72, got 10"),
        (["--seed", "-1"], "--seed must lie in 0..2^63 - 1, got -1"),
        (["--out", "file"], "--out 'file': can't be made or written into; it is a file"),
        (["--finest", "many"], "finest"),
        (["--colour", "red"], "colour"),
    ],
)
def test_a_mistake_is_one_message(
    arguments: list[str],
    message: str,
    in_tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("file").touch()
    with pytest.raises(SystemExit) as exit_status:
        main(arguments)
    assert exit_status.value.code == 2
    assert message in capsys.readouterr().err
    assert not Path("demo").exists()


def test_the_networks_of_the_animation() -> None:
    finest, coarsest = 24, 8
    image = rendered_digit(finest)
    equivariant = Equivariant(coarsest, finest, torch.Generator().manual_seed(0))
    ours = feature_maps(equivariant, image, "", range(coarsest, finest))
    ordinary = feature_maps(Ordinary(equivariant.weights), image, "", range(coarsest, finest))
    for resolution in range(coarsest, finest):
        assert ours[resolution].features.shape == ordinary[resolution].features.shape
        assert ours[resolution].error < 1e-10
        assert ordinary[resolution].error > 1e-2


def test_the_twins_have_the_same_kernels() -> None:
    """At the resolution of the kernels, where that is odd, their convolutions agree; below they do not."""
    convolution = Equivariant(8, 23, torch.Generator().manual_seed(0)).convolutions[0]
    assert isinstance(convolution, SpectralConv2d)
    for resolution, agree in ((23, True), (13, False)):
        image = rendered_digit(resolution)
        with torch.no_grad():
            ours = to_grid(convolution(to_coefficients(image)), resolution)
            ordinary = circular_convolution(image, convolution.weight)
        assert torch.allclose(ours, ordinary, rtol=1e-4, atol=1e-4) == agree


def test_the_figure_of_the_nonlinearity() -> None:
    images = torch.randn(2, 2, 33, 33, generator=torch.Generator().manual_seed(0))
    ours = nonlinearity_figure.errors(nonlinearity_figure.OnCoefficients(), images)
    plain = nonlinearity_figure.errors(nonlinearity_figure.OnPixels(), images)
    assert len(ours) == len(plain) == 25
    assert max(ours) < 1e-11
    assert min(plain) > 0.05


def test_the_figure_of_the_group() -> None:
    limit = bandlimit(finite_group(group_figure.GROUP), group_figure.SUBGROUP)
    values = group_figure.signal()
    smooth = limit.projector @ values
    np.testing.assert_allclose(group_figure.reconstruction(limit, smooth), smooth, atol=1e-13)
    naive = group_figure.reconstruction(limit, values)
    assert np.square(naive - smooth).sum() > 0.1 * np.square(smooth).sum()


def test_the_filter_is_local() -> None:
    response = impulse_response(edge_filter())
    margin = (FINEST - KERNEL) // 2
    inside = response[margin:-margin, margin:-margin].clone()
    torch.testing.assert_close(inside, edge_filter().weight.data[:, :, 0, 0], rtol=0, atol=1e-5)
    response[margin:-margin, margin:-margin] = 0
    assert response.abs().max() < 1e-5 * inside.abs().max()


@pytest.mark.parametrize(
    ("error", "shown"), [(0.0, "0"), (1.52, "1.5"), (0.01, "0.01"), (3.2e-13, r"$3\times10^{-13}$")]
)
def test_errors_are_spelled(error: float, shown: str) -> None:
    assert power_of_ten(error) == shown
