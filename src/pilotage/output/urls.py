"""Determines the URL under which people reach a route. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.engine.address import bracketed

if TYPE_CHECKING:
    from pilotage.routes.route import Route

__all__ = ["DEFAULT_PORTS", "GatewayPorts", "url_of"]

_ANY_ADDRESS: Final = ("", "0.0.0.0", "::")  # noqa: S104  # compared with, not listened on
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
"""The ports that URLs leave out."""


class GatewayPorts(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway's addresses, and the settings that its URLs depend on.

    Attributes:
        http_address, http_port: plain HTTP; port 0 means disabled.
        https_address, https_port: HTTPS; port 0 means disabled.
        public_https_port: the port in HTTPS URLs; 0 means ``https_port``.
        redirect_to_https: whether plain HTTP redirects to HTTPS.
        match_domains: the domains under which aliases are served; empty for any.

    """

    http_address: str = "0.0.0.0"  # noqa: S104  # shown, not listened on
    http_port: int = 8080
    https_address: str = "0.0.0.0"  # noqa: S104
    https_port: int = 0
    public_https_port: int = 0
    redirect_to_https: bool = False
    match_domains: tuple[str, ...] = ()

    def __str__(self) -> str:
        places = [_place(self.http_address, self.http_port)] if self.http_port else []
        if self.https_port:
            places.append(f"{_place(self.https_address, self.https_port)} (HTTPS)")
        return " and ".join(places) or "no HTTP port"


def _place(host: str, port: int) -> str:
    return f"port {port}" if host in _ANY_ADDRESS else f"{bracketed(host)}:{port}"


def url_of(route: Route, gateway: GatewayPorts) -> str:
    """Return the URL of a served route: under the first of the gateway's domains, or under ``localhost``.

    A route in a pool answers under the name of the pool. Browsers and curl resolve names under ``localhost`` to their
    own machine. ``ANYTHING`` replaces a wildcard.
    """
    domain = gateway.match_domains[0] if gateway.match_domains else "localhost"
    if route.is_stream:
        host = domain if route.bind in _ANY_ADDRESS else bracketed(route.bind)
        return f"{route.scheme}://{host}:{route.port.listening}"
    secure = gateway.https_port and (gateway.redirect_to_https or not gateway.http_port or route.has_listener)
    scheme = "https" if secure else "http"
    port = (gateway.public_https_port or gateway.https_port) if secure else gateway.http_port
    port = route.port.listening or port
    name = route.pool or route.alias
    host = name if "." in name else f"{name}.{domain}"
    return f"{scheme}://{host.replace('*', 'ANYTHING')}" + (f":{port}" if port != DEFAULT_PORTS[scheme] else "")
