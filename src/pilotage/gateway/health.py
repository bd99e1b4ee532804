"""Polls the results of Envoy's health checks and passes them to the table.

Envoy probes the endpoints, but does not report the results. The poller reads the results from Envoy's admin interface,
only for clusters with health checks, and limits the share of Envoy's time that this takes. The results are kept outside
the routes: a result must not remove an unhealthy endpoint from its cluster, or else Envoy would stop probing the
endpoint.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import time
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from pilotage.core.errors import GatewayError
from pilotage.routes.route import Endpoint, EndpointHealth, bracketed
from pilotage.xds.clusters import PROBED, is_probed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pilotage.gateway.process import GatewayStatus
    from pilotage.routes.route import HealthState, Route
    from pilotage.table.table import Table
    from pilotage.xds.backend import Backend

__all__ = ["EnvoyAdmin", "HealthPoller", "read_clusters"]

log = logging.getLogger(__name__)

_FAST_INTERVAL: Final = 0.25
_MAX_INTERVAL: Final = 5.0
_NEW_FOR: Final = 5.0
"""Seconds between two polls: the shortest health check interval, but at most ``_MAX_INTERVAL``. While an endpoint has
waited for its first result for less than ``_NEW_FOR``, it is ``_FAST_INTERVAL``."""
_RESTART_CHECK: Final = 1.0  # seconds until a restart of Envoy is noticed
_PAUSE_FACTOR: Final = 20  # the pause after a request, in multiples of its duration: it blocks Envoy's main thread
_MAX_NAMES: Final = 200  # clusters per request, which blocks Envoy's main thread for about 10 ms
_MAX_CHARACTERS: Final = 16_000  # per pattern; Envoy accepts at most 60 kB of headers


class EnvoyAdmin(Protocol):
    """The admin interface of the Envoy that probes the endpoints."""

    @property
    def status(self) -> GatewayStatus:
        """The current state of Envoy."""

    async def clusters(self, pattern: str) -> bytes:
        """Return the state of Envoy's clusters; see :meth:`pilotage.gateway.process.Gateway.clusters`."""


class _Cluster(msgspec.Struct, frozen=True):
    """A cluster with health checks.

    Attributes:
        interval: health check interval in seconds.
        valid_for: seconds that the last result of an endpoint stays valid while Envoy replaces the cluster, until the
            first result of the new cluster arrives.
        endpoints: alias -> the endpoints of the alias's route that are in the cluster. A pool's cluster has several
            aliases.

    """

    interval: float
    valid_for: float
    endpoints: dict[str, tuple[Endpoint, ...]]


class _Finding(msgspec.Struct, frozen=True):
    """The last health check result of an endpoint.

    Attributes:
        health: the endpoint's health, as reported to the table.
        container_id: ID of the endpoint's container.
        at: loop time when Envoy last reported this state; for a pending endpoint, when it became pending.

    """

    health: EndpointHealth
    container_id: str
    at: float


class HealthPoller:
    """Polls the health check results of one Envoy.

    Run :meth:`run` in a task, and call :meth:`follow` on each change to the snapshot.

    Args:
        envoy: the Envoy that probes the endpoints.
        backend: returns the backend of a cluster as last published to Envoys; ``None`` if there is no such cluster.
        report: called after changes, with alias -> address -> health: all probed endpoints of each changed alias.

    """

    def __init__(
        self,
        envoy: EnvoyAdmin,
        backend: Callable[[str], Backend | None],
        report: Callable[[Mapping[str, Mapping[str, EndpointHealth]]], object],
    ) -> None:
        self._envoy = envoy
        self._backend = backend
        self._report = report
        self._cluster_of: dict[str, str] = {}
        self._aliases: dict[str, set[str]] = {}
        self._clusters: dict[str, _Cluster] = {}
        self._known: dict[str, dict[str, _Finding]] = {}
        self._pid = 0
        self._has_warned = False
        self._news = asyncio.Event()

    # ---- which endpoints are probed

    def follow(self, table: Table, aliases: Iterable[str]) -> None:
        """Update the set of probed endpoints.

        Args:
            table: the table last published to Envoys.
            aliases: the aliases whose route, or whose endpoints in the backend, may have changed since the last call.

        """
        changed = set(aliases)
        touched: set[str] = set()
        for alias in changed:
            touched |= self._note(alias, table.routes.get(alias))
        found: dict[str, dict[str, EndpointHealth]] = {}
        for cluster in touched:
            for alias, endpoints in self._track(cluster, table).items():
                found[alias] = self._expect(alias, endpoints)
        for alias in changed & self._known.keys():
            if alias not in self._cluster_of:
                del self._known[alias]
                found[alias] = {}
        if found:
            self._report(found)

    def _note(self, alias: str, route: Route | None) -> set[str]:
        """Record which cluster probes an alias; return the names of its new and previous cluster."""
        before = self._cluster_of.pop(alias, "")
        now = ""
        if before:
            self._aliases[before].discard(alias)
        if route is not None and route.probed and not route.agent:
            link = route.pool_name
            now = self._cluster_of[alias] = f"pool/{link}" if link else f"route/{alias}"
            self._aliases.setdefault(now, set()).add(alias)
        return {before, now} - {""}

    def _track(self, name: str, table: Table) -> dict[str, tuple[Endpoint, ...]]:
        """Record the probed endpoints of a cluster; return alias -> endpoints, possibly empty."""
        aliases = self._aliases[name]
        if not aliases:
            del self._aliases[name]
        backend = self._backend(name)
        probed = backend.members if backend is not None and is_probed(backend) else ()
        members = {_identity(member.endpoint) for member in probed}
        found: dict[str, tuple[Endpoint, ...]] = {}
        for alias in aliases:
            route = table.routes.get(alias)
            endpoints = route.endpoints if route is not None else ()
            found[alias] = tuple(endpoint for endpoint in endpoints if _identity(endpoint) in members)
        before = self._clusters.pop(name, None)
        if backend is not None and any(found.values()):
            check = backend.route.settings.healthcheck
            valid_for = check.timeout + 2 * _MAX_INTERVAL
            self._clusters[name] = _Cluster(check.interval, valid_for, {a: e for a, e in found.items() if e})
        if self._clusters.get(name) != before:
            self._news.set()
        return found

    def _expect(self, alias: str, endpoints: Iterable[Endpoint]) -> dict[str, EndpointHealth]:
        """Keep and return the results of only these endpoints; those without a result are pending."""
        before, known = self._known.get(alias, {}), {}
        for endpoint in endpoints:
            finding = before.get(endpoint.address)
            if finding is None or finding.container_id != endpoint.container_id:
                finding = _pending(endpoint.container_id)
            known[endpoint.address] = finding
        if known:
            self._known[alias] = known
        else:
            self._known.pop(alias, None)
        return {address: finding.health for address, finding in known.items()}

    # ---- polling

    async def run(self) -> None:
        """Poll until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            self._news.clear()
            for names in _batches(sorted(self._clusters)):
                asked = loop.time()
                await self._poll(names)
                await asyncio.sleep(_PAUSE_FACTOR * (loop.time() - asked))
            if await self._news_before(began + self._pace() if self._clusters else None):
                await asyncio.sleep(_FAST_INTERVAL)  # a new cluster has no results yet, and more changes may follow

    async def _news_before(self, due: float | None) -> bool:
        """Wait until ``due``, a change of clusters or a restart of Envoy; return whether clusters changed."""
        while True:
            soon = asyncio.get_running_loop().time() + _RESTART_CHECK
            try:
                async with asyncio.timeout_at(due if due is None else min(due, soon)):
                    await self._news.wait()
            except TimeoutError:
                if self._envoy.status.pid == self._pid and due is not None and soon < due:
                    continue
                return False
            return True

    def _pace(self) -> float:
        """Return how many seconds to wait from one poll to the next, fewer while new endpoints are pending."""
        recent = asyncio.get_running_loop().time() - _NEW_FOR
        for findings in self._known.values():
            if any(finding.health.state == "pending" and finding.at > recent for finding in findings.values()):
                return _FAST_INTERVAL
        return min(_MAX_INTERVAL, *(cluster.interval for cluster in self._clusters.values()))

    async def _poll(self, names: list[str]) -> None:
        pid = self._envoy.status.pid
        try:
            states = read_clusters(await self._envoy.clusters(_pattern(names)))
        except GatewayError:
            states = None
        except msgspec.MsgspecError as error:
            states = None
            if not self._has_warned:
                log.warning("cannot read the health check results of this Envoy version: %s", error)
            self._has_warned = True
        now = self._envoy.status.pid
        if now != self._pid:  # the results of its predecessor are no longer valid
            self._pid = now
            self._reset()
        if states is None or pid != now:
            return
        found: dict[str, dict[str, EndpointHealth]] = {}
        for name in names:
            cluster = self._clusters.get(name)  # it may have been removed in the meantime
            if cluster is None:
                continue
            for alias, endpoints in cluster.endpoints.items():
                if self._merge(alias, endpoints, states.get(name, {}), cluster.valid_for):
                    found[alias] = self._now(alias)
        if found:
            self._report(found)

    def _merge(
        self, alias: str, endpoints: Iterable[Endpoint], states: Mapping[str, HealthState], valid_for: float
    ) -> bool:
        """Record the states that Envoy reports for an alias's endpoints; return whether any state has changed."""
        known, now, differs = self._known[alias], asyncio.get_running_loop().time(), False
        for endpoint in endpoints:
            finding = known[endpoint.address]
            state = states.get(_key(endpoint.host, endpoint.port), "pending")
            if state == "pending" and (finding.health.state == "pending" or now - finding.at < valid_for):
                continue
            health = finding.health
            if state != health.state:
                health, differs = EndpointHealth(state, time.time()), True
            known[endpoint.address] = _Finding(health, finding.container_id, now)
        return differs

    def _reset(self) -> None:
        """Mark all endpoints as pending, because a new Envoy has not probed them yet, and report the changes."""
        found = {}
        for alias, findings in self._known.items():
            if any(finding.health.state != "pending" for finding in findings.values()):
                self._known[alias] = {address: _pending(it.container_id) for address, it in findings.items()}
                found[alias] = self._now(alias)
        if found:
            self._report(found)

    def _now(self, alias: str) -> dict[str, EndpointHealth]:
        return {address: finding.health for address, finding in self._known[alias].items()}


def _identity(endpoint: Endpoint) -> tuple[str, str]:
    """Return address and container ID, which an endpoint in the table and its copy in a cluster share."""
    return endpoint.address, endpoint.container_id


def _pending(container_id: str) -> _Finding:
    return _Finding(EndpointHealth("pending", time.time()), container_id, asyncio.get_running_loop().time())


def _batches(names: list[str]) -> Iterator[list[str]]:
    """Split cluster names into batches that are small enough for one request each."""
    part: list[str] = []
    letters = 0
    for name in names:
        if part and (len(part) == _MAX_NAMES or letters + len(name) > _MAX_CHARACTERS):
            yield part
            part, letters = [], 0
        part.append(name)
        letters += len(name)
    if part:
        yield part


def _pattern(names: Iterable[str]) -> str:
    return f"^(?:{'|'.join(map(re.escape, names))})$"


# ---- Envoy's response --------------------------------------------------------------------------------------------


class _Socket(msgspec.Struct, frozen=True):
    address: str = ""
    port_value: int = 0


class _Address(msgspec.Struct, frozen=True):
    socket_address: _Socket = _Socket()


class _Status(msgspec.Struct, frozen=True):
    failed_active_health_check: bool = False
    pending_active_hc: bool = False


class _Locality(msgspec.Struct, frozen=True):
    sub_zone: str = ""


class _Host(msgspec.Struct, frozen=True):
    address: _Address = _Address()
    hostname: str = ""
    health_status: _Status = _Status()
    locality: _Locality = _Locality()


class _ClusterStatus(msgspec.Struct, frozen=True):
    name: str
    host_statuses: list[_Host] = []


class _Clusters(msgspec.Struct, frozen=True):
    cluster_statuses: list[_ClusterStatus] = []


_BEST_FIRST: Final[tuple[HealthState, ...]] = ("healthy", "pending", "unhealthy")


def read_clusters(body: bytes) -> dict[str, dict[str, HealthState]]:
    """Parse the health check results in a response to ``GET /clusters?format=json``.

    An endpoint configured by host name appears under that name, with the best state among its addresses.

    Args:
        body: the response body.

    Returns:
        Cluster -> ``host:port`` -> state. Priority levels without health checks are left out.

    Raises:
        msgspec.MsgspecError: the response has an unexpected structure.

    """
    found: dict[str, dict[str, HealthState]] = {}
    for cluster in msgspec.json.decode(body, type=_Clusters).cluster_statuses:
        hosts = found[cluster.name] = {}
        for host in cluster.host_statuses:
            if host.locality.sub_zone != PROBED:
                continue
            status, place = host.health_status, host.address.socket_address
            state: HealthState = "unhealthy" if status.failed_active_health_check else "healthy"
            key = _key(host.hostname or place.address, place.port_value)
            hosts[key] = min(
                hosts.get(key, "unhealthy"), "pending" if status.pending_active_hc else state, key=_BEST_FIRST.index
            )
    return found


def _key(host: str, port: int) -> str:
    """Return ``host:port``; if the host is an IPv6 address, write it in its shortest form."""
    return f"{bracketed(ipaddress.ip_address(host).compressed if ':' in host else host)}:{port}"
