"""The published numbers that ours stand beside, by data set and protocol."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NEURIPS = (
    "Rahman & Yeh, Truly Scale-Equivariant Deep Nets with Fourier Layers, NeurIPS 2023 (arXiv 2311.02922)"
)
ICLR = "Rahman & Yeh, Group Downsampling with Equivariant Anti-aliasing, ICLR 2025 (arXiv 2504.17258)"
SECOND_HAND = " (second-hand)"


@dataclass(frozen=True)
class PublishedTable:
    """Published results on one data set under one protocol.

    Args:
        title: the data set and the protocol.
        data_class: what the datamodule is called that has this data set.
        protocol: for options of the datamodule, the values that make the protocol.
        source: where the numbers are from.
        rows: by model and measure, the number as it was printed.
    """

    title: str
    data_class: str
    protocol: Mapping[str, tuple[Any, ...]]
    source: str
    rows: Mapping[str, Mapping[str, str]]

    def departures(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a datamodule that make it another protocol."""
        return {
            name: options[name]
            for name, accepted in self.protocol.items()
            if name in options and options[name] not in accepted
        }


def number(printed: str) -> float:
    """The value of a printed number.

    >>> number(".9889"), number("962K")
    (0.9889, 962000.0)
    """
    factor = {"K": 1e3, "M": 1e6}.get(printed[-1], 1.0)
    return float(printed.rstrip("KM")) * factor


def published_of(data_class: str) -> list[PublishedTable]:
    """What was published on the data set of a datamodule; the main table comes first."""
    return [table for table in PUBLISHED if table.data_class == data_class]


def _rows(measures: tuple[str, ...], lines: str) -> dict[str, dict[str, str]]:
    """A table of lines ``model | number ...``; ``-`` where there is none."""
    rows = {}
    for line in lines.strip().splitlines():
        model, _, numbers = line.partition("|")
        named = zip(measures, numbers.split(), strict=True)
        rows[model.strip()] = {measure: printed for measure, printed in named if printed != "-"}
    return rows


_SCALE = ("accuracy", "scale_consistency", "equivariance/downsample")
_GROUP = ("accuracy", "orbit_accuracy", "loc_accuracy", "orbit_error")
_POOL: dict[str, tuple[Any, ...]] = {
    "protocol": ("pool",),
    "downsampling": ("ideal",),
    "held_out_resolutions": (None, []),
}
_MNIST_SCALE = {**_POOL, "train_size": (None, 10_000), "resolutions": (None, list(range(8, 29)))}
_STL10_SCALE = {**_POOL, "train_size": (None, 7_000), "resolutions": (None, list(range(49, 98)))}

_FEWER_IMAGES = _rows(
    ("5000", "2500", "1000"),
    """
    paper's            | .9835 .9767 .9606
    CNN                | .9432 .9389 .8577
    per-resolution CNN | .9118 .8392 .5815
    SESN               | .9638 .9402 .9207
    DSS                | .9654 .9401 .9281
    SI-ConvNet         | .9641 .9437 .9280
    SS-CNN             | .9477 .9259 .9176
    DISCO              | .9794 .9665 .9457
    Fourier CNN        | .9567 .9419 .8910
    """,
)
"""The accuracy on MNIST-scale after so many training images."""

PUBLISHED = (
    PublishedTable(
        title="MNIST-scale, 10,000 training images",
        data_class="MNISTScale",
        protocol=_MNIST_SCALE,
        source=NEURIPS,
        rows=_rows(
            _SCALE,
            """
            paper's            | .9889 .9716 .00
            CNN                | .9737 .6621 -
            per-resolution CNN | .9388 .0527 -
            SESN               | .9791 .6640 -
            DSS                | .9731 .6503 -
            SI-ConvNet         | .9797 .6425 -
            SS-CNN             | .9613 .3105 -
            DISCO              | .9856 .5585 .44
            Fourier CNN        | .9713 .2421 .28
            """,
        ),
    ),
    *(
        PublishedTable(
            title=f"MNIST-scale, {size:,} training images",
            data_class="MNISTScale",
            protocol={**_MNIST_SCALE, "train_size": (size,)},
            source=NEURIPS,
            rows={model: {"accuracy": numbers[str(size)]} for model, numbers in _FEWER_IMAGES.items()},
        )
        for size in (5_000, 2_500, 1_000)
    ),
    PublishedTable(
        title="MNIST-scale, bicubic downsampling",
        data_class="MNISTScale",
        protocol={**_MNIST_SCALE, "downsampling": ("bicubic",)},
        source=NEURIPS,
        rows=_rows(_SCALE, f"paper's{SECOND_HAND} | .9880 .9760 .05"),
    ),
    PublishedTable(
        title="STL10-scale, 7,000 training images",
        data_class="STL10Scale",
        protocol=_STL10_SCALE,
        source=NEURIPS,
        rows=_rows(
            _SCALE,
            """
            paper's     | .7332 .6770 .00
            WideResNet  | .5596 .2916 .16
            SESN        | .5525 .4166 .04
            DSS         | .5347 .1979 .02
            SI-ConvNet  | .5588 .2187 .03
            SS-CNN      | .4788 .1979 1.82
            DISCO       | .4768 .3541 .06
            Fourier CNN | .5844 .2812 .19
            """,
        ),
    ),
    PublishedTable(
        title="MNIST, 5,000 upright training images",
        data_class="RotatedMNIST",
        protocol={"protocol": ("upright",), "train_size": (None, 5_000)},
        source=ICLR,
        rows=_rows(
            ("accuracy", "loc_accuracy", "orbit_accuracy"),
            """
            C6, no subsampling  | .9772 .6671 .5176
            C8, no subsampling  | .9763 .8138 .8241
            C12, no subsampling | .9790 .8044 .8237
            C24, no subsampling | .9767 .8234 .8346
            D6, no subsampling  | .9783 .6912 .4896
            D8, no subsampling  | .9780 .7470 .6163
            D12, no subsampling | .9730 .8128 .8248
            D24, no subsampling | .9752 .8253 .8496
            """,
        ),
    ),
    PublishedTable(
        title="Rotated MNIST, 12,000 rotated images",
        data_class="RotatedMNIST",
        protocol={"protocol": ("rotated",), "train_size": (None, 10_000, 12_000)},
        source=ICLR,
        rows=_rows(
            ("accuracy",),
            """
            rotations, no subsampling                             | .9901
            rotations, rate 2                                     | .9855
            rotations, rate 2, anti-aliased                       | .9902
            rotations, rate 3                                     | .9863
            rotations, rate 3, anti-aliased                       | .9898
            rotations, rate 4                                     | .9880
            rotations, rate 4, anti-aliased                       | .9888
            rotations and reflections, no subsampling             | .9830
            rotations and reflections, rate 2                     | .9852
            rotations and reflections, rate 2, anti-aliased       | .9877
            rotations and reflections, rate 3                     | .9851
            rotations and reflections, rate 3, anti-aliased       | .9852
            rotations and reflections, rate 4                     | .9861
            rotations and reflections, rate 4, anti-aliased       | .9874
            """,
        ),
    ),
    *(
        PublishedTable(
            title="STL-10 at 96 pixels, trained without augmentation",
            data_class=data_class,
            protocol={"resolutions": ([96],)},
            source=f"{ICLR}, the authors' replies in the open review",
            rows=_rows(
                (*_GROUP, "parameters"),
                """
                C24, no subsampling       | .54 .30 .34 .16 1.3M
                C24, rate 2               | .60 .35 .40 .17 -
                C24, rate 2, anti-aliased | .60 .37 .42 .16 962K
                C24, rate 3               | .60 .34 .38 .18 -
                C24, rate 3, anti-aliased | .62 .37 .42 .16 831K
                D24, no subsampling       | .57 .32 .37 .12 1.3M
                D24, rate 2               | .61 .26 .40 .20 -
                D24, rate 2, anti-aliased | .64 .27 .40 .19 962K
                D24, rate 3               | .60 .33 .33 .17 -
                D24, rate 3, anti-aliased | .64 .39 .44 .17 831K
                """,
            ),
        )
        for data_class in ("STL10Scale", "STL10")
    ),
)
