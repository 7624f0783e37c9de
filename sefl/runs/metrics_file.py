"""``metrics.csv`` and its like: a header, then rows of numbers, read and written row by row, however many there are.

All that was logged at one step is one row. An epoch's row is that of its last batch: batches are counted from 0 on over
all epochs, so with 100 batches an epoch the first epoch's row has step 99. Training, learning rate, validation and
equivariance of the epoch are there.
"""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any, BinaryIO

from sefl.files.reading import reading
from sefl.files.writing import write_atomically, writing

STEP = "step"
LONGEST_LINE = 2**22
"""In bytes. No row of numbers is longer: what is, is no such file."""


def iterate_rows(path: Path, having: str | None = None) -> Iterator[dict[str, str]]:
    """The rows of a CSV file, one at a time, without a last line that a kill cut off. What is missing in one is empty.

    Args:
        path: the file.
        having: leave out rows that have nothing in this column.

    Raises:
        DamagedFile: at the row that can't be read, if the file has no header, or can't be opened.
    """
    with reading(path), path.open("rb") as file:
        reader = csv.reader((line.decode() for line in _lines(file)), strict=True)
        header = next(reader, None)
        if not header or not all(header):
            raise ValueError("its first line names no columns")
        if having is not None and having not in header:
            return
        needed = 0 if having is None else header.index(having)
        for row in filter(None, reader):
            if len(row) > len(header):
                raise ValueError(f"line {reader.line_num} has {len(row)} fields, the header {len(header)}")
            if having is None or any(row[needed : needed + 1]):
                yield dict(zip_longest(header, row, fillvalue=""))


class GrowingTable:
    """A CSV file that rows are added to, and columns as they come.

    A row is in the file as soon as it is added. One of the same step as the row before is merged with it, unless that
    had other values for the same columns.

    Args:
        path: the file; what it holds is gone on with, less a last line that a kill cut off.

    Raises:
        DamagedFile: if the file is there and no table.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._columns: list[str] | None = None
        self._last: dict[str, Any] = {}
        self._beginning = 0
        if path.exists():
            read_header(path, "; move it away to go on without it")

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row with a step."""
        if self._columns is None:
            self._columns = self._go_on()
        if not row.keys() <= set(self._columns):
            self._columns = self._widened(self._columns, [name for name in row if name not in self._columns])
        merges = bool(self._last) and all(
            self._last.get(name, None if name == STEP else value) == value for name, value in row.items()
        )
        if merges:
            # Values are only added, so that the line does not get shorter: one write leaves no part of the old one.
            row = {**self._last, **row}
        with writing(self._path), self._path.open("r+b") as file:
            self._beginning = file.seek(self._beginning) if merges else file.seek(0, os.SEEK_END)
            file.write(_line([row.get(name, "") for name in self._columns]))
        self._last = dict(row)

    def _go_on(self) -> list[str]:
        if not self._path.exists():
            return []
        with self._path.open("r+b") as file:
            file.truncate(_end_of_last_line(file))
        return read_header(self._path)

    def _widened(self, columns: list[str], new: list[str]) -> list[str]:
        """Write the file with further columns: each line gets empty fields at its end, whatever else it holds."""

        def write(file: IO[bytes]) -> None:
            file.write(_line([*columns, *new]))
            if columns:
                with self._path.open("rb") as old:
                    lines = _lines(old)
                    next(lines)
                    for line in lines:
                        self._beginning = file.tell()
                        missing = max(0, len(columns) - 1 - line.count(b","))
                        file.write(line.rstrip(b"\r\n") + b"," * (missing + len(new)) + b"\n")

        write_atomically(self._path, write)
        return [*columns, *new]


def append_csv(file: Path, rows: Sequence[Any], epoch: int, step: int) -> None:
    """Add this epoch's rows, at least one, dataclasses of one kind, to the history in ``file``.

    Rows of this step or a later one are what a run that was interrupted or started anew had written; they are
    replaced. The file is never seen half-written.
    """
    history: list[dict[str, Any]] = []
    if file.exists():
        history = [row for row in iterate_rows(file) if int(row[STEP]) < step]
    history += [{"epoch": epoch, STEP: step, **asdict(row)} for row in rows]
    header = list(history[-1])
    text = b"".join(map(_line, [header, *([row.get(name, "") for name in header] for row in history)]))
    write_atomically(file, lambda stream: stream.write(text))


def read_header(path: Path, advice: str = "") -> list[str]:
    """The names of a table's columns; none if the file has no whole line.

    Raises:
        DamagedFile: if its first line names no columns; the message ends with the advice.
    """
    with reading(path, advice), path.open("rb") as file:
        line = next(_lines(file), None)
        header = [] if line is None else next(csv.reader([line.decode()], strict=True), []) or [""]
        if header and (STEP not in header or not all(header)):
            raise ValueError(f"its first line names no column {STEP}")
    return header


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The whole lines that a file has now.

    What a training adds while they are read may begin in the middle of its last line, which grows.
    """
    left = os.fstat(file.fileno()).st_size
    while (line := file.readline(min(left, LONGEST_LINE))).endswith(b"\n"):
        left -= len(line)
        yield line
    if len(line) == LONGEST_LINE:
        raise ValueError(f"it has a line of more than {LONGEST_LINE} bytes")


def _end_of_last_line(file: BinaryIO) -> int:
    """Where the last whole line ends."""
    end = file.seek(0, os.SEEK_END)
    while end:
        beginning = max(0, end - LONGEST_LINE)
        file.seek(beginning)
        found = file.read(end - beginning).rfind(b"\n")
        if found >= 0:
            return beginning + found + 1
        end = beginning
    return 0


def _line(values: Iterable[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()
