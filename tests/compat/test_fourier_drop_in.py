"""The names of the authors' Fourier repository: its examples, the numbers that theirs has, and what is refused.

Against their code itself: ``test_authors_code.py``."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck

from sefl.compat import SpectralConv2dLocalized, fourier, scaleEqNonlin, scaleEqNonlinMaxp
from sefl.fourier import SpectralConv2d, downsample, to_coefficients, to_grid

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
    assert {parameter.dtype for parameter in model.parameters()} == {torch.complex128}
    x = images(29, 1)
    assert model.get_feature(x).shape == (2, 6, 15, 15)
    with torch.no_grad():  # finer than max_res, as in their animation
        assert model.get_feature(images(33, 1)).shape == (2, 6, 17, 17)


def test_the_kernel_is_the_taps_from_pixel_0_on() -> None:
    conv = SpectralConv2dLocalized(
        in_channel=2, out_channel=3, global_modes=28, local_modes=8, dtype=torch.cdouble
    )
    kernel = conv.get_filters() / 28**2
    assert relative_error(kernel[..., :8, :8], torch.fft.ifft2(conv.L)) < 1e-12
    assert kernel[..., 8:, :].abs().max() < 1e-15
    assert relative_error(torch.fft.fft2(kernel), conv.get_filters_spectral()) < 1e-12


def test_writing_to_the_kernel_takes_effect() -> None:
    conv, x_ft = SpectralConv2dLocalized(1, 1, 16, 4), spectrum(images(9, 1, torch.float32))
    before = conv(x_ft)
    with torch.no_grad():
        conv.L *= 2
    assert relative_error(conv(x_ft), 2 * before) < 1e-5
    conv.load_state_dict({**conv.state_dict(), "L": torch.zeros_like(conv.L)})
    assert conv(x_ft).abs().max() == 0
    with pytest.raises(RuntimeError, match="Missing key"):
        conv.load_state_dict({})


def test_with_real_taps_it_is_the_library_s_convolution_moved() -> None:
    ours = SpectralConv2d(3, 4, 5, 16, bias=False).double()
    conv = SpectralConv2dLocalized(3, 4, 16, 5, dtype=torch.cdouble)
    with torch.no_grad():
        conv.L.copy_(torch.fft.fft2(ours.weight.permute(2, 3, 0, 1)))
    for r in (7, 13, 15):
        x = images(r)
        frequency = torch.fft.fftfreq(r, 1 / r, dtype=torch.float64)
        back = torch.polar(torch.ones(r, r), 2 * 2 * torch.pi / 16 * (frequency[:, None] + frequency).float())
        expected = spectrum(to_grid(ours(to_coefficients(x)), r))
        assert relative_error(conv(spectrum(x)) * back.to(torch.cdouble), expected) < 1e-5


@pytest.mark.parametrize("move", [lambda m: m.double(), lambda m: m.to(torch.cdouble)])
def test_precision_is_what_moves_and_never_the_kind(move: Callable[[nn.Module], nn.Module]) -> None:
    conv, nonlinearity = SpectralConv2dLocalized(3, 4, 16, 5), scaleEqNonlin(torch.relu, 6, "instance", 3)
    taps = conv.L.detach().clone()
    assert relative_error(move(conv).L, taps.to(torch.complex128)) == 0
    assert {p.dtype for p in move(nonlinearity).parameters()} == {torch.float64}


@pytest.mark.parametrize("axes", [1, 2])
def test_of_any_resolution_the_convolution_is_zero_above_its_modes_and_pools_to_them(axes: int) -> None:
    make = SpectralConv2dLocalized if axes == 2 else fourier.SpectralConvLocalized1d
    conv = make(3, 4, 14, 4, dtype=torch.cdouble)
    x_ft = torch.fft.fftn(
        images(19) if axes == 2 else images(19)[..., 0], dim=tuple(range(-axes, 0)), norm="forward"
    )
    whole, pooled = conv(x_ft), conv(x_ft, pool=True)
    assert whole[..., 8:12].abs().max() == 0
    assert pooled.shape == (2, 4, *[14] * axes)
    assert (
        relative_error(fourier.spectra.block(pooled, 13, axes), fourier.spectra.block(whole, 13, axes))
        < 1e-12
    )


@pytest.mark.parametrize("resolution", [7, 9, 13])
def test_the_outer_ring_at_odd_sizes_is_that_of_the_plain_activation(resolution: int) -> None:
    x = images(resolution)
    found, expected = scaleEqNonlin(torch.relu, 6)(spectrum(x)), spectrum(torch.relu(x))
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
        (SpectralConv2dLocalized(3, 4, 16, 8), 1),
        (scaleEqNonlin(torch.relu, 6, max_res=16), 1),
        (scaleEqNonlin(nn.PReLU(), 6, "instance", 3, max_res=16), 1),
        (scaleEqNonlinMaxp(torch.relu, 6, max_res=16), 2),
        (scaleEqNonlinMaxp(torch.sigmoid, 6, "instance", 3, 3, 18), 3),
    ]
    for layer, _ in made:
        layer.to(dtype)
        for parameter in layer.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return made


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equivariance_where_theirs_has_it(dtype: torch.dtype) -> None:
    """At odd resolutions without pooling; with it at every second one, images downsampled with their Nyquist rows."""
    finest = 15
    for layer, window in layers(dtype):
        if window == 1:
            errors = equivariance_errors(layer.get_feature, images(finest, dtype=dtype), 6)
            assert max(error for r, error in errors.items() if r % 2) < ROUNDING[dtype], (layer, errors)
    pooling = scaleEqNonlinMaxp(torch.relu, 6).to(dtype)
    x = images(30, dtype=dtype)
    with torch.no_grad():
        fine = pooling.get_feature(x)
        for r in (10, 18, 26):  # of 5, 9, 13 pixels when pooled
            coarse = pooling.get_feature(fourier.resample(x, (r, r), complex=False))
            assert relative_error(coarse, downsample(fine, r // 2)) < ROUNDING[dtype]


def test_a_plain_activation_and_a_plain_pooling_are_not_equivariant() -> None:
    """The control, through the same measure."""
    errors = equivariance_errors(torch.relu, images(15), 6)
    assert min(error for r, error in errors.items() if r < 14) > CONTROL, errors
    pooled = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True))
    errors = equivariance_errors(pooled, images(15), 6, 2)
    assert min(error for r, error in errors.items() if r < 14) > CONTROL, errors


@pytest.mark.parametrize("normalization", [None, "instance"])
def test_the_signal_layer_is_equivariant_and_leaves_channels_apart(normalization: str | None) -> None:
    layer = fourier.scaleEqNonlin1d(torch.relu, 6, normalization, 3).double()
    x = images(15)[..., 0]

    def at(x: Tensor) -> Tensor:
        return torch.fft.ifft(layer(torch.fft.fft(x, norm="forward")), norm="forward").real

    fine = at(x)
    for r in (7, 9, 13):
        small = torch.fft.irfft(torch.fft.rfft(x, norm="forward")[..., : r // 2 + 1], n=r, norm="forward")
        expected = torch.fft.irfft(
            torch.fft.rfft(fine, norm="forward")[..., : r // 2 + 1], n=r, norm="forward"
        )
        assert relative_error(at(small), expected) < 1e-12
    alone = x.clone()
    alone[:, 1:] = 0
    assert relative_error(at(alone)[:, 0], fine[:, 0]) < 1e-12


def test_gradients_and_copies() -> None:
    for layer, _ in layers(torch.float64):
        x_ft = spectrum(images(9)).requires_grad_()
        copy.deepcopy(layer)(x_ft).abs().square().sum().backward()
        assert x_ft.grad is not None
        assert x_ft.grad.isfinite().all()
    small = scaleEqNonlinMaxp(torch.sigmoid, 4, "instance", 1, max_res=6).double()
    assert gradcheck(small, (spectrum(images(6, 1)).requires_grad_(),))


def test_what_their_training_loop_reads_of_a_convolution() -> None:
    conv = SpectralConv2dLocalized(3, 4, 28, 5)
    assert conv.L.dtype == torch.complex64
    conv.get_reg_loss().backward()
    assert conv.L.grad is not None
    assert SpectralConv2dLocalized(64, 64, 28, 5).L.abs().square().mean().item() == pytest.approx(
        1 / 64, rel=0.03
    )


MIXERS = [
    (fourier.SpectralMixer_1D, 1),
    (fourier.SpectralMixer_2D, 2),
    (fourier.SpectralMixer_2D_shifteq, 2),
]


@pytest.mark.parametrize(("make", "axes"), MIXERS)
@pytest.mark.parametrize("band", [-1, 3])
def test_mixers_use_no_higher_frequencies_and_leave_their_input(
    make: Callable[..., nn.Module], axes: int, band: int
) -> None:
    mixer = make(3, 12, band)
    x = torch.randn(2, 3, *[9] * axes, dtype=torch.cfloat, generator=torch.Generator().manual_seed(0))
    before, modes = x.clone(), [9] * axes
    out = mixer(x, *modes)
    assert torch.equal(x, before)
    low = fourier.spectra.block(x, 5, axes)
    assert relative_error(mixer(low, *[5] * axes), fourier.spectra.block(out, 5, axes)) < 1e-5
    assert relative_error(mixer(fourier.spectra.block(out, 5, axes), *[5] * axes), low) > CONTROL
    mixer.get_reg_loss().backward()
    mixer.reset_parameter_1()
    assert all(
        torch.view_as_real(p).abs().max() <= 12**-0.5 if p.is_complex() else True for p in mixer.parameters()
    )


def test_mixing_magnitudes_commutes_with_shifts() -> None:
    x_ft = spectrum(images(9, dtype=torch.float32))
    shift = torch.polar(
        torch.ones(9, 9), torch.fft.fftfreq(9, 1 / 9)[:, None] + torch.fft.fftfreq(9, 1 / 9) * 2
    )
    for make, exact in ((fourier.SpectralMixer_2D_shifteq, True), (fourier.SpectralMixer_2D, False)):
        mixer = make(3, 12)
        error = relative_error(mixer(x_ft * shift, 9, 9), mixer(x_ft, 9, 9) * shift)
        assert error < 1e-4 if exact else error > CONTROL


def test_a_spectrum_made_real_is_that_of_real_images() -> None:
    spectra = torch.randn(2, 3, 8, 8, dtype=torch.cdouble)
    first = spectra[..., 1:4].clone()
    made = fourier.make_real(spectra)
    assert made is spectra
    assert torch.fft.ifft2(made).imag.abs().max() < 1e-15
    assert torch.equal(made[..., 1:4], first)


def test_every_name_is_found_and_others_are_not() -> None:
    for name in fourier.__all__:
        assert getattr(fourier, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'SpectralConv3d'"):
        fourier.SpectralConv3d  # noqa: B018


@pytest.mark.parametrize(
    ("name", "size", "arguments", "shape"),
    [
        ("fourier_mnist", (1, 13, 13), {}, (6, 10)),
        (
            "fourier_stl",
            (3, 32, 32),
            {"increment": 8, "max_res": 32, "base_res": 16, "pool_size": 4},
            (3, 10),
        ),
        ("fourier_1d", (1, 15), {}, (1,)),
        ("fourier_mixer", (1, 16, 16), {}, (10, 1, 16)),
        ("fourier_mixer_shift_invarinat", (1, 13, 13), {"mixer_band": 3}, (10, 1, 32)),
    ],
)
def test_networks_train(
    name: str, size: tuple[int, ...], arguments: dict[str, Any], shape: tuple[int, ...]
) -> None:
    assert name in fourier.get_available_models()
    network = fourier.get_model(name)(size[0], 1e-2, 1e-3, C1=2, C2=3, C3=2, C4=3, FC1=4, **arguments)
    x, y = torch.randn(2, *size), torch.tensor([1, 2])
    assert network(x).shape == (2, *shape)
    assert network.get_feature(x).shape[0] == 2
    optimizer = network.configure_optimizers()
    batch = (torch.randn(1, 1, 8000), 0, [[1, 0]]) if name == "fourier_1d" else (x, y)
    network._forward_step(batch, 0, "evaluate")[1].backward()
    grouped = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(grouped) == len(list(network.parameters()))
    optimizer.step()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpectralConv2dLocalized(0, 4, 28, 5), "in_channel must be a positive integer, got 0"),
        (lambda: SpectralConv2dLocalized(3, 4, 27, 5), "global_modes must be even .* got 27"),
        (lambda: SpectralConv2dLocalized(3, 4, 4, 7), r"at least local_modes \(7\), got 4"),
        (
            lambda: SpectralConv2dLocalized(3, 4, 28, 5, dtype=torch.float32),
            "dtype must be .* got torch.float32",
        ),
        (lambda: scaleEqNonlin(torch.relu, 0), "base_res must be a positive integer, got 0"),
        (lambda: scaleEqNonlin(torch.relu, 7), "base_res must be even, got 7"),
        (
            lambda: scaleEqNonlin(torch.relu, 6, "batch", 3),
            "normalization must be None or 'instance' .*'batch'",
        ),
        (lambda: scaleEqNonlin(torch.relu, 6, "instance"), "channels must be the number of features .* None"),
        (lambda: scaleEqNonlin(torch.relu, 6, increment=0), "increment must be a positive integer, got 0"),
        (
            lambda: scaleEqNonlinMaxp(torch.relu, 6, pool_window=0),
            "pool_window must be a positive integer, got 0",
        ),
        (lambda: fourier.SpectralMixer_2D(3, 8, 0), "mixer_band must be a number of frequencies, .* got 0"),
        (
            lambda: fourier.spectralMlp(8, 20, 3, False),
            r"num_feature must be a multiple of modes \(8\), got 20",
        ),
        (lambda: fourier.FourierSeqStl(3, 1e-3, 0.0), "increment must be an integer of at least 4, got None"),
        (lambda: fourier.get_model("fourier_3d"), "name must be one of fourier_mnist, .* got 'fourier_3d'"),
        (lambda: fourier.get_activation("mish"), "name must be one of gelu, .* got 'mish'"),
        (lambda: fourier.enblock2d(torch.zeros(1, 4, 4), 3), "modes must be at least those of t, 4, got 3"),
    ],
)
def test_arguments_out_of_range(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_inputs_that_do_not_fit() -> None:
    x = images(8, dtype=torch.float32)
    for layer in (SpectralConv2dLocalized(3, 4, 28, 5), scaleEqNonlin(torch.relu, 6)):
        with pytest.raises(TypeError, match=r"x_ft must be complex, torch.fft.fft2.* got torch.float32"):
            layer(x)
    with pytest.raises(ValueError, match=r"from base_res \(10\) on"):
        scaleEqNonlin(torch.relu, 10)(spectrum(x))
    normalised = scaleEqNonlin(torch.relu, 6, "instance", 3, max_res=12)
    with pytest.raises(ValueError, match=r"resolutions that the norm has, 6, .* 12, got one that needs 13"):
        normalised(spectrum(images(13, dtype=torch.float32)))
    with pytest.raises(ValueError, match=r"spectra \(batch, 3, r, r\), got .* \(2, 4, 8, 8\)"):
        SpectralConv2dLocalized(3, 4, 28, 5)(spectrum(images(8, 4, torch.float32)))


def test_what_is_left_out_says_what_to_take() -> None:
    with pytest.raises(ImportError, match=r"has no ScaleMNISTDataModule: .*datamodules.MNISTScale"):
        from sefl.compat.fourier import ScaleMNISTDataModule  # noqa: F401
