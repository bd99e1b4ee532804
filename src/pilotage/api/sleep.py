"""Serves the state of containers that can sleep, and the commands that wake a container or put it to sleep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.api import answers
from pilotage.api.lists import SleepList
from pilotage.api.traffic import escape, traffic_metrics
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten
from pilotage.sleep.engine_actions import SleepError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from aiohttp import web

    from pilotage.sleep.sleeper import Sleeper
    from pilotage.table.table import Table
    from pilotage.table.traffic import RouteTraffic

__all__ = ["SleepResource", "explain_sleep", "route_metrics"]

_GAUGES: Final = (
    ("pilotage_sleep_state_since_timestamp_seconds", "Unix time at which the current state began.", "since"),
    ("pilotage_sleep_requests_in_progress", "Requests and connections that keep the containers awake.", "in_progress"),
    (
        "pilotage_sleep_at_timestamp_seconds",
        "Unix time at which the containers go to sleep if no request arrives.",
        "sleeps_at",
    ),
    (
        "pilotage_sleep_last_wake_seconds",
        "Duration of the last successful attempt to wake the containers.",
        "last_wake",
    ),
)


class SleepResource:
    """Handles the API's paths that list containers that can sleep, wake a container, or put it to sleep.

    Args:
        sleeper: returns the object that puts containers to sleep; ``None`` if containers do not sleep here.

    """

    def __init__(self, sleeper: Callable[[], Sleeper | None]) -> None:
        self._sleeper = sleeper

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add these paths to a router."""
        router.add_get("/v1/sleep", self._list)
        router.add_post("/v1/containers/{name}/wake", self._wake)
        router.add_post("/v1/containers/{name}/sleep", self._sleep)

    async def _list(self, _: web.Request) -> web.Response:
        sleeper = self._sleeper()
        found = sleeper.statuses() if sleeper is not None else []
        return answers.json(SleepList(found))

    async def _wake(self, request: web.Request) -> web.Response:
        return self._command(request, lambda sleeper, alias: sleeper.want(alias))

    async def _sleep(self, request: web.Request) -> web.Response:
        return self._command(request, lambda sleeper, alias: sleeper.sleep(alias))

    def _command(self, request: web.Request, act: Callable[[Sleeper, str], Any]) -> web.Response:
        """Start ``act`` for the container in the request's path. Respond at once: 202, 404 or 409."""
        name = request.match_info["name"]
        sleeper = self._sleeper()
        unit = sleeper.find(name) if sleeper is not None else None
        if sleeper is None or unit is None:
            known = sleeper.names if sleeper is not None else []
            hint = did_you_mean(name, known) or "containers sleep if proxy.idle_timeout is set on them"
            return answers.error(404, f"no container that can sleep is called {shorten(name)!r}", hint)
        try:
            act(sleeper, min(unit.aliases))
        except SleepError as refusal:
            return answers.error(409, str(refusal))
        return answers.json(sleeper.status(unit), status=202)


def explain_sleep(table: Table, sleeper: Sleeper | None) -> Table:
    """Return a copy of a table that also says why containers are awake and when they will sleep."""
    if sleeper is None or not table.wakefulness:
        return table
    found = {
        alias: msgspec.structs.replace(awake, awake_because=status.awake_because, sleeps_at=status.sleeps_at)
        for status in sleeper.statuses()
        for alias in status.aliases
        if (awake := table.wakefulness.get(alias)) is not None
    }
    return msgspec.structs.replace(table, wakefulness=found)


def route_metrics(traffic: Mapping[str, RouteTraffic], sleeper: Sleeper | None) -> Iterator[bytes]:
    """Yield, as Prometheus text, the statistics of all routes and the state of all containers that can sleep."""
    yield from traffic_metrics(traffic)
    yield from _sleep_metrics(sleeper)


def _sleep_metrics(sleeper: Sleeper | None) -> Iterator[bytes]:
    found = sleeper.statuses() if sleeper is not None else []
    if not found:
        return
    labelled = [(f'engine="{escape(it.engine)}",container="{escape(it.container)}"', it) for it in found]
    yield b"# HELP pilotage_sleep_state 1 for the current state.\n# TYPE pilotage_sleep_state gauge\n"
    for labels, it in labelled:
        yield f'pilotage_sleep_state{{{labels},state="{it.state}"}} 1\n'.encode()
    for name, text, attribute in _GAUGES:
        yield f"# HELP {name} {text}\n# TYPE {name} gauge\n".encode()
        for labels, it in labelled:
            if (value := getattr(it, attribute)) is not None:
                yield f"{name}{{{labels}}} {value}\n".encode()
