"""The names of the authors' Fourier repository: its examples, its data, and the exactness it was meant to have."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck

import sefl.fourier
from sefl.compat import SpectralConv2dLocalized, scaleEqNonlin, scaleEqNonlinMaxp
from sefl.compat.fourier import from_spectrum, to_spectrum
from sefl.fourier import band, downsample, to_coefficients, to_grid

ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-5}
CONTROL = 1e-2


def images(resolution: int, channels: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(resolution)
    return torch.randn(2, channels, resolution, resolution, generator=generator, dtype=torch.float64).to(
        dtype
    )


def spectrum(x: Tensor) -> Tensor:
    return torch.fft.fft2(x, norm="forward")


def relative_error(actual: Tensor, expected: Tensor) -> float:
    assert actual.shape == expected.shape, f"{tuple(actual.shape)} is not {tuple(expected.shape)}"
    return (torch.linalg.vector_norm(actual - expected) / torch.linalg.vector_norm(expected)).item()


def equivariance_errors(
    function: Callable[[Tensor], Tensor], x: Tensor, base: int, window: int = 1
) -> dict[int, float]:
    """Of a function on images, at every resolution from ``base`` to that of ``x``; even sizes without Nyquist."""
    with torch.no_grad():
        finest = function(x)
        errors = {}
        for r in range(base, x.shape[-1] + 1):
            size = math.ceil(r / window)
            coarse = downsample(function(downsample(x, r)), size)
            errors[r] = relative_error(coarse, downsample(finest, size))
    return errors


def test_the_example_of_their_readme() -> None:
    """As printed there, on 128 x 128 pixels and with an ``increment`` that skips resolutions."""
    seq_conv = SpectralConv2dLocalized(in_channel=3, out_channel=32, global_modes=28, local_modes=7)
    seq_nonlin = scaleEqNonlinMaxp(
        torch.nn.functional.sigmoid,
        base_res=32,
        normalization=None,
        max_res=128,
        increment=32,
        channels=32,
        pool_window=2,
    )
    random_input = torch.randn(1, 3, 128, 128).to(torch.float)
    with torch.no_grad():
        conv_out = seq_conv(torch.fft.fft2(random_input, norm="forward"))
        nonlin_out = seq_nonlin(conv_out)
        real_output = torch.fft.ifft2(nonlin_out, norm="forward").real
    assert conv_out.shape == (1, 32, 128, 128)
    assert nonlin_out.dtype == torch.complex64
    assert real_output.shape == (1, 32, 64, 64)
    assert real_output.isfinite().all()
    assert real_output.std() > 0


class TheirModel(nn.Module):
    """The network of their notebook, with fewer channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = SpectralConv2dLocalized(in_channel=1, out_channel=4, global_modes=28, local_modes=5)
        self.non_linear1 = scaleEqNonlinMaxp(
            nn.functional.sigmoid, 8, normalization=None, channels=4, pool_window=2, max_res=28, increment=1
        )
        self.conv2 = SpectralConv2dLocalized(in_channel=4, out_channel=6, global_modes=14, local_modes=5)
        self.non_linear2 = scaleEqNonlin(
            nn.functional.sigmoid, 4, normalization=None, channels=6, max_res=14, increment=1
        )

    def get_feature(self, x: Tensor) -> Tensor:
        x_ft = torch.fft.fft2(x, norm="forward")
        n1 = self.non_linear1(self.conv1(x_ft))
        n2 = self.non_linear2(self.conv2(n1))
        return torch.fft.ifft2(n2, norm="forward").real


@pytest.mark.filterwarnings("ignore:Complex modules are a new feature")
def test_the_network_of_their_notebook() -> None:
    model = TheirModel().to(torch.cdouble)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
    x = images(28, 1)
    assert model.get_feature(x).shape == (2, 6, 14, 14)
    assert max(equivariance_errors(model.get_feature, x, 8, window=2).values()) < ROUNDING[torch.float64]
    with torch.no_grad():  # finer than max_res, as in their animation
        assert model.get_feature(images(33, 1)).shape == (2, 6, 17, 17)


def test_the_filters_of_their_notebook() -> None:
    conv = SpectralConv2dLocalized(in_channel=1, out_channel=1, global_modes=28, local_modes=3)
    kernel = conv.get_filters().roll((1, 1), dims=(-2, -1)) / 28**2
    assert relative_error(kernel[0, 0, :3, :3].real, conv.convolution.weight[:, :, 0, 0]) < 1e-5
    assert kernel[0, 0, 3:].abs().max() < 1e-5
    assert relative_error(torch.fft.fft2(conv.get_filters() / 28**2), conv.get_filters_spectral()) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("resolution", [1, 2, 3, 8, 9, 27, 28])
def test_conversion_there_and_back(resolution: int, dtype: torch.dtype) -> None:
    x = images(resolution, dtype=dtype)
    coefficients = from_spectrum(spectrum(x))
    assert coefficients.dtype == dtype
    assert relative_error(coefficients, to_coefficients(x)) < ROUNDING[dtype]
    back = to_spectrum(coefficients, resolution)
    assert back.dtype == (torch.complex128 if dtype == torch.float64 else torch.complex64)
    assert relative_error(from_spectrum(back), coefficients) < ROUNDING[dtype]
    kept = x if resolution % 2 else downsample(x, resolution)
    assert relative_error(back, spectrum(kept)) < ROUNDING[dtype]


def test_an_even_size_comes_back_without_its_nyquist_row_and_column_and_nothing_else() -> None:
    before = spectrum(images(8))
    after = to_spectrum(from_spectrum(before), 8)
    assert after[..., 4, :].abs().max() < 1e-15
    assert after[..., :, 4].abs().max() < 1e-15
    rest = [0, 1, 2, 3, 5, 6, 7]
    assert relative_error(after[..., rest, :][..., rest], before[..., rest, :][..., rest]) < 1e-12
    assert relative_error(after, before) > CONTROL


def test_conversion_takes_the_real_part_of_the_images_and_pads() -> None:
    x, other = images(9), images(9).flip(0)
    assert relative_error(from_spectrum(spectrum(torch.complex(x, other))), to_coefficients(x)) < 1e-12
    padded = torch.fft.ifft2(to_spectrum(to_coefficients(x), 14), norm="forward").real
    assert relative_error(padded, to_grid(to_coefficients(x), 14)) < 1e-12


@pytest.mark.parametrize("size", [5, 6])
def test_conversions_are_differentiable(size: int) -> None:
    x_ft = spectrum(images(size, 1)).requires_grad_()
    assert gradcheck(from_spectrum, (x_ft,))
    assert gradcheck(lambda c: to_spectrum(c, size), (from_spectrum(x_ft).detach().requires_grad_(),))


@pytest.mark.parametrize("resolution", [7, 8, 13, 14])
def test_the_convolution_multiplies_by_its_filters(resolution: int) -> None:
    conv = SpectralConv2dLocalized(3, 4, 14, 5, dtype=torch.cdouble)
    x_ft = to_spectrum(to_coefficients(images(resolution)), resolution)
    frequency = torch.fft.fftfreq(resolution, 1 / resolution).long()
    transfer = conv.get_filters_spectral()[..., frequency[:, None], frequency]
    assert relative_error(conv(x_ft), torch.einsum("bixy,ioxy->boxy", x_ft, transfer)) < 1e-12


def test_the_convolution_is_zero_above_its_modes_and_pools_to_them() -> None:
    conv = SpectralConv2dLocalized(3, 4, 14, 5, dtype=torch.cdouble)
    x_ft = spectrum(images(19))
    whole = conv(x_ft)
    assert whole.shape == (2, 4, 19, 19)
    assert whole[..., 7:13, :].abs().max() < 1e-15
    pooled = conv(x_ft, pool=True)
    assert pooled.shape == (2, 4, 14, 14)
    assert relative_error(from_spectrum(pooled), from_spectrum(whole)[:13, :13]) < 1e-12


@pytest.mark.parametrize("resolution", [7, 9, 13])
def test_the_outer_ring_at_odd_sizes_is_that_of_the_plain_activation(resolution: int) -> None:
    """What theirs gives too, and exactly: the outer frequencies come from the whole image."""
    x = images(resolution)
    found = scaleEqNonlin(torch.relu, 6)(spectrum(x))
    expected = spectrum(torch.relu(x))
    edge = resolution // 2
    for ring in (edge, edge + 1):
        assert relative_error(found[..., ring, :], expected[..., ring, :]) < 1e-12
        assert relative_error(found[..., :, ring], expected[..., :, ring]) < 1e-12
    assert relative_error(found, expected) > CONTROL


def layers(dtype: torch.dtype) -> list[tuple[nn.Module, int]]:
    """Layers with random parameters, and the windows by which they pool."""
    torch.manual_seed(0)
    made = [
        (SpectralConv2dLocalized(3, 4, 16, 5), 1),
        (scaleEqNonlin(torch.relu, 6, max_res=16), 1),
        (scaleEqNonlin(nn.PReLU(), 6, "instance", 3, max_res=16, increment=2), 1),
        (scaleEqNonlinMaxp(torch.relu, 6, max_res=16), 2),
        (scaleEqNonlinMaxp(torch.sigmoid, 6, "instance", 3, 3, 16), 3),
    ]
    for layer, _ in made:
        layer.to(dtype)
        for parameter in layer.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return made


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("finest", [15, 16])
def test_equivariance_at_every_resolution(finest: int, dtype: torch.dtype) -> None:
    for layer, window in layers(dtype):
        errors = equivariance_errors(layer.get_feature, images(finest, dtype=dtype), 6, window)
        assert max(errors.values()) < ROUNDING[dtype], (layer, errors)


@pytest.mark.parametrize(
    ("window", "increment", "band_step"),
    [
        (1, 1, 1),
        (1, 2, 1),
        (1, 3, 1),
        (1, 4, 2),
        (1, 5, 2),
        (1, 8, 4),
        (2, 3, 1),
        (2, 4, 1),
        (2, 8, 2),
        (3, 12, 2),
    ],
)
def test_an_increment_skips_bands(window: int, increment: int, band_step: int) -> None:
    """Of 2 m pixels m bands, which max-pooling divides: those that are left are exact, and there are others."""
    base, finest = 6, 29
    x = images(finest)
    if window == 1:
        layer = scaleEqNonlin(torch.relu, base, increment=increment)
        same = sefl.fourier.ScaleEquivariantNonlinearity2d(torch.relu, base, finest, band_step=band_step)
    else:
        layer = scaleEqNonlinMaxp(torch.relu, base, pool_window=window, increment=increment)
        same = sefl.fourier.ScaleEquivariantMaxPool2d(window, torch.relu, base, finest, band_step=band_step)
    expected = to_grid(same(to_coefficients(x)), math.ceil(finest / window))
    assert relative_error(layer.get_feature(x), expected) < 1e-12
    errors = equivariance_errors(layer.get_feature, x, base, window)
    of_band = {band(math.ceil(r / window)): error for r, error in errors.items() if r != finest}
    first = min(of_band)
    computed = [error for b, error in of_band.items() if (b - first) % band_step == 0]
    skipped = [error for b, error in of_band.items() if (b - first) % band_step and b < max(of_band)]
    assert max(computed) < ROUNDING[torch.float64]
    assert bool(skipped) == (band_step > 1)
    assert all(error > 1e-4 for error in skipped)


def test_what_is_skipped_has_no_scales_to_train() -> None:
    every, fourth = (scaleEqNonlin(torch.relu, 6, "instance", 3, increment=step) for step in (1, 8))
    assert every.nonlinearity.weight.shape == (12, 3)  # bands 2 to 13
    assert fourth.nonlinearity.weight.shape == (4, 3)  # bands 2, 6, 10 and 14


def test_a_plain_activation_and_a_plain_pooling_are_not_equivariant() -> None:
    """The control, through the same measure."""
    for finest in (15, 16):
        errors = equivariance_errors(torch.relu, images(finest), 6)
        assert min(error for r, error in errors.items() if r < finest - 1) > CONTROL, errors
        errors = equivariance_errors(
            lambda x: nn.functional.max_pool2d(torch.relu(x), 2, ceil_mode=True), images(finest), 6, 2
        )
        assert min(error for r, error in errors.items() if r < finest - 1) > CONTROL, errors


def test_gradients_and_copies() -> None:
    for layer, _ in layers(torch.float64):
        x_ft = spectrum(images(8)).requires_grad_()
        copy.deepcopy(layer)(x_ft).abs().square().sum().backward()
        assert x_ft.grad is not None
        assert x_ft.grad.isfinite().all()
    small = scaleEqNonlinMaxp(torch.sigmoid, 4, "instance", 1, max_res=6).double()
    assert gradcheck(small, (spectrum(images(6, 1)).requires_grad_(),))


def test_under_autocast() -> None:
    for layer, window in layers(torch.float32):
        x = images(9, dtype=torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            found = layer.get_feature(x)
        assert found.shape[-1] == math.ceil(9 / window)
        assert relative_error(found, layer.get_feature(x)) < 2e-2


def test_the_layers_inside_are_the_library_s() -> None:
    conv, nonlin = SpectralConv2dLocalized(3, 4, 16, 5), scaleEqNonlinMaxp(torch.relu, 6, max_res=16)
    assert isinstance(conv.convolution, sefl.fourier.SpectralConv2d)
    assert type(nonlin.nonlinearity) is sefl.fourier.ScaleEquivariantMaxPool2d
    x = images(11, dtype=torch.float32)
    expected = nonlin.nonlinearity(conv.convolution(to_coefficients(x)))
    assert relative_error(from_spectrum(nonlin(conv(spectrum(x)))), expected) < 1e-5


def test_what_their_training_loop_reads_of_a_convolution() -> None:
    conv = SpectralConv2dLocalized(3, 4, 28, 5)
    assert conv.L.dtype == torch.complex64
    assert conv.L.shape == (3, 4, 5, 5)
    conv.get_reg_loss().backward()
    assert conv.convolution.weight.grad is not None
    large = SpectralConv2dLocalized(64, 64, 28, 5)
    assert large.convolution.weight.std().item() == pytest.approx((2 * 64 * 5**2) ** -0.5, rel=0.02)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpectralConv2dLocalized(0, 4, 28, 5), "in_channel must be a positive integer, got 0"),
        (lambda: SpectralConv2dLocalized(3, 0, 28, 5), "out_channel must be a positive integer, got 0"),
        (lambda: SpectralConv2dLocalized(3, 4, 28, 8), "local_modes must be odd, .* got 8; 7 or 9 would do"),
        (
            lambda: SpectralConv2dLocalized(3, 4, 5, 7),
            r"local_modes must lie in 1..global_modes \(5\), got 7",
        ),
        (
            lambda: SpectralConv2dLocalized(3, 4, 28, 5, dtype=torch.float32),
            r"dtype must be torch.cfloat or torch.cdouble, got torch.float32",
        ),
        (lambda: scaleEqNonlin(torch.relu, 0), "base_res must be a positive integer, got 0"),
        (
            lambda: scaleEqNonlin(torch.relu, 6, "batch", 3),
            "normalization must be None or 'instance' .*'batch'",
        ),
        (lambda: scaleEqNonlin(torch.relu, 6, "instance"), "channels must be the number of features .* None"),
        (
            lambda: scaleEqNonlin(torch.relu, 30, "instance", 3),
            r"base_res must be at most max_res \(28\), got 30",
        ),
        (lambda: scaleEqNonlin(torch.relu, 6, increment=0), "increment must be a positive integer, got 0"),
        (lambda: scaleEqNonlin(nn.ReLU(inplace=True), 6), "must not work in place"),
        (
            lambda: scaleEqNonlinMaxp(torch.relu, 6, pool_window=0),
            "pool_window must be a positive integer, got 0",
        ),
    ],
)
def test_arguments_out_of_range(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_inputs_that_do_not_fit() -> None:
    x = images(8)
    for layer in (SpectralConv2dLocalized(3, 4, 28, 5), scaleEqNonlin(torch.relu, 6)):
        with pytest.raises(TypeError, match=r"x_ft must be complex, torch.fft.fft2.* got torch.float64"):
            layer(x)
        with pytest.raises(ValueError, match=r"rfft2 does not, got shape \(2, 3, 8, 5\)"):
            layer(torch.fft.rfft2(x, norm="forward"))
    with pytest.raises(ValueError, match=r"x_ft must have base_res \(10\) or more pixels per side, got 8"):
        scaleEqNonlin(torch.relu, 10)(spectrum(x))
    normalised = scaleEqNonlin(torch.relu, 6, "instance", 3, max_res=12)
    with pytest.raises(ValueError, match=r"base_res \(6\) to max_res \(12\) pixels per side, got 13"):
        normalised(spectrum(images(13)))
    with pytest.raises(ValueError, match="coefficients must have in_channels=3, got 4"):
        SpectralConv2dLocalized(3, 4, 28, 5)(spectrum(images(8, 4)))
    assert scaleEqNonlin(torch.relu, 30)(spectrum(images(31))).shape == (2, 3, 31, 31)
