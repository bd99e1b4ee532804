"""Runs an Envoy process, and reads its health check results and its statistics about requests.

Envoy's binary, initial configuration and settings go in; Envoy's state, its metrics and the health of endpoints come
out. This package must not decide what Envoy serves (``xds`` does), and must not import the API or the daemon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.gateway.admin import AdminClient
    from pilotage.gateway.adoption import OUTPUT, KeepingLauncher, end_kept
    from pilotage.gateway.binary import find_envoy
    from pilotage.gateway.capacity import descriptor_limit, memory_limit, raise_descriptor_limit
    from pilotage.gateway.client_limit import module_folder
    from pilotage.gateway.external import ExternalLauncher
    from pilotage.gateway.file_paths import FileRoot
    from pilotage.gateway.file_server import FileServer
    from pilotage.gateway.health import HealthPoller
    from pilotage.gateway.launch import ADMIN_SOCKET
    from pilotage.gateway.log_tail import relay_output
    from pilotage.gateway.overload import OverloadMonitor
    from pilotage.gateway.process import Gateway, GatewayStatus
    from pilotage.gateway.processes import PidfdProcess, start_time
    from pilotage.gateway.traffic import TrafficReader
    from pilotage.gateway.tunnels import Tunnels

__all__ = [
    "ADMIN_SOCKET",
    "OUTPUT",
    "AdminClient",
    "ExternalLauncher",
    "FileRoot",
    "FileServer",
    "Gateway",
    "GatewayStatus",
    "HealthPoller",
    "KeepingLauncher",
    "OverloadMonitor",
    "PidfdProcess",
    "TrafficReader",
    "Tunnels",
    "descriptor_limit",
    "end_kept",
    "find_envoy",
    "memory_limit",
    "module_folder",
    "raise_descriptor_limit",
    "relay_output",
    "start_time",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Tunnels": "tunnels",
        "ADMIN_SOCKET": "launch",
        "AdminClient": "admin",
        "OUTPUT": "adoption",
        "PidfdProcess": "processes",
        "relay_output": "log_tail",
        "start_time": "processes",
        "KeepingLauncher": "adoption",
        "end_kept": "adoption",
        "find_envoy": "binary",
        "descriptor_limit": "capacity",
        "memory_limit": "capacity",
        "raise_descriptor_limit": "capacity",
        "module_folder": "client_limit",
        "ExternalLauncher": "external",
        "FileRoot": "file_paths",
        "FileServer": "file_server",
        "HealthPoller": "health",
        "OverloadMonitor": "overload",
        "Gateway": "process",
        "GatewayStatus": "process",
        "TrafficReader": "traffic",
    },
)
