from __future__ import annotations

import logging

import pytest

from pilotage.core.problems import Problem
from pilotage.daemon.change_log import log, log_change, log_changes, log_problems
from pilotage.discovery.update import Update
from pilotage.routes import AsWritten
from pilotage.routes.route import EndpointHealth, HealthState
from pilotage.table.diff import Change
from pilotage.table.table import Table

WRITTEN = AsWritten(dict, lambda _: None, tuple)


def logged(change: Change, old: Table | None = None, new: Table | None = None) -> list[tuple[str, str]]:
    records: list[logging.LogRecord] = []
    handler, level = logging.Handler(), log.level
    handler.emit = records.append  # type: ignore[method-assign, assignment]
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        log_change(change, Update(old or Table(), new or Table(), (change,)))
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    return [(record.levelname, record.getMessage()) for record in records]


def test_the_end_of_an_engine_problem_is_logged_with_the_live_state() -> None:
    assert logged(Change("resolved", problem=Problem(message="no answer", provider="local"))) == []


def test_an_update_with_very_many_problems_is_logged_in_part(caplog: pytest.LogCaptureFixture) -> None:
    problems = [Change("problem", problem=Problem(message=f"odd {n}", container="web")) for n in range(100_000)]
    changes = (*[Change("added", str(n)) for n in range(1000)], *problems, Change("live", engine="local"))
    with caplog.at_level(logging.INFO, log.name):
        log_changes(Update(Table(), Table(), changes))
    assert len(caplog.messages) == 202
    assert caplog.messages[199:201] == ["web: odd 199", "engine local is connected"]
    assert caplog.messages[201].startswith("99800 more changes to routes and problems are not logged;")


def probed(*states: HealthState) -> Table:
    return Table(health={"app": {f"10.0.0.{n}:80": EndpointHealth(state) for n, state in enumerate(states)}})


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (Change("stale", engine="local", cause="it is gone"), ("WARNING", "engine local is unreachable; its routes")),
        (Change("live", engine="local"), ("INFO", "engine local is connected")),
        (Change("problem", problem=Problem(message="odd", container="web")), ("WARNING", "web: odd")),
        (Change("conflict", problem=Problem(message="odd", route="web")), ("WARNING", "odd")),
        (Change("resolved", problem=Problem(message="odd", container="web")), ("INFO", "resolved: web: odd")),
        (Change("added", "web", cause="start of web"), ("DEBUG", "added route web (start of web)")),
        (Change("removed", "web"), ("DEBUG", "removed route web (listed)")),
    ],
    ids=lambda it: it.kind if isinstance(it, Change) else "",
)
def test_failures_are_warnings_and_recoveries_are_info(change: Change, line: tuple[str, str]) -> None:
    ((level, message),) = logged(change)
    assert level == line[0]
    assert message.startswith(line[1]) or line[1] in message


def test_an_engine_problem_is_logged_once_with_the_stale_state() -> None:
    assert logged(Change("problem", problem=Problem(message="no answer", provider="local"))) == []


@pytest.mark.parametrize(
    ("before", "after", "level"),
    [("healthy", "unhealthy", "WARNING"), ("unhealthy", "healthy", "INFO"), ("pending", "healthy", "DEBUG")],
)
def test_a_probe_that_fails_is_a_warning(before: HealthState, after: HealthState, level: str) -> None:
    change = Change("health", "app", cause="10.0.0.0:80 fails its health check")
    message = "route app: 10.0.0.0:80 fails its health check"
    assert logged(change, probed(before), probed(after)) == [(level, message)]


def test_what_the_gateway_newly_refuses_is_logged_and_what_it_accepts_again_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    new, old = Problem(message="in use", container="web"), Problem(message="unreadable", container="web")
    log_problems([new], [old], WRITTEN)
    assert [(it.levelname, it.getMessage()) for it in caplog.records] == [
        ("WARNING", "web: in use"),
        ("INFO", "resolved: web: unreadable"),
    ]
    caplog.clear()
    log_problems([Problem(message=str(number)) for number in range(300)], [old], WRITTEN)
    assert len(caplog.records) == 201
    assert caplog.records[-1].getMessage().startswith("101 more problems are not logged")
