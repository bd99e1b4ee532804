"""Matches targets of routes against the globs of rules. Pure."""

from __future__ import annotations

import ipaddress

from pilotage.policy.globs import matches_host

__all__ = ["matches_target"]


def matches_target(glob: str, host: str, port: int) -> bool:
    """Return whether a rule's target covers a host and port.

    Args:
        glob: a host glob, an address or a network, each with or without ``:port``: ``*.internal``, ``10.0.0.0/8``,
            ``127.0.0.1:9000``, ``[::1]:9000``.
        host: host name, or address in its usual spelling without brackets.
        port: port of the target.

    """
    wanted, colon, digits = glob.rpartition(":")
    if colon and digits.isdecimal() and (wanted.startswith("[") or ":" not in wanted):
        if int(digits) != port:
            return False
        glob = wanted
    glob = glob.removeprefix("[").removesuffix("]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return matches_host(glob, host)
    try:
        return address in ipaddress.ip_network(glob, strict=False)
    except ValueError:
        return glob in ("*", "**")
