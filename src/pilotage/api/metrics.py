"""Provides Prometheus metrics. The current state is read at scrape time; only events are recorded as they happen."""

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
from pilotage.routes.support import refused_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.core import Metric

    from pilotage.core.problems import Problem
    from pilotage.discovery.manager import DiscoveryManager
    from pilotage.engine.http_response import EngineResponse

__all__ = ["CONTENT_TYPE", "CountingConnection", "GatewayState", "Metrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Content type of :meth:`Metrics.text`."""

_LAGS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class GatewayState(Protocol):
    """The state of the daemon's Envoy, as :class:`pilotage.gateway.process.GatewayStatus` reports it."""

    @property
    def state(self) -> str:
        """``ready`` while Envoy accepts requests, and any other text while it does not."""

    @property
    def restarts(self) -> int:
        """How often Envoy has been restarted."""


class Metrics:
    """The metrics of one daemon. They use a registry of their own, not the global one of prometheus-client.

    Attributes:
        registry: contains these metrics; callers may register further metrics.
        calls: (engine, endpoint) -> number of requests to this endpoint of the engine.
        nacks: how often an Envoy has rejected a route or a listener.

    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls: Counter[tuple[str, str]] = Counter()
        self.nacks = 0
        self._event_to_table = Histogram(
            "pilotage_event_to_table_seconds",
            "Time from an engine event to the table that reflects it.",
            buckets=_LAGS,
            registry=self.registry,
        )
        self._table_to_ack = Histogram(
            "pilotage_table_to_ack_seconds",
            "Time from a table change until every connected Envoy has accepted it.",
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
        """Register the metrics that are read from these sources at scrape time.

        Args:
            discovery: provides the engines and the route table.
            problems: returns all current problems.
            gateway: returns the state of the daemon's Envoy; ``None`` if the daemon runs no Envoy.
            reloads: result (``taken`` or ``refused``) -> number of configuration reloads with this result.

        """
        self.registry.register(_State(self, discovery, problems, gateway, reloads))

    def reached_table(self, seconds: float) -> None:
        """Record the time in seconds from an engine's event to the table that reflects it."""
        self._event_to_table.observe(seconds)

    def accepted(self, seconds: float) -> None:
        """Record the time in seconds from a table change until every connected Envoy has accepted it."""
        self._table_to_ack.observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self.registry)


class _State(Collector):
    """The metrics that :meth:`Metrics.watch` registers."""

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
        """Return no metrics. Otherwise, prometheus-client would call ``collect`` before there is any data."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics with their current values."""
        yield _gauge("pilotage_info", "Version of pilotage.", ["version"], {(__version__,): 1})
        yield from self._engines()
        yield from self._table()
        yield from self._gateway()
        yield _counter(
            "pilotage_engine_calls", "Requests to engines by endpoint.", ["engine", "endpoint"], self.metrics.calls
        )
        refused = {(): self.metrics.nacks}
        yield _counter("pilotage_nacks", "Routes and listeners that an Envoy rejected.", [], refused)
        reloads = {(result,): number for result, number in self.reloads.items()}
        yield _counter("pilotage_config_reloads", "Configuration reloads by result.", ["result"], reloads)

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
        yield _gauge(
            "pilotage_engine_up", "1 if the engine is connected and its containers are listed, else 0.", label, up
        )
        text = "Unix time of the last complete list of the engine's containers."
        yield _gauge("pilotage_engine_last_sync_timestamp_seconds", text, label, synced)
        yield _counter("pilotage_engine_events", "Events received from the engine.", label, events)
        yield _counter("pilotage_engine_reconnects", "Reconnections to the engine.", label, again)

    def _table(self) -> Iterator[Metric]:
        table = self.discovery.table
        routes = Counter({("served",): 0, ("excluded",): 0, ("refused",): 0, ("stale",): 0})
        problems = self.problems()
        refused = refused_settings(problems)
        away = {name for name, status in table.engines.items() if status.state == "stale"}
        for route in table.routes.values():
            if route.excluded:
                routes["excluded",] += 1
            elif route.alias in refused:
                routes["refused",] += 1
            else:
                routes["stale" if route.provider in away else "served",] += 1
        yield _gauge("pilotage_routes", "Routes by state.", ["state"], routes)
        yield _gauge(
            "pilotage_table_version",
            "Version of the route table; increases by one with each change.",
            [],
            {(): table.version},
        )
        found = Counter({("error",): 0, ("warning",): 0})
        found.update((problem.severity,) for problem in problems)
        yield _gauge("pilotage_problems", "Current problems by severity.", ["severity"], found)

    def _gateway(self) -> Iterator[Metric]:
        status = self.gateway()
        if status is None:
            return
        yield _gauge(
            "pilotage_gateway_up",
            "1 if the daemon's Envoy accepts requests, else 0.",
            [],
            {(): status.state == "ready"},
        )
        text = "Restarts of the daemon's Envoy."
        yield _counter("pilotage_gateway_restarts", text, [], {(): status.restarts})
        probed = Counter({("healthy",): 0, ("unhealthy",): 0, ("pending",): 0})
        for health in self.discovery.table.health.values():
            probed.update((found.state,) for found in health.values())
        text = "Endpoints with health checks by state, counted once per route."
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
    """A connection for ``Pool(connect=…)`` that counts requests by engine and endpoint, in ``calls``."""

    calls: Counter[tuple[str, str]]

    async def call(
        self, engine: str, method: str, path: str, query: Mapping[str, str] | None = None, **limits: Any
    ) -> bytes:
        """Count and send a request; see :meth:`Connection.call`."""
        self.calls[engine, endpoint(path, query or {})] += 1
        return await super().call(engine, method, path, query, **limits)

    async def stream(self, engine: str, path: str, query: Mapping[str, str], **limits: Any) -> EngineResponse:
        """Count and open a streaming request; see :meth:`Connection.stream`."""
        self.calls[engine, endpoint(path, query)] += 1
        return await super().stream(engine, path, query, **limits)


def endpoint(path: str, query: Mapping[str, str]) -> str:
    """Return an endpoint's name in metrics: ``list``, ``list:id`` (with filters), ``inspect``, ``events`` …."""
    if path == "/containers/json":
        return "list:id" if "filters" in query else "list"
    named = _OF_A_CONTAINER.fullmatch(path)
    if named:
        return "inspect" if named[1] == "json" else named[1]
    return path.strip("/_")
