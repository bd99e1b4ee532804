from __future__ import annotations

import pytest

from pilotage.dashboard.links import own_path, path_of, safe_url, with_query


@pytest.mark.parametrize("url", ["https://photos.example.com", "http://127.0.0.1:8080/a?b=c#d", "https://[::1]/"])
def test_web_addresses_pass(url: str) -> None:
    assert safe_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "java\nscript:alert(1)",
        " javascript:alert(1)",
        "data:text/html,<script>",
        "//elsewhere.example",
        "/path",
        "https:/elsewhere",
        "https://user:password@elsewhere.example",
        "https://a.example\\@b.example",
        "http://[",
        "https://a.example/" + "a" * 2_000,
    ],
)
def test_everything_else_is_dropped(url: str) -> None:
    assert safe_url(url) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/routes?q=a", "/routes?q=a"),
        ("//elsewhere.example", "/"),
        ("/\\elsewhere.example", "/"),
        ("https://elsewhere.example", "/"),
        ("/\t/elsewhere.example", "/"),
        ("routes", "/"),
        ("", "/"),
    ],
)
def test_a_page_after_signing_in_is_always_one_of_this_site(text: str, expected: str) -> None:
    assert own_path(text) == expected


def test_names_in_paths_are_quoted() -> None:
    assert path_of("routes", "tcp/db?#") == "/routes/tcp%2Fdb%3F%23"


def test_changed_parameters_replace_others_and_empty_ones_vanish() -> None:
    query = {"q": "a&b", "state": "ready", "after": "x"}
    assert with_query("/routes", query, state="asleep", after="") == "/routes?q=a%26b&state=asleep"
    assert with_query("/routes", {}) == "/routes"
