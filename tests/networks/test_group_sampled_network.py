"""The network as a whole: invariance, equivariance of every stage, and what is refused."""

import copy
import io
import pickle
import time

import pytest
import torch
from flat_settings import made
from torch.optim.swa_utils import AveragedModel

from sefl.groups import act_on_grid, finite_group
from sefl.networks import GroupSampledNetwork

STAGES = {"widths": [3, 4, 4], "kernel_sizes": [5, 3, 3], "spatial_rates": [2, 2, 1]}


def network(group="C8", rates=(1, 1, 1), subgroups=(None, None, None), **options):
    torch.manual_seed(0)
    settings = {"in_channels": 1, "classes": 5, **STAGES, **options}
    lists = {"group_rates": list(rates), "subgroups": list(subgroups)}
    return made(GroupSampledNetwork, group=group, **lists, **settings).double().eval()


def turned(images, group, element):
    return act_on_grid(images, finite_group(group).matrices[element])


def lattice_elements(group, within=None):
    """The elements that permute the points of a grid, of the subgroup of another name if one is given."""
    whole = finite_group(group)
    matrices = (finite_group(within) if within else whole).matrices
    return [
        whole.element_of_matrix(matrix) for matrix in matrices if abs(matrix - matrix.round()).max() < 1e-9
    ]


def relative_error(expected, actual):
    return ((expected - actual).square().sum() / expected.square().sum()).item()


@pytest.mark.parametrize("size", [28, 29])
@pytest.mark.parametrize("pooling", ["max", "mean"])
@pytest.mark.parametrize(
    ("group", "rates", "kept"),
    [("C8", (2, 1, 1), "C4"), ("D8", (2, 1, 1), "D4"), ("D4", (2, 1, 1), "D2"), ("C12", (3, 1, 1), "C4")],
)
def test_invariant_to_the_kept_subgroup(group, rates, kept, pooling, size):
    model = network(group, rates, pooling=pooling)
    images = torch.randn(2, 1, size, size, dtype=torch.float64)
    logits = model(images)
    elements = lattice_elements(group, kept)
    assert len(elements) >= 4
    for element in elements:
        assert relative_error(logits, model(turned(images, group, element))) < 1e-24


def test_elements_outside_of_the_kept_subgroup_are_not_kept():
    model = network("D4", (2, 1, 1))
    images = torch.randn(2, 1, 29, 29, dtype=torch.float64)
    outside = set(lattice_elements("D4")) - set(lattice_elements("D4", "D2"))
    errors = [relative_error(model(images), model(turned(images, "D4", element))) for element in outside]
    assert min(errors) > 1e-6


@pytest.mark.parametrize(
    ("group", "rates"), [("C4", (2, 1, 1)), ("C4", (4, 1, 1)), ("D4", (2, 2, 1)), ("D4", (1, 4, 2))]
)
@pytest.mark.parametrize("anti_aliasing", ["closed_form", "none"])
def test_canonicalised_is_invariant_to_the_whole_group(group, rates, anti_aliasing):
    model = network(group, rates, canonicalize=True, anti_aliasing=anti_aliasing)
    images = torch.randn(3, 1, 29, 29, dtype=torch.float64)
    logits = model(images)
    for element in lattice_elements(group):
        assert relative_error(logits, model(turned(images, group, element))) < 1e-24


@pytest.mark.parametrize("canonicalize", [False, True])
def test_every_layer_is_equivariant(canonicalize):
    model = network("D4", (2, 2, 1), canonicalize=canonicalize)
    images = torch.randn(2, 1, 29, 29, dtype=torch.float64)
    # After two subsamplings only the last subgroup is kept, or with canonicalisation everything.
    kept = model.stages[-1].output_type.elements.tolist()
    elements = range(8) if canonicalize else kept
    for element in elements:
        upright, moved = outputs(model, images), outputs(model, turned(images, "D4", element))
        for (features, field, cosets), (of_moved, _, cosets_of_moved) in zip(upright, moved, strict=True):
            both = None if cosets is None else (cosets, cosets_of_moved)
            assert relative_error(field.act(features, element, cosets=both), of_moved) < 1e-24


def test_anti_aliased_samples_carry_the_whole_group_and_naive_ones_do_not():
    images = torch.randn(2, 1, 29, 29, dtype=torch.float64)
    errors = {}
    for anti_aliasing in ("closed_form", "none"):
        model = network("D4", (2, 1, 1), anti_aliasing=anti_aliasing)
        errors[anti_aliasing] = []
        for element in lattice_elements("D4"):
            features, field, _ = outputs(model, images)[1]
            of_moved, _, _ = outputs(model, turned(images, "D4", element))[1]
            errors[anti_aliasing].append(relative_error(field.act(features, element), of_moved))
    assert max(errors["closed_form"]) < 1e-24
    assert max(errors["none"]) > 1e-2


def outputs(model, images):
    """Output, field and cosets of every measured layer but the head."""
    recorded = []

    def record(module, _, output):
        recorded.append((output.values, module.output_type, output.cosets))

    layers = [model.get_submodule(name) for name in model.measured_layers()[:-1]]
    hooks = [layer.register_forward_hook(record) for layer in layers]
    model(images)
    for hook in hooks:
        hook.remove()
    return recorded


@pytest.mark.parametrize("subgroup", ["C4", "T", "D3"])
def test_volumes(subgroup):
    options = {"widths": [2, 3], "kernel_sizes": [3, 3], "spatial_rates": [2, 1]}
    model = network("O", (1, 1), (subgroup, None), **options)
    volumes = torch.randn(2, 1, 8, 8, 8, dtype=torch.float64)
    logits = model(volumes)
    kept = model.stages[0].output_type.elements.tolist()
    errors = {element: relative_error(logits, model(turned(volumes, "O", element))) for element in range(24)}
    assert max(errors[element] for element in kept) < 1e-24
    assert max(errors[element] for element in set(range(24)) - set(kept)) > 1e-6


def test_state_is_the_same_in_train_and_eval_after_copies_and_averaging():
    model = network("D4", (2, 1, 1)).train()
    images = torch.randn(4, 1, 29, 29, dtype=torch.float64)
    trained = set(model.state_dict())
    model.eval()
    assert set(model.state_dict()) == trained
    expected = model(images)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(again(images), expected)
    stored = io.BytesIO()
    torch.save(model.state_dict(), stored)
    stored.seek(0)
    fresh = network("D4", (2, 1, 1))
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.add_(1.0)
    averaged = AveragedModel(fresh)
    fresh.load_state_dict(torch.load(stored, weights_only=True))
    assert torch.equal(fresh(images), expected)
    averaged.update_parameters(fresh)  # the first update takes the weights as they are
    torch.testing.assert_close(averaged(images), expected)


def test_construction_takes_no_time_to_speak_of():
    start = time.perf_counter()
    network("D12", (2, 3, 1), widths=[16, 16, 16], kernel_sizes=[7, 5, 5])
    assert time.perf_counter() - start < 15  # the bound; it takes a tenth of a second


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": "Q8"}, "group 'Q8' is unknown"),
        ({"group": "S3"}, "group S3 does not act on images"),
        (
            {"rates": (3, 1, 1)},
            r"rate 3: C8 has no subgroup of that index; rates that work are \[1, 2, 4, 8\]",
        ),
        ({"subgroups": ("C3", None, None)}, "subgroup 'C3' of C8 does not exist; there are C8, C4, C2, C1"),
        ({"rates": (2, 1, 1), "subgroups": ("C4", None, None)}, "both say where stage 0 goes"),
        ({"rates": (2, 1)}, "group_rates must have one entry per stage, 3 as widths"),
        ({"rates": (0, 1, 1)}, "group_rates must be positive integers"),
        ({"widths": []}, "widths must name the fields of at least one stage"),
        (
            {"anti_aliasing": "some"},
            "anti_aliasing must be one of 'closed_form', 'optimized', 'none', got 'some'",
        ),
        ({"pooling": "median"}, "pooling must be one of 'max', 'mean'"),
        ({"dropout": 1.0}, "dropout must be a finite number of at least 0 and below 1, got 1"),
        ({"classes": 0}, "classes must be a positive integer, got 0"),
        ({"kernel_sizes": [4, 3, 3]}, "kernel_size must be odd"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        network(**options)


def test_bad_images():
    model = network()
    with pytest.raises(
        ValueError, match=r"images must be \(batch, in_channels=1, h, w\), got shape \(2, 3, 29, 29\)"
    ):
        model(torch.zeros(2, 3, 29, 29, dtype=torch.float64))
    with pytest.raises(ValueError, match="images must be"):
        model(torch.zeros(2, 1, 9, 9, 9, dtype=torch.float64))
