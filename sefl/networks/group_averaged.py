"""Any scale-equivariant network, and the mean of what it predicts for an image's turned and mirrored copies."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sefl.groups.spatial import act_on_grid, moves_pixels
from sefl.networks.bands import BandNetwork
from sefl.networks.group_stages import acting_group
from sefl.networks.network import stored_as_config
from sefl.tensors.output_types import Bands


class GroupMean(nn.Module):
    """The mean over the elements of a group: ``(batch, elements, bands, classes)`` to ``(batch, bands, classes)``."""

    output_type = Bands()

    def forward(self, logits: Tensor) -> Tensor:
        return logits.to(torch.promote_types(logits.dtype, torch.float32)).mean(1)


class GroupAveragedNetwork(BandNetwork, coders={BandNetwork: stored_as_config(BandNetwork)}):
    """The mean of a network's logits over the group: exactly invariant to it, whatever the network does.

    ``f(x) = 1 / |G| sum_g f_0(g x)``, the Reynolds operator (group averaging; Yarotsky 2018, section 2.1). At every
    resolution flips and quarter turns move pixels to pixels, so that what the network has of scale stays exact: its
    predictions are so for both at once.

    In training, a prediction is of one element alone, drawn for each image, so that a step costs what the network's own
    does. Evaluation takes ``|G|`` passes. Where every layer is to be equivariant, and one pass is to do, take
    :class:`GroupFourierNetwork`.

    Args:
        network: what sees each copy; its grids must share the image's middle (``center="image"``), about which copies
            are turned. One prediction per image, as :class:`ConvNetwork` has, goes through a :class:`PyramidNetwork`.
        group: its name, of ``"C1"``, ``"C2"``, ``"C4"``, ``"D1"`` (left to right), ``"D2"`` and ``"D4"``.

    Raises:
        ValueError: if the group is another, or the network's grids share their first pixel; in ``forward`` as
            :class:`ScaleNetwork`.

    >>> from sefl.networks import FourierNetwork, FourierTrunk
    >>> inner = FourierNetwork(FourierTrunk(widths=[2]), max_resolution=12, center="image")
    >>> network, images = GroupAveragedNetwork(inner).eval(), torch.rand(2, 1, 12, 12)
    >>> logits = network(images)
    >>> logits.shape, torch.allclose(network(images.rot90(1, (2, 3))), logits, atol=1e-5)
    (torch.Size([2, 3, 10]), True)
    """

    def __init__(self, network: BandNetwork, group: str = "D4") -> None:
        super().__init__(
            network.in_channels,
            network.classes,
            network.base_resolution,
            network.max_resolution,
            network.dimensions,
        )
        self._require_images()
        matrices = acting_group(group).matrices
        if matrices is None or matrices.shape[1:] != (2, 2) or not moves_pixels(matrices):
            raise ValueError(
                f"group must be one that moves pixels to pixels, C1, C2, C4, D1, D2 or D4, got {group}"
            )
        if network.sampling_center != "image":
            raise ValueError(
                "network must have grids about the image's middle, center='image', for its predictions to be exact "
                f"under turns and downsampling at once, got a {type(network).__name__} with "
                f"{network.sampling_center!r}"
            )
        self.network, self.sampling_center = network, network.sampling_center
        self.reduction, self.exact_predictions = network.reduction, network.exact_predictions
        self.matrices = matrices
        self.head = GroupMean()

    def forward(self, images: Tensor, places: Sequence[int] | None = None) -> Tensor:
        self._check_images(images)
        if self.training:
            drawn = torch.randint(len(self.matrices), (len(images),)).to(images.device)
            copies = torch.stack([act_on_grid(images, matrix) for matrix in self.matrices])
            logits = self.network(copies[drawn, torch.arange(len(images), device=images.device)], places)[
                :, None
            ]
        else:
            copies_logits = [self.network(act_on_grid(images, matrix), places) for matrix in self.matrices]
            logits = torch.stack(copies_logits, 1)
        means: Tensor = self.head(logits)
        return means

    def measured_layers(self) -> list[str]:
        return ["head"]
