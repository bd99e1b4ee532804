"""Serves the daemon's HTTP API, Prometheus metrics, and the snapshot for commands.

The table, the problems and the state of engines and Envoy go in; JSON, events and metrics on sockets come out.
It must not change anything that it reports, and must not import the gateway, the daemon or the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.api.access import Refusal, client_of, is_from_socket
    from pilotage.api.certificates import CertificateMetrics
    from pilotage.api.connections import receiving
    from pilotage.api.details import ProblemDetail, RouteDetail, route_detail, route_source
    from pilotage.api.engines import describe_engines
    from pilotage.api.envoys import EnvoyMetrics
    from pilotage.api.gateway_entry import ENTRY, ENTRY_HEADER
    from pilotage.api.history import ChangeHistory
    from pilotage.api.listen import Listen, parse_listen, port_error
    from pilotage.api.metrics import CountingConnection, Metrics
    from pilotage.api.routes import RouteEntry, RouteFilter, RouteIndex, words_of
    from pilotage.api.server import Api
    from pilotage.api.snapshot import SNAPSHOT_PATH, Snapshot, socket_candidates, unpack
    from pilotage.api.source import Source
    from pilotage.api.table_updates import LENGTH, UPDATES_PATH, TableCopy

__all__ = [
    "ENTRY",
    "ENTRY_HEADER",
    "LENGTH",
    "SNAPSHOT_PATH",
    "UPDATES_PATH",
    "Api",
    "CertificateMetrics",
    "ChangeHistory",
    "CountingConnection",
    "EnvoyMetrics",
    "Listen",
    "Metrics",
    "ProblemDetail",
    "Refusal",
    "RouteDetail",
    "RouteEntry",
    "RouteFilter",
    "RouteIndex",
    "Snapshot",
    "Source",
    "TableCopy",
    "client_of",
    "describe_engines",
    "is_from_socket",
    "parse_listen",
    "port_error",
    "receiving",
    "route_detail",
    "route_source",
    "socket_candidates",
    "unpack",
    "words_of",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "ENTRY": "gateway_entry",
        "client_of": "access",
        "ENTRY_HEADER": "gateway_entry",
        "RouteDetail": "details",
        "ProblemDetail": "details",
        "RouteIndex": "routes",
        "receiving": "connections",
        "words_of": "routes",
        "RouteFilter": "routes",
        "route_source": "details",
        "route_detail": "details",
        "describe_engines": "engines",
        "Source": "source",
        "is_from_socket": "access",
        "Refusal": "access",
        "RouteEntry": "routes",
        "CertificateMetrics": "certificates",
        "ChangeHistory": "history",
        "EnvoyMetrics": "envoys",
        "Listen": "listen",
        "parse_listen": "listen",
        "port_error": "listen",
        "LENGTH": "table_updates",
        "SNAPSHOT_PATH": "snapshot",
        "TableCopy": "table_updates",
        "UPDATES_PATH": "table_updates",
        "Snapshot": "snapshot",
        "socket_candidates": "snapshot",
        "unpack": "snapshot",
        "CountingConnection": "metrics",
        "Metrics": "metrics",
        "Api": "server",
    },
)
