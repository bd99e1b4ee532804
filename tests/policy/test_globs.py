from __future__ import annotations

import pytest

from pilotage.policy.globs import common_path, fill, matches_host, matches_path, matches_text

TEAM = {"engine": "edge-1.lan", "project": "team-a", "service": ""}


@pytest.mark.parametrize(
    ("glob", "text", "expected"),
    [
        ("team-a", "team-a", True),
        ("team-a", "Team-A", False),
        ("team-*", "team-a/b.c", True),
        ("team-?", "team-ab", False),
        ("*", "", True),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("a*", "a\nb", True),
        ("a*", "a" + "b" * 5000, False),
    ],
)
def test_a_star_stands_for_any_text_and_brackets_for_themselves(glob: str, text: str, expected: bool) -> None:
    assert matches_text(glob, text) is expected


@pytest.mark.parametrize(
    ("glob", "host", "expected"),
    [
        ("shop", "SHOP", True),
        ("A-*", "a-shop", True),
        ("a-*", "a-shop.example.com", False),
        ("*.a.example.com", "shop.a.example.com", True),
        ("*.a.example.com", "x.shop.a.example.com", False),
        ("**.a.example.com", "x.shop.a.example.com", True),
        ("**.a.example.com", "a.example.com", False),
        ("**", "x.shop", True),
        ("**", "shop", True),
        ("**.**", "x.shop", True),
        ("**.**", "shop", False),
        ("**.b.**", "a.b.c", True),
        ("**.b.**", "a.b.b.c.d", True),
        ("**.b.**", "b.c", False),
        ("*", "x.shop", False),
        ("*.a.example.com", "*.a.example.com", True),
        ("a-*.example.com", "*.example.com", False),
        ("?.example.com", "*.example.com", False),
        ("*.example.com", ".example.com", False),
        ("**.b", ".".join("a" * 200), False),
    ],
)
def test_in_a_host_a_star_stops_at_a_dot_and_covers_a_wildcard(glob: str, host: str, expected: bool) -> None:
    assert matches_host(glob, host) is expected


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("/srv/certs", "/srv/certs", True),
        ("/srv/certs/", "/srv/certs/a.pem", True),
        ("/srv/certs", "/srv/certs-of-b/a.pem", False),
        ("/srv/certs", "/srv", False),
        ("/srv/*/certs", "/srv/a/certs/x", True),
        ("/srv/*/certs", "/srv/a/b/certs", False),
        ("/srv", "/srv/../etc", False),
        ("/", "/etc", True),
        ("", "/etc", False),
        ("etc", "/etc", False),
    ],
)
def test_a_path_matches_the_folder_and_what_lies_below_it(glob: str, path: str, expected: bool) -> None:
    assert matches_path(glob, path) is expected


def test_placeholders_stand_for_the_claimants_own_names() -> None:
    assert fill("{{project}}.{{ engine }}.example.com", TEAM) == "team-a.edge-1.lan.example.com"
    assert fill("plain-*", TEAM) == "plain-*"


@pytest.mark.parametrize("value", ["", "*", "a*", "a.b", "../x", "a/b", "{{engine}}", "a\n", "é"])
def test_a_value_that_is_no_plain_word_makes_a_glob_match_nothing(value: str) -> None:
    assert fill("{{project}}-*", TEAM | {"project": value}) is None


def test_an_unknown_placeholder_matches_nothing() -> None:
    assert fill("{{owner}}", TEAM) is None


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("/srv", "/srv/a/b", "/srv/a/b"),
        ("/srv/*", "/srv/a", "/srv/a"),
        ("/srv/*/x", "/srv/team-?", "/srv/team-?/x"),
        ("/srv/a*/x", "/srv/ab", "/srv/ab/x"),
        ("/", "/srv", "/srv"),
        ("/srv/a", "/srv/b/c", None),
        ("/srv/a*", "/srv/*b", None),
    ],
)
def test_the_paths_below_two_globs(one: str, other: str, expected: str | None) -> None:
    assert common_path(one, other) == common_path(other, one) == expected
