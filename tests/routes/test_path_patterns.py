from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage import build_routes, from_docker
from pilotage.routes.path_patterns import PathPattern, parse_pattern
from tests.support.summaries import LOCAL, summary


def _parsed(text: str) -> PathPattern:
    found = parse_pattern(text)
    assert isinstance(found, PathPattern), found
    return found


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("/", ["/", "/a", "/a/b/"], []),
        ("/a", ["/a"], ["/", "/a/", "/ab", "/A"]),
        ("/a/", ["/a/", "/a/b", "/a/b/c"], ["/a", "/ab/"]),
        ("/a/{x}", ["/a/b", "/a/%2F"], ["/a/", "/a", "/a/b/", "/a/b/c"]),
        ("/a/{x}/c", ["/a/b/c"], ["/a//c", "/a/c", "/a/b/c/", "/a/b?/c"]),
        ("/{x}/{$}", ["/a/"], ["/a?/"]),
        ("/{x}/{y...}", ["/a/", "/a/b?c"], ["/a?/b"]),
        ("/a%3Fb/", ["/a%3Fb/"], ["/a?b/"]),
        ("/a/{x...}", ["/a/", "/a/b", "/a/b/"], ["/a"]),
        ("/{$}", ["/"], ["/a"]),
        ("/a/{$}", ["/a/"], ["/a", "/a/b"]),
        ("/a%20b", ["/a%20b"], ["/a b", "/a"]),
        ("/\u00e9", ["/%C3%A9", "/%c3%a9"], ["/e"]),
        ("/a+(b)|c", ["/a+(b)|c", "/a%2B(b)%7cc"], ["/aab", "/c"]),
    ],
)
def test_a_pattern_matches_as_in_go(pattern: str, matching: list[str], others: list[str]) -> None:
    regex = _parsed(pattern).regex
    assert [path for path in matching if not re.fullmatch(regex, path)] == []
    assert [path for path in others if re.fullmatch(regex, path)] == []


def test_a_method_may_precede_the_path() -> None:
    assert [(it.method, it.folder) for it in map(_parsed, ("GET /a/", "PURGE   /a", "/", "/{x}/"))] == [
        *(("GET", "/a/"), ("PURGE", ""), ("", ""), ("", "")),
    ]


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("a", "has no path"),
        ("GET", "has no path"),
        ("example.com/a", "names a host"),
        ("/a b", "does not begin with a method"),
        ("G(T /a", "does not begin with a method"),
        ("/a//b", "is not clean"),
        ("/a/../b", "is not clean"),
        ("/a/./b", "is not clean"),
        ("/a{x}", "contains 'a{x}'"),
        ("/{x...}/a", "contains '{x...}'"),
        ("/{$}/a", "contains '{$}'"),
        ("/{1}", "contains '{1}'"),
        ("/{}", "contains '{}'"),
        ("/{x}/{x}", "has the wildcard 'x' twice"),
        ("/" + "a" * 600, "is longer than 500 characters"),
    ],
)
def test_a_pattern_that_go_refuses_is_refused(pattern: str, why: str) -> None:
    found = parse_pattern(pattern)
    assert isinstance(found, str)
    assert found.startswith(why)


def _route(value: str) -> Any:
    (route,) = build_routes(from_docker(summary("web", {"proxy.web.path_patterns": value}), LOCAL)).routes
    return route


@pytest.mark.parametrize("value", ["GET /a/, /b", "- GET /a/\n- /b", '["GET /a/", "/b"]', "GET /a/,/b"])
def test_a_label_lists_patterns_as_yaml_or_with_commas(value: str) -> None:
    route = _route(value)
    assert not route.excluded
    assert route.settings.path_patterns == ("GET /a/", "/b")


@pytest.mark.parametrize("value", ["a", "/a, b", "[]", "{a: /b}", "- /a\n- 5", ",".join(["/a"] * 101)])
def test_an_error_in_a_pattern_takes_the_route_out_of_service(value: str) -> None:
    assert _route(value).excluded_reason == "Error"


@given(st.text("/{}.$ aG%*", max_size=20))
def test_every_text_is_a_pattern_or_has_a_reason(text: str) -> None:
    found = parse_pattern(text)
    assert found if isinstance(found, str) else re.compile(found.regex)
