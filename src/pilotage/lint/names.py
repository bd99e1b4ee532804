"""Finds services of one Compose project that claim the same alias, host or port. Pure."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from pilotage.core.problems import Problem
from pilotage.routes.hosts import clean_domains, first_label, served_name
from pilotage.xds.own_ports import listening_address, port_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pilotage.routes.route import Route

__all__ = ["ClaimedNames"]

_OLDER = "the older container gets it; give one of them another alias with proxy.aliases"
_PORT = "port"


class ClaimedNames:
    """The names claimed by the services that were added.

    Args:
        domains: domains under which aliases are served (``match_domains``); empty means any.

    """

    def __init__(self, domains: Iterable[str]) -> None:
        self._domains = clean_domains(domains)
        self._profiles: dict[str, frozenset[str]] = {}
        self._aliases: dict[str, str] = {}  # alias -> service
        self._hosts: dict[str, tuple[str, bool]] = {}  # host -> service, and whether it is the name of its pool
        self._below: dict[str, list[str]] = {}  # first label -> full names
        self._ports: dict[str, list[tuple[str, Route]]] = {}  # port -> services and routes that listen on it

    def add(self, service: str, routes: Iterable[Route], profiles: frozenset[str] = frozenset()) -> Iterator[Problem]:
        """Add the routes of a service; yield a warning for each name or port that an earlier service also claims.

        A problem with a port names its route and the path ``port``.

        Args:
            service: name of the service.
            routes: its routes.
            profiles: its profiles. Services without a common profile are alternatives, unless one always runs.

        """
        self._profiles[service] = profiles
        for route in routes:
            owner = self._aliases.setdefault(route.alias, service)
            if owner != service and self._are_alternatives(owner, service):
                continue
            if owner != service:
                yield _warning(f"service {owner!r} also uses the alias {route.alias!r}", _OLDER)
            elif name := served_name(route):
                yield from self._add_host(service, name, is_pool=name != route.alias or name == route.pool)
            if route.has_listener and not route.excluded:
                yield from self._add_port(service, route)

    def _add_host(self, service: str, name: str, *, is_pool: bool) -> Iterator[Problem]:
        other, was_pool = self._hosts.setdefault(name, (service, is_pool))
        if other != service and was_pool is not is_pool and not self._are_alternatives(other, service):
            what = f"has the alias {name!r}" if is_pool else f"is in the pool {name!r}"
            hint = "a pool and an alias cannot have the same name, and the older one gets it; rename one of them"
            yield _warning(f"service {other!r} {what}", hint)
        label = first_label(name)
        names = [label] if label and self._covers(name) else []
        if label:
            self._below.setdefault(label, []).append(name)
        else:
            names = [each for each in self._below.get(name, ()) if self._covers(each)]
        for each in names:
            owner, _ = self._hosts.get(each, (service, False))
            if owner != service and not self._are_alternatives(owner, service):
                short, full = (each, name) if label else (name, each)
                message = f"service {owner!r} claims {each!r}, and the alias {short!r} also answers for {full!r}"
                hint = "the older container gets it; use another alias, or list your domains in match_domains"
                yield _warning(message, hint)

    def _add_port(self, service: str, route: Route) -> Iterator[Problem]:
        port = port_of(route)
        claims = self._ports.setdefault(port, [])
        for owner, other in claims:
            if owner != service and not self._are_alternatives(owner, service) and _collide(route, other):
                message = f"service {owner!r} also listens on {port.replace('/', ' port ')}"
                hint = "the older container gets it; choose another listening port for one of them"
                yield _warning(message, hint).at(route=route.alias, label=_PORT)
        claims.append((service, route))

    def _are_alternatives(self, one: str, other: str) -> bool:
        """Return whether two services never run together, according to their profiles."""
        mine, theirs = self._profiles.get(one, frozenset()), self._profiles.get(other, frozenset())
        return bool(mine and theirs) and not mine & theirs

    def _covers(self, name: str) -> bool:
        """Return whether an alias that equals a full name's first label also answers for the full name."""
        return not self._domains or name.partition(".")[2] in self._domains


def _collide(one: Route, other: Route) -> bool:
    """Return whether two routes with the same listening port cannot both have it."""
    same_address = listening_address(one) == listening_address(other)
    if same_address and not (one.is_stream or other.is_stream):
        return False  # the host of a request selects the route
    if same_address and one.pool and one.pool == other.pool:
        return False
    addresses = {ip_address(it.bind or "0.0.0.0") for it in (one, other)}  # noqa: S104
    return len(addresses) == 1 or any(
        it.is_unspecified and it.version == other.version for it in addresses for other in addresses - {it}
    )


def _warning(message: str, hint: str) -> Problem:
    return Problem(message=message, hint=hint, severity="warning")
