"""Scans engines and route files once, or watches them until stopped.

Engine addresses and file names go in; snapshots, or one live table with updates for subscribers, come out.
This package must not decide anything about labels or routes, and a failing engine must not affect the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.discovery.detect import Probe, candidates, detect_engines, probe_all
    from pilotage.discovery.files import read_files
    from pilotage.discovery.host_addresses import HostAddresses, network_gateways
    from pilotage.discovery.inspect import update_ports
    from pilotage.discovery.manager import DiscoveryManager, discover
    from pilotage.discovery.provider import KnownAgent
    from pilotage.discovery.scan import ScanResult, scan_all, scan_engine
    from pilotage.discovery.subscription import Subscription
    from pilotage.discovery.timing import Timing
    from pilotage.discovery.update import Update
    from pilotage.discovery.watcher import EngineWatcher

__all__ = [
    "DiscoveryManager",
    "EngineWatcher",
    "HostAddresses",
    "KnownAgent",
    "Probe",
    "ScanResult",
    "Subscription",
    "Timing",
    "Update",
    "candidates",
    "detect_engines",
    "discover",
    "network_gateways",
    "probe_all",
    "read_files",
    "scan_all",
    "scan_engine",
    "update_ports",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "KnownAgent": "provider",
        "DiscoveryManager": "manager",
        "EngineWatcher": "watcher",
        "HostAddresses": "host_addresses",
        "Probe": "detect",
        "ScanResult": "scan",
        "Subscription": "subscription",
        "Timing": "timing",
        "Update": "update",
        "candidates": "detect",
        "detect_engines": "detect",
        "discover": "manager",
        "network_gateways": "host_addresses",
        "probe_all": "detect",
        "read_files": "files",
        "scan_all": "scan",
        "scan_engine": "scan",
        "update_ports": "inspect",
    },
)
