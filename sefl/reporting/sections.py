"""What is shown together: experiments on the same data under the same protocol, and what was published on it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sefl.reporting.experiments import Experiment
from sefl.reporting.published import PublishedTable, published_of


@dataclass(frozen=True)
class Section:
    """Experiments that compare with each other.

    Args:
        title: the data set and the protocol.
        experiments: ours.
        published: what was published, if anything was on this data set.
        comparable: whether that was under the same protocol.
    """

    title: str
    experiments: tuple[Experiment, ...]
    published: PublishedTable | None
    comparable: bool

    @property
    def slug(self) -> str:
        """The title as the beginning of a file name."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.replace(",", "").lower()).strip("-")


def sections(experiments: Sequence[Experiment]) -> list[Section]:
    """Every experiment in the section of its data, those with published rows first.

    Where a protocol departs from all that are published on its data set, the main published table is shown
    beside it nevertheless.
    """
    grouped: dict[str, tuple[list[Experiment], PublishedTable | None, bool]] = {}
    for experiment in experiments:
        title, published, comparable = _place(experiment)
        grouped.setdefault(title, ([], published, comparable))[0].append(experiment)
    made = [
        Section(title, tuple(members), published, comparable)
        for title, (members, published, comparable) in grouped.items()
    ]
    return sorted(made, key=lambda section: (section.published is None, not section.comparable))


def _place(experiment: Experiment) -> tuple[str, PublishedTable | None, bool]:
    data_class = str(experiment.data.get("class_path", "data without a name")).rpartition(".")[2]
    options = experiment.data.get("init_args") or {}
    tables = published_of(data_class)
    departures = [table.departures(options) for table in tables]
    for table, departure in zip(tables, departures, strict=True):
        if not departure:
            return table.title, table, True
    if not tables:
        return data_class, None, False
    nearest = min(range(len(tables)), key=lambda index: len(departures[index]))
    spelled = ", ".join(f"{name} {value}" for name, value in departures[nearest].items())
    return f"{data_class}, {spelled}", tables[nearest], False
