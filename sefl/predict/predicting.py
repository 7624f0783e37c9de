"""From image files to what a network says of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from datamodules.batches import BatchRequest, ResolutionImages
from datamodules.image_files import WHITE, ImageFiles
from datamodules.resampling import Downsampling
from sefl.equivariance import GroupAction
from sefl.networks import Network, ScaleNetwork
from sefl.networks.trained_on import TrainedOn
from sefl.runs.prediction import Prediction, Probabilities

OWN = "own"
"""Stands for the network's own group."""
IDENTITY = "e"


@dataclass(frozen=True)
class Predicting:
    """A network, and how an image is shown to it: as the data were that it was trained on.

    Args:
        network: in evaluation mode.
        resolutions: those to predict at; by default those of the data, or the images' full one.
        turned: a group by whose elements images are turned too, ``"own"`` for the network's, ``None`` for not at all.

    Raises:
        ValueError: if the network is not for images of one or three channels, does not say how they were normalised,
            takes none of the resolutions, or has no group of its own that is asked for.
    """

    network: Network
    resolutions: Sequence[int] | None = None
    turned: str | None = None

    def __post_init__(self) -> None:
        dimensions = getattr(self.network, "dimensions", 2)
        if dimensions != 2:
            raise ValueError(f"--model: takes signals or volumes of {dimensions} axes, not images")
        trained_on = self.trained_on
        if trained_on.mean is None or trained_on.std is None:
            raise ValueError(
                "--model: does not say how its images were normalised; save the network of a run, or set its "
                "trained_on (sefl.networks.trained_on.TrainedOn) before save_pretrained"
            )
        if len(trained_on.mean) not in (1, 3):
            raise ValueError(f"--model: must take images of 1 or 3 channels, got {len(trained_on.mean)}")
        least, most = self._range
        if outside := [r for r in self.shown_resolutions if not least <= r <= most]:
            raise ValueError(
                f"--resolutions: must lie in {least}..{most}, which the network takes, got {outside}"
            )
        _ = self.action

    @property
    def trained_on(self) -> TrainedOn:
        return self.network.trained_on or TrainedOn()

    @property
    def image_size(self) -> int:
        """Pixels per side that images are read at."""
        size = self.trained_on.image_size or getattr(self.network, "max_resolution", None)
        if size is None:
            raise ValueError(
                "--model: does not say what size its images had; train it anew, or set its trained_on"
            )
        return int(size)

    @property
    def shown_resolutions(self) -> list[int]:
        given = self.resolutions or self.trained_on.resolutions
        if given is None:
            least, most = self._range
            return list(range(least, most + 1)) if isinstance(self.network, ScaleNetwork) else [most]
        return sorted(set(given))

    @property
    def _range(self) -> tuple[int, int]:
        if isinstance(self.network, ScaleNetwork):
            return self.network.base_resolution, self.network.max_resolution
        return 1, max(self.image_size, *(self.trained_on.resolutions or [1]))

    @cached_property
    def files(self) -> ImageFiles:
        """What reads an image file."""
        background = WHITE if self.trained_on.background is None else self.trained_on.background
        return ImageFiles([], len(self.trained_on.mean or []), self.image_size, background)

    @cached_property
    def action(self) -> GroupAction | None:
        """What turns images."""
        group = getattr(self.network, "symmetry_group", None) if self.turned == OWN else self.turned
        if self.turned is not None and group is None:
            raise ValueError("--turned: the network has no group of its own; name one, such as --turned C8")
        return None if group is None else GroupAction(group)

    @cached_property
    def class_names(self) -> list[str]:
        """What the network's outputs are called: by their numbers, where it does not say."""
        names = self.trained_on.class_names or []
        outputs = int(getattr(self.network, "classes", len(names)) or len(names))
        return [*names, *map(str, range(len(names), outputs))]

    def images(self, file: Path) -> dict[int, Tensor]:
        """The normalised image at each resolution, ``(1, channels, r, r)``, as training batches were made.

        Raises:
            ValueError: if the file cannot be read.
        """
        decoded = self.files.decode(file)[None]
        trained_on = self.trained_on
        method = cast(Downsampling, trained_on.downsampling or "ideal")
        dataset = ResolutionImages(
            decoded, torch.zeros(1), method, trained_on.mean or [], trained_on.std or []
        )
        one = torch.zeros(1, dtype=torch.int64)
        requests = {r: BatchRequest(r, one, (), 1, slice(None)) for r in self.shown_resolutions}
        return {r: dataset[request][0] for r, request in requests.items()}

    def turned_images(self, image: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The image under each element of the group, the identity first, by their labels."""
        if self.action is None:
            return
        yield IDENTITY, image
        for label in self.action.parameters(tuple(image.shape[2:])):
            yield str(label), self.action.image(image, label)

    def pixels(self, file: Path) -> tuple[dict[int, Tensor], dict[str, Tensor]]:
        """What the network sees, as shown: by resolution and by element, ``(channels, r, r)`` from 0 to 1."""
        mean, std = (
            torch.tensor(values).view(-1, 1, 1)
            for values in (self.trained_on.mean or [], self.trained_on.std or [])
        )
        images = self.images(file)
        turned = dict(self.turned_images(images[max(images)]))
        by_resolution = {at: (image[0] * std + mean).clamp(0, 1) for at, image in images.items()}
        return by_resolution, {label: (image[0] * std + mean).clamp(0, 1) for label, image in turned.items()}

    def __call__(self, file: Path) -> Prediction:
        """What the network says of the image of a file.

        Raises:
            ValueError: if the file cannot be read.
        """
        images = self.images(file)
        return Prediction(
            file,
            self.files.steps(file),
            self.class_names,
            {resolution: self._probabilities(image) for resolution, image in images.items()},
            {label: self._probabilities(image) for label, image in self.turned_images(images[max(images)])},
            None if self.action is None else self.action.group.name,
        )

    @torch.no_grad()
    def _probabilities(self, image: Tensor) -> Probabilities:
        return self.network.predict(image)[0].double().softmax(0).numpy()
