from __future__ import annotations

import pytest

from pilotage.routes.rules import RuleError, parse_condition
from pilotage.xds.rule_guards import GUARDS_SCRIPT, LONGEST_VALUE, guard_parts


@pytest.mark.parametrize(
    ("condition", "parts"),
    [
        ("status 404", ["s+404-404"]),
        ("!status 4xx & status 200 | status 300-301", ["s!400-499", "&", "s+200-200", "s+300-301"]),
        ("resp_header X-A", ["h+x-a ?"]),
        ("!resp_header X-A !b", ["h!x-a =!62"]),
        ("resp_header X-A glob(a*)", ["h+x-a g+s 2 c 1 97 97 r 0 -1 c 1 0 1114111"]),
        ("resp_header X-A regex(^a|b{2}$)", ["h+x-a r+a 2 s 2 e 0 c 1 97 97 s 2 r 2 2 c 1 98 98 e 1"]),
    ],
)
def test_conditions_are_written_for_the_script(condition: str, parts: list[str]) -> None:
    assert guard_parts(parse_condition(condition)).split("\t") == parts


def test_a_pattern_that_would_take_envoy_long_is_refused() -> None:
    with pytest.raises(RuleError, match="too large"):
        guard_parts(parse_condition(f"resp_header X-A regex({'a' * 200})"))
    assert f"> {LONGEST_VALUE} then" in GUARDS_SCRIPT
