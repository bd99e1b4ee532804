"""Names the listeners and scopes of routes with a listening port of their own, and the hosts of HTTP routes. Pure.

HTTP routes with the same address and port share a listener. The host of a request selects the route, as on the
gateway's ports. Each of these listeners has one scope (a route configuration), selected by a header that the listener
sets. A change to a route therefore changes only the scope, and affects no connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pilotage.routes.hosts import ANY_LABEL, DEFAULT
from pilotage.routes.route import bracketed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.routes.route import Route

__all__ = ["ADDRESS_HOST", "PORT_HEADER", "hosts_on_port", "listening_address", "port_of", "port_scope"]

PORT_HEADER: Final = "x-pilotage-port"
"""The request header with the scope of the listener. A header that a client sends is removed first, and targets never
get it."""

ADDRESS_HOST: Final = "~address~"
"""The domain under which requests that name only an address (``http://192.0.2.1:8081``) find their route."""

_LOCALHOST: Final = "localhost"


def port_of(route: Route) -> str:
    """Return the listening port of a route with its protocol, such as ``tcp/2222``. HTTP uses tcp."""
    return f"{_protocol(route)}/{route.port.listening}"


def listening_address(route: Route) -> str:
    """Return the listening address of a route, such as ``tcp/0.0.0.0:2222``. It is the listener's name."""
    return f"{_protocol(route)}/{bracketed(route.bind or '0.0.0.0')}:{route.port.listening}"  # noqa: S104


def _protocol(route: Route) -> str:
    return "udp" if route.scheme == "udp" else "tcp"


def port_scope(address: str) -> str:
    """Return the scope of an HTTP listener with this :func:`listening_address`.

    It has a dot, so that no request on the shared listeners selects it: their scopes are hosts' first labels.
    """
    return f"on.{address}"


def hosts_on_port(shared: Mapping[str, list[str]], first: str) -> dict[str, list[str]]:
    """Return the domains of each backend on a port. No domain occurs twice.

    Args:
        shared: name of each backend -> its domains on the shared listeners. ``*`` stands for every host whose first
            label is the name.
        first: the backend that was first on the port. It also gets requests that name only an address or
            ``localhost``, unless there is a backend for all other hosts (``*``).

    """
    found: dict[str, list[str]] = {}
    for name, hosts in shared.items():
        if name == DEFAULT:
            found[name] = [ANY_LABEL, f"{ANY_LABEL}.*"]
        else:
            found[name] = [name, f"{name}.*"] if hosts == ["*"] else list(hosts)
    if DEFAULT not in found:
        taken = {host for hosts in found.values() for host in hosts}
        found[first] += [ADDRESS_HOST] if _LOCALHOST in taken else [ADDRESS_HOST, _LOCALHOST]
    return found
