"""Decides which routes listen on a port of their own, and remembers which ones did before. Pure."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.table.precedence import Ranking, holder_of
from pilotage.xds.own_ports import listening_address, port_of
from pilotage.xds.problems import build_failed, port_in_use
from pilotage.xds.resources import LISTENER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pilotage.core.problems import Problem
    from pilotage.routes.route import Route
    from pilotage.table.precedence import Holder
    from pilotage.xds.backend import Backend
    from pilotage.xds.resources import Key, Resource

__all__ = ["PortHolders"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_ALL: Final[Mapping[int, _Address]] = {4: ipaddress.IPv4Address(0), 6: ipaddress.IPv6Address(0)}


class PortHolders:
    """Remembers which routes have listened on a port, as the table remembers which routes have had a name.

    The first route that listened on a port keeps its claim to the port for as long as the route exists, even while its
    container is stopped. While the container is stopped, another route may listen instead.
    """

    def __init__(self) -> None:
        self._ranking = Ranking()
        self._held: dict[str, dict[str, Holder]] = {}  # port -> alias -> its holder, earliest first
        self._ports: dict[str, str] = {}  # alias -> its port, of all aliases in _held

    def follow(self, alias: str, route: Route | None) -> None:
        """Forget an alias's claim if its route no longer wants the port or now belongs to another container."""
        port = self._ports.get(alias)
        if port is None:
            return
        held = self._held[port]
        if route is not None and route.has_listener and port_of(route) == port:
            holder = holder_of(route)
            if held[alias][1:] == holder[1:]:  # the name of an engine may change
                held[alias] = holder
                return
        del self._ports[alias], held[alias]
        if not held:
            del self._held[port]

    def assign(
        self, port: str, backends: Iterable[Backend], engines: tuple[str, ...], build: Callable[[Backend], Resource]
    ) -> tuple[dict[Key, Resource | None], list[Problem]]:
        """Choose the backends that listen on the addresses of a port. A backend without endpoints does not listen.

        HTTP backends share an address with each other. Otherwise, an address belongs to the first in :meth:`ordered`.

        Args:
            port: the port, from :func:`port_of`.
            backends: the backends that want to listen on it.
            engines: names of the engines in their configured order, which decides ties between routes.
            build: builds the listener of a backend.

        Returns:
            All listeners on this port, and problems with backends that cannot have one.

        """
        found = self.ordered(port, backends, engines)
        held = self._holders(port)
        made: dict[Key, Resource | None] = dict.fromkeys((LISTENER, listening_address(it.route)) for it in found)
        problems: list[Problem] = []
        taken: dict[_Address | int, Backend] = {}  # address, and IP version -> the first backend on it
        for backend in found:
            address = _address(backend.route)
            other = _overlapping(taken, address)
            if other is not None and _shares(other, backend):
                key = LISTENER, listening_address(backend.route)
                listener = made[key]
                if listener is None or backend.backing == "none":
                    continue
                made[key] = msgspec.structs.replace(listener, answers=(*listener.answers, backend.name))
                self._hold(port, backend.route)
                continue
            if other is not None:
                why = self._ranking.why(other.route, backend.route, held)
                problems.append(port_in_use(backend, other, listening_address(backend.route), why))
                continue
            if backend.backing != "none":
                try:
                    item = build(backend)
                except Exception as error:  # noqa: BLE001  an error in one route must not block the others
                    problems.append(build_failed(backend.route, error))
                    continue
                made[item.key] = item
                self._hold(port, backend.route)
            taken.setdefault(address, backend)
            taken.setdefault(address.version, backend)
        return made, problems

    def ordered(self, port: str, backends: Iterable[Backend], engines: tuple[str, ...]) -> list[Backend]:
        """Return the backends that want to listen on a port, the first one first.

        Backends with endpoints come first. Among these, routes from files come first, then routes that had the port
        before, then the others by rank.
        """
        if engines != self._ranking.engines:
            self._ranking = Ranking(engines)
        rank, held = self._ranking.rank, self._holders(port)
        return sorted(backends, key=lambda each: (each.backing == "none", rank(each.route, held), each.name))

    def _holders(self, port: str) -> tuple[Holder, ...]:
        return tuple(dict.fromkeys(self._held.get(port, {}).values()))

    def _hold(self, port: str, route: Route) -> None:
        self._ports[route.alias] = port
        self._held.setdefault(port, {}).setdefault(route.alias, holder_of(route))


def _shares(one: Backend, other: Backend) -> bool:
    """Return whether two backends can share a listener, because the host of a request selects between them."""
    routes = one.route, other.route
    return not any(it.is_stream for it in routes) and len({listening_address(it) for it in routes}) == 1


def _address(route: Route) -> _Address:
    address = ipaddress.ip_address(route.bind or "0.0.0.0")  # noqa: S104
    return getattr(address, "ipv4_mapped", None) or address


def _overlapping(taken: Mapping[_Address | int, Backend], address: _Address) -> Backend | None:
    """Return the backend whose address overlaps with the given one. An unspecified address overlaps with all."""
    if address.is_unspecified:
        return taken.get(address.version)
    return taken.get(address) or taken.get(_ALL[address.version])
