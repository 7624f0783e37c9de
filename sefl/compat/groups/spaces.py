"""Groups by their names in ``gsampling.utils.group_utils``: escnn's, and ours, whose elements have the same order."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from sefl.groups import FiniteGroup, cyclic, dihedral, full_octahedral, octahedral, trivial

_OURS: dict[str, Callable[[int], FiniteGroup]] = {
    "cycle": cyclic,
    "cyclic": cyclic,
    "rot2dOnR3": cyclic,
    "dihedral": dihedral,
    "dihedralOnR3": dihedral,
    "trivial": lambda order: trivial(),
    "octahedral": lambda order: octahedral(),
    "full_octahedral": lambda order: full_octahedral(),
}


def finite(group_type: str, order: int | None) -> FiniteGroup:
    """Our group of this name.

    Raises:
        ValueError: if there is none, or a cyclic or dihedral one without an order.
    """
    if group_type not in _OURS:
        raise ValueError(f"group_type must be one of {', '.join(_OURS)}, got {group_type!r}")
    if order is None and not group_type.endswith(("octahedral", "trivial")):
        raise ValueError(f"order must be the number of rotations of a {group_type} group, got None")
    return _OURS[group_type](order or 1)


def escnn() -> Any:
    """The package, with ``gspaces``, ``group`` and ``nn``.

    Raises:
        ModuleNotFoundError: if it is not installed.
    """
    try:
        import escnn
        import escnn.group
        import escnn.gspaces
        import escnn.nn
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "this name of sefl.compat.groups is about escnn's objects, as the authors' is, and escnn is not installed: "
            "uv run brings it; so does pip install 'sefl[escnn]' beside a Fortran compiler"
        ) from error
    return escnn


def _built_in(function: str, ordered: bool, dimension: int, space: str) -> dict[str, Any]:
    def of(where: str, name: str) -> Callable[[int], Any]:
        def make(order: int) -> Any:
            made = getattr(getattr(escnn(), where), name)
            return made(order) if ordered else made()

        return make

    return {
        "escnn_func": of("group", function),
        "gspace_func": of("gspaces", space),
        "dimension": dimension,
        "description": f"escnn's {function}, on points by {space}",
    }


class Registry:
    """What there is, by its name."""

    _registry: ClassVar[dict[str, Any]]

    @classmethod
    def get_supported_types(cls) -> list[str]:
        return list(cls._registry)

    @classmethod
    def is_supported(cls, group_type: str) -> bool:
        return group_type in cls._registry


class GroupRegistry(Registry):
    """Which groups there are: a name, and how escnn makes the group and its space."""

    _registry: ClassVar[dict[str, dict[str, Any]]] = {
        name: _built_in(*how)
        for name, how in {
            "cycle": ("cyclic_group", True, 2, "rot2dOnR2"),
            "cyclic": ("cyclic_group", True, 2, "rot2dOnR2"),
            "dihedral": ("dihedral_group", True, 2, "flipRot2dOnR2"),
            "trivial": ("trivial_group", False, 2, "trivialOnR2"),
            "dihedralOnR3": ("dihedral_group", True, 3, "dihedralOnR3"),
            "rot2dOnR3": ("cyclic_group", True, 3, "rot2dOnR3"),
            "octahedral": ("octa_group", False, 3, "octaOnR3"),
            "full_octahedral": ("full_octa_group", False, 3, "fullOctaOnR3"),
        }.items()
    }

    @classmethod
    def register(cls, group_type: str, config: Mapping[str, Any]) -> None:
        """Add a group: ``escnn_func`` and ``gspace_func``, of an order, and ``dimension``.

        Raises:
            ValueError: if one of these is missing.
        """
        missing = {"escnn_func", "gspace_func", "dimension"} - config.keys()
        if missing:
            raise ValueError(
                f"config must have escnn_func, gspace_func and dimension, lacks {sorted(missing)}"
            )
        cls._registry[group_type] = dict(config)

    @classmethod
    def get_group_config(cls, group_type: str) -> dict[str, Any]:
        """How a group is made.

        Raises:
            ValueError: if there is none of this name.
        """
        if group_type not in cls._registry:
            raise ValueError(f"group_type must be one of {', '.join(cls._registry)}, got {group_type!r}")
        return cls._registry[group_type]


def get_group(group_type: str, order: int | None) -> Any:
    """escnn's group; ``order`` is the rotations of a cyclic or dihedral one, and has no effect on the others."""
    return GroupRegistry.get_group_config(group_type)["escnn_func"](order)


def get_gspace(
    *,
    group_type: str,
    order: int,
    num_features: int,
    representation: str | None = "regular",
    domain: int | None = None,
) -> Any:
    """escnn's field type of so many regular or trivial fields.

    Args:
        group_type, order: as of :func:`get_group`.
        num_features: fields.
        representation: ``"regular"`` or ``"trivial"``.
        domain: 2 or 3 dimensions; by default those of the group. As in theirs the dihedral group in three of them is
            its rotations alone; ``"dihedralOnR3"`` is all of it, which theirs is not either.

    Raises:
        ValueError: if ``group_type``, ``representation`` or ``domain`` is another, or the group has no such space.
    """
    config = GroupRegistry.get_group_config(group_type)
    if domain not in (None, 2, 3):
        raise ValueError(f"domain must be 2 or 3, got {domain}")
    if domain == 2 and config["dimension"] == 3:
        raise ValueError(f"domain must be 3 for {group_type}, got 2")
    rotations = domain == 3 and group_type in ("cycle", "cyclic", "dihedral")
    space = escnn().gspaces.rot2dOnR3(order) if rotations else config["gspace_func"](order)
    fields = {"regular": space.regular_repr, None: space.regular_repr, "trivial": space.trivial_repr}
    if representation not in fields:
        raise ValueError(f"representation must be 'regular' or 'trivial', got {representation!r}")
    return escnn().nn.FieldType(space, num_features * [fields[representation]])


def get_group_dimension(group_type: str) -> int:
    """Of the space that the group acts on, 2 or 3."""
    return int(GroupRegistry.get_group_config(group_type)["dimension"])


def get_supported_group_types() -> list[str]:
    """The names that :func:`get_group` takes."""
    return GroupRegistry.get_supported_types()


def is_3d_group(group_type: str) -> bool:
    """Whether this is a group of space; false of an unknown name."""
    return GroupRegistry.is_supported(group_type) and get_group_dimension(group_type) == 3
