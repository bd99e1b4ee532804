"""Lists the keys of GoDoxy's configuration that pilotage does not support. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pilotage.labels import fold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.config.substitute import Path as DocumentPath

__all__ = ["GODOXY_KEYS", "PROTECTIVE_KEYS", "may_restrict"]

# GoDoxy keys that pilotage does not support. Keys that restrict access must not be ignored, so they cause errors; the
# others cause warnings.
GODOXY_KEYS: Final[Mapping[DocumentPath, frozenset[str]]] = {
    (): frozenset({"defaults", "homepage", "timeout_shutdown", "webui"}),
    ("providers",): frozenset({"include", "maxmind", "notification", "proxmox"}),
}
PROTECTIVE_KEYS: Final = frozenset({"acl", "entrypoint", "inbound_mtls_profiles"})
_ENTRYPOINT_PROTECTIVE: Final = frozenset({"middlewares", "rules"})


def may_restrict(key: str, value: Any) -> bool:
    """Return whether a GoDoxy section may restrict access. Empty sections and most keys of ``entrypoint`` do not."""
    if key == "entrypoint" and isinstance(value, dict):
        return any(value.get(name) for name in value if fold(name) in _ENTRYPOINT_PROTECTIVE)
    return value not in (None, {}, [], "")
