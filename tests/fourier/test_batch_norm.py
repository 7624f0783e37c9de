"""Batch norms: torch's of the pixels, exactly equivariant on coefficients once trained, the same on two processes."""

from pathlib import Path

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import BaseFinetuning, StochasticWeightAveraging
from scale_equivariance import (
    assert_same,
    assert_scale_equivariant,
    on_images,
    on_signals,
    scale_equivariance_errors,
)
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader

from sefl.fourier import (
    GridBatchNorm,
    SpectralBatchNorm,
    downsample,
    to_coefficients,
    to_grid,
)
from sefl.groups import FieldNorm, trivial

CHANNELS = 3
MOMENTUM = 0.3


def images(resolution: int, batch: int = 4, axes: int = 2) -> Tensor:
    """Each channel has a mean and a spread of its own."""
    generator = torch.Generator().manual_seed(resolution)
    noise = torch.randn(batch, CHANNELS, *[resolution] * axes, dtype=torch.float64, generator=generator)
    shape = (CHANNELS, *[1] * axes)
    return noise * torch.tensor([0.1, 1.0, 7.0]).view(shape) + torch.tensor([3.0, 0.0, -2.0]).view(shape)


Layer = type[SpectralBatchNorm] | type[GridBatchNorm]
both = pytest.mark.parametrize("kind", [SpectralBatchNorm, GridBatchNorm])


def layers(
    kind: Layer, axes: int = 2, momentum: float | None = MOMENTUM
) -> tuple[SpectralBatchNorm | GridBatchNorm, nn.Module]:
    """Ours and torch's, with the same random parameters."""
    ours = kind(CHANNELS, momentum=momentum).double()
    theirs = (nn.BatchNorm1d if axes == 1 else nn.BatchNorm2d)(CHANNELS, momentum=momentum).double()
    torch.manual_seed(axes)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        nn.init.normal_(mine)
        other.data.copy_(mine)
    return ours, theirs


def on_grid(layer: nn.Module, x: Tensor) -> Tensor:
    if isinstance(layer, GridBatchNorm):
        return layer(x)
    if x.dim() == 3:
        return to_grid(layer(to_coefficients(x)), x.shape[-1])
    return to_grid(layer(to_coefficients(x)), x.shape[-1])


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize(("resolution", "momentum"), [(5, MOMENTUM), (9, None)])
@both
def test_is_batch_norm_of_the_pixels(kind: Layer, axes: int, resolution: int, momentum: float | None) -> None:
    """Of odd resolutions, whose pixels hold as many numbers as the band has."""
    ours, theirs = layers(kind, axes, momentum)
    mine = images(resolution, axes=axes).requires_grad_()
    other = mine.detach().clone().requires_grad_()
    weights = torch.randn_like(mine)
    for step in range(3):
        outputs = on_grid(ours, mine * (step + 1)), theirs(other * (step + 1))
        assert_same(*outputs)
        for output in outputs:
            (output * weights).sum().backward()
        assert_same(mine.grad, other.grad)
    for name, parameter in ours.named_parameters():
        assert_same(parameter.grad, theirs.get_parameter(name).grad)
    for name, buffer in ours.named_buffers():
        assert_same(buffer.double(), theirs.get_buffer(name).double())
    assert_same(on_grid(ours.eval(), mine), theirs.eval()(other))


@pytest.mark.parametrize("axes", [1, 2])
def test_equivariant_in_evaluation(axes: int) -> None:
    layer, _ = layers(SpectralBatchNorm, axes)
    x = images(14, axes=axes)
    resolutions = range(1, 14)
    function = (on_signals if axes == 1 else on_images)(layer)
    # The control: with the statistics of the batch each resolution has its own.
    assert max(scale_equivariance_errors(function, x, resolutions).values()) > 1e-3
    layer.eval()
    assert_scale_equivariant(function, x, resolutions)


@pytest.mark.parametrize("axes", [1, 2])
def test_statistics_of_a_resolution_are_equivariant_in_training(axes: int) -> None:
    layer = SpectralBatchNorm(CHANNELS, statistics_resolution=6).double()
    x = images(14, axes=axes)
    function = (on_signals if axes == 1 else on_images)(layer)
    assert_scale_equivariant(function, x, range(5, 14))
    # Resolutions without that band have statistics of their own.
    assert min(scale_equivariance_errors(function, x, range(1, 5)).values()) > 1e-3
    layer, other = (SpectralBatchNorm(CHANNELS, statistics_resolution=6).double() for _ in range(2))
    on_grid(layer, x)
    on_grid(other, downsample(x, 5))
    assert_same(layer.running_mean, other.running_mean)
    assert_same(layer.running_var, other.running_var)


def test_grids_may_take_the_statistics_of_others() -> None:
    x, others = images(5), images(7, batch=2)
    layer, same = layers(GridBatchNorm)[0], layers(GridBatchNorm)[0]
    joined = same(others)
    assert_same(layer(torch.cat([others, others]), others), torch.cat([joined, joined]))
    assert_same(layer.running_var, same.running_var)
    assert_same(layer.eval()(x, others), layer(x))


@both
def test_two_processes_train_as_one(kind: Layer, on_two_processes) -> None:
    """On uneven shares: output, statistics, and the gradient that data parallelism averages."""
    x = images(7, batch=5)
    weights = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))

    def train(share: slice) -> list[Tensor]:
        layer, _ = layers(kind)
        part = x[share].clone().requires_grad_()
        output = on_grid(layer, part)
        (output * weights[share]).sum().backward()
        return [output.detach(), part.grad, *(p.grad for p in layer.parameters()), *layer.buffers()]

    output, gradient, weight, bias, *statistics = train(slice(None))
    shares = [slice(0, 2), slice(2, 5)]
    found = on_two_processes(lambda rank: train(shares[rank]))
    for share, (own_output, own_gradient, _, _, *own_statistics) in zip(shares, found, strict=True):
        assert_same(own_output, output[share])
        assert_same(own_gradient, gradient[share])
        for own, expected in zip(own_statistics, statistics, strict=True):
            assert_same(own.double(), expected.double())
    assert_same(found[0][2] + found[1][2], weight)
    assert_same(found[0][3] + found[1][3], bias)


@both
def test_under_autocast_the_statistics_are_precise(kind: Layer) -> None:
    layer, _ = layers(kind)
    layer.float()
    x = images(8).float()
    if kind is SpectralBatchNorm:
        x = to_coefficients(x)
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(x.bfloat16())
    assert output.dtype == torch.bfloat16
    assert layer.running_mean.dtype == torch.float32
    torch.testing.assert_close(output.float(), layer(x), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("mean", [1e3, 1e4])
@both
def test_a_large_mean_costs_what_it_costs_in_torch(kind: Layer, mean: float) -> None:
    """Against float64, with what the transforms between pixels and coefficients round left out."""
    x = torch.randn(8, CHANNELS, 9, 9, generator=torch.Generator().manual_seed(0)) + mean
    ours, theirs, exact = kind(CHANNELS), nn.BatchNorm2d(CHANNELS), nn.BatchNorm2d(CHANNELS).double()
    if kind is SpectralBatchNorm:
        given = to_coefficients(x.double()).float().requires_grad_()
        output = to_grid(ours(given).double(), 9)
        expected = exact(to_grid(given.double(), 9))
    else:
        given = x.requires_grad_()
        output, expected = ours(given), exact(given.double())
    rounding = (
        2**-24 * mean
    )  # of the mean to float32, and half as much of the deviation's product with the scale
    assert (theirs(x) - exact(x.double())).abs().max() < rounding
    assert (output - expected).abs().max() < 1.5 * rounding
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    gradient, expected_gradient = (
        torch.autograd.grad((y * weights).sum(), given)[0] for y in (output, expected)
    )
    torch.testing.assert_close(gradient, expected_gradient, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@both
def test_half_parameters_keep_precise_statistics(kind: Layer, dtype: torch.dtype) -> None:
    """128 images of 28 pixels hold more values per channel than float16 counts; their mean has more digits."""
    layer, same = kind(CHANNELS), kind(CHANNELS)
    layer.running_mean.fill_(1000.3)
    same.load_state_dict(layer.state_dict())
    layer.to(dtype)
    assert layer.weight.dtype == dtype
    assert torch.equal(layer.running_mean, same.running_mean)
    x = (images(28, batch=128).float() if kind is GridBatchNorm else to_coefficients(images(28, 128))).to(
        dtype
    )
    output = layer(x)
    assert output.dtype == dtype
    torch.testing.assert_close(output.float(), same(x.float()), rtol=0.02, atol=0.02)
    for name, buffer in layer.named_buffers():
        torch.testing.assert_close(buffer, same.get_buffer(name), rtol=1e-5, atol=1e-5)


def in_network(kind: Layer | type[FieldNorm]) -> tuple[nn.Module, nn.Module]:
    """A layer behind a module of torch's, as a network holds it, and the pixels' own norm."""
    if kind is FieldNorm:
        ours = nn.Sequential(nn.Identity(), FieldNorm(trivial(), CHANNELS, momentum=MOMENTUM))
    else:
        before = ToCoefficients() if kind is SpectralBatchNorm else nn.Identity()
        ours = nn.Sequential(before, kind(CHANNELS, momentum=MOMENTUM))
    return ours.double(), nn.Sequential(nn.Identity(), nn.BatchNorm2d(CHANNELS, momentum=MOMENTUM)).double()


class ToCoefficients(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return to_coefficients(x)


class Training(LightningModule):
    """The least that a trainer takes."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        return self.layers(batch).square().mean() * 0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def running(network: nn.Module) -> list[Tensor]:
    return [buffer for name, buffer in network.named_buffers() if "running" in name or "tracked" in name]


@pytest.mark.parametrize("kind", [SpectralBatchNorm, GridBatchNorm, FieldNorm])
def test_tools_find_it_as_they_find_batch_norm(kind: Layer | type[FieldNorm], tmp_path: Path) -> None:
    batches = [images(5) * scale for scale in (1, 3, 2)]
    ours, theirs = networks = in_network(kind)
    for network in networks:
        network(images(7))
        update_bn(batches, network)
    reached = [statistics.clone() for statistics in running(theirs)]
    torch.testing.assert_close(running(ours), reached)
    norm = next(module for module in ours.modules() if isinstance(module, _BatchNorm))
    assert norm.momentum == MOMENTUM

    # Frozen in a finetuning: parameters and statistics stay, or with train_bn neither.
    BaseFinetuning.freeze(ours, train_bn=False)
    ours(images(5))
    torch.testing.assert_close(running(ours), reached)
    assert not any(parameter.requires_grad for parameter in ours.parameters())
    BaseFinetuning.freeze(ours, train_bn=True)
    assert all(parameter.requires_grad for parameter in ours.parameters())

    # Weights averaged over the last two epochs of three, and then statistics of one more pass over the batches.
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        precision="64-true",
        callbacks=StochasticWeightAveraging(0.1, swa_epoch_start=1),
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Training(ours), DataLoader(batches, batch_size=None))
    torch.testing.assert_close(running(ours), reached)


@both
def test_conversion_to_sync_batch_norm_leaves_it(kind: Layer) -> None:
    """Lightning's ``sync_batchnorm`` converts so. Torch's own layers beside it are converted."""
    network, _ = in_network(kind)
    network.append(nn.BatchNorm2d(CHANNELS))
    norm = network[1]
    network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    assert network[1] is norm
    assert isinstance(network[2], nn.SyncBatchNorm)
    # Whoever puts another layer in its place has it.
    network[1] = other = nn.SyncBatchNorm(CHANNELS)
    assert network[1] is other


@both
def test_loads_what_was_saved_without_a_count_of_batches(kind: Layer) -> None:
    saved, loaded = (in_network(kind)[0] for _ in range(2))
    saved(images(5))
    state = saved.state_dict()
    del state["1.num_batches_tracked"]
    state._metadata["1"]["version"] = 1
    loaded.load_state_dict(state)
    torch.testing.assert_close(loaded[1].running_var, saved[1].running_var)
    assert loaded[1].num_batches_tracked == 0


def test_bad_input() -> None:
    for kind, single in [(SpectralBatchNorm, (1, 1, 1, CHANNELS)), (GridBatchNorm, (1, CHANNELS, 1, 1))]:
        with pytest.raises(ValueError, match="channels must be a positive integer, got 0"):
            kind(0)
        with pytest.raises(
            ValueError, match="momentum must be a finite number of at least 0 and of at most 1"
        ):
            kind(CHANNELS, momentum=float("nan"))
        layer = kind(CHANNELS)
        with pytest.raises(ValueError, match="more than one value per channel"):
            layer(torch.zeros(single))
        assert layer.running_mean.eq(0).all()
    with pytest.raises(ValueError, match="must have channels=3, got 2"):
        SpectralBatchNorm(CHANNELS)(torch.zeros(5, 5, 4, 2))
    with pytest.raises(ValueError, match="must have channels=3, got 2"):
        GridBatchNorm(CHANNELS)(torch.zeros(4, 2, 5, 5))
