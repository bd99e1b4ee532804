from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from pilotage.daemon import failed_requests
from pilotage.daemon.failed_requests import FailedRequests
from pilotage.xds.failures import CAUSES, Failure
from tests.support.waiting import pass_time

if TYPE_CHECKING:
    from pilotage.xds.failures import Cause

TARGETS, CLIENTS = CAUSES[0], CAUSES[-1]


def failure(route: str = "shop", cause: Cause = TARGETS, request: str = "GET shop/x") -> Failure:
    return Failure(cause, route, request, client="192.0.2.9", target="192.0.2.1:80", status=502)


@pytest.mark.looptime
async def test_the_first_failure_of_a_route_and_cause_is_logged_and_then_their_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    requests = FailedRequests()
    for number in range(4):
        requests.add(failure(request=f"GET shop/{number}"))
        requests.add(failure("other"))
    assert caplog.messages == [
        f"route {name}: the target sent an invalid response ({request} to 192.0.2.1:80, status 502); {TARGETS.advice}"
        for name, request in (("shop", "GET shop/0"), ("other", "GET shop/x"))
    ]
    assert {it.levelno for it in caplog.records} == {logging.WARNING}
    caplog.clear()
    await pass_time(301)
    assert caplog.messages[0].startswith("route shop: the target sent an invalid response (GET shop/3 to")
    assert "; at least 3 more requests in 5m, of which this was the last; " in caplog.messages[0]
    assert len(caplog.messages) == 2
    caplog.clear()
    await pass_time(301)  # nothing has failed, so the next failure is logged at once
    assert caplog.messages == []
    requests.add(failure())
    assert len(caplog.messages) == 1


@pytest.mark.looptime
async def test_what_clients_do_wrong_is_information(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    requests = FailedRequests()
    requests.add(Failure(CLIENTS, client="192.0.2.9", status=400))
    requests.add(Failure(TARGETS, "shop", "GET shop/x", reason="no certificate"))
    assert caplog.messages == [
        f"{CLIENTS.words} (from 192.0.2.9, status 400); {CLIENTS.advice}",
        f"route shop: {TARGETS.words} (GET shop/x, no response, no certificate); {TARGETS.advice}",
    ]
    assert [it.levelno for it in caplog.records] == [logging.INFO, logging.WARNING]


@pytest.mark.looptime
async def test_the_number_of_routes_and_causes_is_limited(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed_requests, "_MOST", 2)
    requests = FailedRequests()
    for name in "abc":
        requests.add(failure(name))
    assert len(caplog.messages) == 2
    await pass_time(301)
    requests.add(failure("c"))
    assert len(caplog.messages) == 3
