"""Whether a data set fits into this machine, said before it is made."""

import os

GIB = 2**30


def require_memory(what: str, needed: int, advice: str) -> None:
    """Refuse what takes more bytes than the machine has memory.

    Args:
        what: the arguments that it follows from, and their values.
        needed: bytes.
        advice: what would do.

    Raises:
        ValueError: if it takes more.
    """
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > available:
        raise ValueError(
            f"{what} takes {needed / GIB:,.0f} GiB of memory, the machine has {available / GIB:.0f}; {advice}"
        )
