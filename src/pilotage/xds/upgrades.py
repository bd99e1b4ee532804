"""Lists the protocols to which a connection may switch, and makes Envoy ignore all others. Pure.

Envoy passes on an HTTP upgrade only to protocols that are configured by name, and answers 403 to any other. A server
that does not know a protocol ignores the request to switch (RFC 9110, 7.8), so Envoy is told to do the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["UPGRADES", "anything_but", "ignored_upgrades", "upgrade_configs"]

UPGRADES: Final = (
    *("websocket", "tailscale-control-protocol", "ts2021", "DERP", "tcp", "udp", "SPDY/3.1", "xmpp", "connect-ip"),
    *("TLS/1.0", "TLS/1.2", "TLS/1.3", "irc", "mqtt", "ssh", "raw", "webtransport", "wireguard"),
)
"""Protocols that are passed on. Envoy always ignores ``h2c``."""


def upgrade_configs() -> list[Any]:
    """Return the protocols that are passed on."""
    kind = http_connection_manager_pb2.HttpConnectionManager.UpgradeConfig
    return [kind(upgrade_type=token) for token in UPGRADES]


def ignored_upgrades() -> list[Any]:
    """Return the matchers of protocols that Envoy removes from the header ``Upgrade``: all except :data:`UPGRADES`."""
    regex = "(?i)" + anything_but(token.lower() for token in UPGRADES)
    return [string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=regex))]


def anything_but(words: Iterable[str]) -> str:
    """Return a regular expression that matches any text except the given words. RE2 has no negative lookahead."""
    rests: dict[str, list[str]] = {}
    known = list(words)
    for word in known:
        if word:
            rests.setdefault(word[0], []).append(word[1:])
    if not rests:
        return ".+" if known else ".*"
    first = "".join(map(re.escape, sorted(rests)))
    choices = [f"[^{first}].*", *(re.escape(letter) + anything_but(found) for letter, found in sorted(rests.items()))]
    if "" not in known:
        choices.append("")
    return f"(?:{'|'.join(choices)})"
