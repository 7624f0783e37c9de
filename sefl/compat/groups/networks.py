"""The networks of Group_Sampling, with the parameters and, on their weights, the numbers of theirs.

Their convolutions are escnn's, so these are too. :class:`sefl.networks.GroupSampledNetwork` does without escnn, keeps
sizes and has a centred blur, so that it is invariant to the quarter turns of the pixel grid, which these are not.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sefl.compat.declared import Declared
from sefl.compat.groups.padding import BlurPool2d, BlurPool3d
from sefl.compat.groups.sampling import SubgroupDownsample
from sefl.compat.groups.spaces import escnn, finite, get_group, get_gspace

Types = Sequence[Sequence[str]]
Options = Mapping[str, Any] | None


class rnConv(Declared, kw_only=True):
    """escnn's ``R2Conv`` or ``R3Conv`` on tensors, padded by ``(kernel_size - 1) // 2``.

    With a dilation this is too little to keep the size, as in theirs.

    Args:
        in_group_type, in_order: the group, as of :func:`get_gspace`; ``in_order`` of the output too.
        in_num_features, out_num_features: fields.
        in_representation, out_representation: ``"regular"`` or ``"trivial"``.
        out_group_type: ``in_group_type``.
        domain: 2 or 3 dimensions.
        kernel_size: pixels per axis.
        layer_kwargs: more arguments of escnn's.

    Shapes: ``(batch, in_num_features * |G|, *space)`` to ``(batch, out_num_features * |G|, *space)``, with 1 in the
    place of ``|G|`` for trivial fields.

    Raises:
        ValueError: if ``domain`` is another, and in ``forward`` for input of other axes.
        ModuleNotFoundError: if escnn is not installed.
    """

    in_group_type: str
    in_order: int
    in_num_features: int
    in_representation: str
    out_group_type: str
    out_num_features: int
    out_representation: str
    domain: int = 2
    kernel_size: int = 3
    layer_kwargs: Options = None

    def __post_init__(self) -> None:
        if self.domain not in (2, 3):
            raise ValueError(f"domain must be 2 or 3, got {self.domain}")
        self.out_order = order = self.in_order
        ends = (
            (self.in_group_type, self.in_num_features, self.in_representation),
            (self.out_group_type, self.out_num_features, self.out_representation),
        )
        self.G_in, self.G_out = (get_group(kind, order) for kind, *_ in ends)
        self.gspace_in, self.gspace_out = (
            get_gspace(group_type=kind, order=order, num_features=n, representation=rep, domain=self.domain)
            for kind, n, rep in ends
        )
        make = escnn().nn.R2Conv if self.domain == 2 else escnn().nn.R3Conv
        how = {"kernel_size": self.kernel_size, "padding": (self.kernel_size - 1) // 2}
        self.conv = make(self.gspace_in, self.gspace_out, **how, **(self.layer_kwargs or {}))

    def forward(self, x: Tensor) -> Tensor:
        axes = self.domain + 2
        if x.dim() != axes:
            raise ValueError(
                f"Expected {axes}D tensor for {self.domain}D convolution, x of shape "
                f"{self.get_expected_input_shape()}, got {tuple(x.shape)}"
            )
        out: Tensor = self.conv(self.gspace_in(x)).tensor
        return out

    def get_group(self) -> Any:
        """escnn's group of the input."""
        return self.G_in

    def get_gspace(self) -> Any:
        """escnn's field type of the input."""
        return self.gspace_in

    def get_domain(self) -> int:
        """2 or 3."""
        return self.domain

    def get_expected_input_shape(self, batch_size: int = 1) -> tuple[int | None, ...]:
        """With ``None`` for the sizes of the image; ``in_order`` channels per field, as theirs says of any field."""
        return (batch_size, self.in_num_features * self.in_order, *[None] * self.domain)

    def get_expected_output_shape(self, batch_size: int = 1) -> tuple[int | None, ...]:
        """As :meth:`get_expected_input_shape`."""
        return (batch_size, self.out_num_features * self.out_order, *[None] * self.domain)


def _conv(kind: str, order: int, fields: tuple[int, int], size: int, domain: int, **options: Any) -> rnConv:
    """A convolution of regular fields of one group."""
    ends: dict[str, Any] = {"in_representation": "regular", "out_representation": "regular", **options}
    both: dict[str, Any] = {"in_group_type": kind, "out_group_type": kind, "in_order": order}
    before, after = fields
    return rnConv(
        **both, in_num_features=before, out_num_features=after, domain=domain, kernel_size=size, **ends
    )


class HybridConvGroupResample3D(Declared, kw_only=True):
    """A convolution of volumes and a change of group: down to a subgroup after it, or up before it.

    Args:
        in_group_type, out_group_type: the groups.
        in_group_order, out_group_order: their elements.
        in_num_features, out_num_features: fields.
        representation: of both, ``"regular"``.
        kernel_size: voxels per axis.
        domain: 3.
        apply_antialiasing, anti_aliasing_kwargs: of :class:`SubgroupDownsample`.
        device, dtype: of the convolution.

    Shapes: ``(batch, in_num_features * |G|, d, h, w)`` to ``(batch, out_num_features * |H|, d, h, w)``.

    Raises:
        ValueError: if neither group has the other as a subgroup. (Upwards theirs fails whenever the numbers of fields
            differ, or without a filter puts zeros.)
    """

    in_group_type: str
    in_group_order: int
    in_num_features: int
    out_group_type: str
    out_group_order: int
    out_num_features: int
    representation: str = "regular"
    kernel_size: int = 3
    domain: int = 3
    apply_antialiasing: bool = False
    anti_aliasing_kwargs: Options = None
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        self.anti_aliasing_kwargs = self.anti_aliasing_kwargs or {}
        fields = self.in_num_features, self.out_num_features
        up = self.out_group_order > self.in_group_order
        ends = (self.in_group_type, self.in_group_order), (self.out_group_type, self.out_group_order)
        (kind, order), (below, elements) = ends[::-1] if up else ends
        representations = dict.fromkeys(("in_representation", "out_representation"), self.representation)
        conv = _conv(kind, order, fields, self.kernel_size, self.domain, **representations)
        conv.to(self.device, self.dtype)
        self.conv_increase: rnConv | None = conv if up else None
        self.conv_decrease: rnConv | None = None if up else conv
        self.resampler: SubgroupDownsample | None = None
        if order != elements:
            self.resampler = SubgroupDownsample(
                *(kind, order, below, order // elements, fields[0 if up else 1]),
                device=self.device,
                dtype=self.dtype,
                apply_antialiasing=self.apply_antialiasing,
                anti_aliasing_kwargs=self.anti_aliasing_kwargs,
            )

    def forward(self, x: Tensor) -> Tensor:
        if self.conv_increase is not None and self.resampler is not None:
            wide: Tensor = self.conv_increase(self.resampler.upsample(x))
            return wide
        assert self.conv_decrease is not None
        out: Tensor = self.conv_decrease(x)
        return out if self.resampler is None else self.resampler(out)[0]


def _kind(group_type: str) -> str:
    return "cycle" if group_type == "cyclic" else group_type


class _Stages(Declared, kw_only=True):
    """What all networks of stages take; the classes say what it is."""

    num_layers: int
    num_channels: Sequence[int]
    kernel_sizes: Sequence[int]
    num_classes: int
    dwn_group_types: Types
    init_group_order: int
    spatial_subsampling_factors: Sequence[int]
    subsampling_factors: Sequence[int]
    domain: int
    apply_antialiasing: bool
    antialiasing_kwargs: Options
    dropout_rate: float
    layer_kwargs: Options = None

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout_rate, self.training) if self.dropout_rate > 0 else x


Layers = tuple[nn.Module, SubgroupDownsample | None, int, int]
"""The convolution of a stage, what subsamples the group, the channels that are blurred, and the order afterwards."""


class _GroupNetwork(_Stages, kw_only=True):
    """Stages of convolution, ReLU, blurring, subsampling of the group and dropout."""

    pooling_type: str
    fully_convolutional: bool = False

    blur: ClassVar[type[nn.Module]]

    def __post_init__(self) -> None:
        self.num_channels = list(self.num_channels)
        self._check()
        self.conv_layers, self.sampling_layers = nn.ModuleList(), nn.ModuleList()
        self.spatial_sampling_layers = nn.ModuleList()
        order = self.init_group_order
        for i, stride in enumerate(self.spatial_subsampling_factors):
            conv, sampling, channels, order = self._layers(i, order)
            self.conv_layers.append(conv)
            self.sampling_layers.append(sampling)  # type: ignore[arg-type]  # None is allowed
            self.spatial_sampling_layers.append(
                self.blur(channels, stride=stride) if stride > 1 else nn.Identity()
            )
        self.last_g_size = self._elements(order)
        self.dropout_layer = nn.Dropout(0.3)  # of theirs, which does not call it either
        self.linear_layer = nn.Linear(self.num_channels[self.num_layers], self.num_classes)

    def _check(self) -> None:
        layers, types = self.num_layers, self.dwn_group_types
        if len(self.num_channels) <= layers:  # theirs takes more, and fails later
            raise ValueError(
                f"num_channels must have num_layers + 1 = {layers + 1} entries, got {self.num_channels}"
            )
        names = ("kernel_sizes", "dwn_group_types", "spatial_subsampling_factors", "subsampling_factors")
        for name in names:
            if len(given := getattr(self, name)) != layers:
                raise ValueError(f"{name} must have one entry per layer, {layers}, got {given}")
        for i in range(1, layers):
            begin, before = types[i][0], types[i - 1][1]
            if _kind(begin) != _kind(before):
                raise ValueError(
                    f"dwn_group_types: layer {i} begins with {begin!r}, the one before ends with {before!r}"
                )

    def _layers(self, i: int, order: int) -> Layers:
        raise NotImplementedError

    def _elements(self, order: int) -> int:
        """Of the last group."""
        return order

    def _first(self, i: int, order: int) -> rnConv:
        """A convolution of images, in the first stage, or of regular fields."""
        fields, size = (self.num_channels[i], self.num_channels[i + 1]), self.kernel_sizes[i]
        options = {"in_representation": "regular" if i else "trivial", "layer_kwargs": self.layer_kwargs}
        return _conv(self.dwn_group_types[i][0], order, fields, size, self.domain, **options)

    def _sampling(self, i: int, order: int) -> SubgroupDownsample:
        kind, below = self.dwn_group_types[i]
        return SubgroupDownsample(
            *(kind, order, below, self.subsampling_factors[i], self.num_channels[i + 1]),
            apply_antialiasing=self.apply_antialiasing,
            anti_aliasing_kwargs=self.antialiasing_kwargs,
        )

    def _stage(self, i: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Before and after the group is subsampled."""
        before = self.spatial_sampling_layers[i](torch.relu(self.conv_layers[i](x)))
        sampling = self.sampling_layers[i]
        # A ModuleList may hold None.
        after = before if sampling is None else sampling(before)[0]
        return before, after

    def _stages(self, x: Tensor) -> Tensor:
        for i in range(self.num_layers):
            x = self._dropped(self._stage(i, x)[1])
        return x

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pooling_type not in ("max", "mean"):
            raise ValueError(f"pooling_type must be 'max' or 'mean', got {self.pooling_type!r}")
        fields = x.unflatten(1, (-1, self.last_g_size)).flatten(2)
        pooled: Tensor = fields.amax(-1) if self.pooling_type == "max" else fields.mean(-1)
        return pooled

    def get_feature(self, x: Tensor) -> Tensor:
        """The pooled features, ``(batch, fields)``."""
        return self._pooled(self._stages(x))

    def get_hidden_feature(self, x: Tensor) -> tuple[list[Tensor], list[Tensor], list[nn.Module | None]]:
        """Of each stage the features before and after the group is subsampled, detached, and what does it."""
        pairs = []
        for i in range(self.num_layers):
            pairs.append(self._stage(i, x))
            x = pairs[-1][1]
        before, after = ([pair[which].detach() for pair in pairs] for which in range(2))
        return before, after, list(self.sampling_layers)

    def forward(self, x: Tensor) -> Tensor:
        features = self.get_feature(x)
        if self.fully_convolutional:
            return features
        logits: Tensor = self.linear_layer(features)
        return logits


class Gcnn(_GroupNetwork, kw_only=True):
    """Their network for images.

    Args:
        num_layers: stages.
        num_channels: channels of the images and fields of each stage.
        kernel_sizes: of each stage.
        num_classes: classes.
        dwn_group_types: the type of the group and of the subgroup of each stage.
        init_group_order: rotations of the first group.
        spatial_subsampling_factors: strides of :class:`BlurPool2d`.
        subsampling_factors: elements of the group over those of the subgroup; 1 for none.
        domain: 2.
        pooling_type: ``"max"`` or ``"mean"``, over group and space at the end.
        apply_antialiasing, antialiasing_kwargs: of :class:`SubgroupDownsample`.
        dropout_rate: after each stage.
        fully_convolutional: put out the pooled features instead of logits.
        layer_kwargs: of :class:`rnConv`.

    Shapes: ``(batch, num_channels[0], h, w)`` to ``(batch, num_classes)``.

    Raises:
        ValueError: if a group has no such subgroup, a list no entry for each stage, or a stage goes on with another
            group than the one before ended with.
    """

    blur = BlurPool2d

    def __post_init__(self) -> None:
        if self.domain != 2:
            raise ValueError(f"domain must be 2, got {self.domain}; Gcnn3D takes volumes")
        super().__post_init__()

    def _layers(self, i: int, order: int) -> Layers:
        conv = self._first(i, order)
        sampling = self._sampling(i, order) if self.subsampling_factors[i] > 1 else None
        channels = self.num_channels[i + 1] * conv.G_out.order()
        return conv, sampling, channels, order if sampling is None else sampling.sub_order

    def _elements(self, order: int) -> int:
        return len(finite(self.dwn_group_types[-1][1], order))

    def pooling(self, x: Tensor) -> Tensor:
        """The largest or mean value of each field, ``(batch, fields)``."""
        return self._pooled(x)


class Gcnn3D(_GroupNetwork, kw_only=True):
    """Their network for volumes; a first stage may subsample, where theirs goes on with too many channels and fails.

    Args:
        init_group_order: elements of the first group.
        domain: 3.
        dtype, device: of the parameters.
        layer_kwargs: of the first convolution.

    The other arguments and the errors are those of :class:`Gcnn`.

    Shapes: ``(batch, num_channels[0], d, h, w)`` to ``(batch, num_classes)``; with ``fully_convolutional`` to the
    features ``(batch, num_channels[-1] * |H|, d', h', w')``.
    """

    dtype: torch.dtype = torch.float32
    device: torch.device | str = "cpu"

    blur = BlurPool3d

    def __post_init__(self) -> None:
        if self.domain != 3:
            raise ValueError(f"Gcnn3D requires domain=3, got domain {self.domain}")
        super().__post_init__()
        self.expected_output_features = self.num_channels[self.num_layers]
        self.to(self.device, self.dtype)

    def _layers(self, i: int, order: int) -> Layers:
        (kind, below), factor = self.dwn_group_types[i], self.subsampling_factors[i]
        fields = self.num_channels[i + 1]
        last = order // factor if factor > 1 or _kind(below) == "cycle" else get_group(below, order).order()
        if not i:
            sampling = None if last == order else self._sampling(i, order)
            return self._first(i, order), sampling, fields * order, last
        conv = HybridConvGroupResample3D(
            in_group_type=kind,
            in_group_order=order,
            in_num_features=self.num_channels[i],
            out_group_type=below,
            out_group_order=last,
            out_num_features=fields,
            kernel_size=self.kernel_sizes[i],
            domain=self.domain,
            apply_antialiasing=self.apply_antialiasing,
            anti_aliasing_kwargs=self.antialiasing_kwargs,
            device=self.device,
            dtype=self.dtype,
        )
        return conv, None, fields * last, last

    def pooling_3d(self, x: Tensor) -> Tensor:
        """The largest or mean value of each field, ``(batch, fields)``."""
        return self._pooled(x)

    def get_feature(self, x: Tensor) -> Tensor:
        """The pooled features, ``(batch, fields)``, or all of them if ``fully_convolutional``."""
        return self._stages(x) if self.fully_convolutional else super().get_feature(x)


class GroupUpsample3D(Declared):
    """Regular fields of a subgroup to those of the group, :meth:`SubgroupDownsample.upsample`.

    Args:
        from_group_type, to_group_type: the subgroup and the group.
        from_group_order, to_group_order: their elements.
        num_features: fields.
        apply_antialiasing, anti_aliasing_kwargs, device, dtype: of :class:`SubgroupDownsample`.
    """

    from_group_type: str
    to_group_type: str
    from_group_order: int
    to_group_order: int
    num_features: int
    apply_antialiasing: bool = False
    anti_aliasing_kwargs: Options = None
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        order = self.to_group_order // 2 if self.to_group_type == "dihedral" else self.to_group_order
        factor = self.to_group_order // self.from_group_order
        self.downsampling_layer = SubgroupDownsample(
            *(self.to_group_type, order, self.from_group_type, factor, self.num_features),
            device=self.device,
            dtype=self.dtype,
            apply_antialiasing=self.apply_antialiasing,
            anti_aliasing_kwargs=self.anti_aliasing_kwargs,
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.downsampling_layer.upsample(x)


class SpatialUpsample3D(Declared):
    """Trilinear interpolation of volumes by a whole factor."""

    scale_factor: int

    def __post_init__(self) -> None:
        self.upsample: nn.Module = nn.Identity()
        if self.scale_factor != 1:
            how: dict[str, Any] = {"mode": "trilinear", "align_corners": False}
            self.upsample = nn.Upsample(scale_factor=self.scale_factor, **how)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.upsample(x)
        return out


class GroupPooling3D(Declared):
    """The mean or the largest value over the group, ``(batch, fields * |G|, d, h, w)`` to ``(batch, fields, d, h, w)``.

    Raises:
        ValueError: if ``pooling_type`` is not ``"mean"`` or ``"max"``.
    """

    group_order: int
    pooling_type: str = "mean"

    def __post_init__(self) -> None:
        if self.pooling_type not in ("mean", "max"):
            raise ValueError(f"pooling_type must be 'mean' or 'max', got {self.pooling_type!r}")

    def forward(self, x: Tensor) -> Tensor:
        fields = x.unflatten(1, (-1, self.group_order))
        pooled: Tensor = fields.mean(2) if self.pooling_type == "mean" else fields.amax(2)
        return pooled


class Gcnn3DSegmentation(_Stages, kw_only=True):
    """Their network that segments volumes: :class:`Gcnn3D`, its features beside those on the way back up.

    The arguments and the errors are those of :class:`Gcnn3D`.

    Shapes: ``(batch, num_channels[0], d, h, w)`` to ``(batch, num_classes, d, h, w)``, of sizes that strides divide.
    """

    dtype: torch.dtype = torch.float32
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        self.num_channels = list(self.num_channels)
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        self.encoder = Gcnn3D(**given, pooling_type="max", fully_convolutional=True)
        self.group_orders = [self.init_group_order]
        for factor in self.subsampling_factors:
            self.group_orders.append(self.group_orders[-1] // factor)
        self.decoder_spatial_upsampling, self.decoder_blocks = nn.ModuleList(), nn.ModuleList()
        for i in reversed(range(self.num_layers)):
            stride = self.spatial_subsampling_factors[i]
            self.decoder_spatial_upsampling.append(SpatialUpsample3D(stride) if stride > 1 else nn.Identity())
            self.decoder_blocks.append(
                HybridConvGroupResample3D(
                    in_group_type=self.dwn_group_types[i][1],
                    in_group_order=self.group_orders[i + 1],
                    in_num_features=2 * self.num_channels[i + 1],
                    out_group_type=self.dwn_group_types[i][0],
                    out_group_order=self.group_orders[i],
                    out_num_features=self.num_channels[max(i, 1)],
                    kernel_size=self.kernel_sizes[i],
                    domain=self.domain,
                    apply_antialiasing=self.apply_antialiasing,
                    anti_aliasing_kwargs=self.antialiasing_kwargs,
                    device=self.device,
                    dtype=self.dtype,
                )
            )
        kind, ends = self.dwn_group_types[0][0], (self.num_channels[1], self.num_classes)
        self.output_conv = _conv(kind, self.init_group_order, ends, 1, self.domain).to(
            self.device, self.dtype
        )
        self.group_pool = GroupPooling3D(self.init_group_order, "mean")

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for i in range(self.num_layers):
            kept.append(self.encoder._stage(i, x)[1])
            x = self._dropped(kept[-1])
        for i, beside in enumerate(reversed(kept)):
            elements = self.group_orders[self.num_layers - i]
            if beside.shape[2:] != x.shape[2:]:
                beside = F.interpolate(beside, size=x.shape[2:], mode="trilinear", align_corners=False)
            both = [each.unflatten(1, (-1, elements)) for each in (x, beside)]
            x = torch.relu(self.decoder_blocks[i](torch.cat(both, dim=1).flatten(1, 2)))
            x = self._dropped(self.decoder_spatial_upsampling[i](x))
        pooled: Tensor = self.group_pool(self.output_conv(x))
        return pooled


class SimpleCNN3D(nn.Module):
    """A small ordinary network for volumes, to compare with.

    Args:
        num_channels: of its two layers.
        num_classes: classes.
        dropout_rate: before the last layer.

    Shapes: ``(batch, 1, d, h, w)`` or ``(batch, d, h, w)`` to ``(batch, num_classes)``.
    """

    def __init__(self, num_channels: Sequence[int], num_classes: int, dropout_rate: float = 0.1) -> None:
        super().__init__()
        first, second = num_channels
        self.conv1, self.bn1 = nn.Conv3d(1, first, 3, padding=1), nn.BatchNorm3d(first)
        self.conv2, self.bn2 = nn.Conv3d(first, second, 3, padding=1), nn.BatchNorm3d(second)
        self.pool1, self.pool2 = nn.MaxPool3d(2), nn.MaxPool3d(2)
        self.global_pool, self.dropout = nn.AdaptiveAvgPool3d(1), nn.Dropout(dropout_rate)
        self.fc = nn.Linear(second, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None] if x.dim() == 4 else x
        x = self.pool1(torch.relu(self.bn1(self.conv1(x))))
        x = self.pool2(torch.relu(self.bn2(self.conv2(x))))
        logits: Tensor = self.fc(self.dropout(self.global_pool(x).flatten(1)))
        return logits


def create_simple_cnn3d_model(
    num_channels: Sequence[int], num_classes: int, dropout_rate: float = 0.1
) -> SimpleCNN3D:
    """:class:`SimpleCNN3D`."""
    return SimpleCNN3D(num_channels, num_classes, dropout_rate)


_Network = TypeVar("_Network", bound=_GroupNetwork)


def _made(make: type[_Network], given: dict[str, Any], kernel_size: int) -> _Network:
    """A network of what a function was given, with the same in all layers for ``None``."""
    sizes = {"kernel_sizes": kernel_size, "spatial_subsampling_factors": 1, "subsampling_factors": 1}
    for name, size in sizes.items():
        given[name] = given[name] or [size] * given["num_layers"]
    given["num_channels"] = [given.pop("input_channel"), *given["num_channels"]]
    return make(**given)


def get_model(
    input_channel: int,
    num_channels: Sequence[int] | None = None,
    num_layers: int = 2,
    kernel_sizes: Sequence[int] | None = None,
    num_classes: int = 10,
    dwn_group_types: Types | None = None,
    init_group_order: int = 12,
    spatial_subsampling_factors: Sequence[int] | None = None,
    subsampling_factors: Sequence[int] | None = None,
    domain: int = 2,
    pooling_type: str = "max",
    apply_antialiasing: bool = True,
    dropout_rate: float = 0.0,
    layer_kwargs: Options = None,
    antialiasing_kwargs: Options = None,
    fully_convolutional: bool = False,
) -> Gcnn:
    """:class:`Gcnn` of ``input_channel`` channels and ``num_channels`` fields, without the number of channels first.

    By default two stages of 32 fields of a dihedral group, kernels of 7 pixels with dilation 2, no subsampling, and the
    filter in closed form. (By default theirs optimises it.)
    """
    given = locals()
    given["num_channels"] = num_channels or [32] * num_layers
    given["dwn_group_types"] = dwn_group_types or [["dihedral", "dihedral"]] * num_layers
    given["layer_kwargs"] = {"dilation": 2} if layer_kwargs is None else layer_kwargs
    return _made(Gcnn, given, 7)


def get_3d_model(
    input_channel: int,
    num_channels: Sequence[int] | None = None,
    num_layers: int = 2,
    kernel_sizes: Sequence[int] | None = None,
    num_classes: int = 10,
    dwn_group_types: Types | None = None,
    init_group_order: int = 24,
    spatial_subsampling_factors: Sequence[int] | None = None,
    subsampling_factors: Sequence[int] | None = None,
    domain: int = 3,
    pooling_type: str = "max",
    apply_antialiasing: bool = True,
    dropout_rate: float = 0.0,
    layer_kwargs: Options = None,
    antialiasing_kwargs: Options = None,
    fully_convolutional: bool = False,
) -> Gcnn3D:
    """:class:`Gcnn3D`, by default of the octahedral group and then the quarter turns about z.

    With one or more than two layers the defaults of two are cut, or go on with the quarter turns; theirs fails.
    """
    given = locals()
    turns = [["octahedral", "octahedral"], ["octahedral", "cycle"], *[["cycle", "cycle"]] * num_layers]
    for name, default in (
        ("num_channels", [32, 64, *[64] * num_layers]),
        ("dwn_group_types", turns),
        ("subsampling_factors", [1, 6, *[1] * num_layers]),
    ):
        given[name] = given[name] or default[:num_layers]
    given["dwn_group_types"] = given["dwn_group_types"][:num_layers]
    return _made(Gcnn3D, given, 3)


def get_3d_segmentation_model(
    input_channel: int = 1,
    num_channels: Sequence[int] = (1, 16, 32),
    num_layers: int = 2,
    kernel_sizes: Sequence[int] = (3, 3),
    num_classes: int = 2,
    dwn_group_types: Types = (("octahedral", "octahedral"), ("octahedral", "cycle")),
    init_group_order: int = 24,
    spatial_subsampling_factors: Sequence[int] = (1, 1),
    subsampling_factors: Sequence[int] = (1, 6),
    domain: int = 3,
    apply_antialiasing: bool = False,
    antialiasing_kwargs: Options = None,
    dropout_rate: float = 0.1,
) -> Gcnn3DSegmentation:
    """:class:`Gcnn3DSegmentation`; ``num_channels`` begin with ``input_channel``, which theirs does not look at.

    Raises:
        ValueError: if they do not, and as :class:`Gcnn3D`.
    """
    given = locals()
    if num_channels[0] != given.pop("input_channel"):
        raise ValueError(f"num_channels must begin with input_channel, {input_channel}, got {num_channels}")
    return Gcnn3DSegmentation(**given)
