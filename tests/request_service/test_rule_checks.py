from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from pilotage.request_service.asked import Asked
from pilotage.request_service.rule_checks import RuleChecks
from pilotage.routes.rules import parse_condition
from pilotage.xds.rule_tests import check_id
from tests.request_service.test_passwords import HASH, basic

URL = "application/x-www-form-urlencoded"


async def answer(*conditions: str, **fields: Any) -> Any:
    """Return the conditions that hold, or the status of a refusal."""
    checks = tuple(parse_condition(text)[0][0] for text in conditions)
    known = {check_id(check): text for check, text in zip(checks, conditions, strict=True)}
    asked = Asked(service="rules", host="app", **{"method": "POST", "path": "/", "route": "route/app", **fields})
    with closing(RuleChecks(lambda key: checks if key == "route/app" else None)) as service:
        found = await service.check(asked)
    if found.denied_response.status.code:
        return found.denied_response.status.code
    (option,) = found.ok_response.headers
    return [known[it] for it in option.header.value.split(",") if it != "none"]


FORM = ("form a 1", "form a", "postform a 1", "postform a !1", "form b glob(x*)", "form c !1", "form c")


@pytest.mark.parametrize(
    ("fields", "held"),
    [
        ({"path": "/?a=1", "method": "GET"}, ["form a 1", "form a", "postform a !1", "form c !1"]),
        ({"body": "a=1&b=xy"}, [*FORM[:3], "form b glob(x*)", "form c !1"]),
        ({"body": "a=2&a=1"}, [*FORM[:3], "form c !1"]),
        ({"body": "a=1", "method": "GET"}, ["postform a !1", "form c !1"]),
        ({"body": "a=1", "headers": {"content-type": "text/plain"}}, ["postform a !1", "form c !1"]),
        ({"body": "&".join(["a=1"] * 1_001)}, 400),
        ({"body": "a=" + "1" * 9_000_000}, ["form a", "postform a !1", "form c !1"]),
        ({"route": "route/other"}, 503),
    ],
)
async def test_fields_of_forms_are_compared(fields: dict[str, Any], held: Any) -> None:
    assert await answer(*FORM, **{"headers": {"content-type": URL}, **fields}) == held


async def test_a_field_that_takes_too_long_to_match_is_refused() -> None:
    fields = {"headers": {"content-type": URL}, "body": "a=" + "x" * 20_000}
    assert await answer("form a glob(x*)", **fields) == ["form a glob(x*)"]
    assert await answer(f"form a regex({'(x|y)' * 90}z)", **fields) == 413


async def test_user_and_password_are_compared() -> None:
    condition = f"basic_auth me {HASH}"
    for text, held in (("me:secret", [condition]), ("me:other", []), ("you:secret", [])):
        assert await answer(condition, headers={"authorization": basic(text)}) == held
    assert await answer(condition) == []
