"""Lists the keys of GoDoxy's configuration that pilotage does not support. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pilotage.labels import fold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.config.substitute import Path as DocumentPath

__all__ = ["GODOXY_KEYS", "PROTECTIVE_KEYS", "may_restrict", "take_entry_profile"]

# GoDoxy keys that pilotage does not support. Keys that restrict access must not be ignored, so they cause errors; the
# others cause warnings.
GODOXY_KEYS: Final[Mapping[DocumentPath, frozenset[str]]] = {
    (): frozenset({"defaults", "homepage", "timeout_shutdown", "webui"}),
    ("providers",): frozenset({"include", "maxmind", "notification", "proxmox"}),
}
PROTECTIVE_KEYS: Final = frozenset({"acl", "entrypoint"})
_ENTRYPOINT_PROTECTIVE: Final = frozenset({"middlewares", "rules"})
_PROFILE: Final = "inboundmtlsprofile"  # folded


def may_restrict(key: str, value: Any) -> bool:
    """Return whether a GoDoxy section may restrict access. Empty sections and most keys of ``entrypoint`` do not."""
    if key == "entrypoint" and isinstance(value, dict):
        return any(value.get(name) for name in value if fold(name) in _ENTRYPOINT_PROTECTIVE)
    return value not in (None, {}, [], "")


def take_entry_profile(tree: Any) -> tuple[Any, str, Any]:
    """Take ``entrypoint.inbound_mtls_profile`` out of a configuration, which pilotage supports.

    Returns:
        The rest of the tree, the key as it is written (``""`` if it is not there), and its value.

    """
    section = tree.get("entrypoint") if isinstance(tree, dict) else None
    if not isinstance(section, dict):
        return tree, "", None
    key = next((it for it in section if isinstance(it, str) and fold(it) == _PROFILE), "")
    if not key:
        return tree, "", None
    others = {name: value for name, value in section.items() if name != key}
    rest = {name: others if name == "entrypoint" else value for name, value in tree.items()}
    return {name: value for name, value in rest.items() if name != "entrypoint" or others}, key, section[key]
