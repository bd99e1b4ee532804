"""Reads ``pilotage.yml`` and decides which engines are used.

The text of the file, the environment and command-line options go in; frozen settings come out, or a ConfigError with
all errors and their positions. This package does not connect to engines, start anything or keep state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.config.dashboard import DashboardSettings
    from pilotage.config.engines import DEFAULT_POLICY, ChosenEngines, EngineChoice, choose_engines, find_config_file
    from pilotage.config.load import Config, load_config, read_config
    from pilotage.config.oidc_env import oidc_of_env, policy_of_env
    from pilotage.config.serve import API_PORT, GatewaySettings
    from pilotage.config.substitute import redact

__all__ = [
    "API_PORT",
    "DEFAULT_POLICY",
    "DEFAULT_PORTS",
    "ChosenEngines",
    "Config",
    "DashboardSettings",
    "EngineChoice",
    "GatewaySettings",
    "choose_engines",
    "find_config_file",
    "load_config",
    "oidc_of_env",
    "policy_of_env",
    "read_config",
    "redact",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "DashboardSettings": "dashboard",
        "policy_of_env": "oidc_env",
        "oidc_of_env": "oidc_env",
        "DEFAULT_POLICY": "engines",
        "DEFAULT_PORTS": "engines",
        "ChosenEngines": "engines",
        "EngineChoice": "engines",
        "choose_engines": "engines",
        "find_config_file": "engines",
        "Config": "load",
        "load_config": "load",
        "API_PORT": "serve",
        "GatewaySettings": "serve",
        "redact": "substitute",
        "read_config": "load",
    },
)
