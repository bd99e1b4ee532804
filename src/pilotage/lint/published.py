"""Reads which ports a Compose service publishes, because these are the container's own targets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pilotage.core.yaml import Located

__all__ = ["published_ports"]

_SHORT: Final = re.compile(
    r"(?:(?:\[?(?P<ip>[0-9A-Fa-f.:]+)\]?):)?(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?"
    r":(?P<private>[0-9]{1,5})(?:-[0-9]{1,5})?(?:/(?P<kind>tcp|udp))?"
)
_MOST: Final = 1000  # ports in one range


def published_ports(ports: Located | None) -> list[dict[str, Any]]:
    """Return a service's ports (short or long syntax) as an engine would list them. Invalid ports are left out."""
    written = ports.value if ports is not None and isinstance(ports.value, list) else []
    return [entry for item in written for entry in _entries(item.value)]


def _entries(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        fields = {key: str(item.value) for key, item in value.items()}
        protocol = fields.get("protocol", "tcp")
        text = f"{fields.get('published', '')}:{fields.get('target', '')}/{protocol}"
        host = fields.get("host_ip", "")
        value = f"[{host}]:{text}" if host else text
    match = _SHORT.fullmatch(str(value))
    if match is None:
        return
    first, private = int(match["first"]), int(match["private"])
    for number in range(min(int(match["last"] or first) - first + 1, _MOST)):
        yield {
            "PrivatePort": private + number,
            "PublicPort": first + number,
            "Type": match["kind"] or "tcp",
            "IP": match["ip"] or "0.0.0.0",  # noqa: S104  as engines list it
        }
