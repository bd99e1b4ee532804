"""From running containers to working routes.

The names here are the library; everything else is how it is done. Names are imported when they are first used, so that
``import pilotage`` is quick and reading labels needs no network code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.containers import (
        Container,
        ContainerImage,
        IdleConfig,
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
    from pilotage.discovery.manager import Discovery, Update, discover
    from pilotage.discovery.scan import Survey, survey_all, survey_engine, update_ports
    from pilotage.discovery.watcher import Timing
    from pilotage.engine.address import DockerProviderConfig, TLSFiles
    from pilotage.engine.contexts import default_engine
    from pilotage.engine.pool import Pool, SharedClient, clients, close_default_pool, new_client
    from pilotage.routes.build import Built, build_routes
    from pilotage.routes.file import RouteFile
    from pilotage.routes.route import Endpoint, EndpointHealth, Route
    from pilotage.table.snapshot import Roster
    from pilotage.table.store import build_table
    from pilotage.table.table import Change, Table

__version__ = "0.1.0"

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Built": "routes.build",
        "Change": "table.table",
        "ConfigError": "core.errors",
        "Container": "containers",
        "ContainerImage": "containers",
        "Discovery": "discovery.manager",
        "DockerProviderConfig": "engine.address",
        "Endpoint": "routes.route",
        "EndpointHealth": "routes.route",
        "EngineError": "core.errors",
        "EngineIncompatible": "core.errors",
        "EngineRefused": "core.errors",
        "EngineUnreachable": "core.errors",
        "IdleConfig": "containers",
        "PilotageError": "core.errors",
        "Pool": "engine.pool",
        "Problem": "core.problems",
        "Roster": "table.snapshot",
        "Route": "routes.route",
        "RouteFile": "routes.file",
        "SharedClient": "engine.pool",
        "Survey": "discovery.scan",
        "TLSFiles": "engine.address",
        "Table": "table.table",
        "Timing": "discovery.watcher",
        "Update": "discovery.manager",
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
        "survey_all": "discovery.scan",
        "survey_engine": "discovery.scan",
        "update_ports": "discovery.scan",
    },
)

__all__ = [
    "Built",
    "Change",
    "ConfigError",
    "Container",
    "ContainerImage",
    "Discovery",
    "DockerProviderConfig",
    "Endpoint",
    "EndpointHealth",
    "EngineError",
    "EngineIncompatible",
    "EngineRefused",
    "EngineUnreachable",
    "IdleConfig",
    "PilotageError",
    "Pool",
    "Problem",
    "Roster",
    "Route",
    "RouteFile",
    "SharedClient",
    "Survey",
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
    "survey_all",
    "survey_engine",
    "update_ports",
]
