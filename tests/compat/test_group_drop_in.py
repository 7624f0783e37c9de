"""The names of the authors' group repository: the examples of their README, every pair of groups, what is refused.

Against their code itself: ``test_authors_code.py``."""

from typing import Any

import pytest
import torch
from torch import Tensor

from sefl.compat import SubgroupDownsample, get_model, groups
from sefl.compat.groups.spaces import finite
from sefl.groups import FiniteGroup, act_on_fibre, act_on_field

EXACT = 1e-12

PAIRS = [
    ("cycle", 8, "cycle", 2, 4),
    ("cyclic", 12, "cyclic", 3, 4),
    ("dihedral", 12, "dihedral", 2, 6),
    ("dihedral", 12, None, 3, 4),
    ("dihedral", 12, "cycle", 4, 6),
    ("dihedral", 4, "cycle", 2, 4),
    ("octahedral", None, "cycle", 6, 4),
    ("octahedral", None, "cycle", 12, 2),
    ("octahedral", None, "cycle", 8, 3),
    ("octahedral", None, "dihedral", 3, 4),
    ("octahedral", None, "dihedral", 4, 3),
    ("octahedral", None, "dihedral", 6, 2),
    ("octahedral", None, "octahedral", 1, 24),
    ("full_octahedral", None, "dihedral", 6, 4),
    ("full_octahedral", None, "octahedral", 2, 24),
    ("full_octahedral", None, "cycle", 12, 4),
    ("dihedral", 6, "dihedral", 1, 6),
]


def random_field(group: FiniteGroup, *space: int, fields: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(len(group))
    return torch.randn(2, fields * len(group), *space, dtype=torch.float64, generator=generator)


def test_example_of_their_readme() -> None:
    layer = SubgroupDownsample(
        group_type="dihedral",
        order=12,
        sub_group_type="dihedral",
        subsampling_factor=2,
        num_features=10,
        generator="r-s",
        dtype=torch.float32,
        apply_antialiasing=True,
        anti_aliasing_kwargs={"iterations": 100, "smoothness_loss_weight": 0.1},
    ).to(device="cpu")
    out, element = layer(torch.randn(2, 10 * 24, 32, 32))
    assert out.shape == (2, 120, 32, 32)
    assert element == [(-1, -1)]
    assert layer.upsample(out).shape == (2, 240, 32, 32)


@pytest.mark.parametrize(("kind", "order", "below", "factor", "sub_order"), PAIRS)
def test_every_pair_samples_equivariantly(
    kind: str, order: int | None, below: str | None, factor: int, sub_order: int
) -> None:
    layer = SubgroupDownsample(kind, order, below, factor, num_features=2, apply_antialiasing=True).double()
    assert layer.sub_order == sub_order
    assert layer.anti_aliaser is not None
    sampled = layer.anti_aliaser.bandlimit.subgroup
    assert sampled.rate == factor
    x = random_field(sampled.parent)
    y, _ = layer(x)
    group = finite(below or kind, sub_order)
    nodes = layer.sample.subsample_nodes
    assert nodes[group.identity] == sampled.parent.identity
    for h, element in enumerate(nodes):
        moved, _ = layer(act_on_fibre(x, sampled.parent, element))
        assert (moved - act_on_fibre(y, group, h)).abs().max() < EXACT
    again, _ = layer(layer.upsample(y))
    assert (again - y).abs().max() < EXACT
    if factor > 1:  # control: without the filter features do not come back
        plain = SubgroupDownsample(kind, order, below, factor, num_features=2)
        assert (plain.upsample(plain(x)[0]) - x).abs().max() > 0.1


def test_optimised_design_on_request() -> None:
    arguments = {"iterations": 200, "smoothness_loss_weight": 0.01, "smooth_operator": "laplacian"}
    closed, optimised = (
        SubgroupDownsample(
            "cycle", 6, "cycle", 2, apply_antialiasing=True, anti_aliasing_kwargs={**arguments, "mode": mode}
        ).anti_aliaser.bandlimit
        for mode in ("analytical", "gpu_optim")
    )
    assert closed.kept
    assert not optimised.kept


def test_canonicalised_signals_and_images() -> None:
    layer = SubgroupDownsample(
        "dihedral", 4, "cycle", 2, 2, dtype=torch.float64, apply_antialiasing=True, cannonicalize=True
    )
    sampled = layer.anti_aliaser.bandlimit.subgroup
    group = sampled.parent
    x = random_field(group, 5, 5)
    y, element = layer(x)
    assert y.shape == (2, 8, 5, 5)
    mirrored, after = layer(act_on_field(x, group, 4))
    for sample in range(2):
        before, later = (flip * 4 + turn for flip, turn in (element[sample], after[sample]))
        h = group.table[group.inverse[later], group.table[4, before]]
        inside = int(sampled.position[h])
        expected = act_on_field(y[sample : sample + 1], sampled.group, inside)
        assert (mirrored[sample] - expected[0]).abs().max() < EXACT
    signal, element = layer(random_field(group, fields=1)[0])
    assert signal.shape == (4,)
    assert layer.upsample(signal).shape == (8,)
    assert len(element) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"group_type": "icosahedral"}, "group_type must be"),
        ({"group_type": "dihedral"}, "order must be"),
        (
            {"group_type": "dihedral", "order": 12, "sub_group_type": "cycle", "subsampling_factor": 3},
            "not supported",
        ),
        ({"group_type": "cycle", "order": 8, "sub_group_type": "dihedral"}, "not supported"),
        ({"group_type": "octahedral", "sub_group_type": "cycle", "subsampling_factor": 4}, "not supported"),
        ({"group_type": "cycle", "order": 8, "subsampling_factor": 3}, "rates that work"),
        ({"group_type": "cycle", "order": 8, "sample_type": "pool"}, "sample_type"),
        ({"group_type": "dihedral", "order": 8, "generator": "s-sr"}, "generator"),
        ({"group_type": "cycle", "order": 8, "anti_aliasing_kwargs": {"mode": "gpu"}}, "mode"),
        ({"group_type": "cycle", "order": 8, "anti_aliasing_kwargs": {"shift": None}}, "shift not supported"),
        ({"group_type": "cycle", "order": 8, "anti_aliasing_kwargs": {"smooth_operator": "x"}}, "operator"),
    ],
)
def test_unsupported_values_say_so(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SubgroupDownsample(**arguments)


def test_wrong_channels_say_what_they_should_be() -> None:
    layer = SubgroupDownsample("cycle", 8, "cycle", 2, num_features=3)
    with pytest.raises(ValueError, match="24 channels"):
        layer(torch.rand(1, 16, 4, 4))


def test_canonicalised_features_come_back() -> None:
    move = groups.Cannonicalizer("dihedral", 8, "dihedral", 4, 2).double()
    x = random_field(finite("dihedral", 4), 5, 5)
    canonical, elements = move(x)
    assert (canonical - x).abs().max() > 0.1
    for given in (None, elements):
        assert (move(canonical, given, mode="backward")[0] - x).abs().max() < EXACT
    with pytest.raises(ValueError, match="mode must be 'forward' or 'backward', got 'up'"):
        move(x, mode="up")
    with pytest.raises(ValueError, match="coset_rep must be given"):
        groups.Cannonicalizer("cycle", 8, "cycle", 4, 1)(torch.rand(1, 8, 3, 3), mode="backward")


def test_sampling_layer() -> None:
    layer = groups.SamplingLayer(sampling_factor=2, nodes=range(6), subsample_nodes=[0, 2, 4])
    x = torch.arange(12.0).reshape(1, 12, 1, 1).expand(1, 12, 2, 2)
    assert layer(x)[0, :, 0, 0].tolist() == [0, 2, 4, 6, 8, 10]
    assert layer.up_sample(layer(x))[0, :, 0, 0].tolist() == [0, 0, 2, 0, 4, 0, 6, 0, 8, 0, 10, 0]
    pooling = groups.SamplingLayer(sampling_factor=2, nodes=range(6), subsample_nodes=[0, 2, 4], type="pool")
    assert pooling(torch.arange(6.0)).tolist() == [1, 3, 5]
    with pytest.raises(ValueError, match="one signal"):
        pooling(x)
    with pytest.raises(ValueError, match="type must be 'sample' or 'pool', got 'mean'"):
        groups.SamplingLayer(nodes=[0], subsample_nodes=[0], type="mean")


def test_their_weights_bring_their_filter_and_what_is_missing_is_said() -> None:
    """Written as theirs does, in an orthonormal basis of the group that is not symmetric."""
    basis, sub_basis = (torch.linalg.qr(torch.randn(n, n, dtype=torch.float64))[0] for n in (8, 4))
    filter_, up = torch.randn(8, 8, dtype=torch.float64), torch.randn(4, 8, dtype=torch.float64)
    layer = SubgroupDownsample("cycle", 8, "cycle", 2, apply_antialiasing=True).double()
    state = {"basis": basis, "sub_basis": sub_basis, "L1_projector": filter_, "up_sampling_basis": up}
    state |= {"M": torch.zeros(8, 4), "smoother": torch.zeros(8, 8), "L1_eigs": torch.zeros(8, 3)}
    state = {f"anti_aliaser.{name}": value for name, value in state.items()}
    state["sample.sampling_matrix"] = torch.eye(8)[[0, 4, 2, 6]]
    state["sample.up_sampling_matrix"] = state["sample.sampling_matrix"].T
    layer.load_state_dict(state)
    x, signal = random_field(finite("cycle", 8), 3), random_field(finite("cycle", 8))[0, :8]
    fibres = x.unflatten(1, (2, 8))
    transposed = torch.einsum(
        "fg,bcfs->bcgs", basis, torch.einsum("fg,bcgs->bcfs", filter_ @ basis.T, fibres)
    )
    layer.num_features = 2
    assert (layer(x)[0] - transposed[:, :, [0, 4, 2, 6]].flatten(1, 2)).abs().max() < EXACT
    assert (layer(signal)[0] - (basis @ filter_ @ basis.T @ signal)[[0, 4, 2, 6]]).abs().max() < EXACT
    y = layer(x)[0]
    expected = torch.einsum("gf,bcfs->bcgs", up.T @ sub_basis.T, y.unflatten(1, (2, 4))).flatten(1, 2)
    assert (layer.upsample(y) - expected).abs().max() < EXACT
    again = SubgroupDownsample("cycle", 8, "cycle", 2, 2, apply_antialiasing=True).double()
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(x)[0], y)
    with pytest.raises(RuntimeError, match="Missing key"):
        again.load_state_dict({name: value for name, value in state.items() if "sub_basis" not in name})


def test_padding_of_even_and_odd_sizes() -> None:
    for size in (7, 8):
        x = torch.ones(1, 2, size, size)
        padded = groups.pad_same(x, (3, 3), (2, 2))
        assert torch.nn.functional.conv2d(padded, torch.ones(1, 2, 3, 3), stride=2).shape[-1] == 4
        assert groups.get_same_padding(torch.tensor(size), 3, 2, 1).item() == groups.get_same_padding(
            size, 3, 2, 1
        )
        blurred = groups.BlurPool2d(2)(torch.ones(1, 2, size, size))
        assert blurred[..., 1:-1, 1:-1].sub(1).abs().max() < 1e-6
    assert groups.BlurPool3d(2, 2)(torch.ones(1, 2, 6, 6, 6)).sub(1).abs().max() < 1e-6
    assert groups.get_padding_value("same", 3, stride=2) == (0, True)
    assert groups.get_padding_value("same", 3) == (1, False)
    assert groups.get_padding_value(5, 3) == (5, False)


def test_every_name_is_found_and_others_are_not() -> None:
    for name in groups.__all__:
        assert getattr(groups, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Gcnn4D'"):
        groups.Gcnn4D  # noqa: B018


class TestWithEscnn:
    @pytest.fixture(autouse=True)
    def _escnn(self) -> None:
        pytest.importorskip("escnn")

    def test_a_layer_made_of_graphs_is_the_one_of_names(self) -> None:
        graphs = groups.GraphConstructor(12, "dihedral", "r-s", "dihedral", 2)
        layer = groups.AntiAliasingLayer(
            nodes=graphs.graph.nodes,
            adjaceny_matrix=graphs.graph.adjacency_matrix,
            basis=graphs.graph.fourier_basis,
            subsample_nodes=graphs.subgroup_graph.nodes,
            subsample_adjacency_matrix=graphs.subgroup_graph.adjacency_matrix,
            sub_basis=graphs.subgroup_graph.fourier_basis,
            raynold_op=graphs.graph.equi_raynold_op,
            mode="analytical",
        ).double()
        named = (
            SubgroupDownsample("dihedral", 6, "dihedral", 2, apply_antialiasing=True).double().anti_aliaser
        )
        assert named is not None
        assert torch.equal(layer.projector, named.projector)
        for name in ("basis", "sub_basis", "M", "L1_projector", "up_sampling_basis"):
            assert (getattr(layer, name) - getattr(named, name)).abs().max() < 1e-6, name
        sampled = layer.sampling_matrix @ layer.basis @ layer.M
        assert (sampled * (12 / 6) ** 0.5 - layer.sub_basis).abs().max() < 1e-6
        assert (layer.equi_correction(layer.L1_projector) - layer.L1_projector).abs().max() < 1e-6
        x = random_field(finite("dihedral", 6), 3)
        assert (layer.ifft(layer.fft(x)) - x).abs().max() < 1e-6
        assert graphs.graph.validate_mathematical_properties()
        with pytest.raises(AttributeError):
            layer.M = layer.M  # it is of the filter, and to be read
        with pytest.raises(ValueError, match="basis must be the Fourier basis of"):
            groups.AntiAliasingLayer(nodes=range(5), basis=torch.eye(5), subsample_nodes=[0])

    def test_the_model_of_their_readme(self) -> None:
        model = get_model(
            input_channel=3,
            num_channels=[4, 5, 6],  # theirs are 32, 64, 128
            num_layers=3,
            kernel_sizes=[3, 3, 3],
            dwn_group_types=[["dihedral", "dihedral"], ["dihedral", "cycle"], ["cycle", "cycle"]],
            init_group_order=4,
            subsampling_factors=[2, 2, 1],
            spatial_subsampling_factors=[2, 1, 1],
            antialiasing_kwargs={"iterations": 100, "smoothness_loss_weight": 0.5},
            layer_kwargs={},
        )
        x = torch.randn(2, 3, 17, 17)
        logits = model(x)
        assert logits.shape == (2, 10)
        assert torch.equal(model.linear_layer(model.get_feature(x)), logits)
        before, after, layers = model.get_hidden_feature(x)
        assert [each.shape[1] for each in before] == [32, 20, 12]
        assert [each.shape[1] for each in after] == [16, 10, 12]
        assert [layer is None for layer in layers] == [False, False, True]
        moved = model(x.rot90(2, (-2, -1)))  # the last group is that of half turns
        assert (moved - logits).abs().max() < 1e-4
        assert (model(x.rot90(1, (-2, -1))) - logits).abs().max() > 1e-4

    def test_volumes_where_theirs_fails_too(self) -> None:
        common = {"num_channels": [1, 2], "kernel_sizes": [3, 3], "num_layers": 2}
        model = groups.get_3d_model(
            1,
            **common,
            dwn_group_types=[["octahedral", "cycle"], ["cycle", "cycle"]],
            subsampling_factors=[6, 1],
        )
        assert groups.get_3d_model(**{**common, "num_channels": [1, 2, 3]}, input_channel=1).num_channels == [
            1,
            1,
            2,
            3,
        ]
        x = torch.randn(1, 1, 5, 5, 5)
        assert model(x).shape == (1, 10)
        assert (model(x.rot90(1, (-2, -1))) - model(x)).abs().max() < 1e-4
        assert (model(x.rot90(1, (-3, -1))) - model(x)).abs().max() > 1e-4
        network = groups.get_3d_segmentation_model(num_channels=[1, 2, 3], apply_antialiasing=True).eval()
        labels = network(x)
        assert labels.shape == (1, 2, 5, 5, 5)
        assert (network(x.rot90(1, (-2, -1))) - labels.rot90(1, (-2, -1))).abs().max() < 1e-4

    def test_what_does_not_fit_is_said(self) -> None:
        for arguments, message in (
            ({"domain": 3}, "domain must be 2, got 3"),
            ({"subsampling_factors": [2]}, "subsampling_factors must have one entry per layer, 2"),
            ({"subsampling_factors": [5, 1]}, r"rates that work are \[1, 2, 3, 4, 6, 12\]"),
            (
                {"dwn_group_types": [["dihedral", "cycle"]] * 2, "subsampling_factors": [2, 2]},
                "layer 1 begins with 'dihedral', the one before ends with 'cycle'",
            ),
            (
                {"antialiasing_kwargs": {"mode": "gpu"}, "subsampling_factors": [2, 1]},
                "mode must be 'analytical'",
            ),
        ):
            given: dict[str, Any] = {"num_channels": [1, 1], "kernel_sizes": [1, 1], **arguments}
            with pytest.raises(ValueError, match=message):
                get_model(1, **given)
        with pytest.raises(ValueError, match=r"group_type must be one of .* got 'icosahedral'"):
            groups.get_group("icosahedral", 1)
        with pytest.raises(groups.InvalidGeneratorError, match="generator must be 'r-s' or 's-sr'"):
            groups.DihedralGraph([0, 1], "r")
        with pytest.raises(groups.UnsupportedGroupError, match="group_type must be one of"):
            groups.create_group_graph("tetrahedral", [0])


def test_what_is_left_out_says_what_to_take() -> None:
    with pytest.raises(ImportError, match=r"has no LossFunctions: .*models.Classifier"):
        from sefl.compat.groups import LossFunctions  # noqa: F401
