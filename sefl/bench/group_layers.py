"""The layers of sefl.groups against the convolution before them, and making those convolutions against escnn."""

import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from importlib.util import find_spec
from io import StringIO

from torch import Tensor, nn

from sefl.bench.comparisons import (
    COPY,
    ESCNN,
    GROUP_CONVOLUTION,
    OURS,
    PASSES,
    PLAIN,
    Comparison,
    GroupSizes,
)
from sefl.bench.work import CopyWork, LayerWork, MakeWork, images
from sefl.groups import (
    BlurPool,
    Canonicalize,
    GroupConv,
    LiftingConv,
    SubgroupDownsample,
    bandlimit,
    finite_group,
    subgroup,
)

GROUP_LAYERS, CONVOLUTIONS = "layers", "convolutions"
BLUR_RATE = 2
ESCNN_IS_INSTALLED = find_spec("escnn") is not None


class CanonicalField(nn.Module):
    """The field of :class:`sefl.groups.Canonicalize`, without the coset."""

    def __init__(self, group: str, name: str) -> None:
        super().__init__()
        self.canonicalize = Canonicalize(subgroup(finite_group(group), name))

    def forward(self, x: Tensor) -> Tensor:
        field: Tensor = self.canonicalize(x)[0]
        return field


class Expansion(nn.Module):
    """The kernel of a convolution, whatever the input: what it computes in every call before it convolves."""

    def __init__(self, make: Callable[[], GroupConv]) -> None:
        super().__init__()
        self.convolution = make()

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution.kernel()


def group_layers(sizes: GroupSizes, copy_bytes: int) -> list[Comparison]:
    """Subsampling, canonicalisation, kernel expansion and blur, on the field that a convolution makes."""
    channels = sizes.fields * len(finite_group(sizes.group))
    signal = partial(images, sizes.batch, channels, sizes.resolution)
    nothing = partial(images, 0, channels, sizes.resolution)
    convolution = partial(_convolution, sizes.group, sizes.fields, sizes.kernel_size)
    layers: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
        "SubgroupDownsample": (partial(_downsample, sizes.group, sizes.subgroup), signal),
        "Canonicalize": (partial(CanonicalField, sizes.group, sizes.subgroup), signal),
        "kernel of GroupConv": (partial(Expansion, convolution), nothing),
        "BlurPool": (partial(BlurPool, BLUR_RATE), signal),
    }
    plain = {"BlurPool": partial(nn.AvgPool2d, BLUR_RATE)}
    return [
        Comparison(
            part="groups",
            table=GROUP_LAYERS,
            work=name,
            passes=PASSES[backward],
            contestants={
                OURS: LayerWork(make, of, backward),
                **({PLAIN: LayerWork(plain[name], signal, backward)} if name in plain else {}),
                GROUP_CONVOLUTION: LayerWork(convolution, signal, backward),
                COPY: CopyWork(copy_bytes),
            },
            items=sizes.batch,
        )
        for name, (make, of) in layers.items()
        for backward in PASSES
    ]


def convolutions(sizes: GroupSizes) -> list[Comparison]:
    """Making a lifting and two regular convolutions, here and in escnn."""
    arguments = sizes.group, sizes.fields, sizes.kernel_size
    contestants = {OURS: MakeWork(partial(_our_stages, *arguments))}
    if sizes.escnn and ESCNN_IS_INSTALLED:
        contestants[ESCNN] = MakeWork(partial(_escnn_stages, *arguments))
    return [
        Comparison(
            part="groups",
            table=CONVOLUTIONS,
            work=f"three stages at {sizes.group}, {sizes.fields} fields, {sizes.kernel_size} x {sizes.kernel_size}",
            passes="construction",
            contestants=contestants,
            items=1,
            counted=(),
            weighed=(),
        )
    ]


def _convolution(group: str, fields: int, kernel_size: int) -> GroupConv:
    return GroupConv(finite_group(group), fields, fields, kernel_size)


def _downsample(group: str, name: str) -> nn.Module:
    return SubgroupDownsample(bandlimit(finite_group(group), name))


def _our_stages(group: str, fields: int, kernel_size: int) -> list[nn.Module]:
    lifting = LiftingConv(finite_group(group), 1, fields, kernel_size)
    return [lifting, *(_convolution(group, fields, kernel_size) for _ in range(2))]


def _escnn_stages(group: str, fields: int, kernel_size: int) -> list[nn.Module]:
    """The same in escnn, for a dihedral group; of what it caches in a process only the group's irreps are there."""
    # It says what it loads, and that it does without py3nj, whose lack costs time at the first start alone.
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from escnn import gspaces
        from escnn.nn import FieldType, R2Conv

        space = gspaces.flipRot2dOnR2(len(finite_group(group)) // 2)
        scalar, regular = (
            FieldType(space, [space.trivial_repr]),
            FieldType(space, fields * [space.regular_repr]),
        )
        pairs = (scalar, regular), (regular, regular), (regular, regular)
        return [R2Conv(*pair, kernel_size, padding=kernel_size // 2) for pair in pairs]
