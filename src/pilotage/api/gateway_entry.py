"""Recognizes requests that come through the gateway's route to the dashboard."""

from __future__ import annotations

import hmac
import secrets
from typing import Final

from aiohttp import web

__all__ = ["ENTRY", "ENTRY_HEADER", "GatewayEntry"]

ENTRY_HEADER: Final = "X-Pilotage-Entry"
"""The header in which the gateway sends the secret."""


class GatewayEntry:
    """The port on loopback to which the gateway sends requests for the dashboard.

    Other programs of this machine can connect to the port, too. So each request must have a secret that only the
    gateway knows. The gateway adds it after the middlewares of the route have let the request pass.

    Attributes:
        secret: the secret.
        port: the port; 0 while it is closed.
        may_read: whether the route's middlewares admit only users who may see the dashboard.

    """

    def __init__(self) -> None:
        self.secret = secrets.token_urlsafe(32)
        self.port = 0
        self.may_read = False

    def received(self, request: web.BaseRequest) -> bool:
        """Return whether a request arrived at this port."""
        transport = request.transport
        name = transport.get_extra_info("sockname") if transport is not None else None
        return bool(self.port) and isinstance(name, tuple) and name[1] == self.port

    def is_genuine(self, request: web.BaseRequest) -> bool:
        """Return whether a request has the secret."""
        given = request.headers.get(ENTRY_HEADER, "").encode(errors="surrogateescape")
        return hmac.compare_digest(given, self.secret.encode())


ENTRY: Final = web.AppKey("entry", GatewayEntry)
"""The key under which the API's application has its entry."""
