"""The table of a network's layers at the start of a training."""

from collections.abc import Sequence
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import RichModelSummary
from pytorch_lightning.strategies import DeepSpeedStrategy
from pytorch_lightning.utilities.model_summary import (
    DeepSpeedSummary,
    ModelSummary,
    get_formatted_model_size,
    get_human_readable_count,
)
from rich import get_console
from rich.table import Table
from torch import nn
from torchmetrics import Metric, MetricCollection


class NetworkSummary(RichModelSummary):
    """Lightning's table of layers and parameters, without metrics, which are no layers, and what was not measured.

    Operations and sizes in and out are measured where the model has an ``example_input_array``; the mode of the layers
    is shown where some are in evaluation mode.
    """

    def _summary(self, trainer: Trainer, pl_module: LightningModule) -> ModelSummary | DeepSpeedSummary:
        if isinstance(trainer.strategy, DeepSpeedStrategy) and trainer.strategy.zero_stage_3:
            return super()._summary(trainer, pl_module)
        return SummaryWithoutMetrics(pl_module, max_depth=self._max_depth)

    @staticmethod
    def summarize(
        summary_data: Sequence[tuple[str, list[str]]],
        total_parameters: int,
        trainable_parameters: int,
        model_size: float,
        total_training_modes: dict[str, int],
        total_flops: int,
        **summarize_kwargs: Any,
    ) -> None:
        worth_it = {"FLOPs": total_flops, "Mode": total_training_modes["eval"]}
        columns = {name.strip(): values for name, values in summary_data if worth_it.get(name, True)}
        table = Table()
        for name in columns:
            table.add_column(name, justify="left" if name in ("Name", "Type", "Mode") else "right")
        for row in zip(*columns.values(), strict=True):
            table.add_row(*row)
        fixed = total_parameters - trainable_parameters
        total, of_them, flops = (
            get_human_readable_count(count).strip() for count in (total_parameters, fixed, total_flops)
        )
        said = f"{total} parameters" + f", {of_them} of them fixed" * (fixed > 0)
        said += f", {get_formatted_model_size(model_size)} MB" + f", {flops} FLOPs" * (total_flops > 0)
        get_console().print(table)
        get_console().print(said, highlight=False)


class SummaryWithoutMetrics(ModelSummary):
    """Lightning's summary of the modules that are no metrics."""

    @property
    def named_modules(self) -> list[tuple[str, nn.Module]]:
        modules = super().named_modules
        metrics = tuple(
            f"{name}." for name, module in modules if isinstance(module, Metric | MetricCollection)
        )
        return [(name, module) for name, module in modules if not f"{name}.".startswith(metrics)]
