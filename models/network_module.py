"""What the models share: they wrap a network, and train it with an optimiser and a schedule."""

from typing import Any

from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.optim import Optimizer

from models.schedules import scheduled
from sefl.fourier.sampling import Center
from sefl.networks import Network
from sefl.runs.stored_models import StoredModel

Batch = tuple[Tensor, Tensor]


class NetworkModule(StoredModel):
    """Base of the models: ``forward`` is the network's, of which layers are called ``network.blocks.0`` and so on.

    Args:
        network: what is trained.
        optimizer: from parameters to an optimiser.
        lr_scheduler: from the optimiser to its schedule.
    """

    def __init__(
        self, network: Network, optimizer: OptimizerCallable, lr_scheduler: LRSchedulerCallable | None
    ) -> None:
        super().__init__()
        self.network = network
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits

    def measured_layers(self) -> list[str]:
        """Those of the network."""
        return [f"network.{name}" for name in self.network.measured_layers()]

    @property
    def symmetry_group(self) -> str | None:
        """Of the network, under which its equivariance is measured."""
        return getattr(self.network, "symmetry_group", None)

    @property
    def base_resolution(self) -> int | None:
        """The coarsest that the network takes, down to which its equivariance is measured."""
        return getattr(self.network, "base_resolution", None)

    @property
    def sampling_center(self) -> Center:
        """Where the grids lie to which downsampling leads, under which its equivariance is measured."""
        return getattr(self.network, "sampling_center", "pixel")

    @property
    def pretrained(self) -> bool:
        """Whether there is something to evaluate without a checkpoint: a network made with weights."""
        return bool(getattr(self.network, "pretrained", False))

    def configure_optimizers(self) -> Any:
        return scheduled(self, self.optimizer, self.lr_scheduler)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        self.network.before_optimizer_step()

    def log_global(self, name: str, value: Tensor, prog_bar: bool = False) -> None:
        """Log a metric that is computed over all processes: they hold the same number, and its mean is that number."""
        self.log(name, value.float(), sync_dist=True, prog_bar=prog_bar)


def images_of(batch: Batch | Tensor) -> Tensor:
    """The images of a batch, with or without their labels beside them."""
    return batch if isinstance(batch, Tensor) else batch[0]
