"""Serves the daemon's HTTP API, Prometheus metrics, and the snapshot for commands.

The table, the problems and the state of engines and Envoy go in; JSON, events and metrics on sockets come out.
It must not change anything that it reports, and must not import the gateway, the daemon or the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.api.certificates import CertificateMetrics
    from pilotage.api.envoys import EnvoyMetrics
    from pilotage.api.history import ChangeHistory
    from pilotage.api.listen import Listen, parse_listen, port_error
    from pilotage.api.metrics import CountingConnection, Metrics
    from pilotage.api.server import Api
    from pilotage.api.snapshot import SNAPSHOT_PATH, Snapshot, socket_candidates, unpack

__all__ = [
    "SNAPSHOT_PATH",
    "Api",
    "CertificateMetrics",
    "ChangeHistory",
    "CountingConnection",
    "EnvoyMetrics",
    "Listen",
    "Metrics",
    "Snapshot",
    "parse_listen",
    "port_error",
    "socket_candidates",
    "unpack",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "CertificateMetrics": "certificates",
        "ChangeHistory": "history",
        "EnvoyMetrics": "envoys",
        "Listen": "listen",
        "parse_listen": "listen",
        "port_error": "listen",
        "SNAPSHOT_PATH": "snapshot",
        "Snapshot": "snapshot",
        "socket_candidates": "snapshot",
        "unpack": "snapshot",
        "CountingConnection": "metrics",
        "Metrics": "metrics",
        "Api": "server",
    },
)
