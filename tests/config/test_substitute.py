from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.config.substitute import Unset, dotted, fill_in, look_up, read_document, redact, variables
from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem

SOCKET = "unix:///var/run/docker.sock"


def test_a_variable_wins_over_its_godoxy_prefixed_names() -> None:
    env = {"A": "own", "GODOXY_A": "godoxy", "GOPROXY_A": "goproxy"}
    assert look_up("A", env) == "own"
    assert look_up("A", {**env, "A": ""}) == "godoxy"
    assert look_up("A", {"GOPROXY_A": "goproxy"}) == "goproxy"


def test_a_variable_that_is_set_but_empty_differs_from_one_that_is_unset() -> None:
    assert look_up("A", {"A": ""}) == ""
    assert look_up("A", {}) is None


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("${NODE}", "n1"),
        ("tcp://${NODE}:${PORT}", "tcp://n1:2375"),
        ("${NONE:-fallback}", "fallback"),
        ("${EMPTY:-fallback}", "fallback"),
        ("${NODE:-fallback}", "n1"),
        ("${NONE:-}", ""),
        ("${NONE:-a:-b}", "a:-b"),
        ("[${EMPTY}]", "[]"),
        ("$NODE and $", "$NODE and $"),
        ("$${NODE}", "${NODE}"),
        ("$$", "$$"),
    ],
)
def test_variables_are_filled_in_as_plain_text(text: str, filled: str) -> None:
    assert fill_in(text, {"NODE": "n1", "PORT": "2375", "EMPTY": ""}) == filled


def test_the_value_of_a_variable_is_not_substituted_again() -> None:
    assert fill_in("${A}", {"A": "${B}", "B": "secret"}) == "${B}"


@pytest.mark.parametrize("text", ["$DOCKER_HOST", "${DOCKER_HOST}"])
@pytest.mark.parametrize(
    ("env", "url"),
    [
        ({}, SOCKET),
        ({"DOCKER_HOST": ""}, SOCKET),
        ({"DOCKER_HOST": "tcp://d:1"}, "tcp://d:1"),
        ({"GODOXY_DOCKER_HOST": "tcp://g:1"}, "tcp://g:1"),
    ],
)
def test_docker_host_alone_falls_back_to_the_local_socket(text: str, env: dict[str, str], url: str) -> None:
    assert fill_in(text, env) == url


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tcp://${NOPE}:1", "the environment variable NOPE is not set"),
        ("x${DOCKER_HOST}", "the environment variable DOCKER_HOST is not set"),
        ("${1A}", "'${1A}' is not a variable"),
        ("${}", "'${}' is not a variable"),
        ("${A-b}", "'${A-b}' is not a variable"),
        ("tcp://${NODE", "'${NODE' has no closing brace"),
    ],
)
def test_an_invalid_reference_is_an_error_with_a_remedy(text: str, message: str) -> None:
    with pytest.raises(Unset) as caught:
        fill_in(text, {"NODE": "n1"})
    assert caught.value.message == message
    assert caught.value.hint
    assert not caught.value.hint[:1].isupper()


@settings(deadline=None)
@given(value=st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
def test_no_value_of_a_variable_can_change_the_structure_of_the_document(value: str) -> None:
    document = read_document("a: ${A}\nb: [1, '${A}']\n", "f.yml", {"A": value})
    assert document.tree == {"a": value, "b": [1, value]}


def test_numbers_keys_and_nested_values_are_kept_as_they_are() -> None:
    document = read_document("${A}: 1\nb:\n  - 2.5\n  - {c: null, d: true}\n", "f.yml", {"A": "x"})
    assert document.tree == {"${A}": 1, "b": [2.5, {"c": None, "d": True}]}
    assert document.problems == []


@pytest.mark.parametrize("text", ["", "# nothing here\n", "null", "---\n", "\ufeff"])
def test_an_empty_file_is_an_empty_mapping(text: str) -> None:
    assert read_document(text, "f.yml", {}).tree == {}


def test_every_unset_variable_is_reported_with_its_place() -> None:
    document = read_document("a: ${X}\nb:\n  - ok\n  - tcp://${Y}\n", "f.yml", {})
    assert [(p.file, p.line, p.column, p.path) for p in document.problems] == [
        ("f.yml", 1, 4, "a"),
        ("f.yml", 4, 5, "b[1]"),
    ]
    assert ["X" in document.problems[0].message, "Y" in document.problems[1].message] == [True, True]
    assert document.unfilled == {("a",), ("b", 1)}


def test_a_problem_points_to_the_value_the_key_or_the_parent_of_a_missing_key() -> None:
    document = read_document("top:\n  key:   value\n", "f.yml", {})

    def place(path: tuple[str, ...], *, at_key: bool = False) -> tuple[int, int]:
        problem = document.problem(path, "wrong", at_key=at_key)
        return problem.line, problem.column

    assert place(("top", "key")) == (2, 10)
    assert place(("top", "key"), at_key=True) == (2, 3)
    assert place(("top", "missing")) == (1, 1)
    assert place(("missing", "below")) == (1, 1)


def test_a_problem_shows_the_value_as_written_not_what_a_variable_held() -> None:
    document = read_document("a: ${TOKEN}\nb: null\n", "f.yml", {"TOKEN": "secret"})
    assert document.problem(("a",), "wrong").value == "${TOKEN}"
    assert document.problem(("b",), "wrong").value == ""


def test_invalid_yaml_is_reported_with_its_place() -> None:
    with pytest.raises(ConfigError) as caught:
        read_document("a: 1\na: 2\n", "f.yml", {})
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.column) == ("f.yml", 2, 1)
    assert "duplicate key 'a'" in problem.message


def test_paths_are_written_as_people_write_them() -> None:
    assert dotted(("providers", "docker", 0, "url")) == "providers.docker[0].url"
    assert dotted(()) == ""


SECRET = "Zq7-hidden-Xw9"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (f"{SECRET!r} is not a domain", "'${TOKEN}' is not a domain"),
        ("'zq7-hidden-xw9' is not a host", "'${TOKEN}' is not a host"),
        ("the address 'zq7-hidd…' has no scheme", "the address '${TOKEN}…' has no scheme"),
        (f"{SECRET} and {SECRET}", "${TOKEN} and ${TOKEN}"),
        ("a port is a number", "a port is a number"),
    ],
)
def test_a_problem_names_a_variable_instead_of_its_value(message: str, shown: str) -> None:
    problem = redact(Problem(message=message, hint=message, value=message), {"TOKEN": SECRET})
    assert (problem.message, problem.hint, problem.value) == (shown, shown, shown)


def test_a_short_value_is_replaced_where_it_is_a_word() -> None:
    problem = redact(Problem(message="port 70 is out of range 1-700"), {"PORT": "70"})
    assert problem.message == "port ${PORT} is out of range 1-700"


def test_a_value_of_six_characters_is_replaced_within_words() -> None:
    assert redact(Problem(message="xabcdefx"), {"TOKEN": "abcdef"}).message == "x${TOKEN}x"


def test_defaults_and_escaped_references_are_no_variables() -> None:
    assert variables("${A:-x} ${B:-y} $${C} ${D} $DOCKER_HOST", {"B": "1", "C": "2"}) == {"B": "1"}
    assert variables("$DOCKER_HOST", {"DOCKER_HOST": "tcp://h"}) == {"DOCKER_HOST": "tcp://h"}


@pytest.mark.parametrize(("part", "shown"), [(SECRET[2:8], "${TOKEN}"), (SECRET[2:7], SECRET[2:7])])
def test_six_characters_of_a_secret_are_hidden(part: str, shown: str) -> None:
    assert redact(Problem(message=f"{part}!"), {"TOKEN": SECRET}).message == f"{shown}!"


def test_a_problem_may_show_the_variables_of_other_values() -> None:
    document = read_document("a: ${X}\nb: 1\n", "f.yml", {"X": "longvalue"})
    assert document.problem(("a",), "longvalue is wrong").message == "${X} is wrong"
    assert document.problem(("b",), "longvalue is wrong").message == "longvalue is wrong"
