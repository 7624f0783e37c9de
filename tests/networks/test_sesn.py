"""SESN: filters are the same function at every scale, and enlarging an image shifts the scale axis."""

from typing import Any

import numpy as np
import pytest
import torch
from flat_settings import made
from scale_equivariance import assert_same, relative_squared_error
from torch import Tensor
from torch.nn import functional as F

from sefl.fourier import downsample
from sefl.networks import SESN
from sefl.networks.sesn import ScaleConv2d, hermite_basis

BASE, FINEST = 6, 13
OCTAVES = [1.0, 2**0.5, 2.0, 2 * 2**0.5]
OCTAVE = 2  # entries of these from a scale to its double


def network(**settings: Any) -> SESN:
    torch.manual_seed(0)
    small = {"in_channels": 2, "classes": 5, "widths": [3, 4, 4], "scales": [1.0, 1.5], "order": 2}
    small |= {"base_resolution": BASE, "max_resolution": FINEST, "head_hidden": 8, "head_dropout": 0.0}
    return made(SESN, **{**small, **settings}).double().eval()


def images(resolution: int, batch: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(resolution)
    return torch.randn(batch, 2, resolution, resolution, generator=generator, dtype=torch.float64)


def pattern(size: int, spacing: float) -> Tensor:
    """The same smooth functions, two channels of waves in Gaussian windows, at points this far apart."""
    x = (torch.arange(size, dtype=torch.float64) - size // 2) * spacing
    row, column = x[:, None], x[None, :]
    window = torch.exp(-(row**2 + column**2) / (2 * 10.0**2))
    return torch.stack([window * (0.5 * row + 0.2 * column).cos(), window * (0.3 * column - 0.4).sin()])[None]


def test_the_basis_is_hermite_polynomials_under_a_gaussian() -> None:
    basis = hermite_basis([1.3, 2.0], 3)
    assert basis.shape == (10, 2, 11, 11)
    x = np.arange(-5, 6)
    degrees = [(n, m) for n in range(4) for m in range(4 - n)]
    for function, (n, m) in zip(basis, degrees, strict=True):
        sampled = []
        for scale in (1.3, 2.0):
            t = x / scale
            one = [np.polynomial.hermite_e.hermeval(t, [0] * k + [1]) * np.exp(-(t**2) / 2) for k in (n, m)]
            one = [axis * (np.abs(t) <= 2.5) / scale for axis in one]
            sampled.append(np.outer(*one))
        expected = torch.from_numpy(np.stack(sampled) / np.linalg.norm(sampled[0]))
        torch.testing.assert_close(torch.from_numpy(function), expected, rtol=0, atol=1e-12)


def test_a_kernel_acts_at_each_scale_by_itself() -> None:
    torch.manual_seed(0)
    layer = ScaleConv2d(2, 3, [1.0, 1.5], 2).double()
    features = torch.randn(2, 2, 2, 9, 9, dtype=torch.float64)
    found, lifted = layer(features), layer(features[:, :, :1])
    for index in range(2):
        kernel = torch.einsum("oif,fxy->oixy", layer.weight, layer.basis[:, index])
        assert_same(found[:, :, index], F.conv2d(features[:, :, index], kernel, padding=3))
        assert_same(lifted[:, :, index], F.conv2d(features[:, :, 0], kernel, padding=3))


def test_enlarging_an_image_shifts_the_scale_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks on an image twice as large, two scales up, at every second pixel, are those on the image."""
    model = network(scales=OCTAVES, order=3, pools=[1, 1, 1])
    small, large = pattern(41, 1.0), pattern(81, 0.5)
    of_small, of_large = (model.blocks[:2](image.unsqueeze(2)) for image in (small, large))
    coarse = of_small[:, :, :-OCTAVE]
    assert relative_squared_error(of_large[:, :, OCTAVE:, ::2, ::2], coarse) < 1e-2
    # The controls: without the shift along scales, and an ordinary network of the same taps at every scale.
    assert relative_squared_error(of_large[:, :, :-OCTAVE, ::2, ::2], coarse) > 0.05
    same = model.blocks[0][0].basis[:, :1].expand(-1, len(OCTAVES), -1, -1)
    monkeypatch.setattr(ScaleConv2d, "basis", same)
    of_small, of_large = (model.blocks[:2](image.unsqueeze(2)) for image in (small, large))
    assert relative_squared_error(of_large[:, :, OCTAVE:, ::2, ::2], of_small[:, :, :-OCTAVE]) > 0.05


def test_every_resolution_has_a_prediction() -> None:
    for resize in ("none", "ideal", "zero"):
        model = network(resize=resize)
        for r in range(BASE, FINEST + 1):
            logits = model(images(r))
            assert logits.shape == (3, 1, 5)
            assert logits.isfinite().all()
    model, x = network(), images(FINEST)
    found = model.predict_all_resolutions(x)
    for r in range(BASE, FINEST + 1):
        assert_same(found[:, r - BASE], model(downsample(x, r))[:, 0])
    for name in model.measured_layers():
        model.get_submodule(name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": []}, r"widths must name the channels of at least one block, got \[\]"),
        ({"scales": []}, r"scales must name at least one scale, got \[\]"),
        ({"scales": [1.0, 0.0]}, r"scales must be a finite number above 0, got 0\.0"),
        ({"order": -1}, "order must be an integer of at least 0, got -1"),
        ({"pools": [2]}, r"pools must have one entry per block, 3 as widths, got \[2\]"),
        ({"pools": [2, 0, 1]}, r"pools must be positive integers, got \[2, 0, 1\]"),
        ({"resize": "mirror"}, r"resize must be one of 'none', .* got 'mirror'"),
    ],
)
def test_sesn_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**arguments)
