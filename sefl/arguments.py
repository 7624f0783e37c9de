"""Checks of arguments that many places share, each with one message. Not a number and infinities pass none of them."""

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:  # commands check their arguments before torch is there
    from torch import Tensor

MOST_LAYERS = 10_000
"""A network of more would be made for minutes; no published one comes near."""
MOST_SEED = 2**32 - 1
"""NumPy's."""


def require_one_of(name: str, value: object, allowed: Sequence[object]) -> None:
    """Refuse a value that is none of those allowed.

    Raises:
        ValueError: if it is not.

    >>> require_one_of("pooling", "mean", ["max", "mean"])
    >>> require_one_of("pooling", "min", ["max", "mean"])
    Traceback (most recent call last):
    ...
    ValueError: pooling must be one of 'max', 'mean', got 'min'
    """
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def require_floating(name: str, x: "Tensor") -> None:
    """Refuse integers, booleans and complex numbers, which products with real matrices would round or cut.

    Raises:
        TypeError: if ``x`` is not a real floating-point tensor.
    """
    if not x.is_floating_point():
        instead = "take its real part" if x.is_complex() else "convert it with .float()"
        raise TypeError(f"{name} must be a real floating-point tensor, got {x.dtype}; {instead}")


def require_integer(name: str, value: object, least: int, most: int | None = None) -> int:
    """Refuse what is no integer, or none in the range; NumPy's integers are some, ``True`` and ``False`` are none.

    Returns:
        the value as Python's ``int``.

    Raises:
        ValueError: if it is not.

    >>> require_integer("val_size", 8_000, 1, 7_999)
    Traceback (most recent call last):
    ...
    ValueError: val_size must be an integer from 1 to 7999, got 8000
    """
    if (
        not isinstance(value, Integral)
        or isinstance(value, bool)
        or int(value) < least
        or (most is not None and int(value) > most)
    ):
        allowed = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} must be an integer {allowed}, got {value!r}")
    return int(value)


def require_seed(name: str, value: object) -> int:
    """Refuse what no random generator here starts from, as :func:`require_integer`.

    Raises:
        ValueError: if it is not from 0 to 2^32 - 1.
    """
    return require_integer(name, value, 0, MOST_SEED)


def require_positive(name: str, value: object) -> int:
    """Refuse what is no positive integer, as :func:`require_integer`.

    Raises:
        ValueError: if it is not.
    """
    if not _is_positive(value):
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return int(cast(Integral, value))


def require_positives(name: str, values: Iterable[object]) -> list[int]:
    """Refuse a list of which an entry is no positive integer, as :func:`require_integer`.

    Raises:
        ValueError: if one is not.

    >>> require_positives("pools", [2, 0])
    Traceback (most recent call last):
    ...
    ValueError: pools must be positive integers, got [2, 0]
    """
    given = list(values)
    if not all(map(_is_positive, given)):
        raise ValueError(f"{name} must be positive integers, got {given}")
    return [int(cast(Integral, value)) for value in given]


def is_odd(value: object) -> bool:
    """Whether it is a positive odd integer, as the size of a kernel that has a centre; NumPy's integers are some."""
    return _is_positive(value) and int(cast(Integral, value)) % 2 == 1


def _is_positive(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def require_number(
    name: str,
    value: object,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> float:
    """Refuse what is no finite number, or none in the range; NumPy's numbers are some, ``True`` and ``False`` are none.

    Args:
        name: the argument, for the message.
        value: what it is.
        least: the range begins here, inclusive; or
        above: exclusive.
        most: the range ends here, inclusive; or
        below: exclusive.

    Returns:
        the value as Python's ``float``.

    Raises:
        ValueError: if it is not.

    >>> require_number("std", float("nan"), above=0)
    Traceback (most recent call last):
    ...
    ValueError: std must be a finite number above 0, got nan
    >>> require_number("dropout", 1, least=0, below=1)
    Traceback (most recent call last):
    ...
    ValueError: dropout must be a finite number of at least 0 and below 1, got 1
    """
    if (
        not isinstance(value, Real)
        or isinstance(value, bool)
        or not math.isfinite(float(value))
        or (least is not None and float(value) < least)
        or (above is not None and float(value) <= above)
        or (most is not None and float(value) > most)
        or (below is not None and float(value) >= below)
    ):
        bounds = {"of at least": least, "above": above, "of at most": most, "below": below}
        allowed = " and ".join(f"{word} {bound}" for word, bound in bounds.items() if bound is not None)
        raise ValueError(f"{name} must be {f'a finite number {allowed}'.rstrip()}, got {value!r}")
    return float(value)
