"""Recognizes other routes that answer for the host of a removed route, whose requests wait for its containers. Pure.

The containers of a removed route may be restarting, so requests for its host wait, even if an older route such as a
wildcard also answers for the host. If the host gets a new route, requests no longer need to wait. For example, a
service may be recreated with the alias ``shop`` instead of ``shop.example.com``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pilotage.core.index import Index
from pilotage.routes.hosts import DEFAULT, clean_domains, first_label, served_name
from pilotage.table.precedence import Holder, holder_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pilotage.routes.route import Route
    from pilotage.xds.backend import Backend

__all__ = ["Successors", "names_above"]


def names_above(host: str, domains: Iterable[str]) -> tuple[str, ...]:
    """Return the less specific names that can also answer for a host, such as ``shop`` for ``shop.example.com``.

    Args:
        host: an alias, or the name of a pool.
        domains: domains that may follow an alias without dots; if empty, any may.

    """
    first, wanted = first_label(host), clean_domains(domains)
    domain = host.partition(".")[2]
    found = [first] if first and (not wanted or domain in wanted) else []
    if first:
        found.append(f"*.{domain}")
    return (*found, DEFAULT) if host != DEFAULT else ()


class _Service(msgspec.Struct, frozen=True):
    """The Compose service or container that answers under a name.

    Attributes:
        holder: the holder of the route's names.
        container: engine and name of the container, which stay the same when the container is recreated.

    """

    holder: Holder
    container: tuple[str, str]

    def is_same(self, other: _Service) -> bool:
        """Return whether both are the same service or, without services, containers of the same name."""
        return self.holder == other.holder or self.container == other.container


def _service(route: Route) -> _Service:
    return _Service(holder_of(route), (route.provider, route.container))


class Successors:
    """Knows which routes answered for the hosts of removed routes when these were removed."""

    def __init__(self) -> None:
        self._left: dict[str, _Service] = {}
        self._before: dict[str, dict[str, _Service | None]] = {}  # alias -> name -> who had it
        self._aliases: Index[str, str] = Index()  # name -> the removed aliases for whose hosts it can answer

    def watch(
        self, alias: str, route: Route, domains: Iterable[str], backends: Mapping[str, Backend]
    ) -> frozenset[str]:
        """Begin to look for a successor of a removed route. Return the keys of the backends that may be one.

        Args:
            alias: alias of the removed route.
            route: last state of the removed route.
            domains: domains that may follow an alias without dots; if empty, any may.
            backends: key -> backend, before the change that removed the route.

        """
        self.forget(alias)
        self._left[alias] = _service(route)
        self._before[alias] = before = {}
        for name in names_above(served_name(route), domains):
            had = [backend for key in _keys(name) if (backend := backends.get(key)) is not None]
            before[name] = _service(had[0].route) if had else None
            self._aliases.add(name, alias)
        return frozenset(key for name in before for key in _keys(name))

    def forget(self, alias: str) -> None:
        """Stop looking for a successor of a removed route."""
        self._left.pop(alias, None)
        for name in self._before.pop(alias, ()):
            self._aliases.discard(name, alias)

    def found(self, backends: Iterable[Backend | None]) -> set[str]:
        """Return the aliases of the removed routes that have a successor among these backends."""
        aliases: set[str] = set()
        for backend in backends:
            if backend is None or backend.name not in self._aliases or not _is_serving(backend):
                continue
            now = _service(backend.route)
            for alias in self._aliases[backend.name]:
                before = self._before[alias][backend.name]
                if now.is_same(self._left[alias]) or before is None or not now.is_same(before):
                    aliases.add(alias)
        return aliases


def _keys(name: str) -> tuple[str, str]:
    """Return the keys of the backends that can have a name: that of an alias and that of a pool."""
    return f"route/{name}", f"pool/{name}"


def _is_serving(backend: Backend) -> bool:
    is_ready = any(member.endpoint.state == "ready" for member in backend.members)
    return not backend.route.is_stream and (is_ready or backend.route.scheme == "fileserver")
