from __future__ import annotations

from typing import Any

import pytest

from pilotage.xds.middleware_options import OptionReader


def pairs(value: Any, *, of_response: bool = False) -> tuple[Any, list[tuple[str, str]]]:
    reader = OptionReader()
    reader.path, reader.of_response = "middlewares.request", of_response
    found = reader.pairs({"setheaders": value}, "set_headers")
    assert {problem.path for problem in reader.problems} <= {"middlewares.request.set_headers"}
    return found, [(problem.message, problem.hint) for problem in reader.problems]


@pytest.mark.parametrize(
    "value",
    [
        {"X-A": "1", "X-B": "2"},
        [{"X-A": "1"}, {"X-B": "2"}],
        [{"X-A": "1", "X-B": "2"}],
        "X-A: 1\nX-B: 2",
        "- X-A: 1\n- X-B: 2",
        "[{X-A: 1}, {X-B: 2}]",
    ],
    ids=str,
)
def test_headers_may_be_a_mapping_or_a_list_of_mappings(value: Any) -> None:
    assert pairs(value) == ((("X-A", "1"), ("X-B", "2")), [])


def test_values_that_are_no_text_become_text_as_in_yaml() -> None:
    assert pairs({"X-A": True, "X-B": 5, "X-C": None}) == ((("X-A", "true"), ("X-B", "5"), ("X-C", "")), [])


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (["X-B"], ("expected lines such as 'Name: value'", "")),
        ([{"X-A": "1"}, "X-B: 2"], ("expected lines such as 'Name: value'", "")),
        ([{"X-A": "1"}, {"X-A": "2"}], ("the header X-A is set twice", "write one line for it")),
        ({"X-A": {"b": 1}}, ("the value of X-A is not text", "write 'Name: value'")),
        (
            {"X-A": "$req_hots"},
            ("unknown variable $req_hots, so X-A is not set", "did you mean 'req_host'?"),
        ),
        (
            {"X-A": "$status_code"},
            (
                "$status_code has no value before there is a response, so X-A is not set",
                "use it in the middleware response",
            ),
        ),
    ],
    ids=str,
)
def test_a_header_that_cannot_be_set_is_reported_and_left_out(value: Any, problem: tuple[str, str]) -> None:
    found, problems = pairs(value)
    assert problems == [problem]
    assert found in ((), (("X-A", "1"),))


def test_a_response_may_use_what_is_known_of_it() -> None:
    assert pairs({"X-A": "$status_code"}, of_response=True) == ((("X-A", "$status_code"),), [])
