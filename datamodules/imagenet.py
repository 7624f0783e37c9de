"""ImageNet, or any photographs in its layout, read and cropped as torchvision's networks are trained and tested."""

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision import transforms
from torchvision.datasets import ImageFolder

from datamodules.batches import Batch, BatchLoader, BatchRequest, Images, ResolutionImages, seeded_generator
from datamodules.data_set import DataSet
from datamodules.image_files import ImageFiles
from datamodules.image_folder_scale import MEAN, STD
from datamodules.reading import reading, require_folder
from datamodules.scale import ScaleDataModule
from datamodules.settings import LoadingSettings, ScaleSettings
from datamodules.split import Parts
from sefl.arguments import require_integer, require_positive

Transform = Callable[[Image.Image], Image.Image]

_LAYOUT = "ImageNet's folders train/SYNSET/ and val/SYNSET/"
_LARGEST_SEED = 2**62


class ImageNet(ScaleDataModule):
    """Photographs in ``root/train/SYNSET/`` and ``root/val/SYNSET/``: ImageNet's layout, of all of it or a part.

    As torchvision's networks are trained and tested: a training image is a random part of 8 % to 100 % of the
    photograph, brought to ``image_size`` pixels per side, and mirrored every other time; a validation image is the
    central square, ``resize`` pixels per side, of which :class:`models.CropClassifier` takes central and random crops
    of ``image_size``. The images of ``val`` are validation and test images both, since the test labels are not public.

    A batch is ``(images, labels)``: float32 ``(batch, 3, image_size, image_size)``, of validation and test images
    ``(batch, 3, resize, resize)``, and int64 ``(batch,)``. Labels follow the sorted names of the synsets' folders
    in ``train``, as those of the networks do, or the file ``synsets``. Images are decoded each time that they are asked
    for, by ``num_workers`` processes. Order, processes and resuming are those of :class:`ScaleDataModule`.

    Args:
        root: the folder.
        image_size: pixels per side that networks are trained at.
        resize: pixels of the shorter side of validation images, and of their central square.
        synsets: a file with a synset at the beginning of each line, such as ``LOC_synset_mapping.txt``: label ``n``
            belongs to its ``n``-th line. A folder of some of them is then tested with weights of all.
        random_crops: take training images at random parts; else, and as validation images, the centre.
        **common: the options of :class:`LoadingSettings`, without ``affine_augmentation``.

    Raises:
        FileNotFoundError: if a folder or file is missing, or a synset has no image.
        ValueError: if an argument is out of its range, or ``val`` or ``train`` has synsets that are not known.
    """

    def __init__(
        self,
        root: str,
        image_size: int = 224,
        resize: int = 256,
        synsets: str | None = None,
        random_crops: bool = True,
        **common: Any,
    ) -> None:
        settings = LoadingSettings(**common)
        if settings.affine_augmentation is not None:
            raise ValueError(
                "affine_augmentation must be none: of ImageNet random_crops are the augmentation"
            )
        self.root = Path(root).absolute()
        self.resize = require_integer("resize", resize, require_positive("image_size", image_size))
        self.random_crops = random_crops
        for part in ("train", "val"):
            require_folder(self.root / part, f"a subfolder for each synset; {_LAYOUT}")
        trained = _synsets(self.root / "train")
        names = trained if synsets is None else _listed(Path(synsets))
        for part, found in {"train": trained, "val": _synsets(self.root / "val")}.items():
            if unknown := sorted(set(found) - set(names)):
                raise ValueError(
                    f"{self.root / part} must have {'the synsets of train' if synsets is None else synsets} alone, "
                    f"got {', '.join(unknown[:5])} beside them"
                )
        data = DataSet(
            "ImageNet",
            image_size,
            3,
            names,
            mean=MEAN,
            std=STD,
            load=self._find,
            draw_parts=self._draw_parts,
            resolutions=[image_size],
        )
        loading = {field.name: getattr(settings, field.name) for field in fields(LoadingSettings)}
        super().__init__(data, ScaleSettings(**loading, downsampling="bicubic"))

    def test_dataloader(self) -> list[BatchLoader]:
        """The images of ``val``, once: a list of one loader."""
        return [self.finest_dataloader("test")]

    @cached_property
    def _content(self) -> tuple[Images, Tensor]:
        """Files and labels; some of the synsets may have no image here."""
        return self.load_images()

    def _find(self) -> tuple[Images, Tensor]:
        files: list[Path] = []
        labels: list[int] = []
        self._counts: list[int] = []
        for part in ("train", "val", "val"):  # a split has each sample once, and val is the test part too
            found = ImageFolder(str(self.root / part))
            files += [Path(file) for file, _ in found.samples]
            labels += [self.class_names.index(found.classes[label]) for label in found.targets]
            self._counts.append(len(found))
        return ImageFiles(files, self.channels, self.image_size), torch.tensor(labels)

    def _draw_parts(self, labels: NDArray[np.int64], generator: np.random.Generator) -> Parts:
        return np.split(np.arange(len(labels)), np.cumsum(self._counts[:-1]))

    def _prepared_images(self, augmentations: object) -> ResolutionImages:
        central = [transforms.Resize(self.resize)]
        crop = transforms.RandomResizedCrop(self.image_size)
        training = [crop] if self.random_crops else [*central, transforms.CenterCrop(self.image_size)]
        images, labels = self._content
        return _Photographs(
            images,
            labels,
            self.settings.downsampling,
            self.mean,
            self.std,
            training=transforms.Compose([*training, transforms.RandomHorizontalFlip()]),
            evaluation=transforms.Compose([*central, transforms.CenterCrop(self.resize)]),
        )


@dataclass(eq=False, kw_only=True)
class _Photographs(ResolutionImages):
    """Answers a request by reading files: what is drawn of a training image follows from the request alone."""

    training: Transform
    evaluation: Transform

    def __getitem__(self, request: BatchRequest) -> Batch:
        assert isinstance(self.images, ImageFiles)
        files = [Path(os.fsdecode(self.images.files[sample])) for sample in request.samples.tolist()]
        if request.entropy:
            generator = seeded_generator(*request.entropy)
            seeds = torch.randint(_LARGEST_SEED, (request.global_size,), generator=generator)[request.share]
            read = [self._drawn(file, seed) for file, seed in zip(files, seeds.tolist(), strict=True)]
        else:
            read = [_read(file, self.evaluation) for file in files]
        mean, std = (torch.tensor(of_channel).view(-1, 1, 1) for of_channel in (self.mean, self.std))
        return (torch.stack(read) / 255 - mean) / std, self.labels[request.samples]

    def _drawn(self, file: Path, seed: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):  # torchvision draws from the global generator
            torch.manual_seed(seed)
            return _read(file, self.training)


def _read(file: Path, transform: Transform) -> Tensor:
    """The pixels of a photograph in colours: ``(3, height, width)``, uint8."""
    with reading(file, "image"), Image.open(file) as image:
        pixels = np.array(transform(image.convert("RGB")))
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def _synsets(folder: Path) -> list[str]:
    found = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if not found:
        raise FileNotFoundError(
            f"{folder} has no folders of synsets; ImageNet's own archive of val has its images in one folder: move "
            "each into that of its synset"
        )
    return found


def _listed(file: Path) -> list[str]:
    """The synsets that begin the lines of a file.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if a synset is listed twice.
    """
    if not file.is_file():
        raise FileNotFoundError(f"synsets {file}: there is no such file")
    listed = [line.split()[0] for line in file.read_text().splitlines() if line.strip()]
    if len(set(listed)) < len(listed):
        raise ValueError(
            f"synsets {file}: must list each synset once, got {len(listed) - len(set(listed))} again"
        )
    return listed
