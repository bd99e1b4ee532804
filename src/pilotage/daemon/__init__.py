"""Implements the process behind ``pilotage serve``: builds its settings, runs all components, reloads and shuts down.

Command-line options, the environment and signals go in; a running gateway, API and log come out.
This package must not contain rules about labels, routes or Envoy's configuration. It must not print anything, nor
import the command-line code (``pilotage.cli``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.daemon.certificates import certificate_folder
    from pilotage.daemon.daemon import Daemon
    from pilotage.daemon.keeper import run_envoy, stop_both
    from pilotage.daemon.logging import configure_logging, detect_log_format
    from pilotage.daemon.run import serve
    from pilotage.daemon.settings import Flags

__all__ = [
    "Daemon",
    "Flags",
    "certificate_folder",
    "configure_logging",
    "detect_log_format",
    "run_envoy",
    "serve",
    "stop_both",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Daemon": "daemon",
        "Flags": "settings",
        "certificate_folder": "certificates",
        "configure_logging": "logging",
        "detect_log_format": "logging",
        "run_envoy": "keeper",
        "serve": "run",
        "stop_both": "keeper",
    },
)
