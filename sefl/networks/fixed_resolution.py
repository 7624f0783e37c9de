"""Images of any resolution at one, for networks of a fixed input size and baselines that do better with it."""

from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional as F

from sefl.arguments import require_floating, require_one_of, require_positive
from sefl.fourier import upsample
from sefl.networks.padding import pad

Resize = Literal["none", "ideal", "bicubic", "zero", "reflect", "replicate", "circular"]


class Resizing(nn.Module):
    """Brings square images to a resolution that is not below their own, or leaves them as they are.

    It is part of the network, behind which the metrics and the monitor still see the resolution that an image has.
    ``(batch, channels, r, r)`` to ``(batch, channels, resolution, resolution)``, with ``"none"`` to the same. Signals
    ``(batch, channels, length)`` may be upsampled ideally.

    Args:
        resize: ``"none"``, upsampling that is ``"ideal"`` (:func:`sefl.fourier.upsample`) or ``"bicubic"``, or what
            lies around the image (:func:`sefl.networks.padding.pad`): ``"zero"``, which is the mean of the data as
            datamodules normalise them, not black, or its ``"reflect"``, ``"replicate"`` or ``"circular"`` continuation.
        resolution: pixels per side of the result.

    Raises:
        TypeError: in ``forward``, if the images are not a floating-point tensor.
        ValueError: if ``resize`` is none of these, and in ``forward`` for images above ``resolution``.
    """

    def __init__(self, resize: Resize, resolution: int) -> None:
        super().__init__()
        require_one_of("resize", resize, get_args(Resize))
        self.resize: Resize = resize
        self.resolution = require_positive("resolution", resolution)

    def forward(self, images: Tensor) -> Tensor:
        require_floating("images", images)
        if self.resize == "none":
            return images
        if self.resize == "ideal":
            return upsample(images, self.resolution)
        if self.resize == "bicubic":
            return F.interpolate(images, size=(self.resolution,) * 2, mode="bicubic", align_corners=False)
        return pad(images, self.resolution, self.resize)

    def extra_repr(self) -> str:
        return f"{self.resize!r}, resolution={self.resolution}"
