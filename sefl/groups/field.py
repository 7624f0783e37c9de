"""How features behind a chain of subsamplings ``G > H1 > H2 ...`` transform under the group of the input."""

from collections.abc import Sequence
from typing import NamedTuple, TypeGuard, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sefl.groups.bandlimit import Bandlimit
from sefl.groups.group import FiniteGroup, FloatArray, IntArray
from sefl.groups.sampling import multiply_fibres
from sefl.groups.spatial import act_on_fibre, act_on_grid, check_field, moves_of

Element = int | FloatArray
"""The number of an element of a finite group; of a continuous one, its matrix."""


class FieldFeatures(NamedTuple):
    """Features of a regular field, and what they were canonicalised by.

    Args:
        values: ``(batch, fields * |H|, *space)``.
        cosets: ``(batch,)``, the element of the network's group by which each sample was moved back so far; ``None`` if
            none was.
    """

    values: Tensor
    cosets: Tensor | None = None


class RegularField:
    """Features ``(batch, fields * |H|, *space)`` on a subgroup ``H``, as the values of signals on ``G``.

    Elements of ``H`` permute the fibres. Other elements of ``G`` act through the reconstruction ``U`` and the
    restriction ``S`` to ``H``, as ``S L_g U``: this is what a bandlimit that commutes with ``G`` makes of ``L_g``,
    exact directly behind a filter. Where features do not transform so, the difference is their equivariance error.

    Args:
        group: ``G``.
        bandlimits: the subsamplings so far, ``G`` to ``H1``, ``H1`` to ``H2``, ...

    Attributes:
        group: ``G``.
        fibre: ``H``, the last subgroup, in the order in which the channels have it.
        elements: ``(|H|,)``, which element of ``G`` each element of ``H`` is.
        reconstruction: ``U = U1 U2 ...``, ``(|G|, |H|)``.

    Raises:
        ValueError: if a bandlimit does not begin where the one before it ends.

    >>> from sefl.groups import bandlimit, dihedral
    >>> field = RegularField(dihedral(12)).sampled(bandlimit(dihedral(12), "D6"))
    >>> field, field.sampled(bandlimit(field.fibre, "C3")).reconstruction.shape
    (RegularField(D6 of D12), (24, 3))
    """

    def __init__(self, group: FiniteGroup, bandlimits: Sequence[Bandlimit] = ()) -> None:
        self.group = group
        self.bandlimits = tuple(bandlimits)
        self.fibre = group
        self.elements: IntArray = np.arange(len(group))
        self.reconstruction: FloatArray = np.eye(len(group))
        for bandlimit in self.bandlimits:
            subgroup = bandlimit.subgroup
            if not np.array_equal(subgroup.parent.table, self.fibre.table):
                raise ValueError(
                    f"bandlimit must go from {self.fibre.name}, with its elements in the same order, to a subgroup, "
                    f"got {subgroup.name}"
                )
            self.fibre = subgroup.group
            self.elements = self.elements[subgroup.elements]
            self.reconstruction = self.reconstruction @ bandlimit.reconstruction

    def __repr__(self) -> str:
        return f"RegularField({self.fibre.name} of {self.group.name})"

    def sampled(self, bandlimit: Bandlimit) -> "RegularField":
        """The field behind one more subsampling.

        Raises:
            ValueError: if the bandlimit is not on :attr:`fibre`.
        """
        return RegularField(self.group, (*self.bandlimits, bandlimit))

    @property
    def channels(self) -> int:
        """Of each field: ``|H|``."""
        return len(self.fibre)

    def element(self, matrix: ArrayLike) -> Element | None:
        """The element of ``G`` that moves points as ``matrix`` does, ``None`` if there is none.

        Raises:
            ValueError: if ``G`` has no matrices, or of another dimension.
        """
        return self.group.element_of_matrix(matrix)

    def fibre_action(self, element: Element) -> FloatArray:
        """``(|H|, |H|)``: the permutation ``L_h`` for an element of ``H``, else ``S L_g U``.

        Raises:
            ValueError: if ``element`` is not in ``G``.
        """
        element = self.group.element(cast(int, element))
        inside = np.flatnonzero(self.elements == element)
        if len(inside):
            return self.fibre.left_translation(int(inside[0]))
        moved_back = self.group.table[self.group.inverse[element], self.elements]
        action: FloatArray = self.reconstruction[moved_back]
        return action

    def matrix(self, element: Element) -> FloatArray:
        """How an element moves points.

        Raises:
            ValueError: if ``G`` has no matrices.
        """
        return moves_of(self.group)[element] if isinstance(element, int) else element

    def act(
        self,
        features: Tensor,
        element: int | Tensor | ArrayLike,
        background: float | Tensor = 0.0,
        cosets: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """``(g F)(x) = rho(g) F(g^-1 x)`` with ``rho`` the :meth:`fibre_action`.

        Args:
            features: ``(batch, fields * |H|, *space)``.
            element: ``g``: an element of ``G``, or ``(batch,)`` of them as a tensor, or the orthogonal matrix of one.
            background: what lies outside of the grid where an element interpolates.
            cosets: for features that :class:`sefl.groups.Canonicalize` moved: ``(c, c')``, each ``(batch,)`` elements
                of ``G``, of the samples and of the samples moved by ``g``. Then each is moved by ``c'^-1 g c``,
                which is in ``H``.

        Returns:
            Features of the same shape and dtype.

        Raises:
            ValueError: if ``features`` are no field on ``H``, if ``element`` is not in ``G`` or no element has this
                matrix, and as in :func:`sefl.groups.act_on_grid`.
        """
        self.check(features)
        if cosets is not None or _is_per_sample(element):
            return self._act_on_samples(
                features, self._per_sample(element, len(features), cosets), background
            )
        return self._act(features, self._number(element), background)

    def composed(self, before: Tensor | None, coset: Tensor) -> Tensor:
        """What canonicalising here adds to an earlier canonicalisation: ``(batch,)`` elements ``c1 c2`` of ``G``.

        Args:
            before: ``c1``, ``(batch,)`` elements of ``G``, ``None`` for none.
            coset: ``c2``, ``(batch,)`` elements of ``H``, from :class:`sefl.groups.Canonicalize` on :attr:`fibre`.
        """
        embedded = torch.as_tensor(self.elements, device=coset.device)[coset]
        return embedded if before is None else self._product(before, embedded)

    def check(self, features: Tensor) -> None:
        """Refuse features that are not of this field.

        Raises:
            TypeError: if they are not a floating-point tensor.
            ValueError: if they have no channels or these are no multiple of :attr:`channels`.
        """
        check_field(features, self.fibre)

    def _number(self, element: int | Tensor | ArrayLike) -> Element:
        if isinstance(element, int | np.integer):
            return self.group.element(int(element))
        matrix = element.detach().cpu().numpy() if isinstance(element, Tensor) else np.asarray(element)
        found = self.element(matrix)
        if found is None:
            raise ValueError(f"matrix {matrix.tolist()} is that of no element of {self.group.name}")
        return found

    def _act(self, features: Tensor, element: Element, background: float | Tensor) -> Tensor:
        moved = self._act_on_fibre(features, element)
        return moved if features.dim() == 2 else act_on_grid(moved, self.matrix(element), background)

    def _act_on_fibre(self, features: Tensor, element: Element) -> Tensor:
        inside = np.flatnonzero(self.elements == element)
        if len(inside):
            return act_on_fibre(features, self.fibre, int(inside[0]))
        return self._multiply_fibres(features, element)

    def _multiply_fibres(self, features: Tensor, element: Element) -> Tensor:
        matrix = torch.tensor(self.fibre_action(element), dtype=features.dtype, device=features.device)
        return multiply_fibres(features, matrix)

    def _per_sample(
        self, element: int | Tensor | ArrayLike, batch: int, cosets: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        if not _is_per_sample(element):
            element = torch.full((batch,), cast(int, self._number(element)))
        if cosets is None:
            return element
        before, after = cosets
        inverse = torch.as_tensor(self.group.inverse, device=after.device)
        return self._product(inverse[after], self._product(element.to(before.device), before))

    def _product(self, first: Tensor, second: Tensor) -> Tensor:
        return torch.as_tensor(self.group.table, device=first.device)[first, second]

    def _act_on_samples(self, features: Tensor, elements: Tensor, background: float | Tensor) -> Tensor:
        if elements.shape != features.shape[:1]:
            raise ValueError(
                f"elements must be ({len(features)},), one per sample, got shape {tuple(elements.shape)}"
            )
        moved = torch.empty_like(features)
        for element in elements.unique().tolist():
            here = elements.to(features.device) == element
            moved[here] = self._act(features[here], element, background)
        return moved


def _is_per_sample(element: int | Tensor | ArrayLike) -> TypeGuard[Tensor]:
    return isinstance(element, Tensor) and element.dim() == 1
