"""What is shown together: experiments on the same data under the same protocol, and what was published on it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sefl.report.published import PublishedTable, published_of
from sefl.runs.experiments import Experiment

LONGEST_SLUG = 60
LONGEST_LIST = 4

Place = tuple[str, PublishedTable | None, bool]


@dataclass(frozen=True)
class Section:
    """Experiments that compare with each other.

    Args:
        title: the data set and the protocol.
        published: what was published, if anything was on this data set.
        comparable: whether that was under the same protocol.
        experiments: ours.
    """

    title: str
    published: PublishedTable | None
    comparable: bool
    experiments: tuple[Experiment, ...]

    @property
    def slug(self) -> str:
        """The title as the beginning of a file name."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.replace(",", "").lower()).strip("-")[:LONGEST_SLUG]


def sections(experiments: Sequence[Experiment]) -> list[Section]:
    """Every experiment in the section of its data, those with published rows first.

    Where a protocol departs from all that are published on its data set, the main published table is shown
    beside it nevertheless.
    """
    grouped: dict[str, tuple[Place, list[Experiment]]] = {}
    for experiment in experiments:
        key, place = _place(experiment)
        grouped.setdefault(key, (place, []))[1].append(experiment)
    made = [Section(*place, tuple(members)) for place, members in grouped.values()]
    return sorted(made, key=lambda section: (section.published is None, not section.comparable))


def _place(experiment: Experiment) -> tuple[str, Place]:
    """What experiments of one section have in common, and the section's beginning."""
    data_class = str(experiment.data.get("class_path", "data without a name")).rpartition(".")[2]
    options = experiment.data.get("init_args") or {}
    departures = [(table, table.departures(options)) for table in published_of(data_class)]
    if not departures:
        return data_class, (data_class, None, False)
    nearest, departure = min(departures, key=lambda pair: len(pair[1]))
    if not departure:
        return nearest.title, (nearest.title, nearest, True)

    def short(value: Any) -> str:
        long = isinstance(value, list) and len(value) > LONGEST_LIST
        return f"{value[0]}, {value[1]}, ..., {value[-1]}" if long else str(value)

    spelled = ", ".join(f"{name} {short(value)}" for name, value in departure.items())
    return f"{data_class} {departure}", (f"{data_class}, {spelled}", nearest, False)
