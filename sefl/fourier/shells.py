"""One shell of coefficients at a time: what the layers that go from band to band share.

Shell ``b`` is what band ``b`` adds to band ``b - 1``: the last two rows and columns of its ``K x K`` coefficients,
``K = 2 b + 1``. The products here run between such coefficients and values on a grid of ``n x n`` points, for a block
of ``N`` columns. ``synthesis`` is any ``(n, K)`` matrix and ``analysis`` any ``(K, n)`` one: the transpose of a
function is its partner with the transposed matrix.
"""

import torch
from torch import Tensor

from sefl.fourier.basis import band
from sefl.fourier.sampling import square_band


def band_in_range(coefficients: Tensor, base_resolution: int, max_resolution: int, of: str) -> int:
    """The band of square coefficients that a layer from ``base_resolution`` to ``max_resolution`` accepts.

    Args:
        coefficients: ``(K, K, batch, channels)``.
        base_resolution: the coarsest resolution.
        max_resolution: the finest resolution.
        of: what has this range, for the message.

    Raises:
        ValueError: if they are of another shape or of a band outside the range.
    """
    finest = square_band(coefficients)
    if not band(base_resolution) <= finest <= band(max_resolution):
        raise ValueError(
            f"coefficients of band {finest} (resolutions {2 * finest + 1} and {2 * finest + 2}) are outside the "
            f"{of}'s range, base_resolution {base_resolution} to max_resolution {max_resolution}"
        )
    return finest


def synthesise(synthesis: Tensor, coefficients: Tensor, values: Tensor) -> Tensor:
    """``S C S^T`` of a whole band, the leading ``K x K`` of ``coefficients``, into ``values (n, n, N)``."""
    points, count = synthesis.shape
    half = torch.matmul(synthesis, coefficients[:count, :count])
    torch.mm(synthesis, half.view(count, -1), out=values.view(points, -1))
    return values


def synthesise_shell(synthesis: Tensor, coefficients: Tensor, values: Tensor, beta: int = 1) -> Tensor:
    """``values (n, n, N) = beta * values + S C S^T``, with the shell alone of ``coefficients``."""
    points, count = synthesis.shape
    columns = values.shape[-1]
    last = synthesis[:, -2:]
    rows = torch.matmul(synthesis, coefficients[count - 2 : count, :count])
    values.view(points, -1).addmm_(last, rows.view(2, -1), beta=beta)
    sides = coefficients[: count - 2, count - 2 : count].reshape(count - 2, 2 * columns)
    sides = torch.mm(synthesis[:, :-2], sides).view(points, 2, columns)
    return values.baddbmm_(last.expand(points, points, 2), sides)


def analyse(analysis: Tensor, values: Tensor, out: Tensor) -> None:
    """``A values A^T`` of a whole band, into the leading ``K x K`` of ``out``."""
    count, points = analysis.shape
    half = torch.mm(analysis, values.reshape(points, -1)).view(count, points, -1)
    out[:count, :count] = torch.matmul(analysis, half)


def analyse_shell(analysis: Tensor, values: Tensor, out: Tensor) -> None:
    """The shell alone of ``A values A^T``, into the last two rows and columns of the leading ``K x K`` of ``out``."""
    count, points = analysis.shape
    columns = values.shape[-1]
    last = analysis[-2:]
    rows = torch.mm(last, values.reshape(points, -1)).view(2, points, columns)
    out[count - 2 : count, :count] = torch.matmul(analysis, rows)
    sides = torch.matmul(last, values).view(points, 2 * columns)
    out[: count - 2, count - 2 : count] = torch.mm(analysis[:-2], sides).view(count - 2, 2, columns)
