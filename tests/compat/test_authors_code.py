"""The authors' own test and example files on ours, and their weights in ours, where their checkouts are given.

    SEFL_AUTHORS=folder pytest tests/compat/test_authors_code.py

with both repositories in the folder, and einops, timm and pymanopt installed, which their code imports.
"""

import os
import subprocess
import sys
from pathlib import Path

import authors_code
import pytest
from authors_code import FOURIER, GROUPS, checkouts

AUTHORS = checkouts()
pytestmark = pytest.mark.skipif(
    AUTHORS is None, reason=f"SEFL_AUTHORS is not set to a folder with {FOURIER} and {GROUPS}"
)
ROOT = Path(__file__).parents[2]

# What fails with their own code too: a helper that pytest takes for a test. (All of test_claim_2.py asks for a GPU.)
FAIL_WITH_THEIRS = ("test_group_equivariance_basic",)
GROUP_TESTS = (
    *("model_tester", "layer_tester", "fourier_tester", "octa_fourier_tester", "test_3d_convolution"),
    *("test_3d_sampling", "test_3d_downsampling", "test_3d_gcnn", "test_3d_gcnn_fixed", "3d_claim_2"),
)
FOURIER_TESTS = ("test_layer_conv", "test_nonlinearity", "test_max_pool")


def run(arguments: list[str], folder: Path, *paths: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *paths, *sys.path)))}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("name", GROUP_TESTS)
def test_their_group_tests_pass(name: str, tmp_path: Path) -> None:
    pytest.importorskip("escnn")
    assert AUTHORS is not None
    authors_code.copy_files(AUTHORS / GROUPS, "tests", tmp_path)
    without = " and ".join(f"not {test}" for test in FAIL_WITH_THEIRS)
    arguments = ["-m", "pytest", "-q", "-o", "addopts=", "--rootdir", ".", "-k", without]
    run([*arguments, f"tests/{name}.py"], tmp_path)


# The other, demo_full_octahedral_gcnn, asks for a subgroup by factor 1. The first two fail with their own code.
DEMOS = ("demo_octahedral_gcnn", "demo_fully_convolutional_3d", "demo_anti_aliasing_comparison")


@pytest.mark.parametrize("demo", DEMOS)
def test_their_group_examples_run(demo: str, tmp_path: Path) -> None:
    pytest.importorskip("escnn")
    assert AUTHORS is not None
    authors_code.copy_files(AUTHORS / GROUPS, "examples", tmp_path)
    run(["-c", f"import runpy; runpy.run_path('examples/3d_gcnn_demo.py')['{demo}']()"], tmp_path)


@pytest.mark.parametrize("name", FOURIER_TESTS)
def test_their_fourier_tests_pass(name: str, tmp_path: Path) -> None:
    """They ask for a GPU and for timm's accuracy: here a CPU is named, and the accuracy is not imported."""
    assert AUTHORS is not None
    authors_code.copy_files(AUTHORS / FOURIER, "scale_eq/tests", tmp_path)
    tester = tmp_path / "scale_eq/tests/test_equievarience.py"
    changed = tester.read_text().replace("'cuda'", "'cpu'").replace("from timm.utils import accuracy", "")
    tester.write_text(changed)
    run(["-m", "pytest", "-q", "-o", "addopts=", "--rootdir", ".", f"scale_eq/tests/{name}.py"], tmp_path)


NUMBERS = """
import contextlib, io, torch
torch.manual_seed(0)
with contextlib.redirect_stdout(io.StringIO()):
    {theirs}
{ours}
def close(one, other):
    assert one.shape == other.shape
    error = ((one - other).norm() / one.norm()).item()
    assert error < 1e-3, error
def same(theirs, ours, *inputs):
    ours.load_state_dict(theirs.state_dict(), strict=True)
    theirs.eval(), ours.eval()
    for x in inputs:
        with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
            one, other = theirs(x.clone()), ours(x.clone())
        one, other = (each[0] if isinstance(each, tuple) else each for each in (one, other))
        close(one, other)
{body}
"""

FOURIER_NUMBERS = """
def spectra(*sizes, channels=3):
    return [torch.fft.fft2(torch.randn(2, channels, r, r), norm="forward") for r in sizes]
for taps in (5, 8):
    same(theirs.conv.SpectralConv2dLocalized(3, 4, 16, taps), ours.SpectralConv2dLocalized(3, 4, 16, taps),
         *spectra(8, 9, 15, 16, 20, 21))
for increment in (1, 2, 4):
    for norm in (None, "instance"):
        for name, window in (("scaleEqNonlin", {}), ("scaleEqNonlinMaxp", {"pool_window": 2})):
            made = [getattr(where, name)(torch.sigmoid, 8, norm, 3, max_res=24, increment=increment, **window)
                    for where in (theirs.nonlin, ours)]
            same(*made, *spectra(8, 12, 13, 15, 16, 20))
for name, norm in (("ComplexLayerNorm2d", 4), ("ComplexBatchNorm2dSim", 4)):
    same(getattr(theirs.modules, name)(3, 16), getattr(ours, name)(3, 16), *spectra(9, 16))
mlp = [where.spectralMlp(8, 24, 5, True, 3) for where in (theirs.mlp, ours)]
same(*mlp, torch.randn(2, 24, dtype=torch.cfloat))
small = {"C1": 4, "C2": 5, "C3": 6, "C4": 4, "FC1": 8}
stl = {"increment": 8, "max_res": 48, "base_res": 16, "pool_size": 6}
for name, more, channels, sizes in (("fourier_mnist", {}, 1, (28, 19)), ("fourier_stl", stl, 3, (48, 32)),
                                    ("fourier_mixer", {}, 1, (32, 24)),
                                    ("fourier_mixer_shift_invarinat", {"mixer_band": 3}, 1, (32, 21))):
    made = [where(name)(channels, 1e-3, 1e-2, **small, **more) for where in (theirs.models.get_model, ours.get_model)]
    same(*made, *[torch.randn(2, channels, r, r) for r in sizes])
"""

GROUP_NUMBERS = """
analytical = {"mode": "analytical", "smooth_operator": "adjacency", "equi_correction": False}
for names in (("cycle", 6, "cycle", 2), ("dihedral", 4, "cycle", 4), ("dihedral", 6, "dihedral", 2),
              ("octahedral", 24, "cycle", 6)):
    with contextlib.redirect_stdout(io.StringIO()):
        made = [make(*names, num_features=3, apply_antialiasing=True, anti_aliasing_kwargs=analytical)
                for make in (Theirs, ours.SubgroupDownsample)]
    size = len(made[1].sample.nodes)
    same(*made, torch.randn(2, 3 * size, 4, 4), torch.randn(size))
    y = torch.randn(2, 3 * made[1].sample.sampling_matrix.shape[0], 4, 4)
    close(made[0].upsample(y), made[1].upsample(y))
flat = {"input_channel": 2, "num_channels": [3, 4], "kernel_sizes": [3, 3], "init_group_order": 4,
        "dwn_group_types": [["dihedral", "cycle"], ["cycle", "cycle"]], "subsampling_factors": [2, 2],
        "spatial_subsampling_factors": [2, 1]}
volumes = {"input_channel": 1, "num_channels": [2, 3], "spatial_subsampling_factors": [2, 1]}
segments = {"num_channels": [1, 2, 2], "apply_antialiasing": True}
for name, arguments, x in (("get_model", flat, torch.randn(2, 2, 16, 16)),
                           ("get_3d_model", volumes, torch.randn(1, 1, 8, 8, 8)),
                           ("get_3d_segmentation_model", segments, torch.randn(1, 1, 6, 6, 6))):
    with contextlib.redirect_stdout(io.StringIO()):
        made = [getattr(where, name)(**arguments, antialiasing_kwargs=analytical) for where in (handler, ours)]
    same(*made, x)
"""


def test_their_fourier_weights_give_their_numbers(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    assert AUTHORS is not None
    theirs = (
        "import types\n"
        "    from scale_eq.layers import spectral_conv, scalq_eq_nonlin, complex_modules, spectral_mlp\n"
        "    import scale_eq.models\n"
        "    theirs = types.SimpleNamespace(conv=spectral_conv, nonlin=scalq_eq_nonlin, modules=complex_modules,\n"
        "                                   mlp=spectral_mlp, models=scale_eq.models)"
    )
    code = NUMBERS.format(theirs=theirs, ours="from sefl.compat import fourier as ours", body=FOURIER_NUMBERS)
    run(["-c", code], tmp_path, AUTHORS / FOURIER)


def test_their_group_weights_give_their_numbers(tmp_path: Path) -> None:
    for needed in ("escnn", "einops"):
        pytest.importorskip(needed)
    assert AUTHORS is not None
    theirs = "from gsampling.layers.downsampling import SubgroupDownsample as Theirs"
    theirs += (
        f"\n    import sys; sys.path.remove({str(ROOT)!r}); sys.path.insert(0, {str(AUTHORS / GROUPS)!r})"
    )
    theirs += "\n    from models import model_handler as handler"
    theirs += f"\n    sys.path.append({str(ROOT)!r})"
    code = NUMBERS.format(theirs=theirs, ours="from sefl.compat import groups as ours", body=GROUP_NUMBERS)
    run(["-c", code], tmp_path, AUTHORS / GROUPS)
