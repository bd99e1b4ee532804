"""Keeps the scopes and listeners through which clients reach the backends. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.index import Index
from pilotage.xds.own_ports import listening_address, port_of
from pilotage.xds.port_holders import PortHolders
from pilotage.xds.port_listeners import port_listener
from pilotage.xds.resources import LISTENER, SCOPE
from pilotage.xds.rule_targets import is_hidden
from pilotage.xds.scope_builder import build_scope
from pilotage.xds.scoped_routes import scope_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from pilotage.core.problems import Problem
    from pilotage.xds.backend import Backend
    from pilotage.xds.options import GatewayOptions
    from pilotage.xds.resources import Key, Resource
    from pilotage.xds.server_names import NameGroup

__all__ = ["Frontends", "keys_of"]


def keys_of(backend: Backend) -> list[Key]:
    """Return the keys of a backend's scope and listener. HTTP backends on the shared listeners have only a scope."""
    if is_hidden(backend):
        return []
    found = [(SCOPE, scope)] if (scope := scope_of(backend)) else []
    return [*found, (LISTENER, listening_address(backend.route))] if backend.route.has_listener else found


class Frontends:
    """The scopes and ports of all backends.

    Attributes:
        ports: the routes that listen on each port.

    """

    def __init__(self) -> None:
        self.ports = PortHolders()
        self._scopes: Index[str, str] = Index()
        self._listeners: Index[str, str] = Index()

    def follow(self, key: str, old: Backend | None, new: Backend | None) -> tuple[set[str], set[str]]:
        """Record that a backend has changed; return the scopes and ports (:func:`port_of`) that this affects.

        Args:
            key: the backend's key.
            old: the backend's previous state; ``None`` if the backend is new.
            new: the backend's current state; ``None`` if the backend no longer exists.

        """
        scopes: set[str] = set()
        ports: set[str] = set()
        for backend, index in ((old, Index.discard), (new, Index.add)):
            if backend is None or is_hidden(backend):
                continue
            if backend.route.has_listener:
                port = port_of(backend.route)
                index(self._listeners, port, key)
                ports.add(port)
            if scope := scope_of(backend):
                index(self._scopes, scope, key)
                scopes.add(scope)
        return scopes, ports

    @property
    def open_ports(self) -> list[str]:
        """All ports on which backends want to listen."""
        return list(self._listeners)

    def listeners(
        self,
        port: str,
        backends: Mapping[str, Backend],
        options: GatewayOptions,
        engines: tuple[str, ...],
        certificates: list[NameGroup],
    ) -> tuple[dict[Key, Resource | None], list[Problem]]:
        """Return all listeners on a port, and problems with backends that cannot have one.

        Args:
            port: the port.
            backends: key -> backend, of all backends.
            options: the gateway's settings.
            engines: names of the engines in their configured order.
            certificates: the gateway's certificates.

        """
        wanted = [backends[key] for key in self._listeners[port]]
        return self.ports.assign(port, wanted, engines, lambda backend: port_listener(backend, options, certificates))

    def scope(
        self,
        name: str,
        backends: Mapping[str, Backend],
        options: GatewayOptions,
        engines: tuple[str, ...],
        lingering: Collection[str] = (),
    ) -> tuple[Resource | None, list[Problem]]:
        """Return a scope (``None`` if it is empty), and problems with backends that cannot be in it.

        Args:
            name: the scope's name, from :func:`scope_of`.
            backends: key -> backend, of all backends.
            options: the gateway's settings.
            engines: names of the engines in their configured order.
            lingering: the aliases of removed routes whose requests still wait. A new route with the same name takes
                precedence over them.

        """
        wanted = [backends[key] for key in self._scopes[name]]
        wanted.sort(key=lambda backend: (backend.route.alias not in lingering, backend.key))
        chosen: Iterable[Backend] = {it.name: it for it in wanted}.values()
        if wanted and wanted[0].route.has_listener:
            chosen = self.ports.ordered(port_of(wanted[0].route), chosen, engines)
        return build_scope(name, list(chosen), options)
