from __future__ import annotations

import pytest

from pilotage.routes.rules import Pattern, parse_regex
from pilotage.xds.rule_patterns import path_regex
from pilotage.xds.rule_sizes import regex_size


@pytest.mark.parametrize(
    ("regex", "steps"),
    [
        ("", 0),
        ("(?s)abc", 3),
        (r"\x2e\.", 2),
        ("[a-d]", 2),
        ("[^a-d]{3}", 6),
        ("(?:ab|c){10}d", 41),
        ("(?:a{3}b){2,5}", 20),
        ("a{3,}", 4),
        ("a{0}", 1),
        ("a+b*", 4),
        (r"[\]-a]{2}", 4),
    ],
)
def test_the_size_grows_with_repetitions(regex: str, steps: int) -> None:
    assert regex_size(regex) == steps


@pytest.mark.parametrize(("pattern", "reported"), [("[^a]{100}", 6860), ("[a-d]{900}", 3660), ("(?:ab|cd){150}", 2460)])
def test_the_estimate_is_near_what_envoy_reports(pattern: str, reported: int) -> None:
    found = regex_size(path_regex(Pattern("regex", pattern, parse_regex(pattern))))
    assert reported <= found < reported * 1.6
