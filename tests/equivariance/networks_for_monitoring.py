"""Small LightningModules for the tests of the EquivarianceMonitor, and data of several resolutions."""

import json
from dataclasses import astuple
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from callbacks import EquivarianceMonitor
from sefl.fourier import CoefficientModule, to_coefficients, to_grid
from sefl.groups.field import FieldFeatures
from sefl.tensors.output_types import Bands

COARSEST, FINEST = 6, 13


class PerFrequency(CoefficientModule):
    """Multiply every frequency by its own number, the same for cosine and sine.

    Equivariant to ideal downsampling, circular shifts, reversal about pixel 0 and, being symmetric in the
    two axes, rotation about it.
    """

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        frequency = (torch.arange(FINEST) + 1) // 2
        gain = torch.randn(FINEST, generator=generator)[frequency]
        self.weight = nn.Parameter((gain[:, None] * gain)[:, :, None, None])

    def forward(self, coefficients: Tensor) -> Tensor:
        rows, columns = coefficients.shape[:2]
        return self.weight[:rows, :columns] * coefficients


class ToCoefficients(CoefficientModule):
    def forward(self, images: Tensor) -> Tensor:
        return to_coefficients(images)


class ToGrid(nn.Module):
    def forward(self, coefficients: Tensor) -> Tensor:
        return to_grid(coefficients, (coefficients.shape[0], coefficients.shape[1]))


class MeanPerBand(nn.Module):
    """The energy of every band's image: ``(batch, bands, channels)``, coarse to fine."""

    output_type = Bands()

    def forward(self, coefficients: Tensor) -> Tensor:
        counts = range(COARSEST - 1, coefficients.shape[0] + 1, 2)
        return torch.stack([coefficients[:n, :n].square().sum((0, 1)) for n in counts], dim=1)


class Classifier(pl.LightningModule):
    """A network and the least that Lightning asks for."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.loss = nn.CrossEntropyLoss()

    def forward(self, images: Tensor) -> Tensor:
        output = self.network(images)
        output = output.values if isinstance(output, FieldFeatures) else output
        return output.flatten(2).mean(2) if output.dim() == 4 else output.flatten(1)[:, :2]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, labels = batch
        return self.loss(self(images), labels)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.training_step(batch, batch_idx)

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05)


def exact() -> Classifier:
    """Exactly equivariant to ideal downsampling, flips about pixel 0 and shifts."""
    return Classifier(nn.Sequential(ToCoefficients(), PerFrequency(), ToGrid()))


def control() -> Classifier:
    """An ordinary CNN, which is not."""
    torch.manual_seed(3)
    return Classifier(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(4, 2, 3, stride=2, padding=1),
            nn.ReLU(),
        )
    )


def with_state() -> Classifier:
    """With batch norm and dropout: buffers, random numbers and a training mode to disturb."""
    torch.manual_seed(4)
    return Classifier(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Conv2d(4, 2, 3, stride=2),
        )
    )


class Images(Dataset):
    """Batches of random images and labels, each batch of one resolution."""

    def __init__(self, sizes: list[int], resolutions: list[int], dtype: torch.dtype = torch.float64) -> None:
        self.sizes, self.resolutions, self.dtype = sizes, resolutions, dtype

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(100 + index)
        size, resolution = self.sizes[index], self.resolutions[index]
        images = torch.randn(size, 2, resolution, resolution, generator=generator, dtype=torch.float64)
        return images.to(self.dtype), torch.randint(0, 2, (size,), generator=generator)


def batches(
    sizes: list[int] | None = None, resolutions: list[int] | None = None, dtype: torch.dtype = torch.float64
) -> DataLoader:
    resolutions = resolutions or [13, 9, 12]
    return DataLoader(Images(sizes or [4] * len(resolutions), resolutions, dtype), batch_size=None)


def trainer(folder: Any, *callbacks: pl.Callback, **settings: Any) -> pl.Trainer:
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "max_epochs": 1,
    }
    return pl.Trainer(default_root_dir=str(folder), callbacks=list(callbacks), **(defaults | settings))


class Sharded(Classifier):
    """Deals batches of different resolutions to the processes, unevenly; its weights never change."""

    SIZES, RESOLUTIONS = (4, 2, 5, 1, 3), (13, 9, 12, 11, 13)

    def __init__(self, network: nn.Module, folder: Any, monitor: EquivarianceMonitor) -> None:
        super().__init__(network)
        self.folder, self.monitor = folder, monitor

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)

    def train_dataloader(self) -> Any:
        return batches([2, 2], [8, 8])

    def val_dataloader(self) -> Any:
        loader = batches(list(self.SIZES), list(self.RESOLUTIONS))
        indices = list(range(len(self.SIZES)))
        mine = indices[3:] if self.trainer.global_rank else indices[:3]
        return torch.utils.data.DataLoader(
            loader.dataset, batch_size=None, sampler=indices if self.trainer.world_size == 1 else mine
        )

    test_dataloader = val_dataloader

    def on_validation_end(self) -> None:
        if not self.trainer.sanity_checking:
            rows = [astuple(row) for row in self.monitor.results]
            metrics = {name: value.item() for name, value in self.trainer.callback_metrics.items()}
            counts = {"unmeasured": [list(key) for key in self.monitor.unmeasured], "metrics": metrics}
            path = self.folder / f"{self.trainer.world_size}-{self.trainer.global_rank}.json"
            path.write_text(json.dumps({"rows": rows, **counts}))


def measure(
    model: Classifier, folder: Any, loader: DataLoader | None = None, **settings: Any
) -> EquivarianceMonitor:
    """The monitor after one ``trainer.validate`` of the model in float64."""
    settings = {"figures": False} | settings
    monitor = EquivarianceMonitor(**settings)
    trainer(folder, monitor).validate(model.double(), loader or batches(), verbose=False)
    return monitor
