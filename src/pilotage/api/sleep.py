"""Serves the state of containers that sleep, and the commands to wake them and to put them to sleep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pilotage.api import answers
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten
from pilotage.sleep.engine_actions import SleepError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from pilotage.sleep.sleeper import Sleeper

__all__ = ["SleepResource"]


class SleepResource:
    """The paths about sleep.

    Args:
        sleeper: returns what runs the units; ``None`` if containers do not sleep here.

    """

    def __init__(self, sleeper: Callable[[], Sleeper | None]) -> None:
        self._sleeper = sleeper

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the paths to a router."""
        router.add_get("/v1/sleep", self._list)
        router.add_post("/v1/containers/{name}/wake", self._wake)
        router.add_post("/v1/containers/{name}/sleep", self._sleep)

    async def _list(self, _: web.Request) -> web.Response:
        sleeper = self._sleeper()
        found = sleeper.statuses() if sleeper is not None else []
        return answers.json({"units": [msgspec.to_builtins(status) for status in found]})

    async def _wake(self, request: web.Request) -> web.Response:
        return self._command(request, lambda sleeper, alias: sleeper.want(alias))

    async def _sleep(self, request: web.Request) -> web.Response:
        return self._command(request, lambda sleeper, alias: sleeper.sleep(alias))

    def _command(self, request: web.Request, act: Callable[[Sleeper, str], Any]) -> web.Response:
        """Run a command for a container, given by ID, name or alias. It is done once the state says so."""
        name = request.match_info["name"]
        sleeper = self._sleeper()
        unit = sleeper.find(name) if sleeper is not None else None
        if sleeper is None or unit is None:
            known = sleeper.names if sleeper is not None else []
            hint = did_you_mean(name, known) or "containers sleep if proxy.idle_timeout is set on them"
            return answers.error(404, f"no container called {shorten(name)!r} sleeps", hint)
        try:
            act(sleeper, min(unit.aliases))
        except SleepError as refusal:
            return answers.error(409, str(refusal))
        return answers.json(msgspec.to_builtins(sleeper.status(unit)), status=202)
