"""Reads the settings for signing in from environment variables, under our names or GoDoxy's. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.routes.oidc import OIDC_OPTIONS, OidcDefaults, read_oidc
from pilotage.xds.capabilities import GatewayCapabilities
from pilotage.xds.options import GatewayOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.policy import Policy

__all__ = ["oidc_of_env", "policy_of_env"]

_PREFIXES: Final = ("PILOTAGE_OIDC_", "GODOXY_OIDC_", "GOPROXY_OIDC_", "OIDC_")
_KEYS: Final = ("PILOTAGE_SESSION_KEY", "GODOXY_API_JWT_SECRET", "GOPROXY_API_JWT_SECRET", "API_JWT_SECRET")
_SHORTEST_KEY: Final = 32


def oidc_of_env(env: Mapping[str, str]) -> OidcDefaults:
    """Return the sign-in settings in environment variables. Invalid values are ignored."""
    found = {
        name: value
        for name in OIDC_OPTIONS
        if (value := next((env[f"{it}{name.upper()}"] for it in _PREFIXES if env.get(f"{it}{name.upper()}")), None))
    }
    options, problems = read_oidc(found)
    valid = {name: getattr(options, name) for name in OIDC_OPTIONS if name not in {it[0] for it in problems}}
    key = next((env[name] for name in _KEYS if len(env.get(name, "").encode()) >= _SHORTEST_KEY), "")
    return OidcDefaults(**valid, session_key=key)


def policy_of_env(policy: Policy, env: Mapping[str, str]) -> Policy:
    """Return a policy with the sign-in settings from the environment, for use without a configuration file."""
    gateway = GatewayCapabilities.of_options(GatewayOptions(oidc=oidc_of_env(env)))
    return msgspec.structs.replace(policy, gateway=gateway)
