"""Text of others in a report: names, commands and messages from files, as Markdown that shows them and nothing else."""

import re

_ESCAPED = re.compile(r"[\\`*\[\]#~|]|(?<![^\W_])_|_(?![^\W_])")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_BACKTICKS = re.compile("`+")


def printable(text: str) -> str:
    """The text in one line, in which what has no glyph stands as its escape sequence.

    >>> print(printable("red \\x1b[31m, a new\\nline"))
    red \\x1b[31m, a new\\nline
    """
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def plain(text: str) -> str:
    """Text that no Markdown or HTML is made of.

    >>> plain("<b> mnist_scale [x](y) `|`")
    '&lt;b&gt; mnist_scale \\\\[x\\\\](y) \\\\`\\\\|\\\\`'
    """
    escaped = _ESCAPED.sub(r"\\\g<0>", printable(text))
    return re.sub("[&<>]", lambda found: _HTML[found[0]], escaped)


def code(text: str) -> str:
    """Text as code within a line.

    >>> code("a"), code("a `b`")
    ('`a`', '`` a `b` ``')
    """
    text = printable(text)
    fence = _fence([text], 1)
    return f"{fence}{text}{fence}" if fence == "`" else f"{fence} {text} {fence}"


def code_block(language: str, lines: list[str]) -> str:
    """Lines as a block of code."""
    lines = [printable(line) for line in lines]
    fence = _fence(lines, 3)
    return "\n".join([f"{fence}{language}", *lines, fence])


def _fence(lines: list[str], least: int) -> str:
    """More backticks than there are anywhere in the lines."""
    longest = max((len(found[0]) for line in lines for found in _BACKTICKS.finditer(line)), default=0)
    return "`" * max(least, longest + 1)
