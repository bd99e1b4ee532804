from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.core.values import ParseError
from pilotage.core.yaml import Located, bare, beginning, kind_name, parse_yaml


def read(text: str) -> Any:
    marked = parse_yaml(text)
    return None if marked is None else bare(marked)


# ---- single values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({}, "a mapping"),
        ([], "a list"),
        ("", "text"),
        (1, "a number"),
        (1.5, "a number"),
        (True, "a boolean"),
        (None, "null"),
    ],
)
def test_types_have_common_names(value: object, name: str) -> None:
    assert kind_name(value) == name


# ---- YAML ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("tRUE", "tRUE"),
        ("~", None),
        ("null", None),
        ("NULL", None),
        ("22:80", "22:80"),
        ("1:30", "1:30"),
        ("80", 80),
        ("-3", -3),
        ("+3", 3),
        ("1_000", 1000),
        ("0x50", 80),
        ("0o17", 15),
        ("017", 15),
        ("0b11", 3),
        ("08", "08"),
        ("1e3", "1e3"),
        ("1.0", 1.0),
        (".5", 0.5),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("2024-01-01", "2024-01-01"),
        ("18446744073709551615", 18446744073709551615),
        ("18446744073709551616", "18446744073709551616"),
        ("'80'", "80"),
        ('"true"', "true"),
        ("!own 80", "80"),
    ],
)
def test_plain_values_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = read(f"a: {text}")["a"]
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_read() -> None:
    assert math.isnan(read("a: .nan")["a"])


@pytest.mark.parametrize("text", ["", "   \n", "# a comment", "---\n# nothing"])
def test_an_empty_document_is_none_or_null(text: str) -> None:
    marked = parse_yaml(text)
    assert marked is None or marked.value is None


def test_keys_become_text() -> None:
    assert read("1: a\ntrue: b\n") == {"1": "a", "true": "b"}


def test_only_the_first_document_counts() -> None:
    assert read("a: 1\n---\na: 2\n") == {"a": 1}


def test_leading_tabs_are_two_spaces_each() -> None:
    assert read("a:\n\tb: 1\n\tc:\n\t\td: 2\n") == {"a": {"b": 1, "c": {"d": 2}}}
    assert read("a: x\ty") == {"a": "x\ty"}


def test_anchors_aliases_and_merge_keys_work_and_own_keys_win() -> None:
    assert read("a: &a {x: 1, y: 1}\nb: {<<: *a, y: 2}\nc: *a\n") == {
        "a": {"x": 1, "y": 1},
        "b": {"x": 1, "y": 2},
        "c": {"x": 1, "y": 1},
    }
    assert read("a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b]}\n")["c"] == {"x": 1, "y": 2}


def test_every_value_and_key_knows_its_position() -> None:
    marked = parse_yaml("top:\n  key:   value\n  list:\n    - one\n", "a file")
    assert marked is not None
    value = marked.value["top"].value["key"]
    assert value == Located("value", source="a file", line=2, column=10, key_line=2, key_column=3)
    (one,) = marked.value["top"].value["list"].value
    assert (one.line, one.column, one.key_line, one.key_column) == (4, 7, 4, 7)


@pytest.mark.parametrize(
    ("text", "said", "line", "column"),
    [
        ("a: 1\nb: 2\na: 3\n", "duplicate key 'a'; it is already on line 1", 3, 1),
        ("a: [1", "not valid YAML", 2, 1),
        ("a: b: c", "not valid YAML", 1, 5),
        ("a: @x", "not valid YAML", 1, 4),
        ("? [a]\n: b\n", "a key must be a single value", 1, 3),
        ("a: {<<: 5}", "a merge key", 1, 9),
        ("a: *nope", "not valid YAML", 1, 4),
        ("a: \x01", "not valid YAML", 1, 1),
        ("\ud800", "not valid YAML", 1, 1),
    ],
)
def test_invalid_yaml_is_an_error_with_its_position(text: str, said: str, line: int, column: int) -> None:
    with pytest.raises(ParseError) as caught:
        parse_yaml(text)
    assert said in caught.value.message
    assert (caught.value.line, caught.value.column) == (line, column)


def test_expansion_of_aliases_is_limited() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 8)
    )
    with pytest.raises(ParseError, match="more than 20,000 values"):
        parse_yaml(bomb)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 70 + "]" * 70,
        "{a: " * 70 + "1" + "}" * 70,
        "- " * 70 + "x",
        "[" * 5000 + "]" * 5000,
        # So deep that composing them would overrun the stack of C and end the process.
        "[" * 100_000,
        "{a: " * 100_000,
        "- " * 100_000 + "x",
        "? " * 100_000 + "x",
    ],
    ids=lambda text: f"{text[:3]}x{len(text)}",
)
def test_nesting_is_limited(text: str) -> None:
    with pytest.raises(ParseError, match="nested more than 64 levels deep") as caught:
        parse_yaml(text)
    assert (caught.value.line, caught.value.column) > (1, 1)


@pytest.mark.parametrize("padding", ["", "# " + "-" * 1000 + "\n"])
def test_64_levels_below_the_document_are_allowed(padding: str) -> None:
    assert parse_yaml(f"{padding}{'[' * 64}x{']' * 64}") is not None
    with pytest.raises(ParseError, match="nested more than 64 levels deep"):
        parse_yaml(f"{padding}{'[' * 65}x{']' * 65}")


@pytest.mark.parametrize("text", ["&a [*a]", "&a {b: *a}", "&a {<<: *a}", "<<: &a [*a]"])
def test_a_recursive_document_is_an_error(text: str) -> None:
    with pytest.raises(ParseError, match="nested more than 64 levels deep"):
        parse_yaml(text)


def test_expansion_of_merge_keys_is_limited() -> None:
    bomb = "a0: &a0 {}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 20))
    with pytest.raises(ParseError, match="more than 20,000 values"):
        parse_yaml(bomb)


def test_a_long_document_is_parsed_completely() -> None:
    assert read("".join(f"key{n}: [{n}]\n" for n in range(3000)))["key2999"] == [2999]


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_document_or_an_error(text: str) -> None:
    try:
        parse_yaml(text)
    except ParseError as error:
        place = (error.line, error.column)
    else:
        place = (1, 1)
    assert min(place) >= 1


@pytest.mark.parametrize(
    ("spellings", "value"),
    [("true True TRUE", True), ("false False FALSE", False), ("~ null Null NULL", None), ("tRue fALSE nULL yes", str)],
)
def test_booleans_and_null_have_three_spellings(spellings: str, value: object) -> None:
    for text in spellings.split():
        assert (read(text) == text) if value is str else (read(text) is value)


def test_the_beginning_of_a_value_is_enough_for_a_message() -> None:
    document = parse_yaml("a: [" + "1, " * 500 + "2]")
    assert document is not None
    assert len(beginning(document)["a"]) < 100
