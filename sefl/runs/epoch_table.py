"""Tables in CSV files that grow by some rows each epoch."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from sefl.files.writing import write_atomically


def append_csv(file: Path, rows: Sequence[Any], epoch: int, step: int) -> None:
    """Add this epoch's rows, at least one, dataclasses of one kind, to the history in ``file``.

    Rows of this step or a later one are what a run that was interrupted or started anew had written; they are
    replaced. The file is never seen half-written.
    """
    header = ["epoch", "step", *(field.name for field in fields(rows[0]))]
    history: list[dict[str, object]] = []
    if file.exists():
        with file.open(newline="") as stream:
            history = [dict(row) for row in csv.DictReader(stream) if int(row["step"]) < step]
    history += [{"epoch": epoch, "step": step, **asdict(row)} for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, header)
    writer.writeheader()
    writer.writerows(history)
    write_atomically(file, lambda stream: stream.write(text.getvalue().encode()))
