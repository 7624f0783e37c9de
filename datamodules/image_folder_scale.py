"""Any images in folders, each at one of several resolutions."""

from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from datamodules.batches import Images
from datamodules.class_folders import ClassFolders, FolderSettings
from datamodules.data_set import DataSet
from datamodules.image_files import WHITE, ImageFiles, sizes_and_channels
from datamodules.scale import ScaleDataModule
from sefl.arguments import require_integer, require_number, require_one_of
from sefl.tensors.allocations import GIB, require_memory

# Of ImageNet's training images; the published ones of torchvision's models.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MEAN_GREY, STD_GREY = (0.458,), (0.225,)

LARGEST_FOUND = 128
"""Pixels per side where nobody says how many: more take hours on a CPU."""

_LOOKED_AT = 512
_DECODING_BATCH = 256


class ImageFolderScale(ScaleDataModule):
    """Your own images, each at one resolution; see :class:`ScaleDataModule` for what a batch is.

    Images are found as torchvision's ``ImageFolder`` finds them, in ``root/CLASS/``, or, where ``root`` has a folder
    ``train``, in ``root/train/CLASS/``, ``root/val/CLASS/`` and ``root/test/CLASS/``. Validation or test images that
    have no folder are held out of the training images, stratified and drawn from ``seed``. The protocol ``pool`` puts
    the images of all folders together first.

    Each image is turned as its EXIF orientation says, laid over ``background`` where it is transparent, resized and
    cropped to a square. What cannot be shown rightly in 8 bits is refused; see :class:`ImageFiles`. If all images fit
    into ``memory_limit`` they are decoded once, by :meth:`setup`; otherwise each time that they are asked for, by
    ``num_workers`` processes. Resolutions are by default all from half of ``image_size`` on.

    Args:
        root: the folder of the images.
        image_size: pixels per side at full resolution; by default the middle one of the files' shorter sides, as far
            as some hundreds of them show, at most 128.
        channels: 3 for colours or 1 for grey; whatever the files have is converted. By default 1 if these are all grey.
        memory_limit: keep the decoded images in memory if they take at most so many GiB, on each process of a run;
            0 decodes them each time.
        mean: what is taken from each channel, on a scale from 0 to 1; by default that of ImageNet.
        std: what each channel is divided by.
        background: the grey behind transparent pixels, from 0 (black) to 255 (white).
        **common: the options of :class:`FolderSettings`.

    Raises:
        FileNotFoundError: if ``root`` has no class folders, or a folder ``val`` or ``test`` but none called ``train``.
        ValueError: if an argument is outside its range or contradicts another.
    """

    def __init__(
        self,
        root: str,
        image_size: int | None = None,
        channels: Literal[1, 3] | None = None,
        memory_limit: float = 2.0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        background: int = WHITE,
        **common: Any,
    ) -> None:
        settings = FolderSettings(**common)
        if channels is not None:
            require_one_of("channels", channels, (1, 3))
        self.memory_limit = require_number("memory_limit", memory_limit, least=0)
        self.background = require_integer("background", background, 0, 255)
        self.folders = ClassFolders(root, IMG_EXTENSIONS, "image", settings)
        if image_size is None or channels is None:
            side, found = sizes_and_channels(self.folders.some(_LOOKED_AT))
            image_size = min(side, LARGEST_FOUND) if image_size is None else image_size
            channels = cast(Literal[1, 3], found) if channels is None else channels
        grey = channels == 1
        data = DataSet(
            f"ImageFolderScale/{settings.protocol}",
            image_size,
            channels,
            self.folders.classes,
            mean=mean or (MEAN_GREY if grey else MEAN),
            std=std or (STD_GREY if grey else STD),
            load=self._decode,
            draw_parts=self.folders.draw_parts,
            resolutions=range(max(image_size // 2, 1), image_size + 1),
        )
        super().__init__(data, settings)

    def _decode(self) -> tuple[Images, Tensor]:
        files, labels = self.folders.find()
        self.dataset = f"{self.data.name}/{self.folders.checksum(files)}"
        images = ImageFiles(files, self.channels, self.image_size, self.background)
        size = len(files) * self.channels * self.image_size**2
        if size > self.memory_limit * GIB:
            return images, labels
        require_memory(
            f"memory_limit {self.memory_limit}: image_size {self.image_size} of {len(files)} images",
            size,
            "lower memory_limit, and they are decoded each time",
        )
        decoded = torch.empty(len(files), self.channels, self.image_size, self.image_size, dtype=torch.uint8)
        for batch in torch.arange(len(files)).split(_DECODING_BATCH):
            decoded[batch] = images[batch]
        return decoded, labels
