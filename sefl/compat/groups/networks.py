"""The networks of Group_Sampling, with the parameters and, on their weights, the numbers of theirs.

Their convolutions are escnn's, so these are too. :class:`sefl.networks.GroupSampledNetwork` does without escnn, keeps
sizes and has a centred blur, so that it is invariant to the quarter turns of the pixel grid, which these are not.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sefl.compat.groups.padding import BlurPool2d, BlurPool3d
from sefl.compat.groups.sampling import SubgroupDownsample
from sefl.compat.groups.spaces import escnn, finite, get_group, get_gspace

Types = Sequence[Sequence[str]]


class rnConv(nn.Module):
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

    def __init__(
        self,
        *,
        in_group_type: str,
        in_order: int,
        in_num_features: int,
        in_representation: str,
        out_group_type: str,
        out_num_features: int,
        out_representation: str,
        domain: int = 2,
        kernel_size: int = 3,
        layer_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if domain not in (2, 3):
            raise ValueError(f"domain must be 2 or 3, got {domain}")
        self.in_group_type, self.in_order, self.out_group_type = in_group_type, in_order, out_group_type
        self.in_num_features, self.out_num_features = in_num_features, out_num_features
        self.in_representation, self.out_representation = in_representation, out_representation
        self.domain, self.out_order = domain, in_order
        self.G_in, self.G_out = get_group(in_group_type, in_order), get_group(out_group_type, in_order)
        self.gspace_in, self.gspace_out = (
            get_gspace(group_type=kind, order=in_order, num_features=n, representation=rep, domain=domain)
            for kind, n, rep in (
                (in_group_type, in_num_features, in_representation),
                (out_group_type, out_num_features, out_representation),
            )
        )
        make = escnn().nn.R2Conv if domain == 2 else escnn().nn.R3Conv
        self.conv = make(
            self.gspace_in,
            self.gspace_out,
            kernel_size=kernel_size,
            padding=(kernel_size - 1) // 2,
            **(layer_kwargs or {}),
        )

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


def _pooled(x: Tensor, elements: int, kind: str) -> Tensor:
    """The largest or the mean value of each field over group and space."""
    if kind not in ("max", "mean"):
        raise ValueError(f"pooling_type must be 'max' or 'mean', got {kind!r}")
    fields = x.unflatten(1, (-1, elements)).flatten(2)
    pooled: Tensor = fields.amax(-1) if kind == "max" else fields.mean(-1)
    return pooled


class _GroupNetwork(nn.Module):
    """Stages of convolution, ReLU, blurring, subsampling of the group and dropout."""

    conv_layers: nn.ModuleList
    sampling_layers: nn.ModuleList
    spatial_sampling_layers: nn.ModuleList
    num_layers: int
    dropout_rate: float

    def _stage(self, i: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Before and after the group is subsampled."""
        before = self.spatial_sampling_layers[i](torch.relu(self.conv_layers[i](x)))
        sampling = self.sampling_layers[i]
        # A ModuleList may hold None.
        after = before if sampling is None else sampling(before)[0]
        return before, after

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout_rate, self.training) if self.dropout_rate > 0 else x

    def get_hidden_feature(self, x: Tensor) -> tuple[list[Tensor], list[Tensor], list[nn.Module | None]]:
        """Of each stage the features before and after the group is subsampled, detached, and what does it."""
        pairs = []
        for i in range(self.num_layers):
            pairs.append(self._stage(i, x))
            x = pairs[-1][1]
        before, after = ([pair[which].detach() for pair in pairs] for which in range(2))
        return before, after, list(self.sampling_layers)


class Gcnn(_GroupNetwork):
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

    def __init__(
        self,
        *,
        num_layers: int,
        num_channels: Sequence[int],
        kernel_sizes: Sequence[int],
        num_classes: int,
        dwn_group_types: Types,
        init_group_order: int,
        spatial_subsampling_factors: Sequence[int],
        subsampling_factors: Sequence[int],
        domain: int,
        pooling_type: str,
        apply_antialiasing: bool,
        antialiasing_kwargs: Mapping[str, Any] | None,
        dropout_rate: float,
        fully_convolutional: bool = False,
        layer_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if domain != 2:
            raise ValueError(f"domain must be 2, got {domain}; Gcnn3D takes volumes")
        self.num_channels = list(num_channels)
        num_channels = self.num_channels[: num_layers + 1]  # theirs takes more, and fails later
        _check(
            num_layers,
            num_channels,
            kernel_sizes,
            dwn_group_types,
            spatial_subsampling_factors,
            subsampling_factors,
        )
        self.num_layers, self.kernel_sizes = num_layers, kernel_sizes
        self.num_classes, self.dwn_group_types, self.domain = num_classes, dwn_group_types, domain
        self.spatial_subsampling_factors = spatial_subsampling_factors
        self.subsampling_factors, self.pooling_type = subsampling_factors, pooling_type
        self.apply_antialiasing, self.antialiasing_kwargs = apply_antialiasing, antialiasing_kwargs
        self.dropout_rate, self.fully_convolutional = dropout_rate, fully_convolutional
        self.conv_layers, self.sampling_layers = nn.ModuleList(), nn.ModuleList()
        self.spatial_sampling_layers = nn.ModuleList()
        order = init_group_order
        for i, (kind, below) in enumerate(dwn_group_types):
            fields, factor = num_channels[i + 1], subsampling_factors[i]
            conv = rnConv(
                in_group_type=kind,
                in_order=order,
                in_num_features=num_channels[i],
                in_representation="regular" if i else "trivial",
                out_group_type=kind,
                out_num_features=fields,
                out_representation="regular",
                domain=domain,
                kernel_size=kernel_sizes[i],
                layer_kwargs=layer_kwargs,
            )
            stride = spatial_subsampling_factors[i]
            sampling = None
            if factor > 1:
                sampling = SubgroupDownsample(
                    kind,
                    order,
                    below,
                    factor,
                    fields,
                    apply_antialiasing=apply_antialiasing,
                    anti_aliasing_kwargs=antialiasing_kwargs,
                )
            self.conv_layers.append(conv)
            self.sampling_layers.append(sampling)  # type: ignore[arg-type]  # None is allowed
            blur = BlurPool2d(fields * conv.G_out.order(), stride=stride) if stride > 1 else nn.Identity()
            self.spatial_sampling_layers.append(blur)
            order = order if sampling is None else sampling.sub_order
        self.last_g_size = len(finite(dwn_group_types[-1][1], order))
        self.dropout_layer = nn.Dropout(0.3)  # of theirs, which does not call it either
        self.linear_layer = nn.Linear(num_channels[-1], num_classes)

    def pooling(self, x: Tensor) -> Tensor:
        """The largest or mean value of each field, ``(batch, fields)``."""
        return _pooled(x, self.last_g_size, self.pooling_type)

    def get_feature(self, x: Tensor) -> Tensor:
        """The pooled features, ``(batch, num_channels[-1])``."""
        for i in range(self.num_layers):
            x = self._dropped(self._stage(i, x)[1])
        return self.pooling(x)

    def forward(self, x: Tensor) -> Tensor:
        features = self.get_feature(x)
        if self.fully_convolutional:
            return features
        logits: Tensor = self.linear_layer(features)
        return logits


def _check(num_layers: int, num_channels: Sequence[int], *lists: Sequence[Any]) -> None:
    if len(num_channels) != num_layers + 1:
        raise ValueError(
            f"num_channels must have num_layers + 1 = {num_layers + 1} entries, got {num_channels}"
        )
    names = ("kernel_sizes", "dwn_group_types", "spatial_subsampling_factors", "subsampling_factors")
    for name, given in zip(names, lists, strict=True):
        if len(given) != num_layers:
            raise ValueError(f"{name} must have one entry per layer, {num_layers}, got {given}")
    types = lists[1]
    for i in range(1, num_layers):
        if _kind(types[i][0]) != _kind(types[i - 1][1]):
            raise ValueError(
                f"dwn_group_types: layer {i} begins with {types[i][0]!r}, the one before ends with {types[i - 1][1]!r}"
            )


def _kind(group_type: str) -> str:
    return "cycle" if group_type == "cyclic" else group_type


class HybridConvGroupResample3D(nn.Module):
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

    def __init__(
        self,
        *,
        in_group_type: str,
        in_group_order: int,
        in_num_features: int,
        out_group_type: str,
        out_group_order: int,
        out_num_features: int,
        representation: str = "regular",
        kernel_size: int = 3,
        domain: int = 3,
        apply_antialiasing: bool = False,
        anti_aliasing_kwargs: Mapping[str, Any] | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.in_group_type, self.in_group_order = in_group_type, in_group_order
        self.out_group_type, self.out_group_order = out_group_type, out_group_order
        self.apply_antialiasing, self.anti_aliasing_kwargs = apply_antialiasing, anti_aliasing_kwargs or {}
        up = out_group_order > in_group_order
        large, small = (
            ((out_group_type, out_group_order), (in_group_type, in_group_order))
            if up
            else ((in_group_type, in_group_order), (out_group_type, out_group_order))
        )
        conv = rnConv(
            in_group_type=large[0],
            in_order=large[1],
            in_num_features=in_num_features,
            in_representation=representation,
            out_group_type=large[0],
            out_num_features=out_num_features,
            out_representation=representation,
            domain=domain,
            kernel_size=kernel_size,
        ).to(device, dtype)
        self.conv_increase: rnConv | None = conv if up else None
        self.conv_decrease: rnConv | None = None if up else conv
        self.resampler: SubgroupDownsample | None = None
        if out_group_order != in_group_order:
            self.resampler = SubgroupDownsample(
                large[0],
                large[1],
                small[0],
                large[1] // small[1],
                in_num_features if up else out_num_features,
                device=device,
                dtype=dtype,
                apply_antialiasing=apply_antialiasing,
                anti_aliasing_kwargs=self.anti_aliasing_kwargs,
            )

    def forward(self, x: Tensor) -> Tensor:
        if self.conv_increase is not None and self.resampler is not None:
            wide: Tensor = self.conv_increase(self.resampler.upsample(x))
            return wide
        assert self.conv_decrease is not None
        out: Tensor = self.conv_decrease(x)
        return out if self.resampler is None else self.resampler(out)[0]


class Gcnn3D(_GroupNetwork):
    """Their network for volumes.

    Where theirs fails or differs from what it says: a first stage that subsamples does so here; theirs goes on with too
    many channels and fails.

    Args:
        init_group_order: elements of the first group.
        domain: 3.
        dtype, device: of the parameters.
        layer_kwargs: of the first convolution.

    The other arguments are those of :class:`Gcnn`.

    Shapes: ``(batch, num_channels[0], d, h, w)`` to ``(batch, num_classes)``; with ``fully_convolutional`` to the
    features ``(batch, num_channels[-1] * |H|, d', h', w')``.

    Raises:
        ValueError: as :class:`Gcnn`.
    """

    def __init__(
        self,
        *,
        num_layers: int,
        num_channels: Sequence[int],
        kernel_sizes: Sequence[int],
        num_classes: int,
        dwn_group_types: Types,
        init_group_order: int,
        spatial_subsampling_factors: Sequence[int],
        subsampling_factors: Sequence[int],
        domain: int,
        pooling_type: str,
        apply_antialiasing: bool,
        antialiasing_kwargs: Mapping[str, Any] | None,
        dropout_rate: float,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        fully_convolutional: bool = False,
        layer_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if domain != 3:
            raise ValueError(f"Gcnn3D requires domain=3, got domain {domain}")
        self.num_channels = list(num_channels)
        num_channels = self.num_channels[: num_layers + 1]  # theirs takes more, and fails later
        _check(
            num_layers,
            num_channels,
            kernel_sizes,
            dwn_group_types,
            spatial_subsampling_factors,
            subsampling_factors,
        )
        self.num_layers, self.kernel_sizes = num_layers, kernel_sizes
        self.num_classes, self.dwn_group_types, self.domain = num_classes, dwn_group_types, domain
        self.spatial_subsampling_factors = spatial_subsampling_factors
        self.subsampling_factors, self.pooling_type = subsampling_factors, pooling_type
        self.apply_antialiasing, self.antialiasing_kwargs = apply_antialiasing, antialiasing_kwargs
        self.dropout_rate, self.fully_convolutional = dropout_rate, fully_convolutional
        self.init_group_order, self.dtype, self.device = init_group_order, dtype, device
        self.conv_layers, self.sampling_layers = nn.ModuleList(), nn.ModuleList()
        self.spatial_sampling_layers = nn.ModuleList()
        filtering: dict[str, Any] = {
            "apply_antialiasing": apply_antialiasing,
            "anti_aliasing_kwargs": antialiasing_kwargs,
        }
        order = init_group_order
        for i, (kind, below) in enumerate(dwn_group_types):
            fields, factor = num_channels[i + 1], subsampling_factors[i]
            last = (
                order // factor if factor > 1 or _kind(below) == "cycle" else get_group(below, order).order()
            )
            sampling: SubgroupDownsample | None = None
            conv: nn.Module
            if i:
                conv = HybridConvGroupResample3D(
                    in_group_type=kind,
                    in_group_order=order,
                    in_num_features=num_channels[i],
                    out_group_type=below,
                    out_group_order=last,
                    out_num_features=fields,
                    kernel_size=kernel_sizes[i],
                    domain=domain,
                    device=device,
                    dtype=dtype,
                    **filtering,
                )
            else:
                conv = rnConv(
                    in_group_type=kind,
                    in_order=order,
                    in_num_features=num_channels[i],
                    in_representation="trivial",
                    out_group_type=kind,
                    out_num_features=fields,
                    out_representation="regular",
                    domain=domain,
                    kernel_size=kernel_sizes[i],
                    layer_kwargs=layer_kwargs,
                )
                if last != order:
                    sampling = SubgroupDownsample(kind, order, below, factor, fields, **filtering)
            stride, channels = spatial_subsampling_factors[i], fields * (last if i else order)
            blur = BlurPool3d(channels, stride) if stride > 1 else nn.Identity()
            self.conv_layers.append(conv)
            self.sampling_layers.append(sampling)  # type: ignore[arg-type]  # None is allowed
            self.spatial_sampling_layers.append(blur)
            order = last
        self.last_g_size, self.expected_output_features = order, num_channels[-1]
        self.dropout_layer = nn.Dropout(0.3)  # of theirs, which does not call it either
        self.linear_layer = nn.Linear(num_channels[-1], num_classes)
        nn.Module.to(self, device, dtype)

    def pooling_3d(self, x: Tensor) -> Tensor:
        """The largest or mean value of each field, ``(batch, fields)``."""
        return _pooled(x, self.last_g_size, self.pooling_type)

    def get_feature(self, x: Tensor) -> Tensor:
        """The pooled features, ``(batch, fields)``, or all of them if ``fully_convolutional``."""
        for i in range(self.num_layers):
            x = self._dropped(self._stage(i, x)[1])
        return x if self.fully_convolutional else self.pooling_3d(x)

    def forward(self, x: Tensor) -> Tensor:
        features = self.get_feature(x)
        if self.fully_convolutional:
            return features
        logits: Tensor = self.linear_layer(features)
        return logits


class GroupUpsample3D(nn.Module):
    """Regular fields of a subgroup to those of the group, :meth:`SubgroupDownsample.upsample`.

    Args:
        from_group_type, to_group_type: the subgroup and the group.
        from_group_order, to_group_order: their elements.
        num_features: fields.
        apply_antialiasing, anti_aliasing_kwargs, device, dtype: of :class:`SubgroupDownsample`.
    """

    def __init__(
        self,
        from_group_type: str,
        to_group_type: str,
        from_group_order: int,
        to_group_order: int,
        num_features: int,
        apply_antialiasing: bool = False,
        anti_aliasing_kwargs: Mapping[str, Any] | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        order = to_group_order // 2 if to_group_type == "dihedral" else to_group_order
        self.downsampling_layer = SubgroupDownsample(
            to_group_type,
            order,
            from_group_type,
            to_group_order // from_group_order,
            num_features,
            device=device,
            dtype=dtype,
            apply_antialiasing=apply_antialiasing,
            anti_aliasing_kwargs=anti_aliasing_kwargs,
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.downsampling_layer.upsample(x)


class SpatialUpsample3D(nn.Module):
    """Trilinear interpolation of volumes by a whole factor."""

    def __init__(self, scale_factor: int) -> None:
        super().__init__()
        self.scale_factor = scale_factor
        self.upsample: nn.Module = nn.Identity()
        if scale_factor != 1:
            self.upsample = nn.Upsample(scale_factor=scale_factor, mode="trilinear", align_corners=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.upsample(x)
        return out


class GroupPooling3D(nn.Module):
    """The mean or the largest value over the group, ``(batch, fields * |G|, d, h, w)`` to ``(batch, fields, d, h, w)``.

    Raises:
        ValueError: if ``pooling_type`` is not ``"mean"`` or ``"max"``.
    """

    def __init__(self, group_order: int, pooling_type: str = "mean") -> None:
        super().__init__()
        if pooling_type not in ("mean", "max"):
            raise ValueError(f"pooling_type must be 'mean' or 'max', got {pooling_type!r}")
        self.group_order, self.pooling_type = group_order, pooling_type

    def forward(self, x: Tensor) -> Tensor:
        fields = x.unflatten(1, (-1, self.group_order))
        pooled: Tensor = fields.mean(2) if self.pooling_type == "mean" else fields.amax(2)
        return pooled


class Gcnn3DSegmentation(nn.Module):
    """Their network that segments volumes: :class:`Gcnn3D`, its features beside those on the way back up.

    The arguments are those of :class:`Gcnn3D`.

    Shapes: ``(batch, num_channels[0], d, h, w)`` to ``(batch, num_classes, d, h, w)``, of sizes that strides divide.

    Raises:
        ValueError: as :class:`Gcnn3D`.
    """

    def __init__(
        self,
        *,
        num_layers: int,
        num_channels: Sequence[int],
        kernel_sizes: Sequence[int],
        num_classes: int,
        dwn_group_types: Types,
        init_group_order: int,
        spatial_subsampling_factors: Sequence[int],
        subsampling_factors: Sequence[int],
        domain: int,
        apply_antialiasing: bool,
        antialiasing_kwargs: Mapping[str, Any] | None,
        dropout_rate: float,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        layer_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_layers, self.num_channels, self.kernel_sizes = num_layers, list(num_channels), kernel_sizes
        self.num_classes, self.dwn_group_types, self.domain = num_classes, dwn_group_types, domain
        self.init_group_order, self.dropout_rate = init_group_order, dropout_rate
        self.spatial_subsampling_factors = spatial_subsampling_factors
        self.subsampling_factors = subsampling_factors
        self.apply_antialiasing, self.antialiasing_kwargs = apply_antialiasing, antialiasing_kwargs
        self.dtype, self.device = dtype, device
        self.encoder = Gcnn3D(
            num_layers=num_layers,
            num_channels=num_channels,
            kernel_sizes=kernel_sizes,
            num_classes=num_classes,
            dwn_group_types=dwn_group_types,
            init_group_order=init_group_order,
            spatial_subsampling_factors=spatial_subsampling_factors,
            subsampling_factors=subsampling_factors,
            domain=domain,
            pooling_type="max",
            apply_antialiasing=apply_antialiasing,
            antialiasing_kwargs=antialiasing_kwargs,
            dropout_rate=dropout_rate,
            dtype=dtype,
            device=device,
            fully_convolutional=True,
            layer_kwargs=layer_kwargs,
        )
        self.group_orders = [init_group_order]
        for factor in subsampling_factors:
            self.group_orders.append(self.group_orders[-1] // factor)
        self.decoder_spatial_upsampling, self.decoder_blocks = nn.ModuleList(), nn.ModuleList()
        for i in reversed(range(num_layers)):
            stride = spatial_subsampling_factors[i]
            self.decoder_spatial_upsampling.append(SpatialUpsample3D(stride) if stride > 1 else nn.Identity())
            self.decoder_blocks.append(
                HybridConvGroupResample3D(
                    in_group_type=dwn_group_types[i][1],
                    in_group_order=self.group_orders[i + 1],
                    in_num_features=2 * num_channels[i + 1],
                    out_group_type=dwn_group_types[i][0],
                    out_group_order=self.group_orders[i],
                    out_num_features=num_channels[i] if i else num_channels[1],
                    kernel_size=kernel_sizes[i],
                    domain=domain,
                    apply_antialiasing=apply_antialiasing,
                    anti_aliasing_kwargs=antialiasing_kwargs,
                    device=device,
                    dtype=dtype,
                )
            )
        kind = dwn_group_types[0][0]
        self.output_conv = rnConv(
            in_group_type=kind,
            in_order=init_group_order,
            in_num_features=num_channels[1],
            in_representation="regular",
            out_group_type=kind,
            out_num_features=num_classes,
            out_representation="regular",
            domain=domain,
            kernel_size=1,
        ).to(device, dtype)
        self.group_pool = GroupPooling3D(init_group_order, "mean")

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for i in range(self.num_layers):
            kept.append(self.encoder._stage(i, x)[1])
            x = self.encoder._dropped(kept[-1])
        for i, beside in enumerate(reversed(kept)):
            elements = self.group_orders[self.num_layers - i]
            if beside.shape[2:] != x.shape[2:]:
                beside = F.interpolate(beside, size=x.shape[2:], mode="trilinear", align_corners=False)
            fields = [each.unflatten(1, (-1, elements)) for each in (x, beside)]
            x = torch.relu(self.decoder_blocks[i](torch.cat(fields, dim=1).flatten(1, 2)))
            x = self.encoder._dropped(self.decoder_spatial_upsampling[i](x))
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
    layer_kwargs: Mapping[str, Any] | None = None,
    antialiasing_kwargs: Mapping[str, Any] | None = None,
    fully_convolutional: bool = False,
) -> Gcnn:
    """:class:`Gcnn` of ``input_channel`` channels and ``num_channels`` fields, without the number of channels first.

    By default two stages of 32 fields of a dihedral group, kernels of 7 pixels with dilation 2, no subsampling, and the
    filter in closed form. (By default theirs optimises it.)
    """
    return Gcnn(
        num_layers=num_layers,
        num_channels=[input_channel, *(num_channels or [32] * num_layers)],
        kernel_sizes=kernel_sizes or [7] * num_layers,
        num_classes=num_classes,
        dwn_group_types=dwn_group_types or [["dihedral", "dihedral"]] * num_layers,
        init_group_order=init_group_order,
        spatial_subsampling_factors=spatial_subsampling_factors or [1] * num_layers,
        subsampling_factors=subsampling_factors or [1] * num_layers,
        domain=domain,
        pooling_type=pooling_type,
        apply_antialiasing=apply_antialiasing,
        antialiasing_kwargs=antialiasing_kwargs,
        dropout_rate=dropout_rate,
        fully_convolutional=fully_convolutional,
        layer_kwargs={"dilation": 2} if layer_kwargs is None else layer_kwargs,
    )


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
    layer_kwargs: Mapping[str, Any] | None = None,
    antialiasing_kwargs: Mapping[str, Any] | None = None,
    fully_convolutional: bool = False,
) -> Gcnn3D:
    """:class:`Gcnn3D`, by default of the octahedral group and then the quarter turns about z.

    With one or more than two layers the defaults of two are cut, or go on with the quarter turns; theirs fails.
    """
    widths = list(num_channels or [32, 64, *[64] * num_layers][:num_layers])
    types = dwn_group_types or ([["octahedral"] * 2, ["octahedral", "cycle"], *[["cycle"] * 2] * num_layers])
    return Gcnn3D(
        num_layers=num_layers,
        num_channels=[input_channel, *widths],
        kernel_sizes=kernel_sizes or [3] * num_layers,
        num_classes=num_classes,
        dwn_group_types=types[:num_layers],
        init_group_order=init_group_order,
        spatial_subsampling_factors=spatial_subsampling_factors or [1] * num_layers,
        subsampling_factors=subsampling_factors or [1, 6, *[1] * num_layers][:num_layers],
        domain=domain,
        pooling_type=pooling_type,
        apply_antialiasing=apply_antialiasing,
        antialiasing_kwargs=antialiasing_kwargs,
        dropout_rate=dropout_rate,
        fully_convolutional=fully_convolutional,
        layer_kwargs=layer_kwargs,
    )


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
    antialiasing_kwargs: Mapping[str, Any] | None = None,
    dropout_rate: float = 0.1,
) -> Gcnn3DSegmentation:
    """:class:`Gcnn3DSegmentation`; ``num_channels`` begin with ``input_channel``, which theirs does not look at.

    Raises:
        ValueError: if they do not, and as :class:`Gcnn3D`.
    """
    if num_channels[0] != input_channel:
        raise ValueError(f"num_channels must begin with input_channel, {input_channel}, got {num_channels}")
    return Gcnn3DSegmentation(
        num_layers=num_layers,
        num_channels=num_channels,
        kernel_sizes=kernel_sizes,
        num_classes=num_classes,
        dwn_group_types=dwn_group_types,
        init_group_order=init_group_order,
        spatial_subsampling_factors=spatial_subsampling_factors,
        subsampling_factors=subsampling_factors,
        domain=domain,
        apply_antialiasing=apply_antialiasing,
        antialiasing_kwargs=antialiasing_kwargs,
        dropout_rate=dropout_rate,
    )
