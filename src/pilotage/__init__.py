"""Turns running containers into working routes.

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
        PortMapping,
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
    from pilotage.core.problems import Problem, Severity
    from pilotage.discovery.files import read_files
    from pilotage.discovery.inspect import update_ports
    from pilotage.discovery.manager import DiscoveryManager, discover
    from pilotage.discovery.scan import ScanResult, scan_all, scan_engine
    from pilotage.discovery.subscription import Subscription
    from pilotage.discovery.timing import Timing
    from pilotage.discovery.update import Update
    from pilotage.discovery.watcher import EngineWatcher
    from pilotage.engine.client import EngineClient
    from pilotage.engine.config import DockerProviderConfig, TLSFiles
    from pilotage.engine.connection import Timeouts
    from pilotage.engine.contexts import default_engine
    from pilotage.engine.events import EventStream
    from pilotage.engine.pool import Pool, clients, close_default_pool, new_client
    from pilotage.engine.shared_client import ClientRequest, Clients, SharedClient
    from pilotage.engine.types import Actor, Event, Inspect, Mount, Port, Service, Summary, Task, Version
    from pilotage.labels.container_options import IdleConfig
    from pilotage.output.explain import ContainerExplanation, Explanation, FileExplanation, RouteExplanation
    from pilotage.output.explain import explain_name as explain
    from pilotage.output.facts import Fact, Source
    from pilotage.output.json import to_json
    from pilotage.policy.claims import Claimant, PolicyRule, Verdict
    from pilotage.policy.policy import GatewayCheck, Policy
    from pilotage.routes.access_log import AccessLog, FieldFilter, LogFilters, LoggedFields
    from pilotage.routes.build import Built, build_routes
    from pilotage.routes.exclusion import ExclusionReason
    from pilotage.routes.file import RouteFile
    from pilotage.routes.port_syntax import PortPair
    from pilotage.routes.route import Endpoint, EndpointHealth, EndpointState, HealthState, Route
    from pilotage.routes.rules import RuleDescription
    from pilotage.routes.schema import HealthCheck, Homepage, LoadBalance, RouteSettings
    from pilotage.table.diff import Change, ChangeKind
    from pilotage.table.snapshot import EngineSnapshot
    from pilotage.table.store import build_table
    from pilotage.table.table import EngineStatus, ProblemKey, Table
    from pilotage.table.wakefulness import Wakefulness

__version__ = "0.1.0"

_load, __dir__ = lazy_exports(
    __name__,
    {
        "AccessLog": "routes.access_log",
        "Actor": "engine.types",
        "Built": "routes.build",
        "Change": "table.diff",
        "ChangeKind": "table.diff",
        "Wakefulness": "table.wakefulness",
        "Claimant": "policy.claims",
        "ClientRequest": "engine.shared_client",
        "Clients": "engine.shared_client",
        "ConfigError": "core.errors",
        "Container": "containers",
        "ContainerExplanation": "output.explain",
        "ContainerImage": "containers",
        "DiscoveryManager": "discovery.manager",
        "DockerProviderConfig": "engine.config",
        "Endpoint": "routes.route",
        "EndpointHealth": "routes.route",
        "EndpointState": "routes.route",
        "EngineClient": "engine.client",
        "EngineError": "core.errors",
        "EngineIncompatible": "core.errors",
        "EngineRefused": "core.errors",
        "EngineSnapshot": "table.snapshot",
        "EngineStatus": "table.table",
        "EngineUnreachable": "core.errors",
        "EngineWatcher": "discovery.watcher",
        "Event": "engine.types",
        "EventStream": "engine.events",
        "ExclusionReason": "routes.exclusion",
        "Explanation": "output.explain",
        "Fact": "output.facts",
        "FieldFilter": "routes.access_log",
        "FileExplanation": "output.explain",
        "HealthCheck": "routes.schema",
        "HealthState": "routes.route",
        "Homepage": "routes.schema",
        "IdleConfig": "labels.container_options",
        "Inspect": "engine.types",
        "LoadBalance": "routes.schema",
        "LogFilters": "routes.access_log",
        "LoggedFields": "routes.access_log",
        "Mount": "engine.types",
        "PilotageError": "core.errors",
        "GatewayCheck": "policy.policy",
        "Policy": "policy.policy",
        "PolicyRule": "policy.claims",
        "Pool": "engine.pool",
        "Port": "engine.types",
        "PortMapping": "containers.ports",
        "PortPair": "routes.port_syntax",
        "Problem": "core.problems",
        "ProblemKey": "table.table",
        "Route": "routes.route",
        "RouteExplanation": "output.explain",
        "RuleDescription": "routes.rules",
        "RouteFile": "routes.file",
        "RouteSettings": "routes.schema",
        "Service": "engine.types",
        "ScanResult": "discovery.scan",
        "Severity": "core.problems",
        "SharedClient": "engine.shared_client",
        "Source": "output.facts",
        "Subscription": "discovery.subscription",
        "Summary": "engine.types",
        "TLSFiles": "engine.config",
        "Table": "table.table",
        "Task": "engine.types",
        "Timeouts": "engine.connection",
        "Timing": "discovery.timing",
        "Update": "discovery.update",
        "Verdict": "policy.claims",
        "Version": "engine.types",
        "build_routes": "routes.build",
        "build_table": "table.store",
        "clients": "engine.pool",
        "close_default_pool": "engine.pool",
        "default_engine": "engine.contexts",
        "dependencies": "containers",
        "discover": "discovery.manager",
        "docker_compose_project": "containers",
        "docker_compose_service": "containers",
        "explain_name": "output.explain",
        "from_docker": "containers",
        "is_blacklisted": "containers",
        "new_client": "engine.pool",
        "read_files": "discovery.files",
        "scan_all": "discovery.scan",
        "scan_engine": "discovery.scan",
        "to_json": "output.json",
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
"""Deprecated name -> current name. The deprecated names will be removed in 1.0."""

_PUBLIC_NAMES = {"explain": "explain_name"}
"""Public name -> name inside pilotage, because a module there is already called ``explain``."""

__all__ = [
    "AccessLog",
    "Actor",
    "Built",
    "Change",
    "ChangeKind",
    "Claimant",
    "ClientRequest",
    "Clients",
    "ConfigError",
    "Container",
    "ContainerExplanation",
    "ContainerImage",
    "DiscoveryManager",
    "DockerProviderConfig",
    "Endpoint",
    "EndpointHealth",
    "EndpointState",
    "EngineClient",
    "EngineError",
    "EngineIncompatible",
    "EngineRefused",
    "EngineSnapshot",
    "EngineStatus",
    "EngineUnreachable",
    "EngineWatcher",
    "Event",
    "EventStream",
    "ExclusionReason",
    "Explanation",
    "Fact",
    "FieldFilter",
    "FileExplanation",
    "GatewayCheck",
    "HealthCheck",
    "HealthState",
    "Homepage",
    "IdleConfig",
    "Inspect",
    "LoadBalance",
    "LogFilters",
    "LoggedFields",
    "Mount",
    "PilotageError",
    "Policy",
    "PolicyRule",
    "Pool",
    "Port",
    "PortMapping",
    "PortPair",
    "Problem",
    "ProblemKey",
    "Route",
    "RouteExplanation",
    "RouteFile",
    "RouteSettings",
    "RuleDescription",
    "ScanResult",
    "Service",
    "Severity",
    "SharedClient",
    "Source",
    "Subscription",
    "Summary",
    "TLSFiles",
    "Table",
    "Task",
    "Timeouts",
    "Timing",
    "Update",
    "Verdict",
    "Version",
    "Wakefulness",
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
    "explain",
    "from_docker",
    "is_blacklisted",
    "new_client",
    "read_files",
    "scan_all",
    "scan_engine",
    "to_json",
    "update_ports",
]


def __getattr__(name: str) -> Any:
    current = _RENAMED.get(name)
    if current is None:
        return _load(_PUBLIC_NAMES.get(name, name))
    warnings.warn(f"pilotage.{name} is now called pilotage.{current}", DeprecationWarning, stacklevel=2)
    return _load(current)
