"""Whether what a data set holds is what a datamodule promises: labels, images, their number and their values."""

import torch
from torch import Tensor

# Labels that a message names; images that are looked at at once.
_NAMED = 5
_CHUNK = 4_096


def check_labels(labels: Tensor, images: int, classes: int, dataset: str) -> None:
    """Refuse labels that are not one integer for each image, or not all of ``0 .. classes - 1``.

    Raises:
        ValueError: if they are not.
    """
    integer = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    if labels.dim() != 1 or not integer:
        raise ValueError(
            f"{dataset} must have labels of shape (samples,) and of an integer type, got {tuple(labels.shape)} of "
            f"{labels.dtype}"
        )
    if len(labels) != images:
        raise ValueError(
            f"{dataset} must have one label for each image, got {len(labels)} for {images} images"
        )
    found, expected = set(labels.unique().tolist()), set(range(classes))
    problems = {"out of range": sorted(found - expected), "missing": sorted(expected - found)}
    if found != expected:
        named = "; ".join(
            f"{', '.join(map(str, numbers[:_NAMED]))}{', ...' * (len(numbers) > _NAMED)} {problem}"
            for problem, numbers in problems.items()
            if numbers
        )
        raise ValueError(f"{dataset} must have every label from 0 to {classes - 1} and no other, got {named}")


def check_images(images: Tensor, channels: int, dimensions: int, dataset: str) -> None:
    """Refuse images of another shape or type than a batch can be made of, or with values that are not finite.

    Args:
        images: all of them: ``(samples, channels, size, size)`` or ``(samples, channels, length)``.
        channels: those declared.
        dimensions: 2 for images, 1 for signals.
        dataset: what to call them.

    Raises:
        ValueError: if they are.
    """
    shape = tuple(images.shape)
    if len(shape) != 2 + dimensions or shape[1] != channels or len(set(shape[2:])) != 1:
        expected = "size, size" if dimensions == 2 else "length"
        raise ValueError(
            f"{dataset} must have images of shape (samples, {channels}, {expected}), got {shape}"
        )
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise ValueError(f"{dataset} must have images of uint8 or floating point, got {images.dtype}")
    if not images.is_floating_point():
        return
    for chunk in torch.arange(len(images)).split(_CHUNK):
        finite = images[chunk[0] : chunk[-1] + 1].flatten(1).isfinite().all(dim=1)
        if not finite.all():
            number = int(chunk[0]) + int((~finite).nonzero()[0])
            raise ValueError(f"{dataset} must have finite values, got others in image {number}")
