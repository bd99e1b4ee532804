"""From running containers to working routes.

The names exported here are the public library; all other modules are implementation. Names are imported on first use,
so ``import pilotage`` is fast and reading labels needs no network code.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.containers import (
        Container,
        ContainerImage,
        dependencies,
        docker_compose_project,
        docker_compose_service,
        from_docker,
        is_blacklisted,
    )
    from pilotage.core.errors import (
        ConfigError,
        EngineError,
        EngineIncompatible,
        EngineRefused,
        EngineUnreachable,
        PilotageError,
    )
    from pilotage.core.problems import Problem
    from pilotage.discovery.files import read_files
    from pilotage.discovery.inspect import update_ports
    from pilotage.discovery.manager import DiscoveryManager, discover
    from pilotage.discovery.scan import ScanResult, scan_all, scan_engine
    from pilotage.discovery.timing import Timing
    from pilotage.discovery.update import Update
    from pilotage.engine.config import DockerProviderConfig, TLSFiles
    from pilotage.engine.contexts import default_engine
    from pilotage.engine.pool import Pool, SharedClient, clients, close_default_pool, new_client
    from pilotage.labels.container_options import IdleConfig
    from pilotage.routes.build import Built, build_routes
    from pilotage.routes.file import RouteFile
    from pilotage.routes.route import Endpoint, EndpointHealth, Route
    from pilotage.table.diff import Change
    from pilotage.table.snapshot import EngineSnapshot
    from pilotage.table.store import build_table
    from pilotage.table.table import Table

__version__ = "0.1.0"

_load, __dir__ = lazy_exports(
    __name__,
    {
        "Built": "routes.build",
        "Change": "table.diff",
        "ConfigError": "core.errors",
        "Container": "containers",
        "ContainerImage": "containers",
        "DiscoveryManager": "discovery.manager",
        "DockerProviderConfig": "engine.config",
        "Endpoint": "routes.route",
        "EndpointHealth": "routes.route",
        "EngineError": "core.errors",
        "EngineIncompatible": "core.errors",
        "EngineRefused": "core.errors",
        "EngineSnapshot": "table.snapshot",
        "EngineUnreachable": "core.errors",
        "IdleConfig": "labels.container_options",
        "PilotageError": "core.errors",
        "Pool": "engine.pool",
        "Problem": "core.problems",
        "Route": "routes.route",
        "RouteFile": "routes.file",
        "ScanResult": "discovery.scan",
        "SharedClient": "engine.pool",
        "TLSFiles": "engine.config",
        "Table": "table.table",
        "Timing": "discovery.timing",
        "Update": "discovery.update",
        "build_routes": "routes.build",
        "build_table": "table.store",
        "clients": "engine.pool",
        "close_default_pool": "engine.pool",
        "default_engine": "engine.contexts",
        "dependencies": "containers",
        "discover": "discovery.manager",
        "docker_compose_project": "containers",
        "docker_compose_service": "containers",
        "from_docker": "containers",
        "is_blacklisted": "containers",
        "new_client": "engine.pool",
        "read_files": "discovery.files",
        "scan_all": "discovery.scan",
        "scan_engine": "discovery.scan",
        "update_ports": "discovery.inspect",
    },
)

_RENAMED = {
    "Discovery": "DiscoveryManager",
    "Roster": "EngineSnapshot",
    "Survey": "ScanResult",
    "survey_all": "scan_all",
    "survey_engine": "scan_engine",
}
"""Deprecated name -> name. The deprecated ones go with 1.0."""

__all__ = [
    "Built",
    "Change",
    "ConfigError",
    "Container",
    "ContainerImage",
    "DiscoveryManager",
    "DockerProviderConfig",
    "Endpoint",
    "EndpointHealth",
    "EngineError",
    "EngineIncompatible",
    "EngineRefused",
    "EngineSnapshot",
    "EngineUnreachable",
    "IdleConfig",
    "PilotageError",
    "Pool",
    "Problem",
    "Route",
    "RouteFile",
    "ScanResult",
    "SharedClient",
    "TLSFiles",
    "Table",
    "Timing",
    "Update",
    "__version__",
    "build_routes",
    "build_table",
    "clients",
    "close_default_pool",
    "default_engine",
    "dependencies",
    "discover",
    "docker_compose_project",
    "docker_compose_service",
    "from_docker",
    "is_blacklisted",
    "new_client",
    "read_files",
    "scan_all",
    "scan_engine",
    "update_ports",
]


def __getattr__(name: str) -> Any:
    current = _RENAMED.get(name)
    if current is None:
        return _load(name)
    warnings.warn(f"pilotage.{name} is now called pilotage.{current}", DeprecationWarning, stacklevel=2)
    return _load(current)
