"""6a. What Envoy's probes find out, brought back into the table.

Envoy itself probes, for it has to know before anybody else where requests may go; but it tells nobody. So its
administration is asked: about clusters with probes alone, while there are any, and for a small share of its time. What
it says goes into the table beside the routes, never into them: an endpoint that fails has to stay in its cluster, or it
would never be probed again.
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
from pilotage.table.table import Table
from pilotage.xds.clusters import PROBED, is_probed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pilotage.discovery.manager import Update
    from pilotage.gateway.process import GatewayStatus
    from pilotage.routes.route import HealthState, Route
    from pilotage.xds.backend import Site

__all__ = ["EnvoyAdmin", "HealthPoller", "read_clusters"]

log = logging.getLogger(__name__)

_SOON: Final = 0.25
_LATEST: Final = 5.0
_NEW: Final = 5.0
"""Seconds between two looks: the shortest interval of probes, but at most ``_LATEST``; ``_SOON`` while something has
waited for its first result for less than ``_NEW``."""
_WATCHFUL: Final = 1.0  # seconds until an Envoy that has ended is noticed
_REST: Final = 20  # after each look so many times as long as it took: Envoy's main thread has other things to do
_MOST_NAMES: Final = 200  # clusters in one look, which takes Envoy about 10 ms; meanwhile it takes no changes
_MOST_LETTERS: Final = 16_000  # of a pattern; Envoy takes no more than 60 kB of headers


class EnvoyAdmin(Protocol):
    """The Envoy that probes."""

    @property
    def status(self) -> GatewayStatus:
        """How it is now."""

    async def clusters(self, pattern: str) -> bytes:
        """Return how its clusters are; see :meth:`pilotage.gateway.process.Gateway.clusters`."""


class _Cluster(msgspec.Struct, frozen=True):
    """A cluster with probes.

    Attributes:
        interval: seconds between two probes of an endpoint.
        patience: seconds that an endpoint's last result holds while its cluster is being replaced: until Envoy has
            probed it in the new one, and we have looked.
        endpoints: alias -> those of its endpoints that are in the cluster; several aliases if it is a pool's.

    """

    interval: float
    patience: float
    endpoints: dict[str, tuple[Endpoint, ...]]


class _Finding(msgspec.Struct, frozen=True):
    """What is known about an endpoint.

    Attributes:
        health: as it is told.
        container_id: of which container.
        at: the loop's time when Envoy last said so; while it is pending, when that began.

    """

    health: EndpointHealth
    container_id: str
    at: float


class HealthPoller:
    """Follows what one Envoy's probes find. :meth:`follow` every change of the table, with :meth:`run` in a task.

    Args:
        envoy: which probes.
        site: returns the site of a cluster, as Envoys have last been told; ``None`` if there is none of that name.
        tell: is given what is new: alias -> address -> health, of all the alias's endpoints that are probed.

    """

    def __init__(
        self,
        envoy: EnvoyAdmin,
        site: Callable[[str], Site | None],
        tell: Callable[[Mapping[str, Mapping[str, EndpointHealth]]], object],
    ) -> None:
        self._envoy = envoy
        self._site = site
        self._tell = tell
        self._cluster_of: dict[str, str] = {}
        self._aliases: dict[str, set[str]] = {}
        self._clusters: dict[str, _Cluster] = {}
        self._known: dict[str, dict[str, _Finding]] = {}
        self._pid = 0
        self._puzzled = False
        self._news = asyncio.Event()

    # ---- which endpoints are probed

    def follow(self, news: Update | Table) -> None:
        """Take note of a table, or of what changed in it, after Envoys have been told."""
        if isinstance(news, Table):
            table, aliases = news, {*self._cluster_of, *news.routes}
        else:
            table = news.new
            aliases = {change.alias for change in news.changes if change.alias and change.kind != "health"}
        touched: set[str] = set()
        for alias in aliases:
            touched |= self._note(alias, table.routes.get(alias))
        found: dict[str, dict[str, EndpointHealth]] = {}
        for cluster in touched:
            for alias, endpoints in self._track(cluster, table).items():
                found[alias] = self._expect(alias, endpoints)
        for alias in aliases & self._known.keys():
            if alias not in self._cluster_of:
                del self._known[alias]
                found[alias] = {}
        if found:
            self._tell(found)
            self._news.set()

    def _note(self, alias: str, route: Route | None) -> set[str]:
        """Note in which cluster an alias's endpoints are probed; return the clusters that this concerns."""
        before = self._cluster_of.pop(alias, "")
        now = ""
        if before:
            self._aliases[before].discard(alias)
        if route is not None and route.probed:
            link = route.settings.load_balance.link
            now = self._cluster_of[alias] = f"pool/{link}" if link else f"route/{alias}"
            self._aliases.setdefault(now, set()).add(alias)
        return {before, now} - {""}

    def _track(self, name: str, table: Table) -> dict[str, tuple[Endpoint, ...]]:
        """Look which endpoints a cluster has; return them by alias, those without any too."""
        aliases = self._aliases[name]
        if not aliases:
            del self._aliases[name]
        site = self._site(name)
        members = {member.endpoint for member in site.members} if site is not None and is_probed(site) else set()
        found = {alias: tuple(e for e in table.routes[alias].endpoints if e in members) for alias in aliases}
        if site is None or not any(found.values()):
            self._clusters.pop(name, None)
        else:
            check = site.route.settings.healthcheck
            patience = check.timeout + 2 * _LATEST
            self._clusters[name] = _Cluster(check.interval, patience, {a: e for a, e in found.items() if e})
        return found

    def _expect(self, alias: str, endpoints: Iterable[Endpoint]) -> dict[str, EndpointHealth]:
        """Keep what is known about an alias's endpoints, and expect results of the others."""
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

    # ---- what became of it

    async def run(self) -> None:
        """Ask Envoy again and again, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            self._news.clear()
            for names in _parts(sorted(self._clusters)):
                asked = loop.time()
                await self._look(names)
                await asyncio.sleep(_REST * (loop.time() - asked))
            if await self._news_before(began + self._pace() if self._clusters else None):
                await asyncio.sleep(_SOON)  # a new cluster has no results yet, and others may be coming

    async def _news_before(self, due: float | None) -> bool:
        """Wait for other clusters or another Envoy; return whether there was such news before the next look is due."""
        while True:
            soon = asyncio.get_running_loop().time() + _WATCHFUL
            try:
                async with asyncio.timeout_at(due if due is None else min(due, soon)):
                    await self._news.wait()
            except TimeoutError:
                if self._envoy.status.pid == self._pid and due is not None and soon < due:
                    continue
                return False
            return True

    def _pace(self) -> float:
        """Return how many seconds after a look the next one is due."""
        recent = asyncio.get_running_loop().time() - _NEW
        for findings in self._known.values():
            if any(finding.health.state == "pending" and finding.at > recent for finding in findings.values()):
                return _SOON
        return min(_LATEST, *(cluster.interval for cluster in self._clusters.values()))

    async def _look(self, names: list[str]) -> None:
        pid = self._envoy.status.pid
        try:
            said = read_clusters(await self._envoy.clusters(_pattern(names)))
        except GatewayError:
            said = None
        except msgspec.MsgspecError as error:
            said = None
            if not self._puzzled:
                log.warning("what Envoy says about its probes cannot be understood, so nobody learns it: %s", error)
            self._puzzled = True
        now = self._envoy.status.pid
        if now != self._pid:  # what its predecessor found is not known to be true any more
            self._pid = now
            self._forget()
        if said is None or pid != now:
            return
        found: dict[str, dict[str, EndpointHealth]] = {}
        for name in names:
            cluster = self._clusters.get(name)  # it may have gone meanwhile
            if cluster is None:
                continue
            for alias, endpoints in cluster.endpoints.items():
                if self._judge(alias, endpoints, said.get(name, {}), cluster.patience):
                    found[alias] = self._now(alias)
        if found:
            self._tell(found)

    def _judge(
        self, alias: str, endpoints: Iterable[Endpoint], said: Mapping[str, HealthState], patience: float
    ) -> bool:
        """Take what Envoy said about an alias's endpoints; return whether it differs from what was known."""
        known, now, differs = self._known[alias], asyncio.get_running_loop().time(), False
        for endpoint in endpoints:
            finding = known[endpoint.address]
            state = said.get(_key(endpoint.host, endpoint.port), "pending")
            if state == "pending" and (finding.health.state == "pending" or now - finding.at < patience):
                continue
            health = finding.health
            if state != health.state:
                health, differs = EndpointHealth(state, time.time()), True
            known[endpoint.address] = _Finding(health, finding.container_id, now)
        return differs

    def _forget(self) -> None:
        """Begin anew: nothing has been probed yet."""
        found = {}
        for alias, findings in self._known.items():
            if any(finding.health.state != "pending" for finding in findings.values()):
                self._known[alias] = {address: _pending(it.container_id) for address, it in findings.items()}
                found[alias] = self._now(alias)
        if found:
            self._tell(found)

    def _now(self, alias: str) -> dict[str, EndpointHealth]:
        return {address: finding.health for address, finding in self._known[alias].items()}


def _pending(container_id: str) -> _Finding:
    return _Finding(EndpointHealth("pending", time.time()), container_id, asyncio.get_running_loop().time())


def _parts(names: list[str]) -> Iterator[list[str]]:
    """Divide names into as many as one look may ask about."""
    part: list[str] = []
    letters = 0
    for name in names:
        if part and (len(part) == _MOST_NAMES or letters + len(name) > _MOST_LETTERS):
            yield part
            part, letters = [], 0
        part.append(name)
        letters += len(name)
    if part:
        yield part


def _pattern(names: Iterable[str]) -> str:
    return f"^(?:{'|'.join(map(re.escape, names))})$"


# ---- what Envoy says -----------------------------------------------------------------------------------------------


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
    """Read what ``/clusters?format=json`` says about probes.

    An endpoint that is given by name is known by it, and is as well as the best of its addresses.

    Args:
        body: the answer.

    Returns:
        Cluster -> ``host:port`` -> state. A cluster that Envoy uses for want of one that has been probed says nothing.

    Raises:
        msgspec.MsgspecError: it is of another shape.

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
    """Return ``host:port``; an IPv6 address may be written in several ways, and is made the shortest."""
    return f"{bracketed(ipaddress.ip_address(host).compressed if ':' in host else host)}:{port}"
