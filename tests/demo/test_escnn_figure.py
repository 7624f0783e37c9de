"""The figure of networks that go from D4 to D2: what it shows is so."""

import pytest
import torch

pytest.importorskip("escnn")
from sefl.demo import escnn_figure


def test_what_is_lost_and_what_is_not() -> None:
    errors = escnn_figure.mean_errors(seed=0, networks=1)
    assert [name.split(",")[0].split()[0] for name in errors] == [
        *("RestrictionModule", "SubgroupDownsampling", "Canonicalization", "bandlimited"),
    ]
    restricted, filtered, canonical, whole = errors.values()
    outside = torch.tensor([False, True, False, True, False, True, False, True])
    for lossy in (restricted, filtered):
        assert (lossy[outside] > 1e-4).all()
        assert (lossy[~outside] < 1e-12).all()
    assert max(canonical.max(), whole.max()) < 1e-28
    assert (filtered[outside] < restricted[outside]).all()
