"""The state of units as people and programs see it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from pilotage.labels.container_options import IdleConfig
from pilotage.sleep.state import SleepState
from pilotage.sleep.status import describe, problems_of, status_of
from pilotage.sleep.units import Unit

if TYPE_CHECKING:
    from pilotage.sleep.units import Source


def unit(*, running: bool = True) -> Unit:
    state = SleepState(300.0, running=running, now=100.0, next_epoch=lambda: 7)
    return Unit(("local", "x"), "local", "x", "web", IdleConfig(idle_timeout=300.0), state, {"shop", "app"})


def test_times_are_given_in_seconds_since_1970() -> None:
    status = status_of(unit(), now=160.0, wall=1_000_060.0)
    assert (status.since, status.sleeps_at, status.aliases) == (1_000_000.0, 1_000_300.0, ("app", "shop"))


def test_times_are_rounded_to_milliseconds() -> None:
    assert status_of(unit(), now=160.0, wall=1_000_060.123456).since == 1_000_000.123


def test_secrets_in_errors_are_hidden() -> None:
    it = unit(running=False)
    it.state.want(100.0)
    it.state.wake_failed("cannot pull https://user:hunter2@registry.example.com", 101.0)
    assert "hunter2" not in status_of(it, now=101.0, wall=0.0).failure


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda _: None, "sleeps in 4m without a request"),
        (lambda it: it.state.report(in_progress=3, issued=0, now=160.0), "awake: 3 requests in progress"),
        (lambda it: it.state.sleep(160.0), "falling asleep"),
        (lambda it: it.state.observe(running=False, now=160.0), "asleep; the next request wakes it"),
    ],
)
def test_a_phrase_says_what_comes_next(change: object, text: str) -> None:
    it = unit()
    change(it)  # type: ignore[operator]
    assert describe(status_of(it, now=160.0, wall=1060.0), wall=1060.0) == text


@pytest.mark.parametrize(
    ("users", "why"),
    [
        ({"web"}, "used by web"),
        ({"web", "api"}, "used by api, web"),
        ({"a", "b", "c", "d", "e"}, "used by a, b, c and 2 others"),
    ],
)
def test_the_containers_that_need_it_are_named(users: set[str], why: str) -> None:
    status = status_of(unit(), users, now=160.0, wall=1060.0)
    assert status.awake_because == why
    assert describe(status, wall=1060.0) == f"awake: {why}"


def test_a_phrase_says_what_is_being_done() -> None:
    it = unit(running=False)
    it.state.want(150.0)
    it.step = "starting db"
    assert describe(status_of(it, now=160.0, wall=0.0), wall=0.0) == "waking: starting db"
    it.state.wake_failed("db exited with code 1", 160.0)
    assert describe(status_of(it, now=160.0, wall=0.0), wall=0.0) == "could not be woken: db exited with code 1"


@pytest.mark.parametrize(("state", "text"), [("restarting", "it exits again and again"), ("dead", "it is dead")])
def test_a_container_that_no_request_can_wake_is_reported(state: str, text: str) -> None:
    source = SimpleNamespace(container=lambda *_: SimpleNamespace(state=state))
    (problem,) = problems_of(unit(running=False), cast("Source", source))
    assert (text in problem.message, problem.container, problem.severity) == (True, "web", "warning")
    assert problems_of(unit(), cast("Source", source)) == []
