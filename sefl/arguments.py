"""Checks of arguments that many places share, each with one message."""

from collections.abc import Sequence


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


def require_integer(name: str, value: object, least: int, most: int | None = None) -> None:
    """Refuse what is no integer, or none in the range; ``True`` and ``False`` are none.

    Raises:
        ValueError: if it is not.

    >>> require_integer("val_size", 8_000, 1, 7_999)
    Traceback (most recent call last):
    ...
    ValueError: val_size must be an integer from 1 to 7999, got 8000
    """
    if (
        not isinstance(value, int)
        or isinstance(value, bool)
        or value < least
        or (most is not None and value > most)
    ):
        allowed = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} must be an integer {allowed}, got {value!r}")
