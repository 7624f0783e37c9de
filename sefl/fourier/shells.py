"""One shell of coefficients at a time: what the layers that go from band to band share, on one axis or two.

Shell ``b`` is what band ``b`` adds to band ``b - 1``: along one axis the last two of its ``K = 2 b + 1`` coefficients,
along two the last two rows and columns of its ``K x K``. The products here run between such coefficients and values
on a grid of ``n`` points per axis, for a block of ``N`` columns. ``synthesis`` is any ``(n, K)`` matrix ``S`` and
``analysis`` any ``(K, n)`` one, ``A``: the transpose of a function is its partner with the transposed matrix.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sefl.fourier.basis import band
from sefl.fourier.blocks import Workspace
from sefl.fourier.sampling import coefficient_band, unlike_pixels

Index = tuple[slice, ...]


def fast(coefficients: Tensor) -> Tensor:
    """What products with shells take: on a CPU no half precision, in which those of rank two are five times slower."""
    half = coefficients.device.type == "cpu" and coefficients.dtype.itemsize < 4
    return coefficients.float() if half else coefficients


@dataclass(frozen=True)
class Shells:
    """Bands and shells of coefficients with ``axes`` leading axes of ``K`` each.

    Shapes: coefficients ``(K, N)`` or ``(K, K, N)``, values ``(n, N)`` or ``(n, n, N)``.
    """

    axes: int

    def band_in_range(self, coefficients: Tensor, base_resolution: int, max_resolution: int, of: str) -> int:
        """The band of coefficients ``(K, ..., batch, channels)`` that a layer over these resolutions accepts.

        Args:
            coefficients: ``(K, batch, channels)``, on two axes ``(K, K, batch, channels)``.
            base_resolution: the coarsest resolution.
            max_resolution: the finest resolution.
            of: what has this range, for the message.

        Raises:
            TypeError: if they are not a floating-point tensor.
            ValueError: if they are of another shape or of a band outside the range.
        """
        finest = coefficient_band(coefficients, self.axes)
        if not band(base_resolution) <= finest <= band(max_resolution):
            raise ValueError(
                f"coefficients of band {finest} (resolutions {2 * finest + 1} and {2 * finest + 2}) are outside the "
                f"{of}'s range, base_resolution {base_resolution} to max_resolution {max_resolution}"
                f"{unlike_pixels(coefficients)}"
            )
        return finest

    def extent(self, size: int) -> tuple[int, ...]:
        """``size`` along every axis."""
        return (size,) * self.axes

    def whole(self, count: int) -> Index:
        """Where the band of ``count`` coefficients per axis lies: the leading ones."""
        return (slice(count),) * self.axes

    def parts(self, count: int) -> list[Index]:
        """Where the last shell of ``count`` coefficients per axis lies, in disjoint blocks, one per axis."""
        last, before, all_of_them = slice(count - 2, count), slice(count - 2), slice(count)
        return [
            (before,) * axis + (last,) + (all_of_them,) * (self.axes - axis - 1) for axis in range(self.axes)
        ]

    def image(self, values: Tensor) -> Tensor:
        """Values as one image of ``N`` channels, channels last, of one pixel's width where there is one axis."""
        height, width = (*values.shape[:-1], 1)[:2]
        return values.reshape(1, height, width, values.shape[-1]).permute(0, 3, 1, 2)

    def window(self, size: int) -> tuple[int, int]:
        """A pooling window of ``size`` along every axis, on such an image."""
        return (size, size if self.axes == 2 else 1)

    def synthesise(
        self, synthesis: Tensor, coefficients: Tensor, values: Tensor, workspace: Workspace
    ) -> Tensor:
        """``S C S^T`` (``S C``) of a whole band, the leading ``K`` per axis of ``coefficients``, into ``values``."""
        points, count = synthesis.shape
        rows = coefficients[self.whole(count)]
        if self.axes == 2:
            half = workspace.take("half", count, points, values.shape[-1])
            rows = torch.bmm(synthesis.expand(count, points, count), rows, out=half).view(count, -1)
        torch.mm(synthesis, rows, out=values.view(points, -1))
        return values

    def synthesise_shell(
        self, synthesis: Tensor, coefficients: Tensor, values: Tensor, beta: int = 1, alpha: int = 1
    ) -> Tensor:
        """``values = beta * values + alpha * S C S^T`` (``S C``), with the last shell alone of ``coefficients``."""
        points, count = synthesis.shape
        columns = values.shape[-1]
        last = synthesis[:, -2:]
        rows = coefficients[count - 2 : count]
        if self.axes == 1:
            return values.addmm_(last, rows, beta=beta, alpha=alpha)
        rows = torch.matmul(synthesis, rows[:, :count])
        values.view(points, -1).addmm_(last, rows.view(2, -1), beta=beta, alpha=alpha)
        sides = coefficients[: count - 2, count - 2 : count].reshape(count - 2, 2 * columns)
        sides = torch.mm(synthesis[:, :-2], sides).view(points, 2, columns)
        return values.baddbmm_(last.expand(points, points, 2), sides, alpha=alpha)

    def analyse(self, analysis: Tensor, values: Tensor, workspace: Workspace) -> Tensor:
        """``A values A^T`` (``A values``) of a whole band, valid until the next call with this workspace."""
        count, points = analysis.shape
        rows = workspace.take("half", count, values.numel() // points)
        torch.mm(analysis, values.reshape(points, -1), out=rows)
        if self.axes == 1:
            return rows
        columns = values.shape[-1]
        analysed = workspace.take("analysed", count, count, columns)
        torch.bmm(analysis.expand(count, count, points), rows.view(count, points, columns), out=analysed)
        return analysed

    def analyse_shell(self, analysis: Tensor, values: Tensor, out: Tensor) -> None:
        """The last shell alone of ``A values A^T`` (``A values``), into its place in ``out``."""
        count, points = analysis.shape
        columns = values.shape[-1]
        last = analysis[-2:]
        rows = torch.mm(last, values.reshape(points, -1))
        if self.axes == 1:
            out[count - 2 : count] = rows
            return
        out[count - 2 : count, :count] = torch.matmul(analysis, rows.view(2, points, columns))
        sides = torch.matmul(last, values).view(points, 2 * columns)
        out[: count - 2, count - 2 : count] = torch.mm(analysis[:-2], sides).view(count - 2, 2, columns)
