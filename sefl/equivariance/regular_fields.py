"""How a transformation moves a regular field of a group, for ``callbacks.EquivarianceMonitor``."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sefl.equivariance.transformations import NotMeasurable, Parameter, Size, Transformation, border_median
from sefl.groups.field import Element, RegularField

Cosets = tuple[Tensor, Tensor]


def transformed_field(
    field: RegularField,
    features: Tensor,
    cosets: Cosets | None,
    transformation: Transformation,
    parameter: Parameter,
    image_size: Size,
    output_size: Size,
) -> Tensor:
    """``T F`` of a regular field ``F``, ``(T F)(x) = rho(g) F(T^-1 x)``, with ``g`` the element of ``T``'s matrix.

    Space moves as the transformation says, and a transformation without a matrix acts on no fibre. Of a canonicalised
    field, ``c^-1 . x`` restricted to ``H``, every sample is moved by its own ``c'^-1 g c``, in space too.

    Args:
        field: of which group, and how it was sampled.
        features: ``(batch, fields * |H|, *space)``.
        cosets: by what each sample was moved back, ``(batch,)``, and the transformed samples.
        transformation: ``T``.
        parameter: one of its parameters.
        image_size: that of the untransformed image.
        output_size: that of the layer's output for the transformed image.

    Raises:
        NotMeasurable: if no element of ``G`` has the matrix, it does not act on these features, or ``T`` moves
            canonicalised features in another way than about the middle.
    """
    matrix = transformation.orthogonal(parameter)
    spatial = features.dim() > 2
    try:
        if cosets is not None:
            if spatial and (matrix is None or transformation.center != "image"):
                raise NotMeasurable(
                    "it is canonicalised: its samples are moved in space, each by its own element, which "
                    "symmetries about the middle of the image respect alone"
                )
            return _move_canonical(field, features, _element(field, matrix, parameter), cosets)
        if matrix is not None:
            features = _act_on_fibre(field, features, _element(field, matrix, parameter))
        return transformation.grid(features, parameter, image_size, output_size) if spatial else features
    except NotMeasurable:
        raise
    except ValueError as error:
        raise NotMeasurable(str(error)) from error


def _element(field: RegularField, matrix: NDArray[np.float64] | None, parameter: Parameter) -> Element:
    element = field.group.identity if matrix is None else field.element(matrix)
    if element is None:
        raise NotMeasurable(
            f"it is a regular field of {field.group.name}, which has no element for {parameter}"
        )
    return element


def _act_on_fibre(field: RegularField, features: Tensor, element: Element) -> Tensor:
    """``rho(g) F(x)`` at every point: points are taken for samples, which have no space to move in."""
    batch, channels = features.shape[:2]
    samples = features.reshape(batch, channels, -1).movedim(2, 1).reshape(-1, channels)
    moved = field.act(samples, element).reshape(batch, -1, channels)
    return moved.movedim(1, 2).reshape(features.shape)


def _move_canonical(field: RegularField, features: Tensor, element: Element, cosets: Cosets) -> Tensor:
    if features.dim() == 2:
        return field.act(features, element, cosets=cosets)
    background = border_median(features)
    moved_background = field.act(background.flatten(1), element, cosets=cosets).reshape(background.shape)
    return field.act(features - background, element, cosets=cosets) + moved_background
