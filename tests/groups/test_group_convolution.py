"""GroupConv and FieldNorm: exactly equivariant on the lattice, escnn's kernel spaces, plain modules otherwise."""

import copy
import pickle

import numpy as np
import pytest
import torch
from escnn import gspaces
from escnn.kernels import CircularShellsBasis, GaussianRadialProfile, SphericalShellsBasis
from escnn.nn import FieldType, GeometricTensor, InnerBatchNorm, R2Conv, R3Conv
from escnn.nn.modules.conv import r2convolution, r3convolution
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sefl.groups import (
    FieldNorm,
    FieldRestriction,
    FiniteGroup,
    GroupConv,
    LiftingConv,
    act_on_field,
    act_on_grid,
    finite_group,
    subgroup,
    subgroup_of,
    symmetric,
)
from sefl.groups.convolution import sampled_filters, scalar_filters

EXACT = 1e-12
PLANE = ["C1", "C2", "C3", "C4", "D1", "D2", "D4", "C8", "D12"]
SUBGROUPS = [("D12", "D4"), ("D4", "D2"), ("C8", "C4"), ("D24", "C12")]
SPACE_SUBGROUPS = [("O", "C4"), ("O", "D3"), ("O", "D4"), ("O", "C2"), ("O", "T"), ("Oh", "C4")]
TURNED = "O turned by 45 degrees"  # about z: 8 of its elements permute the grid


def called(name: str | tuple[str, str]) -> FiniteGroup:
    if name == TURNED:
        upright, turn = finite_group("O"), np.eye(3)
        turn[:2, :2] = moves(finite_group("C8"))[1]
        return FiniteGroup.from_table(upright.table, TURNED, matrices=turn @ moves(upright) @ turn.T)
    return finite_group(name) if isinstance(name, str) else subgroup(finite_group(name[0]), name[1]).group


def moves(group: FiniteGroup) -> np.ndarray:
    assert group.matrices is not None
    return group.matrices


def lattice_elements(group: FiniteGroup) -> list[int]:
    """Those that permute the points of a grid."""
    distance = np.abs(moves(group) - np.rint(moves(group))).max(axis=(1, 2))
    return np.flatnonzero(distance < 1e-6).tolist()


def random_images(group: FiniteGroup, channels: int, size: int = 6, batch: int = 2) -> Tensor:
    torch.manual_seed(channels)
    return torch.randn(batch, channels, *[size] * moves(group).shape[-1], dtype=torch.float64)


def errors(layer: nn.Module, group: FiniteGroup, features: Tensor, lifted: bool = False) -> dict[str, float]:
    """By how much ``layer`` fails to commute with each lattice element, relative to its output."""
    outcome = layer(features).detach()
    found = {}
    for element in lattice_elements(group):
        matrix = moves(group)[element]
        moved = act_on_grid(features, matrix) if lifted else act_on_field(features, group, element)
        difference = layer(moved).detach() - act_on_field(outcome, group, element)
        found[group.labels[element]] = float(difference.norm() / outcome.norm())
    return found


def assert_commutes(layer: nn.Module, group: FiniteGroup, features: Tensor, lifted: bool = False) -> None:
    found = errors(layer, group, features, lifted)
    assert max(found.values()) < EXACT, found


def with_random_bias(layer: GroupConv) -> GroupConv:
    if layer.bias is not None:
        nn.init.normal_(layer.bias)
    return layer.double()


@pytest.mark.parametrize("size", [5, 6])
@pytest.mark.parametrize("name", [*PLANE, *SUBGROUPS], ids=str)
def test_commutes_with_the_symmetries_of_the_pixel_grid(name: str | tuple[str, str], size: int) -> None:
    group = called(name)
    lifting = with_random_bias(LiftingConv(group, 2, 3, 5))
    layer = with_random_bias(GroupConv(group, 3, 2, 3))
    assert_commutes(lifting, group, random_images(group, 2, size), lifted=True)
    assert_commutes(layer, group, random_images(group, 3 * len(group), size))


@pytest.mark.parametrize("name", ["O", "Oh", TURNED, *SPACE_SUBGROUPS], ids=str)
def test_commutes_with_the_symmetries_of_the_voxel_grid(name: str | tuple[str, str]) -> None:
    group = called(name)
    lifting = with_random_bias(LiftingConv(group, 2, 2, 5))
    layer = with_random_bias(GroupConv(group, 1, 1, 3))
    assert_commutes(lifting, group, random_images(group, 2, 4, batch=1), lifted=True)
    assert_commutes(layer, group, random_images(group, len(group), 4, batch=1))
    assert len(lattice_elements(group)) == (8 if name == TURNED else len(group))


def test_a_plain_convolution_does_not_commute() -> None:
    group = finite_group("D4")
    torch.manual_seed(0)
    plain = nn.Conv2d(16, 24, 5, padding=2).double()
    found = errors(plain, group, random_images(group, 16))
    assert min(error for label, error in found.items() if label != "e") > 0.5
    assert found["e"] == 0


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("stride", [2, 3])
def test_strides_that_fit_commute_and_others_do_not(stride: int, padding: int) -> None:
    group = finite_group("D4")
    layer = GroupConv(group, 1, 1, 3, stride=stride, padding=padding).double()
    for size in range(6, 12):
        worst = max(errors(layer, group, random_images(group, 8, size)).values())
        assert (worst < EXACT) == ((size + 2 * padding - 3) % stride == 0), size


@pytest.mark.parametrize(
    ("name", "space"),
    [
        ("C4", gspaces.rot2dOnR2(4)),
        ("C8", gspaces.rot2dOnR2(8)),
        ("D4", gspaces.flipRot2dOnR2(4)),
        ("D12", gspaces.flipRot2dOnR2(12)),
        ("O", gspaces.octaOnR3()),
    ],
)
def test_commutes_with_the_transformations_of_escnn(name: str, space: gspaces.GSpace) -> None:
    group = finite_group(name)
    scalars = FieldType(space, 2 * [space.trivial_repr])
    fields = FieldType(space, 2 * [space.regular_repr])
    lifting = with_random_bias(LiftingConv(group, 2, 2, 3))
    layer = with_random_bias(GroupConv(group, 2, 2, 3))
    x = random_images(group, 2, 5, batch=1)
    for element in lattice_elements(group):
        theirs = space.fibergroup.elements[element]
        moved = GeometricTensor(x, scalars).transform(theirs).tensor
        lifted = GeometricTensor(lifting(x), fields).transform(theirs).tensor
        torch.testing.assert_close(lifting(moved), lifted, rtol=0, atol=1e-12)
        twice = GeometricTensor(layer(lifting(x)), fields).transform(theirs).tensor
        torch.testing.assert_close(layer(lifted), twice, rtol=0, atol=1e-12)


def test_nearly_commutes_with_other_rotations_of_smooth_images() -> None:
    group = finite_group("C8")
    coordinates = torch.linspace(-3, 3, 41, dtype=torch.float64)
    y, x = torch.meshgrid(-coordinates, coordinates, indexing="ij")
    angled = moves(group)[1]

    def image(x: Tensor, y: Tensor) -> Tensor:
        return (torch.exp(-((x - 0.5) ** 2) - 2 * y**2) + torch.exp(-3 * x**2 - (y + 0.8) ** 2))[None, None]

    turned = image(angled[0, 0] * x + angled[1, 0] * y, angled[0, 1] * x + angled[1, 1] * y)
    torch.manual_seed(0)
    lifting, layer = LiftingConv(group, 1, 2, 5).double(), GroupConv(group, 2, 2, 5).double()
    inside = x**2 + y**2 < 4

    def error(element: int) -> float:
        with torch.no_grad():
            expected = act_on_field(layer(lifting(image(x, y))), group, element)[..., inside]
            return float((layer(lifting(turned))[..., inside] - expected).norm() / expected.norm())

    assert error(1) < 0.03  # pixels are not round
    assert min(error(element) for element in range(len(group)) if element != 1) > 0.3


@pytest.mark.parametrize("kind", [GroupConv, LiftingConv])
@pytest.mark.parametrize(
    ("name", "below", "size"),
    [
        ("C8", "C4", 5),
        ("C6", "C3", 3),
        ("D4", (1, 2), 5),
        ("D4", "C1", 3),
        ("D12", "D4", 7),
        ("O", "C4", 3),
        ("O", "T", 5),
    ],
    ids=str,
)
def test_restricted_to_a_subgroup_it_is_the_same_function(
    name: str, below: str | tuple[int, int], size: int, kind: type[GroupConv]
) -> None:
    inside = subgroup(finite_group(name), below)
    layer = with_random_bias(kind(inside.parent, 1, 2, size, padding=1, stride=2, dilation=2))
    restricted, regroup = layer.restrict(inside), FieldRestriction(inside)
    assert (restricted.group, restricted.out_fields) == (inside.group, 2 * inside.rate)
    x = random_images(inside.parent, layer.in_channels, 2 * size, batch=1)
    y = layer(x)
    entering = x if layer.lifting else regroup(x)
    torch.testing.assert_close(restricted(entering), regroup(y), rtol=0, atol=EXACT)
    torch.testing.assert_close(regroup.invert(restricted(entering)), y, rtol=0, atol=EXACT)
    # A control: other weights are another function, and only the identity's coset is where it was.
    torch.nn.init.normal_(restricted.weight)
    assert (restricted(entering) - regroup(y)).abs().max() > 0.1


def test_restricted_fields_move_as_fields_of_the_subgroup() -> None:
    inside = subgroup(finite_group("D4"), (1, 2))
    x = random_images(inside.parent, 16)
    regroup = FieldRestriction(inside)
    for element, embedded in enumerate(inside.elements.tolist()):
        moved = regroup(act_on_field(x, inside.parent, embedded))
        assert torch.equal(moved, act_on_field(regroup(x), inside.group, element))
    for other in np.flatnonzero(inside.position < 0).tolist():  # a control
        moved = regroup(act_on_field(x, inside.parent, other))
        assert not any(
            torch.equal(moved, act_on_field(regroup(x), inside.group, h)) for h in range(len(inside.group))
        )


def test_only_to_a_subgroup_of_its_own() -> None:
    with pytest.raises(ValueError, match=r"subgroup must be one of D4, got C2 < C4 .* of another group"):
        small().restrict(subgroup_of(finite_group("C4"), [0, 2]))
    d4 = finite_group("D4")
    turned = FiniteGroup.from_table(d4.table, "D4", matrices=-moves(d4)[[4]] @ moves(d4) @ -moves(d4)[[4]])
    with pytest.raises(ValueError, match="of another group"):  # r is a turn the other way
        small().restrict(subgroup_of(turned, [0, 2]))
    with pytest.raises(ValueError, match="of another group"):  # nothing to move points by
        small().restrict(subgroup_of(FiniteGroup.from_table(d4.table, "D4"), [0, 2]))
    copied = copy.deepcopy(small())
    assert copied.group is not d4
    assert copied.restrict(subgroup(d4, "C2")).group.name == "C2"


def span(kernels: np.ndarray) -> np.ndarray:
    """Orthonormal rows with the span of ``(kernels, ...)``."""
    flat = kernels.reshape(len(kernels), -1).astype(np.float64)
    flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    _, values, directions = np.linalg.svd(flat, full_matrices=False)
    assert values[-1] > 1e-3 * values[0]  # linearly independent
    return directions


def residual(kernels: np.ndarray, onto: np.ndarray) -> float:
    flat = span(kernels)
    basis = span(onto)
    return float(np.linalg.norm(flat - flat @ basis.T @ basis, axis=1).max())


def kernels_of(layer: nn.Module, kernel_of: str) -> np.ndarray:
    """What each weight alone contributes: ``(weights, out, in, *kernel)``."""
    weight = layer.get_parameter(kernel_of)
    contributions = []
    for index in range(weight.numel()):
        with torch.no_grad():
            weight.zero_().view(-1)[index] = 1
            taps = layer.kernel() if isinstance(layer, GroupConv) else layer.expand_parameters()[0]
        contributions.append(taps.numpy(force=True))
    return np.stack(contributions)


def assert_same_kernels(ours: GroupConv, theirs: nn.Module) -> None:
    mine, others = kernels_of(ours, "weight"), kernels_of(theirs, "weights")
    assert mine.shape == others.shape
    assert residual(mine, others) < 1e-5
    assert residual(others, mine) < 1e-5


@pytest.mark.parametrize("lifting", [False, True])
@pytest.mark.parametrize(("name", "size"), [("C4", 5), ("C8", 3), ("C8", 5), ("D4", 3), ("C2", 7), ("C3", 3)])
def test_kernels_are_those_of_escnn_in_the_plane(name: str, size: int, lifting: bool) -> None:
    order = int(name[1:])
    space = gspaces.rot2dOnR2(order) if name[0] == "C" else gspaces.flipRot2dOnR2(order)
    source = FieldType(space, [space.trivial_repr if lifting else space.regular_repr])
    target = FieldType(space, [space.regular_repr])
    theirs = R2Conv(source, target, size, bias=False, initialize=False)
    assert_same_kernels((LiftingConv if lifting else GroupConv)(finite_group(name), 1, 1, size), theirs)


def test_kernels_are_those_of_escnn_in_space() -> None:
    space = gspaces.octaOnR3()
    source, target = FieldType(space, [space.trivial_repr]), FieldType(space, [space.regular_repr])
    theirs = R3Conv(source, target, 3, bias=False, initialize=False)
    assert_same_kernels(LiftingConv(finite_group("O"), 1, 1, 3), theirs)


def test_kernels_of_another_group_are_not_those_of_escnn() -> None:
    """A control: the order of elements, and so the side on which the group acts, matters."""
    space = gspaces.flipRot2dOnR2(4)
    fields = FieldType(space, [space.regular_repr])
    theirs = kernels_of(R2Conv(fields, fields, 3, bias=False, initialize=False), "weights")
    d4 = finite_group("D4")
    opposite = FiniteGroup.from_table(d4.table.T, matrices=moves(d4).transpose(0, 2, 1))
    ours = kernels_of(GroupConv(opposite, 1, 1, 3), "weight")
    assert ours.shape == theirs.shape
    assert residual(ours, theirs) > 0.1


@pytest.mark.parametrize("size", [1, 3, 5, 7, 9])
@pytest.mark.parametrize("dimension", [2, 3])
def test_scalar_filters_span_the_basis_of_escnn(dimension: int, size: int) -> None:
    theirs = {2: (r2convolution, CircularShellsBasis), 3: (r3convolution, SphericalShellsBasis)}[dimension]
    keep, rings, widths, highest = theirs[0].compute_basis_params(size)
    basis = theirs[1](highest, GaussianRadialProfile(rings, widths), filter=keep)
    points = np.random.default_rng(0).uniform(-size / 2, size / 2, (600, dimension))
    points[0] = 0
    points[1:40] *= 1e-3  # within the ring of the centre
    expected = basis.sample(torch.tensor(points, dtype=torch.float32))[..., 0, 0].numpy().T
    ours = scalar_filters(points, size)
    assert ours.shape == expected.shape
    assert residual(ours, expected) < 1e-5
    assert residual(expected, ours) < 1e-5


@pytest.mark.parametrize(("name", "counts"), [("D12", [1, 6, 11, 18]), ("O", [1, 10, 19, 35])])
def test_filters_count_and_norm(name: str, counts: list[int]) -> None:
    for size, count in zip((1, 3, 5, 7), counts, strict=True):
        filters = sampled_filters(finite_group(name), size)
        assert filters.shape[1] == count
        squares = (filters.reshape(*filters.shape[:2], -1) ** 2).sum(-1)
        assert np.allclose(squares.mean(0), 1)


@pytest.mark.parametrize("name", ["C8", "D12", "Oh", TURNED])
def test_filters_are_the_scalar_ones_turned(name: str) -> None:
    group = called(name)
    for dtype in (torch.float32, torch.bfloat16):  # and symmetric to the last bit in every precision
        layer = GroupConv(group, 1, 1, 5).to(dtype)
        filters = layer.filters
        for element in lattice_elements(group):
            turned = act_on_grid(filters, moves(group)[element])
            assert torch.equal(turned, filters[group.table[element]])
    steps = np.arange(-2.0, 3)
    axes = np.meshgrid(*[-steps] * (moves(group).shape[1] - 1), steps, indexing="ij")[::-1]
    pixels = np.stack([axis.ravel() for axis in axes], 1)
    direct = np.stack([scalar_filters(pixels @ matrix, 5) for matrix in moves(group)])  # rows of M^-1 x
    sampled = sampled_filters(group, 5).reshape(direct.shape)
    ratio = np.linalg.norm(sampled, axis=(0, 2)) / np.linalg.norm(direct, axis=(0, 2))
    assert np.allclose(sampled, direct * ratio[:, None], atol=1e-13)


@pytest.mark.parametrize("lifting", [False, True])
@pytest.mark.parametrize(("name", "size"), [("C4", 3), ("D12", 5), ("O", 3)])
def test_white_noise_comes_out_with_variance_two(name: str, size: int, lifting: bool) -> None:
    group = finite_group(name)
    torch.manual_seed(0)
    fields = 2400 // len(group)
    layer = (LiftingConv if lifting else GroupConv)(group, fields, 12, size, padding=0)
    with torch.no_grad():  # white noise: the sum of squared taps
        variance = layer.kernel().flatten(1).square().sum(1).mean()
        share = layer.weight.square().mean() * layer.weight[0].numel()
    assert float(variance) == pytest.approx(2, rel=0.1)
    assert float(share) == pytest.approx(2, rel=0.05)


def small(kind: type[GroupConv] = GroupConv, **settings: object) -> GroupConv:
    torch.manual_seed(0)
    return kind(finite_group("D4"), 2, 3, 3, **settings)  # type: ignore[arg-type]


def test_channels_are_field_major_and_the_bias_belongs_to_fields() -> None:
    layer = small()
    assert layer.weight.shape == (3, 2, 8, 6)
    assert layer.kernel().shape == (24, 16, 3, 3)
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    with torch.no_grad():
        layer.bias.copy_(torch.arange(3.0))
    constant = layer(torch.randn(1, 16, 4, 4))[0, :, 0, 0]
    assert constant.tolist() == [0.0] * 8 + [1.0] * 8 + [2.0] * 8
    assert small(LiftingConv, bias=False).weight.shape == (3, 2, 6)


def test_state_is_weight_and_bias_and_follows_them() -> None:
    layer, x = small(), torch.randn(2, 16, 5, 5)
    expected = layer(x)
    assert list(layer.state_dict()) == list(layer.eval().state_dict()) == ["weight", "bias"]
    assert torch.equal(layer(x), expected)
    other = small().eval()
    nn.init.normal_(other.weight)
    assert not torch.allclose(other(x), expected)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), expected)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), expected)
    assert list(small(bias=False).state_dict()) == ["weight"]


def test_double_is_double() -> None:
    layer = small().bfloat16().double()
    assert layer.filters.dtype == torch.float64
    assert np.array_equal(layer.filters.numpy(), sampled_filters(layer.group, 3))


def test_meta_device_comes_to_life() -> None:
    reference = small()
    with torch.device("meta"):
        layer = small()
    layer = layer.to_empty(device="cpu")
    layer.load_state_dict(reference.state_dict())
    x = torch.randn(1, 16, 5, 5)
    assert torch.equal(layer(x), reference(x))


def test_gradients() -> None:
    for layer in (small(), small(LiftingConv)):
        layer = layer.double()
        x = torch.randn(1, layer.in_channels, 4, 4, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x, w, layer=layer: with_weight(layer, x, w), (x, layer.weight))
        layer(x).square().sum().backward()
        assert layer.weight.grad is not None
        assert (layer.weight.grad != 0).all()


def with_weight(layer: GroupConv, x: Tensor, weight: Tensor) -> Tensor:
    return torch.func.functional_call(layer, {"weight": weight}, (x,))


def test_compiles_as_one_graph() -> None:
    layer, x = nn.Sequential(small(LiftingConv), FieldNorm(finite_group("D4"), 3)), torch.randn(2, 2, 5, 5)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))
    with torch.no_grad():
        layer[0].weight.mul_(2)
        layer[0].bias.add_(1)
    torch.testing.assert_close(compiled(x), layer(x))


@pytest.mark.parametrize("use_buffers", [False, True])
def test_averages_of_weights_convolve_with_the_average(use_buffers: bool) -> None:
    layer, x = small(bias=False).eval(), torch.randn(2, 16, 5, 5)
    average = AveragedModel(layer, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=use_buffers).eval()
    average.update_parameters(layer)  # the first one copies
    before = layer(x).detach()
    torch.testing.assert_close(average(x), before)
    nn.init.normal_(layer.weight)
    average.update_parameters(layer)
    torch.testing.assert_close(average(x), 0.9 * before + 0.1 * layer(x))


def test_indices_survive_an_average_that_takes_in_buffers() -> None:
    """Lightning's WeightAveraging does; an average of integers by floating point may come out one less."""
    group = finite_group("D12")
    layer = nn.Sequential(GroupConv(group, 1, 1, 3), FieldNorm(group, 1))
    average = AveragedModel(layer, multi_avg_fn=get_ema_multi_avg_fn(0.999), use_buffers=True)
    for _ in range(20):
        average.update_parameters(layer)
    x = torch.randn(1, 24, 5, 5)
    torch.testing.assert_close(average(x), layer(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype: torch.dtype) -> None:
    group = finite_group("D4")
    layer, x = small(), random_images(group, 16, 6).float()
    with torch.autocast("cpu", dtype=dtype):
        outcome = layer(x)
        moved = layer(act_on_field(x, group, 1))
    assert outcome.dtype == dtype
    torch.testing.assert_close(outcome.float(), layer(x), rtol=0.02, atol=0.05)
    torch.testing.assert_close(moved.float(), act_on_field(outcome, group, 1).float(), rtol=0.02, atol=0.02)
    outcome.float().square().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.isfinite().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GroupConv(finite_group("C4"), 1, 1, 4), r"kernel_size must be odd.*got 4: give 3 or 5"),
        (lambda: GroupConv(finite_group("C4"), 1, 1, -1), r"kernel_size must be odd"),
        (lambda: GroupConv(symmetric(3), 1, 1, 3), r"group must have matrices.*S3 has none"),
        (lambda: GroupConv(finite_group("C4"), 0, 1, 3), r"in_fields must be a positive integer, got 0"),
        (lambda: GroupConv(finite_group("C4"), 1, 0, 3), r"out_fields must be a positive integer, got 0"),
        (lambda: GroupConv(finite_group("C4"), 1, 1, 3, stride=0), r"stride must be a positive"),
        (
            lambda: GroupConv(finite_group("C4"), 1, 1, 3, padding=-1),
            r"padding must be an integer of at least 0, got -1",
        ),
        (lambda: small()(torch.zeros(1, 15, 5, 5)), r"must have 16 channels \(2 regular fields of 8.*got 15"),
        (lambda: small(LiftingConv)(torch.zeros(1, 16, 5, 5)), r"must have 2 channels \(2 scalar.*got 16"),
        (lambda: small()(torch.zeros(16, 5, 5)), r"must have 4 axes.*D4 acts on 2-D space; got shape \(16"),
        (lambda: FieldNorm(finite_group("C4"), 0), r"fields must be a positive integer, got 0"),
        (lambda: FieldNorm(finite_group("C4"), 2)(torch.zeros(3, 9)), r"\(batch, 8, \*space\).*\(3, 9\)"),
    ],
)
def test_errors_name_the_argument(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("name", ["C4", "D4"])
def test_field_norm_is_escnns(name: str) -> None:
    group = finite_group(name)
    space = gspaces.rot2dOnR2(4) if name == "C4" else gspaces.flipRot2dOnR2(4)
    kind = FieldType(space, 3 * [space.regular_repr])
    ours, theirs = FieldNorm(group, 3).double(), InnerBatchNorm(kind).double()
    x = 3 * random_images(group, 3 * len(group)) + 1
    for _ in range(2):
        expected = theirs(GeometricTensor(x, kind)).tensor
        torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(GeometricTensor(x, kind)).tensor)


@pytest.mark.parametrize("axes", [0, 1, 2, 3])
@pytest.mark.parametrize("training", [True, False])
def test_field_norm_commutes_with_the_group(axes: int, training: bool) -> None:
    group = finite_group("O" if axes == 3 else "D4")
    layer = FieldNorm(group, 2).double()
    torch.manual_seed(axes)
    x = torch.randn(3, 2 * len(group), *[4] * axes, dtype=torch.float64)
    channels = x.unflatten(1, (2, -1)) * torch.tensor([1.0, 5.0], dtype=torch.float64).view(
        1, 2, *[1] * (axes + 1)
    )
    x = channels.flatten(1, 2)
    nn.init.normal_(layer.norm.weight)
    nn.init.normal_(layer.norm.bias)
    layer(x)
    layer.train(training)
    outcome = layer(x)
    plain = nn.BatchNorm1d(x.shape[1]).double()
    nn.init.normal_(plain.weight)
    for element in range(len(group)):
        moved = x.unflatten(1, (2, -1))[:, :, group.table[group.inverse[element]]].flatten(1, 2)
        expected = outcome.unflatten(1, (2, -1))[:, :, group.table[group.inverse[element]]].flatten(1, 2)
        torch.testing.assert_close(layer(moved), expected, rtol=0, atol=1e-12)
        if element != group.identity and axes == 0:  # control: statistics per channel
            theirs = plain(x).unflatten(1, (2, -1))[:, :, group.table[group.inverse[element]]].flatten(1, 2)
            assert (plain(moved) - theirs).abs().max() > 0.1
