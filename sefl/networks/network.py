"""What every network can do: remember what it was made of, and save and load itself."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from inspect import isabstract
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args

import torch
from jsonargparse import ArgumentParser
from safetensors import SafetensorError
from torch import Tensor, nn

from sefl.arguments import require_floating, require_positive, require_positives
from sefl.files.made_of import MadeOf, has_lost, import_path, plain
from sefl.fourier import downsample
from sefl.fourier.sampling import Center
from sefl.networks.saved import CLASS, CONFIG, OF_THE_HUB, TRAINED_ON, read_config, saved_folder
from sefl.networks.trained_on import TrainedOn
from sefl.tensors.differentiation import transformed
from sefl.tensors.output_types import Bands

with warnings.catch_warnings():  # tqdm's, in notebooks without widgets
    warnings.simplefilter("ignore")
    from huggingface_hub import PyTorchModelHubMixin

Dimensions = Literal[1, 2]
"""Of the space that a network sees: signals and images."""
NetworkClass = TypeVar("NetworkClass", bound=nn.Module)


class Network(MadeOf, nn.Module, PyTorchModelHubMixin, ABC, library_name="sefl", license="mit"):
    """Base of networks that save themselves as ``config.json``, their arguments, and ``model.safetensors``.

    ``network.save_pretrained(folder)`` and ``Class.from_pretrained(folder)`` are those of :mod:`huggingface_hub`;
    ``Network.from_pretrained`` takes a network of any class. Beside the arguments stand the class and
    :attr:`trained_on`, what it takes to read an image for the network.
    """

    trained_on: TrainedOn | None = None

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> str | None:
        """Write the network into a folder.

        Raises:
            ValueError: if an argument cannot be stored, such as a lambda.
        """
        made_of = self.made_of()
        if lost := [name for name, value in made_of["init_args"].items() if has_lost(value)]:
            raise ValueError(
                f"{type(self).__name__}: {lost[0]} cannot be stored; give a class or function that can be imported"
            )
        config = plain(made_of["init_args"]) | {CLASS: made_of["class_path"]}
        if self.trained_on is not None:
            config[TRAINED_ON] = asdict(self.trained_on)
        return super().save_pretrained(save_directory, **{"config": config, **options})

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, strict: bool = True, **options: Any
    ) -> Self:
        """A saved network with its weights, in evaluation mode.

        Args:
            pretrained_model_name_or_path: the name of one that comes with this package (:mod:`sefl.networks.saved`),
                its folder, or ``"owner/name"`` on the Hub.
            strict: whether there must be all weights and no others.
            **options: ``map_location``, arguments of the network instead of those stored, and, of a name on the Hub,
                those of ``huggingface_hub.snapshot_download``.

        Raises:
            ValueError: if nothing is there, it is damaged, or it is of another class than this or those below it.
        """
        hub = {name: options.pop(name) for name in OF_THE_HUB if name in options}
        folder = saved_folder(pretrained_model_name_or_path, hub)
        config = read_config(folder)
        path = config.get(CLASS)
        found = cls if path is None and not isabstract(cls) else known_class(cls, path, str(folder))
        try:
            with redirect_stdout(None):  # which the mixin writes to
                network: Self = super(Network, found).from_pretrained(folder, strict=strict, **options)
        except (SafetensorError, RuntimeError, OSError) as error:
            raise ValueError(f"{folder}: its weights do not load: {error}") from error
        if TRAINED_ON in config:
            network.trained_on = TrainedOn(**config[TRAINED_ON])
        return network

    @classmethod
    def _from_pretrained(cls, **options: Any) -> Self:
        # the mixin hands all of a configuration to a class that takes further arguments
        arguments = {name: value for name, value in options.items() if name not in (CLASS, TRAINED_ON)}
        network: Self = super()._from_pretrained(**arguments)
        return network

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Logits of images ``(batch, in_channels, h, w)``."""

    def predict(self, images: Tensor) -> Tensor:
        """Logits ``(batch, classes)`` at the resolution of the images."""
        logits: Tensor = self(images)
        return logits

    def before_optimizer_step(self) -> None:
        """Change gradients before an optimiser uses them; nothing, here."""

    def measured_layers(self) -> list[str]:
        """Names of the modules whose equivariance :func:`sefl.equivariance.measure` measures by default: all parts."""
        return [name for name, _ in self.named_children()]


class ScaleNetwork(Network):
    """Base of networks that classify images, or signals, of several resolutions.

    ``forward`` maps images ``(batch, in_channels, r, r)`` to logits ``(batch, bands, classes)``, bands from coarse to
    fine, the last one being the prediction at the resolution of the input. With ``dimensions=1`` the images are
    signals ``(batch, in_channels, length)``, and resolutions, pixels are lengths, samples.

    Args:
        in_channels: channels of the images.
        classes: number of classes.
        base_resolution: coarsest resolution of an input.
        max_resolution: finest resolution of an input.
        dimensions: 2 for images, 1 for signals.

    Raises:
        TypeError: in ``forward``, if the images are not a floating-point tensor.
        ValueError: if an argument is out of its range, and in ``forward`` for images that are not square, have other
            than ``in_channels`` channels or a resolution outside the range.
    """

    output_type = Bands()
    sampling_center: Center = "pixel"
    """Where the grids of all resolutions lie, see :func:`sefl.fourier.downsample`."""

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 10,
        base_resolution: int = 8,
        max_resolution: int = 28,
        dimensions: Dimensions = 2,
    ) -> None:
        super().__init__()
        self.in_channels = require_positive("in_channels", in_channels)
        self.classes = require_positive("classes", classes)
        if not 1 <= base_resolution <= max_resolution:
            raise ValueError(
                f"base_resolution must lie in 1..max_resolution ({max_resolution}), got {base_resolution}"
            )
        self.base_resolution = require_positive("base_resolution", base_resolution)
        self.max_resolution = require_positive("max_resolution", max_resolution)
        if dimensions not in get_args(Dimensions):
            raise ValueError(f"dimensions must be 1 for signals or 2 for images, got {dimensions}")
        self.dimensions = dimensions

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(batch, bands, classes)`` of images ``(batch, in_channels, r, r)``."""

    def predict(self, images: Tensor) -> Tensor:
        return super().predict(images)[:, -1]

    def predict_all_resolutions(
        self,
        images: Tensor,
        resolutions: Sequence[int] | None = None,
        progress: Callable[[Sequence[int]], Iterator[int]] = iter,
    ) -> Tensor:
        """Logits at each of ``resolutions`` for the images ideally downsampled to it.

        Args:
            images: ``(batch, in_channels, r, r)``.
            resolutions: by default every integer from ``base_resolution`` to ``r``.
            progress: goes through the resolutions where each takes a pass, and may show how far it is.

        Returns:
            ``(batch, len(resolutions), classes)``.

        Raises:
            ValueError: if a resolution is below the base or above that of the images.
        """
        one_by_one = progress(self._resolutions(images, resolutions))
        return torch.stack(
            [self(downsample(images, r, self.sampling_center))[:, -1] for r in one_by_one], dim=1
        )

    def _require_images(self) -> None:
        if self.dimensions != 2:
            raise ValueError(
                f"dimensions must be 2: {type(self).__name__} is for images, got {self.dimensions}"
            )

    def _resolutions(self, images: Tensor, resolutions: Sequence[int] | None) -> Sequence[int]:
        finest = images.shape[-1]
        if resolutions is None:
            return range(self.base_resolution, finest + 1)
        outside = [r for r in resolutions if not self.base_resolution <= r <= finest]
        if outside:
            kind = "signals" if self.dimensions == 1 else "images"
            raise ValueError(
                f"resolutions must lie between base_resolution {self.base_resolution} and the {kind}' {finest}, "
                f"got {outside}"
            )
        return resolutions

    def _check_images(self, images: Tensor) -> None:
        require_floating("signals" if self.dimensions == 1 else "images", images)
        shape = tuple(images.shape)
        if self.dimensions == 1:
            kind, quantity, expected = "signals", "length", "(batch, channels, length)"
        else:
            kind, quantity, expected = "images", "resolution", "square, (batch, channels, r, r)"
        if images.dim() != 2 + self.dimensions or any(size != shape[2] for size in shape[2:]):
            raise ValueError(f"{kind} must be {expected}, got shape {shape}")
        if shape[1] != self.in_channels:
            raise ValueError(f"{kind} must have in_channels={self.in_channels}, got {shape[1]}")
        if not self.base_resolution <= shape[2] <= self.max_resolution:
            raise ValueError(
                f"{kind} of {quantity} {shape[2]} are outside the model's range, base_resolution "
                f"{self.base_resolution} to max_resolution {self.max_resolution}"
            )


def known_class(base: type[NetworkClass], path: str | None, holder: str) -> type[NetworkClass]:
    """The class of a saved network among those that are imported: reading a configuration imports nothing.

    Args:
        base: the class that it must be of.
        path: its import path, ``None`` if the configuration has none.
        holder: what holds it, for the message.

    Raises:
        ValueError: if there is none.
    """
    found = {import_path(each): each for each in (base, *_below(base))}.get(path)
    if found is None:
        raise ValueError(
            f"{holder}: holds a {path or 'network of an unknown class'}, which is none of {base.__name__} that was "
            f"imported; import it, or call from_pretrained of its class"
        )
    return found


def stored_as_config(base: type) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """How ``config.json`` holds a network that another one is made of: by its class and arguments.

    Args:
        base: the class that it must be of.

    Returns:
        From a network to what is stored, and back; ``coders`` of :class:`huggingface_hub.ModelHubMixin`.
    """

    def made(config: dict[str, Any]) -> Network:
        known_class(base, config.get(CLASS), f"{CONFIG}: network")
        parser = ArgumentParser()
        parser.add_subclass_arguments(base, "network")
        network: Network = parser.instantiate(parser.parse_object({"network": config})).network
        return network

    return lambda network: network.made_of(), made


def _below(base: type[NetworkClass]) -> Iterator[type[NetworkClass]]:
    """The classes that derive from one."""
    for each in base.__subclasses__():
        yield each
        yield from _below(each)


def block_shapes(
    in_channels: int, widths: Sequence[int], pools: Sequence[int], **others: Sequence[Any]
) -> list[tuple[int, int, int]]:
    """Input channels, output channels and pooling window of each of a chain of blocks.

    >>> block_shapes(3, [16, 32], [1, 2])
    [(3, 16, 1), (16, 32, 2)]

    Args:
        in_channels: channels of the images.
        widths: output channels of each block.
        pools: pooling window of each block, 1 for none.
        **others: what else there is of each block, by name.

    Raises:
        ValueError: if there is no block, or not one positive window or one of the others for each.
    """
    if not widths:
        raise ValueError("widths must name the channels of at least one block, got []")
    for name, values in {"pools": pools, **others}.items():
        if len(values) != len(widths):
            raise ValueError(
                f"{name} must have one entry per block, {len(widths)} as widths, got {list(values)}"
            )
    widths, pools = require_positives("widths", widths), require_positives("pools", pools)
    return list(zip([in_channels, *widths[:-1]], widths, pools, strict=True))


def channels_last(images: Tensor) -> Tensor:
    """Images in the order in which CPUs and GPUs convolve fastest, the most in half precision; signals as they are."""
    if images.dim() != 4 or transformed():  # vmap knows no other order
        return images
    return images.contiguous(memory_format=torch.channels_last)
