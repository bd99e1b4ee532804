from __future__ import annotations

import pytest

from pilotage.xds.log_problems import log_problems
from tests.support.field_values import read_route


@pytest.mark.parametrize(
    ("log", "fields", "silent"),
    [
        ("{stdout: true}", [], False),
        ("{path: /var/log/a}", ["path"], True),
        ("{path: /var/log/a, stdout: true}", ["path"], False),
        ("{stdout: true, retention: 7 days, rotate_interval: 1h}", ["retention", "rotate_interval"], False),
        ("{stdout: true, filters: {headers: {values: ['X Y=1']}}}", ["filters.headers"], True),
        ("{stdout: true, filters: {cidr: {values: [nowhere]}}}", ["filters.cidr"], True),
        ("{stdout: true, fields: {query: {default: redact}}}", ["fields.query"], False),
        ("{stdout: true, fields: {query: {default: drop}}}", [], False),
        ("{stdout: true, fields: {headers: {default: keep}}}", ["fields.headers"], False),
        ("{stdout: true, fields: {cookies: {config: {sid: keep}}}}", ["fields.cookies"], False),
    ],
)
def test_what_has_no_effect_is_reported(log: str, fields: list[str], silent: bool) -> None:
    found, _ = read_route(f"access_log: {log}")
    problems = list(log_problems(found["access_log"]))
    assert [problem.field.removeprefix("access_log.") for problem in problems] == fields
    assert all(problem.message and problem.hint for problem in problems)
    assert any(problem.blocking for problem in problems) is silent


def test_nothing_is_logged_for_a_route_whose_log_has_a_wrong_filter() -> None:
    from pilotage.xds.route_logs import logged
    from tests.support.gateway import route

    found, _ = read_route("access_log: {stdout: true, filters: {cidr: {values: [nowhere]}}}")
    assert logged(route("app", 80, **found)) == {}
