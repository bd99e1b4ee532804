"""Implements the xDS control plane: builds the configuration of each Envoy and delivers it over streams.

A route table and the gateway's settings go in; Envoy resources, Envoy's bootstrap and problems of routes come out.
It must not read labels, contact engines, start processes, or know the daemon and its configuration files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.xds.backend import Backend
    from pilotage.xds.bootstrap import build_bootstrap
    from pilotage.xds.capabilities import check_capabilities
    from pilotage.xds.clusters import GRPC_SUFFIX, PROBED, SHARED, is_probed
    from pilotage.xds.filters import FOUND
    from pilotage.xds.load_reports import LoadReports
    from pilotage.xds.options import CertificateFiles, GatewayOptions
    from pilotage.xds.overload import Limits, limits_for
    from pilotage.xds.resources import Key
    from pilotage.xds.route_stats import STATS
    from pilotage.xds.server import AdsServer
    from pilotage.xds.target_guard import TargetGuard

__all__ = [
    "FOUND",
    "GRPC_SUFFIX",
    "PROBED",
    "SHARED",
    "STATS",
    "AdsServer",
    "Backend",
    "CertificateFiles",
    "GatewayOptions",
    "Key",
    "Limits",
    "LoadReports",
    "TargetGuard",
    "build_bootstrap",
    "check_capabilities",
    "is_probed",
    "limits_for",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "AdsServer": "server",
        "Backend": "backend",
        "CertificateFiles": "options",
        "GatewayOptions": "options",
        "Key": "resources",
        "Limits": "overload",
        "FOUND": "filters",
        "GRPC_SUFFIX": "clusters",
        "LoadReports": "load_reports",
        "PROBED": "clusters",
        "TargetGuard": "target_guard",
        "SHARED": "clusters",
        "STATS": "route_stats",
        "check_capabilities": "capabilities",
        "build_bootstrap": "bootstrap",
        "is_probed": "clusters",
        "limits_for": "overload",
    },
)
