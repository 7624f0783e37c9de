"""What a network says of one image, at each resolution and turned: as JSON and as a table on the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

Probabilities = NDArray[np.float64]
Item = TypeVar("Item")

MOST_ROWS = 11
"""Resolutions in a table; the JSON has all."""


@dataclass(frozen=True)
class Prediction:
    """What a network says of one image.

    Args:
        image: the file.
        steps: what was done to it.
        class_names: what the classes are called.
        by_resolution: probabilities ``(classes,)`` at each resolution, from coarse to fine.
        by_element: those at the finest resolution of the image turned by each element of a group, by its label.
        group: the group.
    """

    image: Path
    steps: Sequence[str]
    class_names: Sequence[str]
    by_resolution: dict[int, Probabilities]
    by_element: dict[str, Probabilities] = field(default_factory=dict)
    group: str | None = None

    @property
    def finest(self) -> Probabilities:
        """The probabilities at the finest resolution, which are the answer."""
        return self.by_resolution[max(self.by_resolution)]

    @property
    def all(self) -> Probabilities:
        """Those at every resolution, then those under every element: ``(rows, classes)``."""
        return np.stack([*self.by_resolution.values(), *self.by_element.values()])

    def answer(self, probabilities: Probabilities) -> str:
        """The most probable class, with its probability.

        >>> Prediction(Path("a.png"), [], ["cat", "dog"], {}).answer(np.array([0.25, 0.75]))
        'dog (.750)'
        """
        best = int(probabilities.argmax())
        return f"{self.class_names[best]} ({shown(probabilities[best])})"

    def leading(self, most: int) -> list[int]:
        """The answer, and the classes that are the most probable anywhere."""
        weight = self.all.max(0)
        weight[self.finest.argmax()] = 2.0
        return [int(each) for each in np.argsort(-weight, kind="stable")[:most]]

    def as_json(self) -> dict[str, Any]:
        """Plain values: the answer, and the probability of every class in every row."""

        def named(probabilities: Probabilities) -> dict[str, float]:
            return dict(zip(self.class_names, map(float, probabilities), strict=True))

        best = int(self.finest.argmax())
        return {
            "image": str(self.image),
            "steps": list(self.steps),
            "class": self.class_names[best],
            "probability": float(self.finest[best]),
            "by_resolution": {str(at): named(found) for at, found in self.by_resolution.items()},
            "group": self.group,
            "by_element": {label: named(found) for label, found in self.by_element.items()},
        }

    def table(self, most: int) -> Table:
        """A row for each of some resolutions and for each element, a column for each of ``most`` leading classes."""
        leading = self.leading(most)
        names = [escape(self.class_names[each]) for each in leading]
        table = Table("", "class", *names)
        rows = {at: self.by_resolution[at] for at in some(list(self.by_resolution), MOST_ROWS)}
        sections = [{f"{at} x {at}": found for at, found in rows.items()}, self.by_element]
        for section in sections:
            for label, found in section.items():
                best = int(found.argmax())
                numbers = [
                    f"[bold]{shown(found[c])}[/bold]" if c == best else shown(found[c]) for c in leading
                ]
                table.add_row(escape(label), escape(self.class_names[best]), *numbers)
            table.add_section()
        return table


def some(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many: the first, the last, and some between.

    >>> some(range(21), 6)
    [0, 4, 8, 12, 16, 20]
    """
    places = np.linspace(0, len(items) - 1, min(most, len(items)))
    return [items[round(place)] for place in places]


def shown(probability: float) -> str:
    """A probability with three digits behind the point.

    >>> shown(1.0), shown(0.0421)
    ('1.000', '.042')
    """
    return f"{probability:.3f}".removeprefix("0")
