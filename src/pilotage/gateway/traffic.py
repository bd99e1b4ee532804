"""Reads request statistics of each route from Envoy's metrics, its endpoints and its load reports.

The statistics are read only on demand, and at most once a second, because reading takes time on Envoy's main thread:
about 70 µs for each route that has had requests.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from pilotage.core.addresses import is_address
from pilotage.core.errors import GatewayError
from pilotage.routes.route import bracketed
from pilotage.table.traffic import RouteTraffic
from pilotage.xds.clusters import GRPC_SUFFIX, SHARED
from pilotage.xds.filters import FOUND
from pilotage.xds.route_stats import STATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pilotage.xds.backend import Backend
    from pilotage.xds.load_reports import LoadReports

__all__ = ["TrafficAdmin", "TrafficReader"]

log = logging.getLogger(__name__)

_FRESH: Final = 1.0
_SLICE: Final = 2000  # lines that are parsed before other tasks run
_WANTED: Final = rf"^(?:{STATS}\.|vhost\..*\.upstream_rq_total$)"
_NOTHING: Final = "^$"
_SAMPLE: Final = re.compile(r"envoy_(\w+)\{(.*)\} ([\d.e+-]+)")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class TrafficAdmin(Protocol):
    """The admin interface of the daemon's Envoy."""

    async def prometheus(self, pattern: str) -> bytes:
        """Return Envoy's metrics; see :meth:`pilotage.gateway.process.Gateway.prometheus`."""

    async def clusters(self, pattern: str) -> bytes:
        """Return the state of Envoy's clusters; see :meth:`pilotage.gateway.process.Gateway.clusters`."""


class TrafficReader:
    """Reads the statistics about the requests of all routes.

    Args:
        envoy: the daemon's Envoy; ``None`` if the daemon runs none, so that only the load reports are used.
        loads: the load reports of all Envoys.
        backend: returns the backend of a cluster; ``None`` if there is no such cluster.

    """

    def __init__(
        self, envoy: TrafficAdmin | None, loads: LoadReports, backend: Callable[[str], Backend | None]
    ) -> None:
        self._envoy = envoy
        self._loads = loads
        self._backend = backend
        self._last: dict[str, RouteTraffic] = {}
        self._read_at = -_FRESH
        self._lock = asyncio.Lock()

    async def read(self) -> dict[str, RouteTraffic]:
        """Return name -> statistics of routes and pools that had requests; ``{}`` if Envoy does not respond."""
        async with self._lock:
            if asyncio.get_running_loop().time() - self._read_at >= _FRESH:
                try:
                    self._last = await self._read()
                except GatewayError:
                    self._last = {}
                except (msgspec.MsgspecError, ValueError) as error:
                    self._last = {}
                    log.debug("cannot read the statistics of this Envoy version: %s", error)
                self._read_at = asyncio.get_running_loop().time()
            return self._last

    async def _read(self) -> dict[str, RouteTraffic]:
        found: dict[str, RouteTraffic] = {}
        shared: dict[str, int] = {}
        if self._envoy is not None:
            await self._envoy.prometheus(_NOTHING)  # makes Envoy merge its threads' histograms, for the next request
            text = (await self._envoy.prometheus(_WANTED)).decode(errors="replace")
            shared = _active(await self._envoy.clusters(f"^(?:{'|'.join(map(re.escape, SHARED.values()))})(?:/.*)?$"))
            parser = _Parser()
            for number, line in enumerate(text.splitlines(), 1):
                parser.add(line)
                if not number % _SLICE:
                    await asyncio.sleep(0)
            for name in parser.names:
                backend = self._backend(f"route/{name}") or self._backend(f"pool/{name}")
                if backend is not None:
                    found[name] = parser.traffic(name, self._in_progress(backend, shared))
        for name, backend in self._reported():
            if name not in found and (self._envoy is None or backend.route.is_stream):
                load = self._loads.load(backend.cluster) + self._loads.load(backend.cluster + GRPC_SUFFIX)
                found[name] = RouteTraffic(requests=load.issued, errors=load.failed, in_progress=load.in_progress)
        return {name: found[name] for name in sorted(found)}

    def _reported(self) -> Iterator[tuple[str, Backend]]:
        """Yield name and backend of each cluster in the load reports."""
        for cluster in dict.fromkeys(name for report in self._loads.reports for name in report.loads):
            backend = self._backend(cluster)
            if backend is not None:
                yield backend.name, backend

    def _in_progress(self, backend: Backend, shared: dict[str, int]) -> int:
        if backend.backing == "shared":
            return sum(shared.get(member.endpoint.address, 0) for member in backend.members)
        loads = (self._loads.load(backend.cluster), self._loads.load(backend.cluster + GRPC_SUFFIX))
        return sum(load.in_progress for load in loads)


class _Parser:
    """Parses Envoy's metrics in Prometheus's text format."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._counts: dict[tuple[str, str], float] = {}
        self._buckets: dict[str, dict[float, int]] = {}

    def add(self, line: str) -> None:
        """Add the value in one line to the statistics of its route; ignore lines about anything else."""
        sample = _SAMPLE.fullmatch(line)
        if sample is None:
            return
        kind, labels, value = sample[1], dict(_LABEL.findall(sample[2])), float(sample[3])
        if not value:
            return
        name = labels.get("envoy_virtual_cluster") or labels.get("route") or labels.get("direct", "")
        if name in ("", FOUND):
            return
        self.names.add(name)
        if kind.endswith("_bucket"):
            bound = float(labels["le"]) / 1000
            self._buckets.setdefault(name, {})[bound] = int(value)
            return
        if kind.endswith(("errors", "unsent")) and not labels.get("route"):
            kind = "direct"
        key = (kind.rpartition("_")[2], name)
        self._counts[key] = self._counts.get(key, 0) + value

    def traffic(self, name: str, in_progress: int) -> RouteTraffic:
        """Return the statistics of the route or pool with this name."""
        count = {kind: self._counts.get((kind, name), 0.0) for kind in ("total", "errors", "unsent", "direct")}
        direct = int(count["direct"])
        return RouteTraffic(
            requests=int(count["total"] + count["unsent"]) + direct,
            errors=int(count["errors"]) + direct,
            in_progress=in_progress,
            measured=int(self._counts.get(("count", name), 0)),
            duration_sum=self._counts.get(("sum", name), 0.0) / 1000,
            durations=self._buckets.get(name, {}),
        )


class _Value(msgspec.Struct, frozen=True):
    name: str = ""
    value: str = "0"


class _Socket(msgspec.Struct, frozen=True):
    address: str = ""
    port_value: int = 0


class _Address(msgspec.Struct, frozen=True):
    socket_address: _Socket = _Socket()


class _Host(msgspec.Struct, frozen=True):
    address: _Address = _Address()
    stats: list[_Value] = []


class _Cluster(msgspec.Struct, frozen=True):
    host_statuses: list[_Host] = []


class _Clusters(msgspec.Struct, frozen=True):
    cluster_statuses: list[_Cluster] = []


def _active(body: bytes) -> dict[str, int]:
    """Return endpoint address -> number of active requests, from a response to ``GET /clusters?format=json``."""
    found: dict[str, int] = {}
    for cluster in msgspec.json.decode(body, type=_Clusters).cluster_statuses:
        for host in cluster.host_statuses:
            place = host.address.socket_address
            address = f"{bracketed(place.address) if is_address(place.address) else place.address}:{place.port_value}"
            active = sum(int(it.value) for it in host.stats if it.name == "rq_active")
            found[address] = found.get(address, 0) + active
    return found
