"""A layer's features of one image at several resolutions, beside the downsampled features of the finest one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from sefl.equivariance.evaluating import undisturbed
from sefl.equivariance.transformations import center_of
from sefl.fourier import CoefficientModule, downsample, to_grid
from sefl.groups.field import FieldFeatures
from sefl.metrics.functional import relative_squared_error


@dataclass(frozen=True)
class FeatureMap:
    """The features of a layer ``f`` at one resolution ``r``, as pixel grids ``(batch, channels, h, w)``.

    Args:
        features: ``f(D_r x)``, of the downsampled images.
        expected: ``D_r f(x)``, the downsampled features of the images as they came; of the same shape.
    """

    features: Tensor
    expected: Tensor

    @property
    def difference(self) -> Tensor:
        """``f(D_r x) - D_r f(x)``, zero if the layer is scale-equivariant."""
        return self.features - self.expected

    @property
    def error(self) -> Tensor:
        """The equivariance error of each image, over all channels: ``(batch,)``, float64."""
        return relative_squared_error(self.expected, self.features)


def feature_maps(
    model: nn.Module, images: Tensor, layer: str, resolutions: Sequence[int]
) -> dict[int, FeatureMap]:
    """The features of one layer for images that are ideally downsampled to each resolution.

    Coefficients are shown on their own critical grid, of as many points as coefficients, which loses nothing. The
    model computes in evaluation mode and without gradients, and is left as it was.

    Args:
        model: called as ``model(images)``, at every resolution.
        images: ``(batch, channels, height, width)``.
        layer: the name of one of ``model.named_modules()``. Its output is a pixel grid
            ``(batch, channels, h, w)`` or, if it is a ``sefl.fourier.CoefficientModule``, nested coefficients.
        resolutions: pixels per side, each at most that of the images.

    Returns:
        The features by resolution, in the order given.

    Raises:
        ValueError: if the model has no such layer, if the layer gives no maps or runs several times, or if a resolution
            exceeds that of the images.
    """
    whole = _map_of(model, images, layer)
    center = center_of(model)
    maps = {}
    for resolution in resolutions:
        features = _map_of(model, downsample(images, resolution, center), layer)
        height, width = features.shape[-2:]
        maps[resolution] = FeatureMap(features, downsample(whole, (height, width), center))
    return maps


def layers_with_maps(model: nn.Module, images: Tensor, layers: Sequence[str]) -> list[str]:
    """Those of the layers of which :func:`feature_maps` can show these images.

    Raises:
        ValueError: if the model has no layer of such a name.
    """
    return [name for name, outputs in _outputs(model, images, layers).items() if len(outputs) == 1]


def _map_of(model: nn.Module, images: Tensor, layer: str) -> Tensor:
    maps = _outputs(model, images, [layer])[layer]
    if len(maps) != 1:
        raise ValueError(
            f"layer must put out a grid (batch, channels, h, w) or coefficients once in a forward pass, "
            f"{layer!r} does so {len(maps)} times"
        )
    return maps[0]


def _outputs(model: nn.Module, images: Tensor, layers: Sequence[str]) -> dict[str, list[Tensor]]:
    """Every map that each layer puts out, as a pixel grid."""
    modules = dict(model.named_modules())
    found: dict[str, list[Tensor]] = {name: [] for name in layers}

    def record(name: str, module: nn.Module, _: Any, output: Any) -> None:
        output = output.values if isinstance(output, FieldFeatures) else output
        if isinstance(output, Tensor) and output.dim() == 4:
            # A copy: a layer behind may overwrite the output in place.
            if isinstance(module, CoefficientModule):
                output = to_grid(output, output.shape[0], center_of(model))
            found[name].append(output.clone())

    hooks = []
    try:
        for name in layers:
            if name not in modules:
                raise ValueError(f"layer must be a module of {type(model).__name__}, it has no {name!r}")
            hooks.append(modules[name].register_forward_hook(partial(record, name)))
        with undisturbed(model):
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found
