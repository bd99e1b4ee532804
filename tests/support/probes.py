"""Follow the health checks of a real Envoy, and of a fake one whose results the test sets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from pilotage.core.errors import GatewayError
from pilotage.gateway.health import HealthPoller
from pilotage.gateway.process import GatewayStatus
from pilotage.routes.route import EndpointHealth, Route
from pilotage.routes.schema import HealthCheck
from pilotage.table.diff import diff
from pilotage.table.table import Table
from pilotage.xds.clusters import PROBED
from pilotage.xds.options import GatewayOptions
from pilotage.xds.snapshot import Snapshot
from tests.support.gateway import gateway
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from pilotage.xds.backend import Backend
    from tests.support.gateway import Gateway

__all__ = ["CHECK", "Found", "Made", "Patient", "Probed", "Watched", "answer", "probing", "states"]

CHECK = HealthCheck(interval=1, timeout=1, retries=1)
Found = dict[str, dict[str, EndpointHealth]]


def states(found: Found) -> dict[str, dict[str, str]]:
    """Alias -> address -> state."""
    return {alias: {a: it.state for a, it in health.items()} for alias, health in found.items() if health}


# ---- a real Envoy


class Administration:
    """The admin interface of a test gateway's Envoy, as the poller uses it."""

    def __init__(self, made: Gateway, client: aiohttp.ClientSession) -> None:
        self.made = made
        self.client = client

    @property
    def status(self) -> GatewayStatus:
        assert self.made.process is not None
        return GatewayStatus("ready", self.made.process.pid)

    async def clusters(self, pattern: str) -> bytes:
        try:
            query = {"format": "json", "filter": pattern}
            async with self.client.get("http://envoy/clusters", params=query) as answer:
                return await answer.read()
        except aiohttp.ClientError as error:
            raise GatewayError("Envoy does not respond") from error


class Probed:
    """A gateway whose health checks are followed; ``found`` has the results so far."""

    def __init__(self, made: Gateway, watch: HealthPoller, found: Found) -> None:
        self.made = made
        self.watch = watch
        self.found = found

    def publish(self, *routes: Route) -> None:
        self.made.publish_unheard(*routes)  # Envoy acknowledges clusters once it has checked their endpoints

    async def finds(self, **expected: Mapping[int, str]) -> None:
        """Wait until the health checks have this result: alias -> port -> state."""
        wanted = {a: {f"127.0.0.1:{port}": it for port, it in health.items()} for a, health in expected.items()}
        try:
            await until(lambda: states(self.found) == wanted)
        except TimeoutError:
            assert states(self.found) == wanted, states(self.found)


def _keep(found: Found, more: Mapping[str, Mapping[str, EndpointHealth]]) -> None:
    found.update({name: dict(states) for name, states in more.items()})


@contextlib.asynccontextmanager
async def probing(directory: Path) -> AsyncIterator[Probed]:
    """Run an Envoy and follow its health checks."""
    connector = aiohttp.UnixConnector(str(directory / "admin.sock"))
    async with gateway(directory) as made, aiohttp.ClientSession(connector=connector) as client:
        found: Found = {}
        watch = HealthPoller(Administration(made, client), made.ads.snapshot.backend, partial(_keep, found))
        made.ads.targets.on_touched.append(watch.follow)
        task = asyncio.create_task(watch.run())
        try:
            yield Probed(made, watch, found)
        finally:
            task.cancel()
            await asyncio.wait([task])


class Patient:
    """A target that is healthy or not."""

    def __init__(self) -> None:
        self.status = 200

    async def __call__(self, _request: web.Request) -> web.Response:
        return web.Response(status=self.status)


# ---- an Envoy whose answers are made up


class Made:
    """A fake Envoy that reports what the test sets.

    Attributes:
        status: its state.
        says: cluster -> address -> ``healthy``, ``unhealthy``, ``pending``; ``None`` to not respond at all.
        took: seconds until it responds.
        asked: time and clusters of each request.

    """

    def __init__(self) -> None:
        self.status = GatewayStatus("ready", 1)
        self.says: dict[str, dict[str, str]] | None = {}
        self.took = 0.0
        self.raw: bytes | None = None
        self.asked: list[tuple[float, list[str]]] = []

    async def clusters(self, pattern: str) -> bytes:
        names = [name for name in self.says or {} if re.search(pattern, name)]
        self.asked.append((asyncio.get_running_loop().time(), names))
        await asyncio.sleep(self.took)
        if self.says is None:
            raise GatewayError("Envoy does not respond")
        return self.raw or answer({name: self.says[name] for name in names})


def answer(says: Mapping[str, Mapping[str, str]]) -> bytes:
    """Return the response of Envoy's ``/clusters``: cluster -> address -> state."""
    clusters = []
    for name, hosts in says.items():
        told = []
        for address, state in hosts.items():
            host, _, port = address.rpartition(":")
            place = {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}
            status = {"eds_health_status": "HEALTHY"} | {
                "healthy": {},
                "unhealthy": {"failed_active_health_check": True},
                "pending": {"failed_active_health_check": True, "pending_active_hc": True},
            }[state]
            told.append({"address": place, "health_status": status, "locality": {"sub_zone": PROBED}, "stats": []})
        clusters.append({"name": name, "host_statuses": told})
    return json.dumps({"cluster_statuses": clusters}).encode()


class Watched:
    """A poller of a fake Envoy, and a table that it follows."""

    def __init__(self) -> None:
        self.envoy = Made()
        self.found: Found = {}
        self.sought: list[str] = []
        self.told: list[dict[str, dict[str, str]]] = []
        self.snapshot = Snapshot(GatewayOptions())
        self.table = Table()
        self.watch = HealthPoller(self.envoy, self._backend, self._report)

    def _backend(self, name: str) -> Backend | None:
        self.sought.append(name)
        return self.snapshot.backend(name)

    def _report(self, found: Mapping[str, Mapping[str, EndpointHealth]]) -> None:
        self.found |= {alias: dict(health) for alias, health in found.items()}
        self.told.append({alias: {a: it.state for a, it in health.items()} for alias, health in found.items()})

    def becomes(self, *routes: Route) -> None:
        old, self.table = self.table, Table({it.alias: it for it in routes}, version=self.table.version + 1)
        self.snapshot.change(self.table, {change.alias for change in diff(old, self.table)})
        self.follows()

    def follows(self) -> None:
        """Follow what was changed in the snapshot."""
        touched, self.snapshot.touched = self.snapshot.touched, set()
        self.watch.follow(self.table, touched)

    async def look(self, *names: str) -> dict[str, dict[str, str]]:
        await self.watch._poll(list(names))
        return states(self.found)
