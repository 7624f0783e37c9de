"""Random brightness, contrast and saturation of whole batches, as torchvision's ``ColorJitter`` draws them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sefl.arguments import require_number

# Of red, green and blue in what an eye sees as grey (ITU-R BT.601).
_LUMA = (0.299, 0.587, 0.114)


def change_colours(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """Scale images, then their differences from their mean grey, then those of each pixel from its own grey.

    Args:
        images: ``(batch, channels, height, width)``, of three channels (red, green, blue) or of one.
        brightness, contrast, saturation: factors of each image: ``(batch,)``; 1 changes nothing.

    Returns:
        float32, of the shape of ``images``.
    """
    factors = [factor.view(-1, 1, 1, 1) for factor in (brightness, contrast, saturation)]
    bright = images.float() * factors[0]
    contrasted = torch.lerp(_grey(bright).mean((2, 3), keepdim=True), bright, factors[1])
    return torch.lerp(_grey(contrasted), contrasted, factors[2])


@dataclass(frozen=True)
class RandomColour:
    """Random brightness, contrast and saturation, in this order, its own for each image.

    Args:
        brightness: factors of the brightness are uniform in ``[1 - brightness, 1 + brightness]``.
        contrast: those of the contrast likewise.
        saturation: those of the saturation likewise; images of one channel have none.

    Raises:
        ValueError: if one is not in [0, 1].
    """

    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            require_number(f"colour_augmentation.{name}", getattr(self, name), least=0, most=1)

    def augment(self, images: Tensor, batch: int, share: slice, generator: torch.Generator) -> Tensor:
        """See :class:`datamodules.augmentation.Augmentation`; linear, so that values may leave the images' range."""
        uniform = 2 * torch.rand(batch, 3, generator=generator)[share] - 1
        extents = torch.tensor([self.brightness, self.contrast, self.saturation])
        return change_colours(images, *(1 + uniform * extents).unbind(1))


def _grey(images: Tensor) -> Tensor:
    """``(batch, 1, height, width)``."""
    if images.shape[1] == 1:
        return images
    return torch.einsum("bchw,c->bhw", images, images.new_tensor(_LUMA)).unsqueeze(1)
