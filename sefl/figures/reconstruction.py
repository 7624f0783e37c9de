"""What group subsampling keeps: the discarded group elements, reconstructed from the kept ones."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sefl.figures.style import SIGNED, frame, new_figure
from sefl.groups import Bandlimit

MOST_COLUMNS = 8


def reconstruction(filter: Bandlimit, features: NDArray[np.float64], title: str) -> Figure:
    """Feature maps at discarded elements: original, from naive samples, from anti-aliased samples.

    Args:
        filter: the bandlimit of the subsampling.
        features: its input for one image, ``(fields * |G|, h, w)``; the field with the most energy is shown.
        title: what the figure is of.
    """
    group, subgroup = filter.subgroup.parent, filter.subgroup
    fields = features.reshape(-1, len(group), *features.shape[1:])
    discarded = np.flatnonzero(subgroup.position < 0)
    from_naive = filter.reconstruction @ filter.restriction
    from_filtered = from_naive @ filter.projector
    rows = {
        "original": fields,
        "from naive samples": np.einsum("gh,fhij->fgij", from_naive, fields),
        "from anti-aliased samples": np.einsum("gh,fhij->fgij", from_filtered, fields),
    }
    strongest = int(np.square(fields).sum(axis=(1, 2, 3)).argmax())
    shown = discarded[:MOST_COLUMNS]
    limit = float(np.abs(fields[strongest][shown]).max()) or 1.0
    energy = np.square(fields[:, discarded]).sum() or 1.0
    figure = new_figure(1.9 + 1.25 * len(shown), 4.6)
    grid = figure.subplots(len(rows), len(shown), squeeze=False)
    for axes_row, (name, values) in zip(grid, rows.items(), strict=True):
        error = np.square(values[:, discarded] - fields[:, discarded]).sum() / energy
        label = name.replace(" samples", "\nsamples") + f"\nerror {error:.2g}" * (name != "original")
        axes_row[0].set_ylabel(label, fontsize=8.5, rotation=0, ha="right", va="center", labelpad=8)
        for axes, element in zip(axes_row, shown, strict=True):
            axes.imshow(values[strongest, element], cmap=SIGNED, vmin=-limit, vmax=limit)
            frame(axes)
    for axes, element in zip(grid[0], shown, strict=True):
        axes.set_title(group.labels[element], fontsize=9)
    more = f" ({len(shown)} of {len(discarded)})" if len(discarded) > len(shown) else ""
    subject = f"{title}: {group.name} to {subgroup.group.name}, features at the discarded elements{more}"
    figure.suptitle(subject, fontsize=10, x=0.01, ha="left")
    return figure
