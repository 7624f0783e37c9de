"""The networks of ``scale_eq.models``, with the parameters and the numbers of theirs: their checkpoints load.

Networks to train anew are in :mod:`sefl.networks`; they are exact at every resolution, smaller and faster.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, field
from functools import partial
from itertools import pairwise
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from sefl.compat.declared import Declared
from sefl.compat.fourier.complex_layers import ComplexConv2d, ComplexMaxPool2d
from sefl.compat.fourier.complex_modules import (
    ComplexLayerNorm1d,
    ComplexLayerNorm2d,
    SpectralDropout,
    complex_relu,
    complex_tanh,
    enblock2d,
    modRelu,
)
from sefl.compat.fourier.convolutions import SpectralConv2dLocalized, SpectralConvLocalized1d
from sefl.compat.fourier.mixing import SpectralMixer_2D, SpectralMixer_2D_shifteq, spectralMlp
from sefl.compat.fourier.nonlinearities import scaleEqNonlin, scaleEqNonlin1d, scaleEqNonlinMaxp
from sefl.compat.fourier.spectra import get_stack

Activation = Callable[[Tensor], Tensor]
Batch = Sequence[Any]
Layer = nn.Module
Options = Mapping[str, Any] | None
_PENALTY = 0.001  # of the norms of kernels, beside weight_decay, and of losses that rise with the resolution


class AbstractBaseClassifierModel(pl.LightningModule):
    """What the networks share: optimizer, schedule, warm-up, and steps that log loss and accuracy.

    Args:
        optimizer: its class, AdamW by default, with ``optimizer_kwargs``.
        scheduler: class of the learning rate schedule, or several, with ``scheduler_kwargs``, each epoch.
        param_scheduler, param_scheduler_kwargs: kept as attributes alone, as in theirs.
        warmup_epochs: epochs of a linear rise of the learning rate.
    """

    learning_rate: float
    weight_decay: float

    def __init__(
        self,
        optimizer: Callable[..., Any] | None = None,
        optimizer_kwargs: Options = None,
        scheduler: Any = None,
        scheduler_kwargs: Any = None,
        param_scheduler: Any = None,
        param_scheduler_kwargs: Options = None,
        warmup_epochs: int = 0,
    ) -> None:
        super().__init__()
        self.optimizer, self.optimizer_kwargs = optimizer, optimizer_kwargs
        self.scheduler, self.scheduler_kwargs = scheduler, scheduler_kwargs
        self.param_scheduler, self.param_scheduler_kwargs = param_scheduler, param_scheduler_kwargs
        self.warmup_epochs = warmup_epochs
        self._set_training()

    def _set_training(self) -> None:
        self.optimizer_fn = self.optimizer or torch.optim.AdamW
        self.optimizer_kwargs = dict(self.optimizer_kwargs or {})
        self.scheduler_fn, self.scheduler_kwargs = self.scheduler, self.scheduler_kwargs or {}
        self.param_scheduler_fn = self.param_scheduler
        self.param_scheduler_kwargs = self.param_scheduler_kwargs or {}
        self.criterion: nn.Module = nn.CrossEntropyLoss()

    def get_weight_group(self) -> list[dict[str, Any]]:
        """Parameters with their weight decay: none of kernels, which have a penalty; of norms less at few pixels."""
        groups: list[dict[str, Any]] = []
        for layer in self.children():
            norms = getattr(layer, "norm", None)
            if isinstance(norms, nn.ModuleDict):
                decay = self.weight_decay / float(getattr(self, "keep_size", 1)) ** 2
                groups += [
                    {"params": list(norm.parameters()), "weight_decay": int(resolution) ** 2 * decay}
                    for resolution, norm in norms.items()
                ]
            else:
                none = {"weight_decay": 0.0} if hasattr(layer, "L") else {}
                groups.append({"params": list(layer.parameters()), **none})
        return [group for group in groups if group["params"]]

    def _loss(self, output: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Logits that are judged, the loss, and what else is logged."""
        return output, self.criterion(output, y), {}

    def _forward_step(
        self, batch: Batch, batch_idx: int, stage: str = "train", sync_dist: bool = False
    ) -> tuple[Tensor, Tensor]:
        x, y = batch[0], batch[1]
        logits, loss, others = self._loss(self(x), x, y)
        accuracy = (logits.argmax(1) == y).float().mean()
        self._log(
            stage, {"loss": loss, "acc": accuracy, **others}, sync_dist=sync_dist, prog_bar=stage == "val"
        )
        return logits, loss

    def _log(self, stage: str, values: Mapping[str, Tensor], **options: Any) -> None:
        if stage != "evaluate":
            for name, value in values.items():
                self.log(f"{stage}_{name}", value, on_step=True, on_epoch=True, **options)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._forward_step(batch, batch_idx, "train")[1]

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._forward_step(batch, batch_idx, "val", True)[1]

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._forward_step(batch, batch_idx, "test", True)[1]

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None
    ) -> None:
        if self.current_epoch < self.warmup_epochs:
            per_epoch = int(self.trainer.num_training_batches)
            step = per_epoch * self.current_epoch + 1 + batch_idx
            for group in optimizer.param_groups:
                group["lr"] = step / (per_epoch * self.warmup_epochs) * self.learning_rate
        optimizer.step(closure=optimizer_closure)

    def configure_optimizers(self) -> Any:
        rate = 0 if self.warmup_epochs else self.learning_rate
        optimizer = self.optimizer_fn(
            self.get_weight_group(), lr=rate, weight_decay=self.weight_decay, **(self.optimizer_kwargs or {})
        )
        if self.scheduler_fn is None:
            return optimizer
        made, given = self.scheduler_fn, self.scheduler_kwargs
        made, given = (made, given) if isinstance(made, list) else ([made], [given])
        return [optimizer], [make(optimizer, **kwargs) for make, kwargs in zip(made, given, strict=True)]


class _Network(Declared, AbstractBaseClassifierModel):
    """The arguments of all networks; the classes say what is another, and what they mean."""

    in_channel: int
    learning_rate: float
    weight_decay: float
    C1: int = 32
    C2: int = 64
    C3: int = 128
    C4: int = 128
    FC1: int = 200
    dropout_fc1: float = 0.0
    dropout_fc2: float = 0.7
    activation_con: Activation = torch.relu
    activation_mlp: Activation = torch.relu
    mixer_band: int = -1
    _: KW_ONLY
    optimizer: Callable[..., Any] | None = None
    optimizer_kwargs: Options = None
    scheduler: Any = None
    scheduler_kwargs: Any = None
    param_scheduler: Any = None
    param_scheduler_kwargs: Options = None
    warmup_epochs: int = 0

    def __post_init__(self) -> None:
        self.save_hyperparameters()
        self._set_training()
        self._build([1, self.C1, self.C2, self.C3, self.C4])

    def _build(self, widths: list[int]) -> None:
        """Make the layers."""
        raise NotImplementedError

    def _spectrum(self, x: Tensor) -> Tensor:
        kernel = next(
            layer.L for layer in self.modules() if isinstance(getattr(layer, "L", None), nn.Parameter)
        )
        axes = tuple(range(2, x.dim()))
        outcome: Tensor = torch.fft.fftn(x, dim=axes, norm="forward").to(kernel.device, kernel.dtype)
        return outcome

    def _pixels(self, spectrum: Tensor) -> Tensor:
        axes = tuple(range(2, spectrum.dim()))
        outcome: Tensor = torch.fft.ifftn(spectrum, dim=axes, norm="forward")
        return outcome


class _OfEveryResolution(_Network):
    """Networks that put out logits at every resolution, of the same head on each."""

    res_dict: nn.Sequential = field(init=False)

    def apply_stack_shared(self, x: Tensor) -> Tensor:
        """Logits ``(batch, resolutions, classes)`` of the features of each resolution."""
        logits: Tensor = self.res_dict(x)
        return logits

    apply_stack = apply_stack_shared

    def get_loss(self, output: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The sum of the losses at all resolutions, the sum of its rises, and the logits at the finest."""
        losses = torch.stack([self.criterion(logits, y) for logits in output.unbind(1)])
        rises = losses[1:] - losses[:-1]
        return losses.sum(), rises.clamp(min=0).sum(), output[:, -1].detach()

    def _loss(self, output: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        penalties = [
            each.get_reg_loss() for each in self.modules() if isinstance(each, SpectralConv2dLocalized)
        ]
        loss, rises, finest = self.get_loss(output, y)
        loss = loss + self.weight_decay * _PENALTY * torch.stack(penalties).sum() + _PENALTY * rises
        return finest, loss, {"b_loss": rises}

    def _head(self, cells: int) -> nn.Sequential:
        return nn.Sequential(
            nn.LayerNorm(self.C4 * cells),
            nn.Dropout(self.dropout_fc1),
            nn.Linear(self.C4 * cells, self.FC1),
            nn.Dropout(self.dropout_fc2),
            nn.LayerNorm(self.FC1),
            nn.ReLU(),
            nn.Linear(self.FC1, 10),
        )


class FourierSeqMist(_OfEveryResolution):
    """Their network for MNIST-scale: four spectral convolutions, each beside a 1 x 1 one, with :class:`scaleEqNonlin`.

    Args:
        in_channel: kept as an attribute alone: images have one channel, as in theirs.
        learning_rate, weight_decay: of the optimizer.
        C1, C2, C3, C4, FC1: widths of the layers and of the head.
        dropout_fc1, dropout_fc2: of the head.
        activation_con: of the layers.
        activation_mlp, mixer_band: kept as attributes alone, or not at all, as in theirs.
        normalizer: of the layers, ``"instance"`` or ``None``.
        increment, max_res, base_res, pool_size: of :func:`get_stack`; layers are made for 6 to 28 pixels and the
            head's features begin at 8, whatever these say, as in theirs.
        kwargs: of :class:`AbstractBaseClassifierModel`.

    Shapes: ``(batch, 1, r, r)`` to ``(batch, resolutions, 10)``.
    """

    normalizer: str | None = "instance"
    increment: int = 1
    max_res: int = 28
    base_res: int = 8
    pool_size: int = 14

    def _build(self, widths: list[int]) -> None:
        self.keep_size = self.max_res
        for layer, (before, width) in enumerate(pairwise(widths)):
            setattr(self, f"L{layer}", SpectralConv2dLocalized(before, width, 28, 5))
            setattr(self, f"conv{layer}", ComplexConv2d(before, width, 1, bias=False))
            setattr(self, f"NL{layer}", scaleEqNonlin(self.activation_con, 6, self.normalizer, width))
        self.res_dict = self._head(math.ceil(self.max_res / self.pool_size) ** 2)

    def _layers(self, x: Tensor) -> list[Tensor]:
        outcomes = [self._spectrum(x)]
        for i in range(4):
            along, beside, activation = (getattr(self, f"{name}{i}") for name in ("L", "conv", "NL"))
            outcomes.append(activation(along(outcomes[-1]) + beside(outcomes[-1])))
        return outcomes[1:]

    def forward(self, x: Tensor) -> Tensor:
        last = self._layers(x)[-1]
        return self.apply_stack_shared(
            get_stack(last, self.pool_size, self.keep_size, base_res=8, increment=self.increment)
        )

    def get_feature(self, x: Tensor, idx: int = 0) -> Tensor:
        """What layer ``idx`` puts out, on pixels; complex with a small imaginary part."""
        return self._pixels(self._layers(x)[idx])


class FourierSeqStl(_OfEveryResolution):
    """Their network for STL10-scale: three residual blocks, two of which halve the resolution.

    Args:
        in_channel: channels of the images.
        increment, max_res, base_res, pool_size: of the non-linearities and of :func:`get_stack`; to be given. The
            increment is divided by 4 in the last block, so at least 4.

    The other arguments are those of :class:`FourierSeqMist`.

    Shapes: ``(batch, in_channel, r, r)`` to ``(batch, resolutions, 10)``.

    Raises:
        ValueError: if one of these four is not given or out of its range.
    """

    normalizer: str | None = "instance"
    increment: int | None = None
    max_res: int | None = None
    base_res: int | None = None
    pool_size: int | None = None

    def _build(self, widths: list[int]) -> None:
        for name, least in (("increment", 4), ("max_res", 1), ("base_res", 8), ("pool_size", 1)):
            value = getattr(self, name)
            if value is None or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}, got {value}")
        assert self.increment and self.max_res and self.base_res and self.pool_size  # noqa: PT018
        self.keep_size, steps, base = self.max_res, self.increment, self.base_res

        def nonlinearity(make: Callable[..., nn.Module], width: int, rate: int) -> nn.Module:
            coarsest, finest = (math.ceil(size / rate) for size in (base, self.keep_size))
            how = {"max_res": finest, "increment": steps // rate}
            return make(self.activation_con, coarsest, self.normalizer, width, **how)

        self.projector = ComplexConv2d(self.in_channel, self.C1, 1, bias=False)
        self.PN = nonlinearity(scaleEqNonlin, self.C1, 1)
        grids = ((64, 7), (32, 5), (16, 5))
        for i, ((before, width), grid) in enumerate(zip(pairwise(widths[1:]), grids, strict=True)):
            setattr(self, f"L{i}_1", SpectralConv2dLocalized(before, width, *grid))
            setattr(self, f"L{i}_2", SpectralConv2dLocalized(width, width, *grid))
            setattr(self, f"conv{i}", ComplexConv2d(before, width, 1, bias=False))
            setattr(self, f"NL{i}_1", nonlinearity(scaleEqNonlin, width, 2**i))
            last = scaleEqNonlin if i == 2 else scaleEqNonlinMaxp
            setattr(self, f"NL{i}_2", nonlinearity(last, width, 2**i))
        self.res_dict = self._head(math.ceil(self.max_res / 4 / self.pool_size) ** 2)

    def apply_block(self, x: Tensor, L1: Layer, L2: Layer, N1: Layer, N2: Layer, C1: Layer) -> Tensor:
        """A residual block of these layers."""
        return self._steps(x, L1, L2, N1, N2, C1)[-1]

    def get_block_activation(
        self, x: Tensor, L1: Layer, L2: Layer, N1: Layer, N2: Layer, C1: Layer, idx: int
    ) -> Tensor:
        """What step ``idx`` of a block puts out, on pixels."""
        return self._pixels(self._steps(x, L1, L2, N1, N2, C1)[idx])

    def _steps(self, x: Tensor, L1: Layer, L2: Layer, N1: Layer, N2: Layer, C1: Layer) -> list[Tensor]:
        outcomes = [L1(x)]
        outcomes.append(N1(outcomes[0]))
        outcomes.append(L2(outcomes[1]))
        return [*outcomes, N2(C1(x) + outcomes[2])]

    def _of_block(self, i: int) -> list[Layer]:
        names = f"L{i}_1", f"L{i}_2", f"NL{i}_1", f"NL{i}_2", f"conv{i}"
        return [self.get_submodule(name) for name in names]

    def _layers(self, x: Tensor) -> list[Tensor]:
        outcomes = [self.PN(self.projector(self._spectrum(x)))]
        for i in range(3):
            outcomes.append(self.apply_block(outcomes[-1], *self._of_block(i)))
        return outcomes

    def forward(self, x: Tensor) -> Tensor:
        assert self.pool_size and self.base_res and self.increment  # noqa: PT018
        size = math.ceil(self.keep_size / 4)
        base, increment = self.base_res // 4, self.increment // 4
        return self.apply_stack_shared(get_stack(self._layers(x)[-1], self.pool_size, size, base, increment))

    def get_feature(self, x: Tensor, idx: int = -1) -> Tensor:
        """What the projection (0) or a block (1, 2, 3) puts out, on pixels; complex with a small imaginary part."""
        return self._pixels(self._layers(x)[idx])

    def get_block_feature(self, x: Tensor, idx: int = -1) -> Tensor:
        """What step ``idx`` of the first block puts out, on pixels."""
        begin = self.PN(self.projector(self._spectrum(x)))
        return self._pixels(self._steps(begin, *self._of_block(0))[idx])


class FourierSeq1d(_Network):
    """Their network for signals: four spectral convolutions with :class:`scaleEqNonlin1d`, one output.

    Their weights load, but mean something else here, for :class:`scaleEqNonlin1d` is not what theirs is. The arguments
    are those of :class:`FourierSeqMist`; ``normalizer`` may be ``"batch"`` too.

    Shapes: ``(batch, 1, n)`` to ``(batch, 1)``.
    """

    normalizer: str | None = "batch"

    def _build(self, widths: list[int]) -> None:
        for layer, (before, width) in enumerate(pairwise(widths)):
            setattr(self, f"L{layer}", SpectralConvLocalized1d(before, width, 28, 11 if layer else 17))
            setattr(self, f"NL{layer}", scaleEqNonlin1d(self.activation_con, 8, self.normalizer, width))
        self.res_dict = nn.Sequential(
            nn.Dropout(self.dropout_fc1),
            nn.Linear(self.C4, self.FC1),
            nn.ReLU(),
            nn.Dropout(self.dropout_fc2),
            nn.LayerNorm(self.FC1),
            nn.Linear(self.FC1, 1),
        )

    def get_weight_group(self) -> list[dict[str, Any]]:
        """All parameters, with the same weight decay."""
        return [{"params": list(self.parameters())}]

    def _layers(self, x: Tensor) -> list[Tensor]:
        outcomes = [self._spectrum(x)]
        for i in range(4):
            outcomes.append(getattr(self, f"NL{i}")(getattr(self, f"L{i}")(outcomes[-1])))
        return outcomes[1:]

    def apply_stack(self, x: Tensor) -> Tensor:
        """The head on each of ``(batch, resolutions, C4)``."""
        outcome: Tensor = self.res_dict(x)
        return outcome

    def forward(self, x: Tensor) -> Tensor:
        return self.apply_stack(self._layers(x)[-1].abs().mean(2))

    def get_feature(self, x: Tensor, idx: int = 0) -> Tensor:
        """What layer ``idx`` puts out, on samples. (Theirs asks for layers that the network has not.)"""
        return self._pixels(self._layers(x)[idx])

    def _forward_step(
        self, batch: Batch, batch_idx: int, stage: str = "train", sync_dist: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Their task: whether the first word is a yes, of 2,000 samples of YESNO. The one logit is judged by its sign.

        Theirs takes the cross entropy of one logit, which is 0, and an accuracy that is 1: here the binary ones.
        """
        x, y = batch[0][..., 6000:8000], torch.as_tensor(batch[2], dtype=torch.float32)
        logits = self(x)
        y = y.to(logits.device).reshape(len(logits), -1)[:, :1]
        penalty = torch.stack([torch.linalg.vector_norm(p) for p in self.parameters()]).sum()
        loss = nn.functional.binary_cross_entropy_with_logits(logits, y) + self.weight_decay * penalty
        accuracy = ((logits > 0) == (y > 0.5)).float().mean()
        self._log(stage, {"loss": loss, "acc": accuracy}, sync_dist=sync_dist)
        return logits, loss


class _MixingNetwork(_Network):
    """Networks that mix frequencies: four stages of convolution, mixing, norm and activation, and a spectral head."""

    def _stage(self, x: Tensor, i: int) -> Tensor:
        modes = x.shape[-1]

        def of(name: str) -> Any:
            return getattr(self, name)

        out = of(f"B{i}")(of(f"M{i}")(of(f"L{i}")(x), modes, modes))
        out = of(f"M{i}{i}")(self._activation(i, False)(out), modes, modes) + of(f"conv{i}")(x)
        activated: Tensor = self._activation(i, True)(of(f"B{i}{i}")(out))
        return activated

    def _activation(self, stage: int, last: bool) -> Activation:
        raise NotImplementedError

    def _make(
        self, mixer: type[SpectralMixer_2D], widths: list[int], grids: list[int], taps: list[int]
    ) -> None:
        for i, (before, width) in enumerate(pairwise(widths)):
            setattr(self, f"L{i}", SpectralConv2dLocalized(before, width, grids[i], taps[i]))
            setattr(self, f"conv{i}", ComplexConv2d(before, width, 1, bias=False))
            for suffix in (f"{i}", f"{i}{i}"):
                setattr(self, f"M{suffix}", mixer(width, grids[i], mixer_band=self.mixer_band))
                setattr(self, f"B{suffix}", ComplexLayerNorm2d(width, grids[i]))

    def _make_head(self, modes: int, dropout: Callable[[float], nn.Module], **options: Any) -> None:
        of_head: dict[str, Any] = {"non_linear": False, "mixer_band": self.mixer_band, **options}
        self.LD1 = dropout(self.dropout_fc1)
        self.linear_1 = spectralMlp(modes, modes * self.C4, self.FC1, **of_head)
        self.LD2 = dropout(self.dropout_fc2)
        self.LB2 = ComplexLayerNorm1d(self.FC1, modes, complex="dtype" not in options)
        self.linear_2 = spectralMlp(modes, modes * self.FC1, 10, **of_head)

    def _logits(self, out: Tensor, diagonal: Tensor, activation: Activation) -> Tensor:
        hidden = self.linear_1(self.LD1(diagonal.flatten(1))).squeeze(2)
        hidden = activation(self.LB2(hidden, modes=out.shape[-1]))
        logits: Tensor = self.linear_2(self.LD2(hidden.flatten(1)))
        return logits

    def _diagonal(self, x: Tensor) -> Tensor:
        """The frequencies on the diagonal, ``(batch, channels, global_modes)``."""
        return torch.diagonal(enblock2d(x, int(getattr(self, "L3").global_modes)), dim1=-2, dim2=-1)  # noqa: B009

    def get_weight_group(self) -> list[dict[str, Any]]:
        groups = []
        for layer in self.children():
            none = {"weight_decay": 0.0} if hasattr(layer, "L") else {}
            groups.append({"params": list(layer.parameters()), **none})
        return [group for group in groups if group["params"]]

    def _loss(self, output: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        penalties = []
        for layer in self.modules():
            if isinstance(layer, SpectralConv2dLocalized | SpectralMixer_2D | spectralMlp):
                penalties.append(layer.get_reg_loss())
            elif getattr(layer, "weight", None) is not None:
                penalties.append(torch.linalg.vector_norm(layer.get_parameter("weight")))
        highest = min(output.shape[-1] // 2 + 1, x.shape[-1] // 4 + 1)
        logits, losses = output[:, :, 0, 0], []
        for j in range(1, highest):
            logits = (output[:, :, 0, j] + output[:, :, 0, -j]) / 2 + logits
            if j >= 2:
                losses.append(self.criterion(logits, y))
                logits = logits.detach()
        if not losses:
            raise ValueError(f"x must have at least 8 pixels per side, got {x.shape[-1]}")
        loss = torch.stack(losses).sum() / highest + self.weight_decay * torch.stack(penalties).sum()
        return logits, loss, {}


class FourierSeqFrequencyMixer(_MixingNetwork):
    """Their network that mixes frequencies, without scale-equivariant non-linearities; it does not commute with shifts.

    Args:
        in_channel: kept as an attribute alone: images have one channel.
        activation_con: of spectra.
        activation_mlp: kept as an attribute alone, as in theirs.
        mixer_band: as of :class:`SpectralMixer_2D`.

    The other arguments are those of :class:`FourierSeqMist`.

    Shapes: ``(batch, 1, r, r)``, ``r <= 32``, to ``(batch, 10, 1, 16)``: what each frequency adds to the logits.
    """

    activation_con: Activation = complex_tanh
    activation_mlp: Activation = complex_relu

    def _build(self, widths: list[int]) -> None:
        self._make(SpectralMixer_2D, widths, [32, 16, 16, 16], [21, 11, 11, 11])
        self.mp0 = ComplexMaxPool2d(2)
        self._make_head(16, partial(SpectralDropout, mode="complex"))

    def _activation(self, stage: int, last: bool) -> Activation:
        return self.activation_con

    def forward(self, x: Tensor) -> Tensor:
        out = self.mp0(self._stage(self._spectrum(x), 0))
        for i in range(1, 4):
            out = self._stage(out, i)
        return self._logits(out, self._diagonal(out), self.activation_con).real

    def get_feature(self, x: Tensor) -> Tensor:
        """What the first stage puts out, on pixels; complex."""
        return self._pixels(self._stage(self._spectrum(x), 0))


class FourierScaleShifteqMixer(_MixingNetwork):
    """:class:`FourierSeqFrequencyMixer` of magnitudes, so that logits do not change when the image is shifted.

    ``activation_mlp`` is that of the head, ``activation_con`` kept as an attribute alone: stages have :class:`modRelu`.

    Shapes: ``(batch, 1, r, r)``, ``r <= 32``, to ``(batch, 10, 1, 32)``.
    """

    activation_con: Activation = complex_tanh

    def _build(self, widths: list[int]) -> None:
        self._make(SpectralMixer_2D_shifteq, widths, [32] * 4, [11] * 4)
        for i in range(4):
            for suffix in (f"{i}", f"{i}1"):
                setattr(self, f"activation_con{suffix}", modRelu())
        self._make_head(32, nn.Dropout, dtype=torch.float)

    def _activation(self, stage: int, last: bool) -> Activation:
        activation: Activation = getattr(self, f"activation_con{stage}{'1' if last else ''}")
        return activation

    def _stages(self, x: Tensor) -> Tensor:
        out = self._spectrum(x)
        for i in range(4):
            out = self._stage(out, i)
        return out

    def forward(self, x: Tensor) -> Tensor:
        out = self._stages(x)
        return self._logits(out, self._diagonal(out).abs(), self.activation_mlp)

    def get_feature(self, x: Tensor) -> Tensor:
        """What the last stage puts out, on pixels; complex. (Theirs has other activations here than the network.)"""
        return self._pixels(self._stages(x))


_NETWORKS: dict[str, type[AbstractBaseClassifierModel]] = {
    "fourier_mnist": FourierSeqMist,
    "fourier_stl": FourierSeqStl,
    "fourier_1d": FourierSeq1d,
    "fourier_mixer": FourierSeqFrequencyMixer,
    "fourier_mixer_shift_invarinat": FourierScaleShifteqMixer,
}


def get_available_models() -> list[str]:
    """The names that :func:`get_model` takes."""
    return list(_NETWORKS)


def get_model(name: str) -> type[AbstractBaseClassifierModel]:
    """The class of a network by its name.

    Raises:
        ValueError: if there is none.
    """
    if name not in _NETWORKS:
        raise ValueError(f"name must be one of {', '.join(_NETWORKS)}, got {name!r}")
    return _NETWORKS[name]
