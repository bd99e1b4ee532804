"""Reads the description of a client's request in Envoy's check. Pure."""

from __future__ import annotations

from collections.abc import Mapping  # msgspec reads the annotation
from typing import Any

import msgspec

from pilotage.xds.checks import ROUTE, SERVICE

__all__ = ["Asked", "read_check"]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A client's request, as Envoy describes it. Everything except ``service`` and ``route`` is untrusted.

    Attributes:
        service: the middleware that has to answer.
        route: the backend, ``route/ALIAS`` or ``pool/NAME``.
        method: the HTTP method.
        host: the Host header, which may have a port.
        path: path and query.
        headers: the other headers that the filter passes on, with lower-case names. Values of repeated headers are
            joined by commas.
        is_secure: whether the client uses HTTPS, here or at a trusted proxy.
        client: the client's IP address.
        body: the request's body, if the filter passes it on. Envoy replaces bytes that are not valid UTF-8.

    """

    service: str
    route: str
    method: str
    host: str
    path: str
    headers: Mapping[str, str] = {}
    is_secure: bool = False
    client: str = ""
    body: str = ""

    @property
    def origin(self) -> str:
        """The origin that the client requested, such as ``https://app.example.com``."""
        return f"{'https' if self.is_secure else 'http'}://{self.host}"

    @property
    def path_only(self) -> str:
        """The path without the query."""
        return self.path.partition("?")[0]

    @property
    def query(self) -> str:
        """The query without the question mark."""
        return self.path.partition("?")[2]


def read_check(request: Any) -> Asked:
    """Return the request that an ext_authz check is about."""
    attributes = request.attributes
    http, extensions = attributes.request.http, attributes.context_extensions
    headers = {name.lower(): value for name, value in http.headers.items()}
    return Asked(
        service=extensions.get(SERVICE, ""),
        route=extensions.get(ROUTE, ""),
        method=http.method,
        host=http.host,
        path=http.path,
        headers=headers,
        is_secure=headers.get("x-forwarded-proto", http.scheme) == "https",
        body=http.body,
        client=attributes.source.address.socket_address.address,
    )
