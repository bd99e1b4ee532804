"""Figures for Prometheus. What can be read off the table is read when somebody asks; only events are counted."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Protocol

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from pilotage import __version__
from pilotage.engine.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import aiohttp
    from prometheus_client.core import Metric

    from pilotage.core.problems import Problem
    from pilotage.discovery.manager import DiscoveryManager

__all__ = ["CONTENT_TYPE", "CountingConnection", "GatewayState", "Metrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Of what :meth:`Metrics.text` returns."""

_LAGS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class GatewayState(Protocol):
    """State of an Envoy, as :class:`pilotage.gateway.process.GatewayStatus` reports it."""

    @property
    def state(self) -> str:
        """``ready`` while it accepts requests."""

    @property
    def restarts(self) -> int:
        """Number of restarts."""


class Metrics:
    """The figures of one daemon. Nothing is shared with other users of prometheus-client in the process.

    Attributes:
        registry: holds them all; more may be registered.
        calls: (engine, endpoint) -> how often it was called.
        refusals: how often an Envoy refused a route or a listener.

    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls: Counter[tuple[str, str]] = Counter()
        self.refusals = 0
        self._event_to_table = Histogram(
            "pilotage_event_to_table_seconds",
            "From an engine's event to the table that reflects it.",
            buckets=_LAGS,
            registry=self.registry,
        )
        self._table_to_ack = Histogram(
            "pilotage_table_to_ack_seconds",
            "From a change of the table to its acceptance by every connected Envoy.",
            buckets=_LAGS,
            registry=self.registry,
        )

    def watch(
        self,
        discovery: DiscoveryManager,
        *,
        problems: Callable[[], tuple[Problem, ...]],
        gateway: Callable[[], GatewayState | None],
        reloads: Mapping[str, int],
    ) -> None:
        """Read the other figures off these whenever somebody asks for the text.

        Args:
            discovery: engines and table.
            problems: everything that is wrong now.
            gateway: how the Envoy is, ``None`` where there is none of ours.
            reloads: ``taken`` and ``refused`` -> how often the configuration was.

        """
        self.registry.register(_State(self, discovery, problems, gateway, reloads))

    def reached_table(self, seconds: float) -> None:
        """Count one change of the table and how long after its event it came."""
        self._event_to_table.observe(seconds)

    def accepted(self, seconds: float) -> None:
        """Count one acceptance by Envoy and how long after the table's change it came."""
        self._table_to_ack.observe(seconds)

    def text(self) -> bytes:
        """Return all figures in Prometheus's text format."""
        return generate_latest(self.registry)


class _State(Collector):
    """What is true at this moment."""

    def __init__(
        self,
        metrics: Metrics,
        discovery: DiscoveryManager,
        problems: Callable[[], tuple[Problem, ...]],
        gateway: Callable[[], GatewayState | None],
        reloads: Mapping[str, int],
    ) -> None:
        self.metrics = metrics
        self.discovery = discovery
        self.problems = problems
        self.gateway = gateway
        self.reloads = reloads

    def describe(self) -> list[Metric]:
        """Return nothing: asking for the names would mean collecting before there is anything."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every figure."""
        yield _gauge("pilotage_info", "Which pilotage this is.", ["version"], {(__version__,): 1})
        yield from self._engines()
        yield from self._table()
        yield from self._gateway()
        yield _counter(
            "pilotage_engine_calls", "Requests to engines, by endpoint.", ["engine", "endpoint"], self.metrics.calls
        )
        refused = {(): self.metrics.refusals}
        yield _counter("pilotage_nacks", "How often an Envoy refused a route or a setting.", [], refused)
        reloads = {(result,): number for result, number in self.reloads.items()}
        yield _counter("pilotage_config_reloads", "Changed configurations, by what came of them.", ["result"], reloads)

    def _engines(self) -> Iterator[Metric]:
        up: dict[tuple[str], float] = {}
        synced: dict[tuple[str], float] = {}
        events: dict[tuple[str], float] = {}
        again: dict[tuple[str], float] = {}
        now, clock = time.time(), time.monotonic()
        for name, status in self.discovery.table.engines.items():
            watcher = self.discovery.watcher(name)
            up[(name,)] = status.state == "live"
            events[(name,)] = watcher.events
            again[(name,)] = max(watcher.sessions - 1, 0)
            if watcher.listed_at:
                synced[(name,)] = now - (clock - watcher.listed_at)
        label = ["engine"]
        yield _gauge("pilotage_engine_up", "1 while the engine is connected and has been listed.", label, up)
        text = "When the engine's containers were last listed completely, seconds since 1970."
        yield _gauge("pilotage_engine_last_sync_timestamp_seconds", text, label, synced)
        yield _counter("pilotage_engine_events", "Events read.", label, events)
        yield _counter("pilotage_engine_reconnects", "How often the engine was connected again.", label, again)

    def _table(self) -> Iterator[Metric]:
        table = self.discovery.table
        routes = Counter({("served",): 0, ("excluded",): 0, ("stale",): 0})
        away = {name for name, status in table.engines.items() if status.state == "stale"}
        for route in table.routes.values():
            if route.excluded:
                routes["excluded",] += 1
            else:
                routes["stale" if route.provider in away else "served",] += 1
        yield _gauge("pilotage_routes", "Routes by state.", ["state"], routes)
        yield _gauge("pilotage_table_version", "Grows by one with each change of the table.", [], {(): table.version})
        found = Counter({("error",): 0, ("warning",): 0})
        found.update((problem.severity,) for problem in self.problems())
        yield _gauge("pilotage_problems", "What is wrong now, by severity.", ["severity"], found)

    def _gateway(self) -> Iterator[Metric]:
        status = self.gateway()
        if status is None:
            return
        yield _gauge("pilotage_gateway_up", "1 while our Envoy takes requests.", [], {(): status.state == "ready"})
        text = "How often our Envoy was started again."
        yield _counter("pilotage_gateway_restarts", text, [], {(): status.restarts})
        probed = Counter({("healthy",): 0, ("unhealthy",): 0, ("pending",): 0})
        for health in self.discovery.table.health.values():
            probed.update((found.state,) for found in health.values())
        text = "Endpoints that our Envoy probes, by what it finds; those of several routes count for each."
        yield _gauge("pilotage_probed_endpoints", text, ["state"], probed)


def _gauge(name: str, text: str, labels: list[str], values: Mapping[Any, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(name: str, text: str, labels: list[str], values: Mapping[Any, float]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


# ---- requests to engines -------------------------------------------------------------------------------------------

_OF_A_CONTAINER: Final = re.compile(r"/containers/[^/]+/(\w+)")


class CountingConnection(Connection):
    """A connection that counts requests by endpoint, for ``Pool(connect=…)``."""

    calls: Counter[tuple[str, str]]

    async def call(
        self, engine: str, method: str, path: str, query: Mapping[str, str] | None = None, **limits: Any
    ) -> bytes:
        """Make a request; see :meth:`Connection.call`."""
        self.calls[engine, endpoint(path, query or {})] += 1
        return await super().call(engine, method, path, query, **limits)

    async def stream(self, engine: str, path: str, query: Mapping[str, str], **limits: Any) -> aiohttp.ClientResponse:
        """Start a request without end; see :meth:`Connection.stream`."""
        self.calls[engine, endpoint(path, query)] += 1
        return await super().stream(engine, path, query, **limits)


def endpoint(path: str, query: Mapping[str, str]) -> str:
    """Return what is asked for in one word: ``list``, ``list:id``, ``inspect``, ``events``, ``ping``, ``stop`` …."""
    if path == "/containers/json":
        return "list:id" if "filters" in query else "list"
    named = _OF_A_CONTAINER.fullmatch(path)
    if named:
        return "inspect" if named[1] == "json" else named[1]
    return path.strip("/_")
