"""Any classification network of torchvision as it is, to train or only to measure; copy this file for your own."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sefl.files.torch_files import read_torch_file
from sefl.networks.single_prediction import SinglePredictionNetwork

COLORS = 3


class TorchvisionNetwork(SinglePredictionNetwork):
    """A network of torchvision, its code unchanged: ``(batch, in_channels, r, r)`` to ``(batch, 1, classes)``.

    The network is :attr:`body`, so that its layers are called ``body.layer1`` and so on. Grey images are given
    to it three times, as its three colours.

    Most of these networks are made for images of 224 pixels. A ResNet halves the resolution five times: of ``r``
    pixels ``r / 32``, rounded up, are left behind its last layer, one of 28 pixels, where nothing is left that could
    move. Give it 64 pixels or more (2 x 2), and measure no lower than 33. Networks of a fixed input size, such as
    vision transformers, cannot be measured at other resolutions; the other transformations do.

    Args:
        architecture: its name in ``torchvision.models``.
        in_channels: channels of the images, 1 or 3.
        classes: number of classes.
        weights: torchvision's name of weights to start from, such as ``DEFAULT``; they are downloaded. Most have 1000
            classes.
        state_dict: a file of weights to start from, as ``torch.save(network.state_dict(), file)`` writes it.
        network_args: further arguments of the network, such as ``{aux_logits: false}``.
        base_resolution: coarsest resolution of an input.
        max_resolution: finest resolution of an input.

    Raises:
        FileNotFoundError: if there is no file ``state_dict``.
        ValueError: if an argument is out of its range, or ``state_dict`` holds no weights or those of another network;
            in ``forward`` for images that are not square, have other than ``in_channels`` channels or a resolution
            outside the range.
    """

    def __init__(
        self,
        architecture: str = "resnet18",
        in_channels: int = 3,
        classes: int = 10,
        weights: str | None = None,
        state_dict: str | None = None,
        network_args: dict[str, Any] | None = None,
        base_resolution: int = 33,
        max_resolution: int = 224,
    ) -> None:
        super().__init__(in_channels, classes, base_resolution, max_resolution)
        if in_channels not in (1, COLORS):
            raise ValueError(f"in_channels must be 1 or {COLORS}, got {in_channels}")
        if weights is not None and state_dict is not None:
            raise ValueError(f"state_dict {state_dict} and weights {weights} exclude each other, give one")
        body = torchvision_network(architecture, classes, weights, network_args or {})
        self.body = self.prepared(architecture, body)
        if state_dict is not None:
            load_state_dict(self.body, Path(state_dict))
        self.pretrained = weights is not None or state_dict is not None
        """Whether there is something to evaluate without a checkpoint (``python -m sefl.evaluate``)."""

    def prepared(self, architecture: str, network: nn.Module) -> nn.Module:
        """The network as it is used; a subclass may change it."""
        return network

    def arguments_to_store(self, arguments: dict[str, Any]) -> dict[str, Any]:
        arguments |= {"weights": None, "state_dict": None}
        if hasattr(self.body, "transform_input"):  # which weights switch on
            given = arguments.get("network_args") or {}
            arguments["network_args"] = {**given, "transform_input": self.body.transform_input}
        return arguments

    def classify(self, images: Tensor) -> Tensor:
        logits: Tensor = self.body(images.expand(-1, COLORS, -1, -1))
        return logits

    def measured_layers(self) -> list[str]:
        return [f"body.{name}" for name, _ in self.body.named_children()]


def torchvision_network(
    architecture: str, classes: int, weights: str | None, network_args: dict[str, Any]
) -> nn.Module:
    """A classification network of torchvision by name.

    Raises:
        ValueError: if there is no network, or there are no weights of the name, or it has a second output in training.
    """
    from torchvision import models  # which imports all of torch.compile

    known = models.list_models(module=models)
    if architecture not in known:
        raise ValueError(f"architecture must be one of {', '.join(known)}, got {architecture!r}")
    if weights is not None:
        names = models.get_model_weights(architecture).__members__
        if weights not in names:
            raise ValueError(f"weights of {architecture} must be one of {', '.join(names)}, got {weights!r}")
    network: nn.Module = models.get_model(architecture, weights=weights, num_classes=classes, **network_args)
    if getattr(network, "aux_logits", False):
        raise ValueError(
            f"network_args of {architecture} must be {{aux_logits: false}}: it has one output, and a second loss is "
            f"not provided for, got {network_args}"
        )
    return network


def load_state_dict(network: nn.Module, file: Path) -> None:
    """Load weights from a file of a ``state_dict``.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged or holds something else, or weights of other names or shapes than the network's.
    """
    if not file.exists():
        raise FileNotFoundError(f"state_dict {file}: there is no such file")
    saved_by = "Write it by torch.save(network.state_dict(), file)."
    weights = read_torch_file(file, "state_dict")
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        held = ", ".join(map(str, weights)) if isinstance(weights, dict) else type(weights).__name__
        raise ValueError(f"state_dict {file}: holds no weights by name but {held}. {saved_by}")
    stored = {name: tuple(value.shape) for name, value in weights.items()}
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    different = [name for name in {**expected, **stored} if expected.get(name) != stored.get(name)]
    if different:
        name = different[0]
        raise ValueError(
            f"state_dict {file}: fits another network, in {len(different)} of {len(expected)} weights: {name} is "
            f"{stored.get(name, 'absent')} in the file and {expected.get(name, 'absent')} in the network. "
            "Set architecture, classes and network_args as they were."
        )
    network.load_state_dict(weights)
