"""Run by ``test_constants``, in a process that knows no constant yet: every kind of trace before any ordinary pass."""

from itertools import count

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from sefl.fourier import downsample, to_coefficients
from sefl.networks import FourierNetwork, FourierTrunk

_sizes = count(10)  # a size of its own for each, whose constants nobody has asked for


def images() -> Tensor:
    size = next(_sizes)
    return torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(size))


def assert_ordinary(x: Tensor) -> None:
    """What a trace leaves behind serves an ordinary pass, a training step and another type."""
    for dtype in (torch.float32, torch.float64):
        leaf = x.detach().to(dtype, copy=True).requires_grad_()
        coefficients = to_coefficients(leaf)
        assert type(coefficients) is Tensor
        coefficients.square().sum().backward()
        assert leaf.grad is not None
        shown = downsample(x.to(dtype), 7)
        spectrum = torch.fft.fft2(x.to(dtype), norm="forward")[:, :, :4, :4]
        torch.testing.assert_close(torch.fft.fft2(shown, norm="forward")[:, :, :4, :4], spectrum)


def export() -> None:
    torch.manual_seed(0)
    trunk = FourierTrunk(widths=[3], kernel_size=3)
    network = FourierNetwork(trunk, base_resolution=6, max_resolution=9).eval()
    x = torch.rand(2, 1, 9, 9)
    with torch.no_grad():
        exported = torch.export.export(network, (x,)).module()
        found = network(x)
        assert type(found) is Tensor
        torch.testing.assert_close(exported(x), found)
    network(x).sum().backward()


def fake_tensors() -> None:
    x = images()
    for _before_and_after in range(2):
        with FakeTensorMode():
            to_coefficients(torch.rand(x.shape))
            downsample(torch.rand(x.shape), 7)
        assert_ordinary(x)


def inference_mode() -> None:
    x = images()
    with torch.inference_mode():
        to_coefficients(x)
        downsample(x, 7)
    assert_ordinary(x)


def meta_device() -> None:
    x = images()
    with torch.device("meta"):
        to_coefficients(torch.rand(x.shape))
        downsample(torch.rand(x.shape), 7)
        to_coefficients(x)
    assert_ordinary(x)


def default_type() -> None:
    x = images()
    torch.set_default_dtype(torch.float64)
    to_coefficients(x)
    torch.set_default_dtype(torch.float32)
    assert_ordinary(x)


def functional_transforms() -> None:
    x = images()
    torch.func.grad(lambda t: to_coefficients(t).square().sum())(x)
    torch.func.grad(lambda t: downsample(t, 7).square().sum())(x)
    assert_ordinary(x)
    x = images()
    torch.testing.assert_close(torch.func.vmap(lambda t: downsample(t, (7, 7)))(x), downsample(x, 7))
    x = images()
    torch.func.functionalize(lambda t: downsample(t, 7))(x)
    assert_ordinary(x)


def compiled() -> None:
    step = torch.compile(lambda t: downsample(t, 7), backend="eager")
    for x in (images(), images()):  # the second with sizes that dynamo takes for variables
        found = step(x)
        torch.testing.assert_close(found, downsample(x, 7))
        assert_ordinary(x)


if __name__ == "__main__":
    for trace in (
        export,
        fake_tensors,
        inference_mode,
        meta_device,
        default_type,
        functional_transforms,
        compiled,
    ):
        trace()
