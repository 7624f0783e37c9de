"""The settings of a network on the command line are read as in a configuration file."""

from typing import Any

import pytest
import yaml

from sefl.command_line.mistakes import OneLineParser
from sefl.networks import GroupFourierNetwork, ScaleNetwork


def parser() -> OneLineParser:
    made = OneLineParser(exit_on_error=False)
    made.add_argument("--config", action="config")
    made.add_subclass_arguments(ScaleNetwork, "network")
    return made


@pytest.mark.parametrize(
    ("name", "typed", "read"),
    [
        ("trunk.subgroups", '["C4", null, null]', ["C4", None, None]),
        ("trunk.subgroups", "null", None),
        ("trunk.pools", "null", None),
        ("trunk.pools", "[1, 2, 1]", [1, 2, 1]),
        ("trunk.activation", "gelu", "gelu"),
        ("group", "C4", "C4"),
    ],
)
def test_what_is_typed_is_what_a_file_says(name: str, typed: str, read: Any):
    options = parser().parse_args(["--network", GroupFourierNetwork.__name__, f"--network.{name}", typed])
    assert options.network.init_args[name] == read
    settings: Any = yaml.safe_load(typed)
    for part in reversed(name.split(".")):
        settings = {part: settings}
    file = {"network": {"class_path": "sefl.networks.GroupFourierNetwork", "init_args": settings}}
    assert parser().parse_args(["--config", yaml.safe_dump(file)]).network.init_args[name] == read
