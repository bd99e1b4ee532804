"""Combines middlewares of the same kind, of which a route may have several from files. Pure."""

from __future__ import annotations

import ipaddress

import msgspec

__all__ = ["NO_EDITS", "Edits", "Pairs", "combined", "common_networks"]

Pairs = tuple[tuple[str, str], ...]


class Edits(msgspec.Struct, frozen=True):
    """Changes to the headers of requests or responses: set (replaced), added, removed."""

    put: Pairs = ()
    add: Pairs = ()
    hide: tuple[str, ...] = ()


NO_EDITS = Edits()


def combined(first: Edits, then: Edits) -> Edits:
    """Return changes with the same effect as applying ``first`` and then ``then``."""
    if first == NO_EDITS:
        return then
    replaced = {name.lower() for name, _ in then.put}
    hidden = {name.lower() for name in first.hide}
    # A hidden header has no values left, so adding a value sets the header.
    fresh: list[tuple[str, str]] = []
    added: list[tuple[str, str]] = []
    for name, value in then.add:
        if name.lower() in hidden - replaced:
            fresh.append((name, value))
            hidden.remove(name.lower())
        else:
            added.append((name, value))
    shown = replaced | {name.lower() for name, _ in fresh}
    put = tuple((name, value) for name, value in first.put if name.lower() not in shown)
    add = tuple((name, value) for name, value in first.add if name.lower() not in shown)
    hide = tuple(name for name in first.hide if name.lower() not in shown)
    return Edits((*put, *then.put, *fresh), (*add, *added), tuple(dict.fromkeys((*hide, *then.hide))))


def common_networks(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """Return the networks whose addresses are in both lists; empty if there are none."""
    found: dict[str, None] = {}
    for one in map(ipaddress.ip_network, first):
        for other in map(ipaddress.ip_network, second):
            if one.version == other.version and one.overlaps(other):
                found[str(max(one, other, key=lambda it: it.prefixlen))] = None
    return tuple(found)
