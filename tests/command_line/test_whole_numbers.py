from typing import Any

import pytest
import yaml

from sefl.command_line.mistakes import OneLineParser


class Limits:
    def __init__(self, limit: float | int | None = None, name: str | int | None = None) -> None:
        """Of a union whose parts typing has swapped, as it may those of Lightning's Trainer."""


def parser() -> OneLineParser:
    made = OneLineParser(exit_on_error=False)
    made.add_argument("--config", action="config")
    made.add_class_arguments(Limits, "trainer")
    return made


@pytest.mark.parametrize(("typed", "read"), [("1", 1), ("1.0", 1.0), ("0.5", 0.5), ("4", 4), ("null", None)])
def test_a_whole_number_stays_one(typed: str, read: Any, tmp_path):
    config = parser().parse_args(["--trainer.limit", typed])
    assert config.trainer.limit == read
    assert type(config.trainer.limit) is type(read)
    stored = parser().dump(config, skip_none=False)
    assert type(yaml.safe_load(stored)["trainer"]["limit"]) is type(read)
    (tmp_path / "config.yaml").write_text(stored)
    again = parser().parse_args(["--config", str(tmp_path / "config.yaml")])
    assert type(again.trainer.limit) is type(read)


def test_other_unions_are_left_in_their_order():
    assert parser().parse_args(["--trainer.name", "7"]).trainer.name == "7"
