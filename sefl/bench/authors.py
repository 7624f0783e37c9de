"""The authors' code (NeurIPS 2023), imported from a checkout that the user names; none of it is here."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

REPOSITORY = "https://github.com/ashiq24/Scale_Equivarinat_Fourier_Layer"
MAX_RESOLUTION = 28
"""Their network's, a literal in it."""

_PACKAGE = "scale_eq"
_NONLINEARITY = "layers.scalq_eq_nonlin"
_CONVOLUTION = "layers.spectral_conv"
_NETWORK = "models.fourier_seq_mnist"


@dataclass(frozen=True)
class AuthorsCode:
    """Makes the authors' layers and network out of a checkout of their repository.

    Args:
        directory: the checkout.

    Raises:
        ValueError: if it is not one, or its code cannot be imported.
    """

    directory: Path

    def __post_init__(self) -> None:
        for name in (_NONLINEARITY, _CONVOLUTION, _NETWORK):
            require_module("against", self.directory, f"{_PACKAGE}.{name}", REPOSITORY)
        try:
            for name in (_NONLINEARITY, _CONVOLUTION, _NETWORK):
                self._module(name)
        except ImportError as error:
            raise ValueError(
                f"against {self.directory}: cannot import the code there ({error}); install what it lacks"
            ) from error

    def nonlinearity(self, base_resolution: int, resolution: int) -> nn.Module:
        """Their ReLU without norm, on ``fft2(images, norm="forward")``."""
        layer = self._module(_NONLINEARITY).scaleEqNonlin
        return silently(layer, F.relu, base_resolution, None, None, resolution)

    def convolution(self, inputs: int, outputs: int, kernel_size: int, resolution: int) -> nn.Module:
        """Their localised spectral convolution, on ``fft2(images, norm="forward")``."""
        layer = self._module(_CONVOLUTION).SpectralConv2dLocalized
        return silently(layer, inputs, outputs, resolution, kernel_size)

    def network(self, widths: tuple[int, ...]) -> nn.Module:
        """Their MNIST-scale network with the published settings."""
        network = self._module(_NETWORK).FourierSeqMist
        channels = {f"C{index}": width for index, width in enumerate(widths, start=1)}
        return silently(
            network,
            in_channel=1,
            learning_rate=1e-2,
            weight_decay=3e-2,
            FC1=256,
            dropout_fc2=0.75,
            **channels,
        )

    def _module(self, name: str) -> ModuleType:
        return imported("against", self.directory, f"{_PACKAGE}.{name}")


def require_module(argument: str, directory: Path, module: str, repository: str) -> None:
    """Check that a checkout has a module.

    Raises:
        ValueError: if not; it names the argument and where to get a checkout.
    """
    file = Path(*module.split(".")).with_suffix(".py")
    if not (directory / file).is_file():
        raise ValueError(
            f"{argument} must be a checkout of the authors' repository, got {directory}, "
            f"which has no {file}; git clone {repository} makes one"
        )


def imported(argument: str, directory: Path, name: str) -> ModuleType:
    """A module of a checkout.

    Raises:
        ImportError: if something that it needs is not installed.
        ValueError: if its package was imported from elsewhere before.
    """
    with _importable(directory), redirect_stdout(StringIO()):
        module = importlib.import_module(name)
    file = Path(str(module.__file__)).resolve()
    if not file.is_relative_to(directory.resolve()):
        package = name.split(".")[0]
        raise ValueError(f"{argument} {directory}: {package} was already imported from {file}")
    return module


def silently(make: Any, *args: Any, **kwargs: Any) -> nn.Module:
    """What ``make`` makes, without what it prints."""
    with redirect_stdout(StringIO()):
        made: nn.Module = make(*args, **kwargs)
    return made


def network_loss(model: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Their training loss, without the logging that needs a trainer."""
    loss: Tensor = model._forward_step(batch, 0, stage="evaluate")[1]
    return loss


@contextmanager
def _importable(directory: Path) -> Iterator[None]:
    """Let imports find the checkout, and a stand-in for timm, of which it uses the accuracy alone."""
    stubs = {} if importlib.util.find_spec("timm") else _timm()
    path = str(directory.resolve())
    sys.path.insert(0, path)
    sys.modules.update(stubs)
    try:
        yield
    finally:
        sys.path.remove(path)
        for name in stubs:
            del sys.modules[name]


def _timm() -> dict[str, ModuleType]:
    package, submodule = ModuleType("timm"), ModuleType("timm.utils")
    submodule.accuracy = _accuracy  # type: ignore[attr-defined]
    package.utils = submodule  # type: ignore[attr-defined]
    return {"timm": package, "timm.utils": submodule}


def _accuracy(logits: Tensor, labels: Tensor) -> list[Tensor]:
    return [100 * (logits.argmax(1) == labels).to(torch.float32).mean()]
