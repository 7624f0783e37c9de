"""The result of evaluating a checkpoint: as JSON and as tables on the terminal."""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from sefl.files.reading import reading
from sefl.files.writing import write_text

MEASURES = {
    "test/accuracy": "accuracy",
    "test/accuracy_top5": "accuracy, the label among the best five",
    "test/shift_consistency": "shift consistency (two crops of an image, one class)",
    "test/scale_consistency": "scale consistency (finest loss no larger than any coarser)",
    "test/scale_consistency_monotone": "scale consistency (loss never rises with resolution)",
    "test/orbit_accuracy": "accuracy over all transformed copies",
    "test/orbit_accuracy_all": "samples correct in every transformed copy",
    "test/loc_accuracy": "accuracy over rotations below 60 degrees",
    "test/orbit_error": "invariance error of the logits over the copies",
    "test/loss": "cross-entropy",
}


@dataclass(frozen=True)
class Evaluation:
    """What was measured over the test split.

    Args:
        checkpoint: the file that was evaluated; ``None`` for weights that the model came with.
        epoch: the epoch it was written in, counted from 0; ``None`` without one.
        step: the optimiser steps until then; ``None`` without a checkpoint.
        parameters: how many the model has; ``None`` where an earlier version did not count them.
        metrics: everything that the model and the callbacks logged, by name.
        equivariance: one row per layer, transformation and parameter: mean and max over ``count`` samples.
        data: the configuration of the data, ``class_path`` and ``init_args``, which need not be that of the run.
        samples_by_resolution: how many were tested at each resolution; empty where that is not known.
    """

    checkpoint: str | None
    epoch: int | None
    step: int | None
    parameters: int | None
    metrics: dict[str, float]
    equivariance: list[dict[str, Any]]
    data: dict[str, Any] | None = None
    samples_by_resolution: dict[int, int] = field(default_factory=dict)

    @property
    def accuracy_by_resolution(self) -> dict[int, float]:
        found = {re.fullmatch(r"test/accuracy_(\d+)", name): value for name, value in self.metrics.items()}
        return dict(sorted((int(match[1]), value) for match, value in found.items() if match))

    @property
    def agreement(self) -> dict[str, dict[str, float]]:
        """By transformation: ``mean`` and, of several parameters, ``pairs``; see ``sefl.metrics.ShiftConsistency``."""
        found: dict[str, dict[str, float]] = {}
        for name, value in self.metrics.items():
            if match := re.fullmatch(r"agreement_test/(.+)/(mean|pairs)", name):
                found.setdefault(match[1], {})[match[2]] = value
        return found

    @staticmethod
    def file(folder: Path) -> Path:
        """Where an evaluation lies in its folder."""
        return folder / "evaluation.json"

    @classmethod
    def read(cls, folder: Path) -> "Evaluation":
        """What :meth:`write` wrote.

        Raises:
            DamagedFile: if the file is damaged.
        """
        with reading(cls.file(folder), "; evaluate the run again"):
            content = json.loads(cls.file(folder).read_text())
            samples = content.get("samples_by_resolution", {}).items()
            return cls(
                checkpoint=content["checkpoint"],
                epoch=content["epoch"],
                step=content.get("step"),
                parameters=content.get("parameters"),
                metrics={name: float(value) for name, value in content["metrics"].items()},
                equivariance=content["equivariance"],
                data=content.get("data"),
                samples_by_resolution={int(resolution): int(count) for resolution, count in samples},
            )

    def write(self, folder: Path) -> None:
        content = {
            **asdict(self),
            "accuracy": self.metrics.get("test/accuracy"),
            "accuracy_by_resolution": self.accuracy_by_resolution,
            "scale_consistency": self.metrics.get("test/scale_consistency"),
        }
        write_text(self.file(folder), json.dumps(content, indent=2) + "\n")

    def tables(self) -> Iterator[Table]:
        """The measures, accuracy per resolution, agreement of predictions, and equivariance error per layer."""
        weights = (
            "the model's own weights" if self.checkpoint is None else f"checkpoint of epoch {self.epoch}"
        )
        table = Table("measure", "value", title=f"Test split, {weights}")
        for name in (name for name in MEASURES if name in self.metrics):
            table.add_row(MEASURES[name], f"{self.metrics[name]:.4f}")
        yield table
        if self.accuracy_by_resolution:
            table = Table("resolution", "accuracy", title="Accuracy per resolution")
            for resolution, accuracy in self.accuracy_by_resolution.items():
                table.add_row(str(resolution), f"{accuracy:.4f}")
            yield table
        if self.agreement:
            columns = ("transformation", "with the untransformed image", "all pairs")
            table = Table(*columns, title="Agreement of predictions (fraction of images)")
            for transformation, measured in self.agreement.items():
                pairs = f"{measured['pairs']:.4f}" if "pairs" in measured else ""
                table.add_row(escape(transformation), f"{measured['mean']:.4f}", pairs)
            yield table
        if self.equivariance:
            title = "Equivariance error (relative, squared)"
            table = Table("layer", "transformation", "mean", "max", "max at", title=title)
            for (layer, transformation), group in groupby(
                self.equivariance, itemgetter("layer", "transformation")
            ):
                rows = list(group)
                mean = sum(row["mean"] * row["count"] for row in rows) / sum(row["count"] for row in rows)
                worst = max(rows, key=itemgetter("max"))
                numbers = f"{mean:.1e}", f"{worst['max']:.1e}", str(worst["parameter"])
                table.add_row(escape(layer), escape(transformation), *numbers)
            yield table
