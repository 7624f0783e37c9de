import codecs

import pytest
import yaml
from jsonargparse import ArgumentParser

from sefl.files.yaml_files import load_configuration, load_yaml, parse_yaml

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
"""2^40 values in 40 lines."""


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: 1\nb: 2\na: 3", "line 3, column 1", "the key a is there twice, before in line 1, column 1"),
        ("a: {b: 1, 'b': 2}", "line 1, column 11", "the key b is there twice"),
        ("<<: {a: 1}\n<<: {b: 1}", "line 2, column 1", "the key << is there twice"),
        (BOMB, "line 17, column 6", "its aliases make more than 200000 values of it"),
        ("a: &a [*a]", "line 1, column 4", "holds an alias of itself"),
        ("a: &a {b: {c: *a}}", "line 1, column 4", "holds an alias of itself"),
        ("[" * 65 + "]" * 65, "line 1, column 65", "is nested deeper than 64 levels"),
        ("- " * 100_000, "line 1, column 129", "is nested deeper than 64 levels"),
        ("a:\n\tb: 1", "line 2, column 1", "is no YAML (found character that cannot start any token)"),
        ("a: 1\nb: \0", "line 2, column 4", "is no YAML (control characters are not allowed)"),
        ("a: 1\n---\nb: 2", "line 2, column 1", "is no YAML (but found another document)"),
        (
            "a: !!python/object:os.system x",
            "line 1, column 4",
            "is no YAML (could not determine a constructor",
        ),
        ("? [a]\n: 1", "line 1, column 3", "is no YAML (found unhashable key)"),
        ("a: !!int x", "", "holds a value that does not fit its tag"),
    ],
)
def test_mistakes_in_yaml_are_one_line_with_file_line_and_column(tmp_path, text, place, message):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"a\.yaml") as caught:
        load_yaml(tmp_path / "a.yaml")
    start = f"{tmp_path / 'a.yaml'}{f', {place}' if place else ''}: "
    assert str(caught.value).startswith(start + message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\nb: \xff", "line 2, column 4: is no UTF-8 text"),
        ("a: 1".encode("utf-16"), "line 1, column 1: is no UTF-8 text"),
        (b"a: " + b"x" * 2**22, "a YAML file may have 4194304"),
        (b"# nothing\n", "is empty; keys with values belong into it"),
        (b"- a\n", "line 1, column 1: keys with values belong here, got a list"),
        (None, "is a folder; a YAML file is needed"),
    ],
)
def test_files_that_hold_no_configuration_are_named(tmp_path, content, message):
    path = tmp_path / "a.yaml"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.yaml") as caught:
        load_configuration(path)
    assert message in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"a\.yaml: there is no such file"):
        load_yaml(tmp_path / "a.yaml")


def test_ordinary_yaml_is_read(tmp_path):
    """Controls: anchors, merge keys that are overridden, a byte-order mark, and an exponent without a dot."""
    (tmp_path / "a.yaml").write_bytes(
        codecs.BOM_UTF8 + b"a: &a {b: 1, c: 2}\nd: {<<: *a, b: 3}\ne: [*a, *a]\n"
    )
    a = {"b": 1, "c": 2}
    assert load_configuration(tmp_path / "a.yaml") == {"a": a, "d": {"b": 3, "c": 2}, "e": [a, a]}
    assert parse_yaml("{lr: 1e-3, day: 2020-01-01, 1: a, '1': b}") == {
        "lr": 1e-3,
        "day": "2020-01-01",
        1: "a",
        "1": "b",
    }
    assert parse_yaml("") is None
    assert len(yaml.safe_load(BOMB)["a39"]) == 2, "PyYAML alone takes the bomb"


@pytest.mark.parametrize("text", ["{a: 1, a: 2}", f"{{a: {'[' * 70}{']' * 70}}}", "{a: &a [*a]}"])
def test_values_and_files_of_every_parser_are_read_so(tmp_path, text):
    """jsonargparse, which reads the command line's values, uses the same loader."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--given", type=dict)
    parser.add_argument("--config", action="config")
    (tmp_path / "config.yaml").write_text(f"given: {text}")
    for arguments in (["--given", text], ["--config", str(tmp_path / "config.yaml")]):
        with pytest.raises(Exception, match=r"is there twice|is nested deeper|an alias of itself"):
            parser.parse_args(arguments)
    assert parser.parse_args(["--given", "{a: 1, b: {c: 1e-3}}"]).given == {"a": 1, "b": {"c": 1e-3}}
